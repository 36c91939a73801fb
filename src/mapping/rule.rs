//! What a user asks for: [`Route`], and which changes it takes.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::expression::Expression;
use super::field::Mapping;
use super::name::{PrefixPattern, TablePattern};
use super::outbox::Outbox;
use crate::chunk::Operation;
use crate::envelope::RouteLabel;

/// Ties a table, or the logical messages of a prefix, to a sink.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name, unlike any other's.
    pub name: String,
    /// What it was called before: pieces of loads may name it so.
    pub formerly: Vec<String>,
    /// What it takes.
    pub selector: Selector,
    /// The operations it takes. A route for messages takes only messages, whatever stands here.
    pub on: Operations,
    /// Only rows for which this is true are sent; none: all.
    pub condition: Option<Expression>,
    /// What becomes of a row for which `condition` can't be computed.
    pub on_where_error: OnWhereError,
    /// What becomes of an update whose row `condition` no longer lets through.
    pub on_leave: OnLeave,
    /// An update goes only when one of these columns (unquoted) changed; none: always.
    pub columns_changed: Option<Vec<String>>,
    /// How a row becomes the event's data; none: every column as it is.
    pub mapping: Option<Arc<Mapping>>,
    /// The columns of its key, unquoted; none: the primary key, else the replica identity.
    pub key: Option<Vec<String>>,
    /// What becomes of a delete.
    pub on_delete: OnDelete,
    /// The rows or messages hold payloads: these are sent, and nothing but inserts.
    pub outbox: Option<Outbox>,
    /// Where it begins when it is new.
    pub start: Start,
    /// Its events wait when a table changes, until a person says go.
    pub holds_at_schema_change: bool,
    /// The name of its sink.
    pub sink: String,
}

impl Route {
    /// Builds a route with the defaults of everything else.
    #[must_use]
    pub fn new(name: impl Into<String>, selector: Selector, sink: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            formerly: Vec::new(),
            selector,
            on: Operations::default(),
            condition: None,
            on_where_error: OnWhereError::default(),
            on_leave: OnLeave::default(),
            columns_changed: None,
            mapping: None,
            key: None,
            on_delete: OnDelete::default(),
            outbox: None,
            start: Start::default(),
            holds_at_schema_change: false,
            sink: sink.into(),
        }
    }

    /// Whether this is its name, or was.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.formerly.iter().any(|former| former == name)
    }

    /// Returns what its events say of it.
    #[must_use]
    pub fn label(&self) -> RouteLabel {
        let mapping = self.mapping.as_ref().map(|m| (m.name.clone(), m.version));
        RouteLabel { name: self.name.clone(), mapping }
    }
}

/// What a route takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Selector {
    /// Changes of the tables that the pattern fits.
    Table(TablePattern),
    /// Logical messages whose prefix the pattern fits.
    Message(PrefixPattern),
}

/// A set of operations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Operations(u8);

impl Operations {
    /// No operation.
    pub const NONE: Self = Self(0);

    /// Returns the set with one more.
    #[must_use]
    pub const fn with(self, operation: Operation) -> Self {
        Self(self.0 | Self::bit(operation))
    }

    /// Whether the set holds it.
    #[must_use]
    pub const fn contains(self, operation: Operation) -> bool {
        self.0 & Self::bit(operation) != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn bit(operation: Operation) -> u8 {
        1 << operation.number()
    }
}

/// Insert, update, delete and read. A truncate goes only when it is asked for.
impl Default for Operations {
    fn default() -> Self {
        use Operation::{Delete, Insert, Read, Update};
        [Insert, Update, Delete, Read].into_iter().collect()
    }
}

impl FromIterator<Operation> for Operations {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        operations.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Operation::ALL.iter().filter(|op| self.contains(**op))).finish()
    }
}

/// What becomes of a delete.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum OnDelete {
    /// It is sent.
    #[default]
    Send,
    /// It is skipped and counted.
    Ignore,
    /// An update with these fields besides what the delete carries.
    Set(Map<String, Value>),
}

/// What becomes of a row for which `where` can't be computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnWhereError {
    /// It is sent.
    #[default]
    Send,
    /// It is skipped and counted.
    Skip,
    /// It becomes a dead letter.
    Reject,
}

/// What becomes of an update whose row `where` no longer lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLeave {
    /// It is skipped and counted.
    #[default]
    Skip,
    /// It is sent as a delete.
    Delete,
}

/// Where a new route begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the rows that are there.
    #[default]
    Load,
    /// With the next change.
    Now,
    /// As far back as the journal goes.
    Journal,
}

impl Start {
    /// Every word that the config knows.
    pub const ALL: [Self; 3] = [Self::Load, Self::Now, Self::Journal];

    /// Returns the config's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Now => "now",
            Self::Journal => "journal",
        }
    }
}

/// What a sink's bodies look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The whole event.
    #[default]
    Walgate,
    /// The mapping's output alone.
    Mapped,
    /// What Debezium's connector writes, without schemas.
    Debezium,
    /// CloudEvents 1.0, structured JSON.
    CloudEvents,
}

impl Format {
    /// Every word that the config knows.
    pub const ALL: [Self; 4] = [Self::Walgate, Self::Mapped, Self::Debezium, Self::CloudEvents];

    /// Returns the config's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Walgate => "walgate",
            Self::Mapped => "mapped",
            Self::Debezium => "debezium",
            Self::CloudEvents => "cloudevents",
        }
    }
}
