//! What a running instance says of itself, as it is stored: one row of the state.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::Status;
use crate::lsn::Timestamp;

/// A status that a run has stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// When it was true.
    pub time: Timestamp,
    /// What it says; without dead letters.
    pub status: Status,
}

impl Stored {
    /// Returns up to when all was known to be done at a sink, as it says.
    #[must_use]
    pub fn fresh(&self, sink: &str) -> Option<Timestamp> {
        let sink = self.status.sinks.iter().find(|told| told.name == sink)?;
        let age = Duration::try_from_secs_f64(sink.freshness_seconds?).ok()?;
        let age = i64::try_from(age.as_micros()).ok()?;
        Some(Timestamp(self.time.0.saturating_sub(age)))
    }
}

/// Reads what the last run said of itself; none when it said nothing that can be read.
///
/// # Errors
/// Any of SQLite's.
pub fn stored(connection: &Connection) -> rusqlite::Result<Option<Stored>> {
    let mut statement = connection.prepare("SELECT time, body FROM report")?;
    let row = statement.query_row([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)));
    Ok(row.optional()?.and_then(|(micros, body)| {
        let time = Timestamp::from_unix_micros(micros);
        Some(Stored { time, status: serde_json::from_str(&body).ok()? })
    }))
}

/// Stores the status in place of the last.
///
/// # Errors
/// Any of SQLite's.
pub fn store(connection: &Connection, now: Timestamp, status: &Status) -> rusqlite::Result<()> {
    let body = serde_json::to_string(status)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let sql = "INSERT OR REPLACE INTO report (one, time, body) VALUES (1, ?1, ?2)";
    connection.prepare(sql)?.execute((now.unix_micros(), body)).map(drop)
}

/// Forgets what an earlier run said.
///
/// # Errors
/// Any of SQLite's.
pub fn clear(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM report", []).map(drop)
}
