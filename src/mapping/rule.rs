//! What a user asks for: [`Route`], [`Mapping`], [`Field`] and their policies.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::check::Check;
use super::expression::Expression;
use super::lookup::Lookup;
use super::mask::Mask;
use super::name::{PrefixPattern, TablePattern};
use super::outbox::Outbox;
use crate::chunk::Operation;
use crate::envelope::RouteLabel;
use crate::secret::Secret;

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

/// A list of fields, with a version that rises when they change.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// Its name in the config.
    pub name: String,
    /// Raised by the user whenever the fields change.
    pub version: u32,
    /// The fields in the order in which they are written.
    pub fields: Vec<Field>,
    /// What becomes of columns that no field names.
    pub rest: Rest,
    /// The key of [`Mask::Hash`].
    pub mask_key: Option<Secret>,
}

impl Mapping {
    /// Builds a mapping of these fields and nothing else.
    #[must_use]
    pub fn new(name: impl Into<String>, version: u32, fields: Vec<Field>) -> Self {
        Self { name: name.into(), version, fields, rest: Rest::default(), mask_key: None }
    }

    /// Returns the columns that masked fields read and no other field shows as they are: what
    /// stays hidden wherever a row is shown.
    pub fn masked_columns(&self) -> impl Iterator<Item = &str> {
        let masked = self.fields.iter().filter(|field| field.mask.is_some());
        let shows = |field: &Field, name: &str| {
            field.mask.is_none() && matches!(&field.from, From::Column(column) if column == name)
        };
        masked
            .flat_map(Field::columns)
            .filter(move |name| !self.fields.iter().any(|field| shows(field, name)))
    }

    /// Whether a field takes the column, or hides what it is made of: it is no part of the rest.
    #[must_use]
    pub fn names(&self, column: &str) -> bool {
        self.fields.iter().any(|field| match &field.from {
            From::Column(name) => name == column,
            From::Expr(_) => field.mask.is_some() && field.columns().any(|name| name == column),
            From::Value(_) => false,
        })
    }
}

/// What becomes of columns that no field names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// They are left out.
    #[default]
    Omit,
    /// They follow the fields under their own names.
    Include,
}

impl Rest {
    /// Every word that the config knows.
    pub const ALL: [Self; 2] = [Self::Omit, Self::Include];

    /// Returns the config's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Omit => "omit",
            Self::Include => "include",
        }
    }
}

/// One field of the output.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name; a dot nests.
    pub target: String,
    /// Where its value comes from.
    pub from: From,
    /// What the value becomes.
    pub convert: Option<As>,
    /// A NULL rejects the event unless `on_null` says otherwise.
    pub required: bool,
    /// The value is NULL; none: null, or reject where `required`.
    pub on_null: Option<Policy>,
    /// The table has no such column (any more); none: reject.
    pub on_missing: Option<Policy>,
    /// The value can't become `convert` without loss, or fails a check; none: reject.
    pub on_invalid: Option<Policy>,
    /// Another value in its place; `convert`, checks and mask are for that then.
    pub lookup: Option<Lookup>,
    /// The value is not in `lookup`; none: reject.
    pub on_miss: Option<Policy>,
    /// What the value must be, once it is what `convert` says.
    pub checks: Vec<Check>,
    /// What is shown of it; none: the value.
    pub mask: Option<Mask>,
    /// Postgres did not send the value.
    pub on_unchanged: OnUnchanged,
}

impl Field {
    /// Builds a field of a column (unquoted) with the defaults of everything else.
    #[must_use]
    pub fn column(target: impl Into<String>, column: impl Into<String>) -> Self {
        Self::new(target, From::Column(column.into()))
    }

    /// Builds a field with the defaults of everything else.
    #[must_use]
    pub fn new(target: impl Into<String>, from: From) -> Self {
        Self {
            target: target.into(),
            from,
            convert: None,
            required: false,
            on_null: None,
            on_missing: None,
            on_invalid: None,
            lookup: None,
            on_miss: None,
            checks: Vec::new(),
            mask: None,
            on_unchanged: OnUnchanged::Omit,
        }
    }

    /// Returns the names from the outer object to the field itself.
    pub fn path(&self) -> impl Iterator<Item = &str> {
        self.target.split('.')
    }

    /// Returns the columns that its value is made of.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let columns = match &self.from {
            From::Column(column) => vec![column.as_str()],
            From::Expr(expression) => expression.columns(),
            From::Value(_) => Vec::new(),
        };
        columns.into_iter()
    }

    /// Returns the columns that the table must have.
    #[must_use]
    pub fn needed_columns(&self) -> Vec<&str> {
        match &self.from {
            From::Column(column) => vec![column.as_str()],
            From::Expr(expression) => expression.needed_columns(),
            From::Value(_) => Vec::new(),
        }
    }

    pub(super) fn null_policy(&self) -> Policy {
        let default = if self.required { Policy::Reject } else { Policy::Null };
        self.on_null.clone().unwrap_or(default)
    }

    pub(super) fn missing_policy(&self) -> Policy {
        self.on_missing.clone().unwrap_or(Policy::Reject)
    }

    pub(super) fn invalid_policy(&self) -> Policy {
        self.on_invalid.clone().unwrap_or(Policy::Reject)
    }

    pub(super) fn miss_policy(&self) -> Policy {
        self.on_miss.clone().unwrap_or(Policy::Reject)
    }
}

/// Where a field's value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum From {
    /// A column, by its unquoted name.
    Column(String),
    /// Computed from the row.
    Expr(Expression),
    /// Always the same.
    Value(Value),
}

/// What a value becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// Its JSON as a string.
    String,
    /// A number without a fraction.
    Integer,
    /// A number.
    Number,
    /// true or false.
    Boolean,
    /// A calendar day; of a timestamp its day in UTC.
    Date,
    /// A day and a time.
    Timestamp,
    /// The JSON that a text holds.
    Json,
}

impl As {
    /// Every word that the config knows.
    pub const ALL: [Self; 7] = [
        Self::String,
        Self::Integer,
        Self::Number,
        Self::Boolean,
        Self::Date,
        Self::Timestamp,
        Self::Json,
    ];

    /// Returns the config's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Json => "json",
        }
    }
}

/// What happens to a field whose value can't be had.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// The field is null.
    Null,
    /// The field is left out.
    Omit,
    /// The event becomes a dead letter that names the field.
    Reject,
    /// The event is dropped and counted.
    Skip,
    /// The field has this value.
    Default(Value),
}

/// What happens to a field whose value Postgres did not send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnchanged {
    /// It is left out and named in `unchanged`.
    #[default]
    Omit,
    /// The event becomes a dead letter that names the field.
    Reject,
}

impl OnUnchanged {
    /// Every word that the config knows.
    pub const ALL: [Self; 2] = [Self::Omit, Self::Reject];

    /// Returns the config's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Omit => "omit",
            Self::Reject => "reject",
        }
    }
}
