//! Turns changes into envelopes, by rule. Pure: knows no sink, no socket, no clock.
//!
//! A [`Route`] says which changes go to a sink; its [`Mapping`] says what becomes of a row.

mod name;
mod registry;
#[expect(dead_code, reason = "the stage that calls it is not joined yet")]
mod rule;

pub use name::{NameError, PrefixPattern, TablePattern, is_reserved_prefix, parse_column};
pub use registry::Problem;
pub use rule::{
    As, Field, Format, From, Mapping, OnDelete, OnUnchanged, Operations, Policy, Rest, Route,
    Selector, Start,
};
