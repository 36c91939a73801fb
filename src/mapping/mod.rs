//! Turns changes into envelopes, by rule. Pure: knows no sink, no socket, no clock.
//!
//! A [`Route`] says which changes go to a sink; its [`Mapping`] says what becomes of a row.

mod rule;
mod field;
mod check;
mod lookup;
mod mask;
mod name;
mod registry;
mod stored;
mod members;
mod mapper;
mod binding;
mod event;
mod key;
mod row;
mod expression;
mod plan;
mod filter;
mod refine;
mod convert;
mod decimal;
mod text;
mod verdict;
mod explain;
mod fits;
mod outbox;
mod columns;
mod case;
mod difference;

pub use case::{Case, Expected, Given, Json, Mismatch, Outcome};
pub use check::{Check, Pattern};
pub(crate) use columns::hidden_fields;
pub use decimal::{Decimal, is_same_number};
pub use difference::{Difference, differences};
pub use explain::{Explanation, explain, where_fault};
pub use expression::{Budget, Expression, ExpressionError, Fault};
pub use field::{As, Field, From, Mapping, OnUnchanged, Policy, Rest};
pub use fits::never_fits;
pub use key::key_columns;
pub use lookup::{Entry as LookupEntry, Lookup};
pub use mapper::{Draft, Error, Mapped, SinkMapper, SourceLabel};
pub use mask::Mask;
pub use members::Members;
pub use name::{NameError, PrefixPattern, TablePattern, is_reserved_prefix, parse_column};
pub use outbox::{Outbox, OutboxName};
pub use registry::Problem;
pub use rule::{Format, OnDelete, OnLeave, OnWhereError, Operations, Route, Selector, Start};
pub use stored::{CanonicalError, routes_at};
pub use verdict::{Reason, Skip};

#[cfg(test)]
mod tests;
