//! [`Config`]: what `[sink.NAME.postgres]` says, and what of it can't be used.

use crate::libpq::conninfo;
use crate::secret::Secret;
use crate::sink::{NotAName, TemplateError};

/// `[sink.NAME.postgres]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The connection string, of either form.
    pub url: Secret,
    /// The table of an event; may have `{{ }}` templates.
    pub table: String,
    /// What the tables hold.
    pub mode: Mode,
    /// Tables are made, columns added, types widened.
    pub evolve: bool,
    /// The schema where walgate keeps which events were applied.
    pub state_schema: String,
}

/// What the tables hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The rows as they are at the source, by their key.
    #[default]
    Upsert,
    /// A row an event.
    Append,
}

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a connection string.
    #[error("`url`")]
    Url(#[source] conninfo::Error),
    /// A template that can't be read.
    #[error("`table`")]
    Template(#[source] TemplateError),
    /// No name of a table comes of it.
    #[error("`table`")]
    Table(#[source] NotAName),
    /// Not a schema.
    #[error("`state_schema` is empty")]
    Schema,
}

impl Error {
    /// Returns the setting that is wrong, below `[sink.NAME.postgres]`.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Url(_) => "url",
            Self::Template(_) | Self::Table(_) => "table",
            Self::Schema => "state_schema",
        }
    }
}
