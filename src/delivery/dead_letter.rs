//! What was set aside, as rows of the state database.

use std::collections::BTreeMap;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::parked::LetterState;
use super::settings::OnDead;
use crate::envelope::Envelope;
use crate::failure::Category;
use crate::lsn::{EventId, Position, Timestamp};
use crate::sink::Failure;
use crate::state::{lsn_from_sql, lsn_to_sql};

/// An event as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) envelope: Envelope,
    /// The journal record of this one change; none where the journal keeps it.
    pub(super) original: Option<Vec<u8>>,
    pub(super) state: LetterState,
    pub(super) verdict: Option<Verdict>,
}

/// Why an event stands where it stands.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) category: Category,
    pub(super) failure: Failure,
    pub(super) attempts: u32,
    /// When, in microseconds since 1970.
    pub(super) at_us: i64,
}

/// An event that an earlier run set aside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub(super) row: i64,
    pub(super) id: EventId,
    pub(super) keys: [Option<u64>; 2],
    pub(super) state: LetterState,
    pub(super) attempts: u32,
    pub(super) is_truncate: bool,
}

/// Stores an event, or stores anew what became of it, and returns its row.
pub(super) fn put(connection: &Connection, sink: &str, letter: &Letter) -> rusqlite::Result<i64> {
    let Letter { envelope, original, state, verdict } = letter;
    let (name, version) = envelope.route.mapping.clone().unzip();
    let payload = verdict.as_ref().map(|_| envelope.body.as_ref());
    let failure = verdict.as_ref().map(|verdict| &verdict.failure);
    let at_us = verdict.as_ref().map(|verdict| verdict.at_us);
    let mut statement = connection.prepare(PUT)?;
    let row = statement.query_row(
        params![
            envelope.id.to_string(),
            sink,
            envelope.route.name,
            envelope.table(),
            text(&envelope.key),
            envelope.key_hash.cast_signed(),
            envelope.before_key_hash.map(u64::cast_signed),
            envelope.operation.as_str(),
            lsn_to_sql(envelope.id.position.commit_lsn),
            envelope.id.position.seq,
            original,
            payload,
            name,
            version,
            verdict.as_ref().map(|verdict| verdict.category.as_str()),
            failure.map(|failure| failure.message.as_str()),
            failure.and_then(|failure| failure.status),
            failure.and_then(|failure| failure.answer.as_deref()),
            verdict.as_ref().map_or(0, |verdict| verdict.attempts),
            at_us,
            state.as_str(),
        ],
        |row| row.get(0),
    )?;
    if let Some(verdict) = verdict {
        add_try(connection, row, verdict)?;
    }
    Ok(row)
}

const PUT: &str = r#"
INSERT INTO dead_letters (
    event_id, sink, route, "table", "key", key_hash, before_key_hash, op, commit_lsn, seq,
    original, payload, mapping_name, mapping_version, category, message, status, answer,
    attempts, first_failed, last_failed, state)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
    ?20, ?20, ?21)
ON CONFLICT (sink, route, commit_lsn, seq, event_id) DO UPDATE SET
    original = coalesce(excluded.original, original), payload = excluded.payload,
    mapping_name = excluded.mapping_name, mapping_version = excluded.mapping_version,
    category = excluded.category, message = excluded.message, status = excluded.status,
    answer = excluded.answer, attempts = excluded.attempts,
    first_failed = coalesce(first_failed, excluded.first_failed),
    last_failed = excluded.last_failed, state = excluded.state
RETURNING id"#;

fn add_try(connection: &Connection, row: i64, verdict: &Verdict) -> rusqlite::Result<()> {
    let Verdict { category, failure, at_us, .. } = verdict;
    let mut statement = connection.prepare(
        "INSERT INTO tries (dead_letter, time, category, status, answer) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    statement.execute(params![row, at_us, category.as_str(), failure.status, failure.answer])?;
    Ok(())
}

/// Stores that a stored event was tried again.
pub(super) fn tried(
    connection: &Connection,
    row: i64,
    state: LetterState,
    original: Option<&[u8]>,
    verdict: &Verdict,
) -> rusqlite::Result<()> {
    let Verdict { category, failure, attempts, at_us } = verdict;
    let mut statement = connection.prepare(
        "UPDATE dead_letters SET state = ?2, category = ?3, message = ?4, status = ?5, answer = ?6,
             attempts = ?7, first_failed = coalesce(first_failed, ?8), last_failed = ?8,
             original = coalesce(original, ?9)
         WHERE id = ?1",
    )?;
    statement.execute(params![
        row,
        state.as_str(),
        category.as_str(),
        failure.message,
        failure.status,
        failure.answer,
        attempts,
        at_us,
        original,
    ])?;
    add_try(connection, row, verdict)
}

/// Removes an event that was delivered after all.
pub(super) fn delete(connection: &Connection, row: i64) -> rusqlite::Result<()> {
    connection.prepare("DELETE FROM dead_letters WHERE id = ?1")?.execute([row])?;
    Ok(())
}

/// Removes an event by its id.
pub(super) fn delete_event(
    connection: &Connection,
    sink: &str,
    id: EventId,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "DELETE FROM dead_letters
         WHERE sink = ?1 AND state = 'dead' AND commit_lsn = ?2 AND seq = ?3 AND event_id = ?4",
    )?;
    let Position { commit_lsn, seq } = id.position;
    statement.execute(params![sink, lsn_to_sql(commit_lsn), seq, id.to_string()])?;
    Ok(())
}

/// Returns the journal record of a stored event: none without such a row, an inner none where
/// the journal keeps it.
pub(super) fn original(
    connection: &Connection,
    row: i64,
) -> rusqlite::Result<Option<Option<Vec<u8>>>> {
    let mut statement = connection.prepare(
        "SELECT original FROM dead_letters WHERE id = ?1 AND state IN ('retrying', 'blocked')",
    )?;
    statement.query_row([row], |row| row.get(0)).optional()
}

/// Returns how many dead letters a sink has.
pub(super) fn count_dead(connection: &Connection, sink: &str) -> rusqlite::Result<u64> {
    let mut statement = connection
        .prepare("SELECT count(*) FROM dead_letters WHERE sink = ?1 AND state = 'dead'")?;
    statement.query_row([sink], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// Returns what an earlier run set aside and goes on with, in stream order, and the dead letters
/// above `floor`: the stream brings those again, and they are not to be sent.
pub(super) fn load(
    connection: &Connection,
    sink: &str,
    on_dead: OnDead,
    floor: Position,
) -> rusqlite::Result<Vec<Stored>> {
    let mut statement = connection.prepare(
        "SELECT id, event_id, commit_lsn, seq, key_hash, before_key_hash, state, attempts,
             op = 'truncate'
         FROM dead_letters
         WHERE sink = ?1 AND (state IN ('retrying', 'blocked')
             OR (state = 'dead' AND (?2 OR (commit_lsn, seq) >= (?3, ?4))))
         ORDER BY commit_lsn, seq",
    )?;
    let rows = statement.query_map(
        params![sink, on_dead == OnDead::Block, lsn_to_sql(floor.commit_lsn), floor.seq],
        |row| {
            let event_id: String = row.get(1)?;
            let timeline =
                event_id.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let position = Position::new(lsn_from_sql(row.get(2)?), row.get(3)?);
            let hash = |value: Option<i64>| value.map(i64::cast_unsigned);
            let state: String = row.get(6)?;
            Ok(Stored {
                row: row.get(0)?,
                id: EventId { timeline: timeline.unwrap_or_default(), position },
                keys: [hash(row.get(4)?), hash(row.get(5)?)],
                state: match state.as_str() {
                    "retrying" => LetterState::Retrying,
                    "blocked" => LetterState::Blocked,
                    _ => LetterState::Dead,
                },
                attempts: row.get(7)?,
                is_truncate: row.get(8)?,
            })
        },
    )?;
    rows.collect()
}

/// Of which dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of<'a> {
    /// All of a sink.
    Sink(&'a str),
    /// All of a route.
    Route(&'a str),
}

impl<'a> Of<'a> {
    const fn column(self) -> (&'static str, &'a str) {
        match self {
            Self::Sink(name) => ("sink", name),
            Self::Route(name) => ("route", name),
        }
    }
}

/// Discards what waits, with a reason; its bytes are dropped. Returns how many there were.
///
/// # Errors
/// Any of SQLite's.
pub fn discard(connection: &Connection, of: Of<'_>, reason: &str) -> rusqlite::Result<usize> {
    let (column, name) = of.column();
    let sql = format!(
        "UPDATE dead_letters SET state = 'discarded', reason = ?2, original = NULL, payload = NULL
         WHERE {column} = ?1 AND state NOT IN ('discarded', 'delivered')"
    );
    connection.execute(&sql, (name, reason))
}

/// Discards a sink's dead letters that failed last before a moment; their bytes are dropped.
/// Returns how many there were.
///
/// # Errors
/// Any of SQLite's.
pub fn expire(connection: &Connection, sink: &str, before: Timestamp) -> rusqlite::Result<usize> {
    let sql = "UPDATE dead_letters SET state = 'discarded', reason = 'older than dead_retain',
                   original = NULL, payload = NULL
               WHERE sink = ?1 AND state = 'dead' AND last_failed < ?2";
    connection.prepare(sql)?.execute((sink, before.unix_micros()))
}

/// Gives their sink or route another name.
///
/// # Errors
/// Any of SQLite's.
pub fn rename(connection: &Connection, of: Of<'_>, new: &str) -> rusqlite::Result<()> {
    let (column, name) = of.column();
    let sql = format!("UPDATE OR REPLACE dead_letters SET {column} = ?2 WHERE {column} = ?1");
    connection.execute(&sql, (name, new)).map(drop)
}

/// JSON is text; what is not is kept readable.
fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns how many events each sink has set aside, by the category of their failure.
///
/// They are dead, being replayed or still retrying. One that only waits behind another of its key
/// has failed with nothing and is not counted, nor is what was discarded or delivered.
///
/// # Errors
/// Any of SQLite's.
pub fn counts(
    connection: &Connection,
) -> rusqlite::Result<BTreeMap<String, BTreeMap<String, u64>>> {
    let mut statement = connection.prepare(COUNTS)?;
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let of_sink = counts.entry(row.get(0)?).or_default();
        of_sink.insert(row.get(1)?, row.get::<_, i64>(2)?.cast_unsigned());
    }
    Ok(counts)
}

const COUNTS: &str = "SELECT sink, category, count(*) FROM dead_letters
    WHERE state IN ('dead', 'replaying', 'retrying') AND category IS NOT NULL
    GROUP BY sink, category";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    /// Rows hold whole originals: a count that reads them costs as much as they hold.
    #[tokio::test]
    async fn counting_reads_no_row() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let plan = state.read(|connection| {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {COUNTS}"))?;
            let rows = statement.query_map([], |row| row.get::<_, String>(3))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        let plan = plan.await.unwrap();
        assert!(plan[0].contains("USING COVERING INDEX dead_letters_count"), "{plan:?}");
    }
}
