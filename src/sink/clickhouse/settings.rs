//! [`Config`]: what `[sink.NAME.clickhouse]` says.

use crate::secret::Secret;
use crate::sink::web::Reach;

/// `[sink.NAME.clickhouse]`
#[derive(Clone, Debug)]
pub struct Config {
    /// The HTTP interface: `https://host:8443`.
    pub url: Secret,
    /// Where tables are that bring no database of their own.
    pub database: String,
    /// The table of an event; may have `{{ }}` templates.
    pub table: String,
    /// The user.
    pub user: Secret,
    /// Its password.
    pub password: Secret,
    /// What the tables hold.
    pub mode: Mode,
    /// Bodies are compressed.
    pub gzip: bool,
    /// Settings of ClickHouse for each request.
    pub settings: Vec<(String, Secret)>,
    /// Where requests may go, and how.
    pub reach: Reach,
}

/// What the tables hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Versions of rows, of which the newest of a key counts.
    #[default]
    Upsert,
    /// A row an event.
    Append,
}
