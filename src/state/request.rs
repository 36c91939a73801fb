//! What a command asks of the instance that runs on the state, and what came of it.
//!
//! Functions here run inside [`State::write`](super::State::write) or `read`; [`ask`] and
//! [`answer`] are for the command, which opens the database beside the instance.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{Error, connect, folder, schema};
use crate::lsn::Timestamp;

/// Requests that were answered longer ago than this, in microseconds, are forgotten.
const KEEP_US: i64 = 90 * 86_400 * 1_000_000;
/// So many of the newest are kept at most.
const KEEP_MAX: i64 = 10_000;

/// A request that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its number.
    pub id: i64,
    /// What is asked, as whoever asked wrote it.
    pub arguments: String,
    /// An earlier run had begun with it.
    pub was_taken: bool,
    /// How far that run came, as it wrote it.
    pub progress: Option<String>,
}

/// A request as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its number.
    pub id: i64,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// By whom: `command line`, or `console` with the address.
    pub origin: String,
    /// What was asked, as whoever asked wrote it.
    pub arguments: String,
    /// `asked`, `taken`, `done` or `failed`.
    pub state: String,
    /// What came of it, as it was written.
    pub answer: Option<String>,
    /// When it was done or failed.
    pub answered_at: Option<Timestamp>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nobody has looked at it yet.
    Waiting,
    /// It is being done; how far, where that was said.
    Taken(Option<String>),
    /// It is done, and this came of it.
    Done(String),
    /// It could not be done, and this is why.
    Failed(String),
}

/// Stores a request and returns its number.
///
/// # Errors
/// Any of SQLite's.
pub fn add(
    connection: &Connection,
    arguments: &str,
    origin: &str,
    now: Timestamp,
) -> rusqlite::Result<i64> {
    let now = now.unix_micros();
    let sql = "DELETE FROM requests WHERE answered_at < ?1
               OR answered_at IS NOT NULL AND id <= (SELECT max(id) FROM requests) - ?2";
    connection.execute(sql, [now - KEEP_US, KEEP_MAX])?;
    let sql = "INSERT INTO requests (asked_at, arguments, origin) VALUES (?1, ?2, ?3)";
    connection.prepare(sql)?.insert((now, arguments, origin))
}

/// Returns the newest requests, newest first: what was asked of the instance, and by whom.
///
/// # Errors
/// Any of SQLite's.
pub fn newest(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<Recorded>> {
    let sql = "SELECT id, asked_at, origin, arguments, state, answer, answered_at FROM requests
               ORDER BY id DESC LIMIT ?1";
    let mut statement = connection.prepare(sql)?;
    let recorded = statement.query_map([limit], |row| {
        let answered: Option<i64> = row.get(6)?;
        Ok(Recorded {
            id: row.get(0)?,
            asked_at: Timestamp::from_unix_micros(row.get(1)?),
            origin: row.get(2)?,
            arguments: row.get(3)?,
            state: row.get(4)?,
            answer: row.get(5)?,
            answered_at: answered.map(Timestamp::from_unix_micros),
        })
    })?;
    recorded.collect()
}

/// Returns what waits, oldest first; what an earlier run had begun with as well where `taken`.
///
/// # Errors
/// Any of SQLite's.
pub fn waiting(connection: &Connection, taken: bool) -> rusqlite::Result<Vec<Asked>> {
    let sql = "SELECT id, arguments, state = 'taken', answer FROM requests
               WHERE state = 'asked' OR (?1 AND state = 'taken') ORDER BY id";
    let mut statement = connection.prepare(sql)?;
    let asked = statement.query_map([taken], |row| {
        Ok(Asked {
            id: row.get(0)?,
            arguments: row.get(1)?,
            was_taken: row.get(2)?,
            progress: row.get(3)?,
        })
    })?;
    asked.collect()
}

/// Says that a request is being done, and how far that is.
///
/// # Errors
/// Any of SQLite's.
pub fn take(connection: &Connection, id: i64, progress: Option<&str>) -> rusqlite::Result<()> {
    let sql = "UPDATE requests SET state = 'taken', answer = ?2 WHERE id = ?1";
    connection.prepare(sql)?.execute((id, progress)).map(drop)
}

/// Says what came of a request.
///
/// # Errors
/// Any of SQLite's.
pub fn settle(
    connection: &Connection,
    id: i64,
    outcome: &Result<String, String>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let sql = "UPDATE requests SET state = ?2, answer = ?3, answered_at = ?4 WHERE id = ?1";
    let (state, text) = match outcome {
        Ok(text) => ("done", text),
        Err(text) => ("failed", text),
    };
    connection.prepare(sql)?.execute((id, state, text, now.unix_micros())).map(drop)
}

/// Returns what became of a request; none without one of that number.
///
/// # Errors
/// Any of SQLite's.
pub fn answer(connection: &Connection, id: i64) -> rusqlite::Result<Option<Answer>> {
    let sql = "SELECT state, answer FROM requests WHERE id = ?1";
    let found = connection.prepare(sql)?.query_row([id], |row| {
        let (state, text): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        Ok(match state.as_str() {
            "asked" => Answer::Waiting,
            "taken" => Answer::Taken(text),
            "done" => Answer::Done(text.unwrap_or_default()),
            _ => Answer::Failed(text.unwrap_or_default()),
        })
    });
    found.optional()
}

/// Asks the instance that runs on the state in this folder, and returns the request's number.
///
/// # Errors
/// [`Error::Missing`] where there is no state; others when the database can't be written.
pub fn ask(state: &Path, arguments: &str, origin: &str, now: Timestamp) -> Result<i64, Error> {
    let path = folder::database(state);
    if !path.exists() {
        return Err(Error::Missing { path });
    }
    let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    schema::check(&connection, &path)?;
    connection
        .execute_batch("PRAGMA synchronous = FULL")
        .and_then(|()| add(&connection, arguments, origin, now))
        .map_err(Error::sqlite("write"))
}
