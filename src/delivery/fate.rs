//! What the state says became of one event at one sink: to run inside `State::read` or
//! `Reader::read`.

use rusqlite::{Connection, OptionalExtension, params};

use super::batches;
use super::dead_letter::{Try, tries};
use super::record::Record;
use crate::lsn::{EventId, Timestamp};
use crate::state::lsn_to_sql;

/// The state of an event that got through after all.
const DELIVERED: &str = "delivered";

/// Tries of one event that are told: the newest.
const TRIES_MAX: u32 = 100;

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stands among the dead letters.
    SetAside(SetAside),
    /// It was delivered.
    Delivered(Record),
    /// Nothing is known of it: it is on its way, or was done before anything was noted.
    Untold,
}

/// An event among the dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetAside {
    /// The route that took it.
    pub route: String,
    /// `retrying`, `blocked`, `dead`, `replaying`, `discarded` or `delivered`.
    pub state: String,
    /// Name and version of the mapping that made it.
    pub mapping: Option<(String, u32)>,
    /// The category of its failure; none: it only waits behind another.
    pub category: Option<String>,
    /// The last failure.
    pub message: Option<String>,
    /// Why it was discarded.
    pub reason: Option<String>,
    /// How often it was tried, as far as it counts.
    pub attempts: u32,
    /// When it failed last.
    pub last_failed: Option<Timestamp>,
    /// The newest tries, in order.
    pub tries: Vec<Try>,
}

/// Returns what became of an event at a sink; `key_hash` is its envelope's.
///
/// # Errors
/// Any of SQLite's.
pub fn fate(
    connection: &Connection,
    sink: &str,
    id: EventId,
    key_hash: u64,
) -> rusqlite::Result<Fate> {
    // First: what waits outside its lane lies among the delivered of that lane, too.
    let set_aside = set_aside(connection, sink, id)?;
    if let Some(waiting) = set_aside.as_ref().filter(|set_aside| set_aside.state != DELIVERED) {
        return Ok(Fate::SetAside(waiting.clone()));
    }
    let found = batches::find(connection, sink, key_hash, id.position)?;
    Ok(match (set_aside, found) {
        // It got through in the end: how, and what had failed before.
        (Some(set_aside), record) => {
            let answered = |record: &Record| {
                let at_us = record.started_us.saturating_add_unsigned(record.took_us);
                Timestamp::from_unix_micros(at_us)
            };
            // Those of a replay are counted by themselves there.
            let attempts = record.as_ref().map_or(0, |record| record.attempts);
            Fate::SetAside(SetAside {
                attempts: attempts.max(set_aside.attempts),
                last_failed: record.as_ref().map(answered).or(set_aside.last_failed),
                category: None,
                message: None,
                ..set_aside
            })
        }
        (None, Some(record)) => Fate::Delivered(record),
        (None, None) => Fate::Untold,
    })
}

fn set_aside(
    connection: &Connection,
    sink: &str,
    id: EventId,
) -> rusqlite::Result<Option<SetAside>> {
    let sql = "SELECT id, route, state, mapping_name, mapping_version, category, message, reason,
                   attempts, last_failed
               FROM dead_letters
               WHERE sink = ?1 AND commit_lsn = ?2 AND seq = ?3 AND event_id = ?4
               ORDER BY id DESC LIMIT 1";
    let position = id.position;
    let values = params![sink, lsn_to_sql(position.commit_lsn), position.seq, id.to_string()];
    let found = connection.prepare(sql)?.query_row(values, |row| {
        let (name, version): (Option<String>, Option<u32>) = (row.get(3)?, row.get(4)?);
        let set_aside = SetAside {
            route: row.get(1)?,
            state: row.get(2)?,
            mapping: name.zip(version),
            category: row.get(5)?,
            message: row.get(6)?,
            reason: row.get(7)?,
            attempts: row.get(8)?,
            last_failed: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_unix_micros),
            tries: Vec::new(),
        };
        Ok((row.get::<_, i64>(0)?, set_aside))
    });
    let Some((row, mut set_aside)) = found.optional()? else { return Ok(None) };
    set_aside.tries = tries(connection, row, TRIES_MAX)?;
    Ok(Some(set_aside))
}
