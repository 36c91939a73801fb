//! What a user asks of a row: [`Mapping`], its [`Field`]s and their policies.

use serde_json::Value;

use super::check::Check;
use super::expression::Expression;
use super::lookup::Lookup;
use super::mask::Mask;
use crate::secret::Secret;

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
            field.mask.is_none()
                && field.lookup.is_none()
                && matches!(&field.from, From::Column(column) if column == name)
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

    /// Returns the field under whose name a column of the rest would stand, were it there.
    #[must_use]
    pub fn hides(&self, column: &str) -> Option<&str> {
        let has_its_name = |field: &&Field| field.path().next() == Some(column);
        self.fields.iter().find(has_its_name).map(|field| field.target.as_str())
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
