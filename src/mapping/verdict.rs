//! Why a rule keeps a change from being sent.

use std::fmt;
use std::sync::Arc;

use super::expression::Fault;
use super::field::As;
use crate::chunk::Operation;
use crate::relation::quote_identifier;

/// A change that a policy rejects or skips.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The field or key column.
    pub(super) field: Arc<str>,
    pub(super) reason: Reason,
    /// Dropped and counted, not set aside.
    pub(super) skip: bool,
}

impl Verdict {
    pub(super) fn reject(field: &Arc<str>, reason: Reason) -> Self {
        Self { field: Arc::clone(field), reason, skip: false }
    }

    pub(super) fn skip(field: &Arc<str>, reason: Reason) -> Self {
        Self { field: Arc::clone(field), reason, skip: true }
    }
}

/// What is the matter with a field. Never says the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its column is NULL.
    Null,
    /// Postgres did not send its column.
    Unchanged,
    /// The table has no column of this name.
    NoColumn(Arc<str>),
    /// Its value can't become this without loss.
    Invalid(As),
    /// Its expression can't be computed.
    Expression(Fault),
    /// It fails the check of this description.
    Check(Arc<str>),
    /// It is not in the field's `lookup`.
    Miss,
    /// It belongs to the key, and Postgres did not send it.
    KeyUnchanged,
    /// The JSON of a logical message has no member of this name.
    NoMember(Arc<str>),
    /// It must be a JSON object and is none.
    NotObject,
    /// It names something and is an object or a list.
    NotScalar,
    /// It names something and is an empty text.
    Empty,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("is NULL"),
            Self::Unchanged => f.write_str("was not sent by Postgres"),
            Self::NoColumn(column) => {
                write!(f, "the table has no column {}", quote_identifier(column))
            }
            Self::Invalid(target) => {
                write!(f, "can't become `{}` without loss", target.as_str())
            }
            Self::Expression(fault) => write!(f, "can't be computed: {fault}"),
            Self::Check(check) => write!(f, "fails `check`: {check}"),
            Self::Miss => f.write_str("is not in `lookup`"),
            Self::NoMember(member) => write!(f, "the message has no member \"{member}\""),
            Self::NotObject => f.write_str("is no JSON object"),
            Self::NotScalar => f.write_str("is an object or a list"),
            Self::Empty => f.write_str("is empty"),
            Self::KeyUnchanged => f.write_str(
                "belongs to the key and was not sent by Postgres; \
                 the key's columns must lie in the replica identity",
            ),
        }
    }
}

/// Why a change that a route took is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skip {
    /// The route ignores deletes.
    OnDelete,
    /// The row is not one that the route's `where` lets through.
    Where,
    /// The route's `where` can't be computed.
    WhereError(Reason),
    /// None of the columns changed that the route asks for.
    ColumnsChanged,
    /// Of an outbox only inserts are sent.
    Outbox(Operation),
    /// A field's policy says so.
    Policy {
        /// The field.
        field: Arc<str>,
        /// What is the matter with it.
        reason: Reason,
    },
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnDelete => f.write_str("the route ignores deletes"),
            Self::Where => f.write_str("`where` is false"),
            Self::WhereError(reason) => write!(f, "`where` {reason}"),
            Self::ColumnsChanged => f.write_str("no column of `columns_changed` changed"),
            Self::Outbox(operation) => write!(f, "outbox: {}", operation.as_str()),
            Self::Policy { field, reason } => write!(f, "field `{field}`: {reason}"),
        }
    }
}
