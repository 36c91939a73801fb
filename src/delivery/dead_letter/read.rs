//! What commands show of events that were set aside.

use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::Filter;
use crate::lsn::{Position, Timestamp};
use crate::state::lsn_from_sql;

/// An event that was set aside, as `dlq list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its number.
    pub id: i64,
    /// The event's id.
    pub event_id: String,
    /// Its sink.
    pub sink: String,
    /// The route that took it.
    pub route: String,
    /// As SQL would quote it; none for a logical message.
    pub table: Option<String>,
    /// JSON of its key.
    pub key: Option<String>,
    /// `insert`, `update`, …
    pub op: String,
    /// `retrying`, `blocked`, `dead`, `replaying`, `discarded` or `delivered`.
    pub state: String,
    /// Why; none while it only waits behind another.
    pub category: Option<String>,
    /// The last failure, in one sentence.
    pub message: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it failed first.
    pub first_failed: Option<Timestamp>,
    /// When it failed last.
    pub last_failed: Option<Timestamp>,
    /// Name and version of the mapping that made what was sent.
    pub mapping: Option<(String, u32)>,
    /// Why it was discarded, or not sent again.
    pub reason: Option<String>,
    /// Its place in the stream.
    pub position: Position,
}

/// One attempt to deliver an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Try {
    /// When it ended.
    pub time: Timestamp,
    /// What it meant; none: it was accepted.
    pub category: Option<String>,
    /// The status or the protocol's own code.
    pub status: Option<u16>,
    /// The first of what was answered.
    pub answer: Option<String>,
}

/// An event that was set aside, with all that is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What `dlq list` shows.
    pub listed: Listed,
    /// A journal record of this one change; none where only the journal has it, or nobody any
    /// more.
    pub original: Option<Vec<u8>>,
    /// What was sent last.
    pub payload: Option<Vec<u8>>,
    /// Oldest first.
    pub tries: Vec<Try>,
}

const COLUMNS: &str = "id, event_id, sink, route, \"table\", \"key\", op, state, category, message,
    attempts, first_failed, last_failed, mapping_name, mapping_version, reason, commit_lsn, seq";

fn listed(row: &Row<'_>) -> rusqlite::Result<Listed> {
    let time = |micros: Option<i64>| micros.map(Timestamp::from_unix_micros);
    let (name, version): (Option<String>, Option<u32>) = (row.get(13)?, row.get(14)?);
    Ok(Listed {
        id: row.get(0)?,
        event_id: row.get(1)?,
        sink: row.get(2)?,
        route: row.get(3)?,
        table: row.get(4)?,
        key: row.get(5)?,
        op: row.get(6)?,
        state: row.get(7)?,
        category: row.get(8)?,
        message: row.get(9)?,
        attempts: row.get(10)?,
        first_failed: time(row.get(11)?),
        last_failed: time(row.get(12)?),
        mapping: name.zip(version),
        reason: row.get(15)?,
        position: Position::new(lsn_from_sql(row.get(16)?), row.get(17)?),
    })
}

/// Returns what fits, by number, `limit` of it above `after`. What was delivered after all is
/// there only for who asks for that state.
///
/// # Errors
/// Any of SQLite's.
pub fn list(
    connection: &Connection,
    filter: &Filter,
    after: i64,
    limit: u32,
) -> rusqlite::Result<Vec<Listed>> {
    let (mut selection, values) = filter.sql();
    if filter.state.is_none() {
        selection.push_str(" AND state <> 'delivered'");
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM dead_letters WHERE {selection} AND id > {after}
         ORDER BY id LIMIT {limit}"
    );
    connection.prepare(&sql)?.query_map(params_from_iter(&values), listed)?.collect()
}

/// As [`list`], newest first: `limit` of it below `before`.
///
/// # Errors
/// Any of SQLite's.
pub fn newest(
    connection: &Connection,
    filter: &Filter,
    before: i64,
    limit: u32,
) -> rusqlite::Result<Vec<Listed>> {
    let (mut selection, values) = filter.sql();
    if filter.state.is_none() {
        selection.push_str(" AND state <> 'delivered'");
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM dead_letters WHERE {selection} AND id < {before}
         ORDER BY id DESC LIMIT {limit}"
    );
    connection.prepare(&sql)?.query_map(params_from_iter(&values), listed)?.collect()
}

/// What events were set aside for, all of the same kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The sink.
    pub sink: String,
    /// Their state.
    pub state: String,
    /// Of the last failure.
    pub category: Option<String>,
    /// Of the last failure.
    pub message: Option<String>,
    /// How many there are.
    pub count: u64,
    /// The newest of them.
    pub newest: i64,
    /// When the last of them failed.
    pub last_failed: Option<Timestamp>,
}

/// Groups what is set aside by its cause, the most frequent first, `limit` causes at most; those
/// that are done with are left out.
///
/// # Errors
/// Any of SQLite's.
pub fn causes(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<Cause>> {
    let sql = "SELECT sink, state, category, message, count(*), max(id), max(last_failed)
               FROM dead_letters WHERE state NOT IN ('delivered', 'discarded')
               GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 6 DESC LIMIT ?1";
    let mut statement = connection.prepare(sql)?;
    let causes = statement.query_map([limit], |row| {
        let failed: Option<i64> = row.get(6)?;
        Ok(Cause {
            sink: row.get(0)?,
            state: row.get(1)?,
            category: row.get(2)?,
            message: row.get(3)?,
            count: row.get::<_, i64>(4)?.unsigned_abs(),
            newest: row.get(5)?,
            last_failed: failed.map(Timestamp::from_unix_micros),
        })
    })?;
    causes.collect()
}

/// Returns the mappings of the dead letters that a filter takes, each with the version that it had,
/// once.
///
/// # Errors
/// Any of SQLite's.
pub fn mappings(connection: &Connection, filter: &Filter) -> rusqlite::Result<Vec<(String, u32)>> {
    let (selection, values) = filter.sql();
    let sql = format!(
        "SELECT DISTINCT mapping_name, mapping_version FROM dead_letters
         WHERE {selection} AND state = 'dead' AND mapping_name IS NOT NULL
             AND mapping_version IS NOT NULL ORDER BY 1, 2"
    );
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    connection.prepare(&sql)?.query_map(params_from_iter(&values), row)?.collect()
}

/// Returns what became of the events that a request had sent again, by number, `limit` of them
/// above `after`.
///
/// # Errors
/// Any of SQLite's.
pub fn outcomes(
    connection: &Connection,
    request: i64,
    after: i64,
    limit: u32,
) -> rusqlite::Result<Vec<Listed>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM dead_letters WHERE request = ?1 AND id > ?2 ORDER BY id LIMIT {limit}"
    );
    connection.prepare(&sql)?.query_map([request, after], listed)?.collect()
}

/// Returns one event with all that is kept of it; none without such a number.
///
/// # Errors
/// Any of SQLite's.
pub fn show(connection: &Connection, id: i64) -> rusqlite::Result<Option<Shown>> {
    let sql = format!("SELECT {COLUMNS}, original, payload FROM dead_letters WHERE id = ?1");
    let mut statement = connection.prepare(&sql)?;
    let found = statement.query_row([id], |row| Ok((listed(row)?, row.get(18)?, row.get(19)?)));
    let Some((listed, original, payload)) = found.optional()? else { return Ok(None) };
    let tries = tries(connection, id, u32::MAX)?;
    Ok(Some(Shown { listed, original, payload, tries }))
}

/// Returns how an event was tried, oldest first: the newest `limit` tries.
pub(in crate::delivery) fn tries(
    connection: &Connection,
    row: i64,
    limit: u32,
) -> rusqlite::Result<Vec<Try>> {
    let sql = "SELECT time, category, status, answer FROM tries WHERE dead_letter = ?1
               ORDER BY time DESC, rowid DESC LIMIT ?2";
    let mut statement = connection.prepare(sql)?;
    let tries = statement.query_map((row, limit), |row| {
        Ok(Try {
            time: Timestamp::from_unix_micros(row.get(0)?),
            category: row.get(1)?,
            status: row.get(2)?,
            answer: row.get(3)?,
        })
    })?;
    let mut tries = tries.collect::<rusqlite::Result<Vec<_>>>()?;
    tries.reverse();
    Ok(tries)
}
