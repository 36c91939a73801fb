//! Turns changes into envelopes, by rule. Pure: knows no sink, no socket, no clock.
//!
//! A [`Route`] says which changes go to a sink; its [`Mapping`] says what becomes of a row.

mod rule;
mod name;
mod registry;
mod stored;
mod mapper;
mod binding;
mod key;
mod row;
mod plan;
mod convert;
mod text;
mod verdict;
mod explain;
mod outbox;
mod columns;
mod decimal;
mod case;
mod difference;

pub use case::{Case, Expected, Given, Json, Mismatch, Outcome};
pub(crate) use columns::hidden_fields;
pub use decimal::Decimal;
pub use difference::{Difference, differences};
pub use explain::{Explanation, explain};
pub use key::key_columns;
pub use mapper::{Draft, Error, Mapped, SinkMapper, SourceLabel};
pub use name::{NameError, PrefixPattern, TablePattern, is_reserved_prefix, parse_column};
pub use outbox::{Outbox, OutboxName};
pub use registry::Problem;
pub use rule::{
    As, Field, Format, From, Mapping, OnDelete, OnUnchanged, Operations, Policy, Rest, Route,
    Selector, Start,
};
pub use stored::{CanonicalError, routes_at};
pub use verdict::{Reason, Skip};

#[cfg(test)]
mod tests;
