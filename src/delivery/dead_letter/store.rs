//! What the runner writes and reads: events set aside, and what becomes of them.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Letter, Stored, Verdict};
use crate::delivery::parked::LetterState;
use crate::delivery::settings::OnDead;
use crate::envelope::Envelope;
use crate::lsn::{EventId, Position};
use crate::state::{lsn_from_sql, lsn_to_sql};

/// Stores an event, or stores anew what became of it, and returns its row. What a person has
/// discarded stays so, unless a person has sent it again out of the journal.
pub(in crate::delivery) fn put(
    connection: &Connection,
    sink: &str,
    letter: &Letter,
) -> rusqlite::Result<i64> {
    let Letter { envelope, original, state, verdict, replayed } = letter;
    let (name, version) = envelope.route.mapping.clone().unzip();
    let payload = verdict.as_ref().map(|_| envelope.body.as_ref());
    let failure = verdict.as_ref().map(|verdict| &verdict.failure);
    let at_us = verdict.as_ref().map(|verdict| verdict.at.unix_micros());
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
            replayed,
        ],
        |row| row.get(0),
    );
    let Some(row) = row.optional()? else { return row_of(connection, sink, envelope) };
    if let Some(verdict) = verdict {
        add_try(connection, row, verdict)?;
    }
    Ok(row)
}

const PUT: &str = r#"
INSERT INTO dead_letters (
    event_id, sink, route, "table", "key", key_hash, before_key_hash, op, commit_lsn, seq,
    original, payload, mapping_name, mapping_version, category, message, status, answer,
    attempts, first_failed, last_failed, state, newer_lsn, newer_seq)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
    ?20, ?20, ?21, CASE WHEN ?22 AND ?6 NOT IN ('', 'null') THEN ?9 END,
    CASE WHEN ?22 AND ?6 NOT IN ('', 'null') THEN ?10 END)
ON CONFLICT (sink, route, commit_lsn, seq, event_id) DO UPDATE SET
    original = coalesce(excluded.original, original), payload = excluded.payload,
    mapping_name = excluded.mapping_name, mapping_version = excluded.mapping_version,
    category = excluded.category, message = excluded.message, status = excluded.status,
    answer = excluded.answer, attempts = excluded.attempts,
    first_failed = coalesce(first_failed, excluded.first_failed),
    last_failed = excluded.last_failed, state = excluded.state, reason = NULL,
    newer_lsn = coalesce(CASE WHEN forgotten THEN NULL ELSE newer_lsn END,
        excluded.newer_lsn),
    newer_seq = coalesce(CASE WHEN forgotten THEN NULL ELSE newer_seq END,
        excluded.newer_seq), forgotten = 0
WHERE (state <> 'discarded' OR forgotten OR ?22)
    -- What a replay brings a second time, behind what waits already, is no news.
    AND NOT (excluded.state = 'blocked' AND state IN ('dead', 'retrying', 'replaying'))
RETURNING id"#;

fn row_of(connection: &Connection, sink: &str, envelope: &Envelope) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare(
        "SELECT id FROM dead_letters WHERE sink = ?1 AND route = ?2 AND commit_lsn = ?3
             AND seq = ?4 AND event_id = ?5",
    )?;
    let Position { commit_lsn, seq } = envelope.id.position;
    let values =
        params![sink, envelope.route.name, lsn_to_sql(commit_lsn), seq, envelope.id.to_string()];
    statement.query_row(values, |row| row.get(0))
}

fn add_try(connection: &Connection, row: i64, verdict: &Verdict) -> rusqlite::Result<()> {
    let Verdict { category, failure, at, .. } = verdict;
    let at_us = at.unix_micros();
    let mut statement = connection.prepare(
        "INSERT INTO tries (dead_letter, time, category, status, answer) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    statement.execute(params![row, at_us, category.as_str(), failure.status, failure.answer])?;
    Ok(())
}

/// Stores that a stored event was tried again.
pub(in crate::delivery) fn tried(
    connection: &Connection,
    row: i64,
    state: LetterState,
    original: Option<&[u8]>,
    sent: Option<&Envelope>,
    verdict: &Verdict,
) -> rusqlite::Result<()> {
    let Verdict { category, failure, attempts, at } = verdict;
    let mut statement = connection.prepare(
        "UPDATE dead_letters SET state = ?2, category = ?3, message = ?4, status = ?5, answer = ?6,
             attempts = CASE WHEN replays = 0 THEN ?7 ELSE attempts + ?13 END,
             first_failed = coalesce(first_failed, ?8), last_failed = ?8,
             original = coalesce(original, ?9), payload = coalesce(nullif(?10, x''), payload),
             mapping_name = CASE WHEN ?10 IS NULL THEN mapping_name ELSE ?11 END,
             mapping_version = CASE WHEN ?10 IS NULL THEN mapping_version ELSE ?12 END
         WHERE id = ?1 AND state <> 'discarded'",
    )?;
    let (name, version) = sent.and_then(|sent| sent.route.mapping.clone()).unzip();
    let values = params![
        row,
        state.as_str(),
        category.as_str(),
        failure.message,
        failure.status,
        failure.answer,
        attempts,
        at.unix_micros(),
        original,
        sent.map(|sent| sent.body.as_ref()),
        name,
        version,
        // What the mapping refuses is not sent.
        sent.is_some_and(|sent| !sent.body.is_empty()),
    ];
    if statement.execute(values)? == 0 {
        return Ok(());
    }
    add_try(connection, row, verdict)
}

/// Notes that an event was delivered after all. One that only waited leaves nothing behind; of one
/// that had failed the tries stay to be looked at, without its bytes, and the version of the
/// `mapping` that made what was taken.
pub(in crate::delivery) fn delivered(
    connection: &Connection,
    row: i64,
    mapping: Option<&(String, u32)>,
    at_us: i64,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM dead_letters WHERE id = ?1 AND first_failed IS NULL AND replays = 0";
    if connection.prepare(sql)?.execute([row])? == 0 {
        let sql = "UPDATE dead_letters SET state = 'delivered', original = NULL, payload = NULL,
                       reason = NULL, last_failed = coalesce(last_failed, ?2),
                       attempts = attempts + 1, mapping_name = coalesce(?3, mapping_name),
                       mapping_version = coalesce(?4, mapping_version) WHERE id = ?1";
        let (name, version) = mapping.map(|(name, version)| (name, version)).unzip();
        connection.prepare(sql)?.execute((row, at_us, name, version))?;
        let sql = "INSERT INTO tries (dead_letter, time) VALUES (?1, ?2)";
        connection.prepare(sql)?.execute((row, at_us))?;
    }
    Ok(())
}

/// Settles an event that no route of its sink takes any more: a dead letter stays one, anything
/// else is discarded with that reason.
pub(in crate::delivery) fn withdraw(connection: &Connection, row: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE dead_letters SET
                   reason = 'no route of the sink takes it any more',
                   original = CASE WHEN state = 'replaying' THEN original ELSE NULL END,
                   payload = CASE WHEN state = 'replaying' THEN payload ELSE NULL END,
                   state = CASE WHEN state = 'replaying' THEN 'dead' ELSE 'discarded' END
               WHERE id = ?1 AND state IN ('retrying', 'blocked', 'replaying')";
    connection.prepare(sql)?.execute([row]).map(drop)
}

/// Removes an event by its id.
pub(in crate::delivery) fn delete_event(
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

/// What is needed to send a stored event again.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct Source {
    /// The journal record; none where the journal keeps it.
    pub(in crate::delivery) original: Option<Vec<u8>>,
    /// The version of the mapping to use; none: today's.
    pub(in crate::delivery) mapping: Option<(String, u32)>,
}

/// Returns what is needed to send an event again; none when it is not to be sent any more.
pub(in crate::delivery) fn source(
    connection: &Connection,
    row: i64,
) -> rusqlite::Result<Option<Source>> {
    let mut statement = connection.prepare(
        "SELECT original, mapping_name,
             CASE WHEN replay_mapping = 0 THEN mapping_version ELSE replay_mapping END
         FROM dead_letters WHERE id = ?1 AND state IN ('retrying', 'blocked', 'replaying')",
    )?;
    let source = |row: &Row<'_>| {
        let (name, version): (Option<String>, Option<u32>) = (row.get(1)?, row.get(2)?);
        Ok(Source { original: row.get(0)?, mapping: name.zip(version) })
    };
    statement.query_row([row], source).optional()
}

/// Returns how many dead letters a sink has.
pub(in crate::delivery) fn count_dead(
    connection: &Connection,
    sink: &str,
) -> rusqlite::Result<u64> {
    let mut statement = connection
        .prepare("SELECT count(*) FROM dead_letters WHERE sink = ?1 AND state = 'dead'")?;
    statement.query_row([sink], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// Returns the lowest position that the journal has to keep for what a sink set aside: of what is
/// to be sent some time, and has no copy of its own.
pub(in crate::delivery) fn pinned_from(
    connection: &Connection,
    sink: &str,
) -> rusqlite::Result<Option<Position>> {
    // One state at a time: the first of each is found in the order of the index.
    let mut statement = connection.prepare(
        "SELECT commit_lsn, seq FROM dead_letters
         WHERE sink = ?1 AND state = ?2 AND original IS NULL ORDER BY commit_lsn, seq LIMIT 1",
    )?;
    let mut lowest: Option<Position> = None;
    for state in [LetterState::Retrying, LetterState::Blocked, LetterState::Replaying] {
        let position = |row: &Row<'_>| Ok(Position::new(lsn_from_sql(row.get(0)?), row.get(1)?));
        let first = statement.query_row((sink, state.as_str()), position).optional()?;
        lowest = lowest.into_iter().chain(first).min();
    }
    Ok(lowest)
}

/// Returns what an earlier run set aside and goes on with, in stream order, and the dead letters
/// above `floor`, those that a person has discarded too: the stream brings them again, and they are
/// not to be sent.
///
/// Of those that a person has sent again it returns the ones that can't wait to be
/// [fed](super::feed): the stream would bring them a second time, or what waits behind them would
/// go first.
pub(in crate::delivery) fn load(
    connection: &Connection,
    sink: &str,
    on_dead: OnDead,
    floor: Position,
) -> rusqlite::Result<Vec<Stored>> {
    let sql = format!(
        "WITH waiting (hash) AS (
             SELECT key_hash FROM dead_letters WHERE sink = ?1 AND state = 'blocked'
             UNION SELECT before_key_hash FROM dead_letters WHERE sink = ?1 AND state = 'blocked')
         SELECT {STORED} FROM dead_letters
         WHERE sink = ?1 AND (state IN ('retrying', 'blocked')
             OR (state IN ('dead', 'replaying') AND (?2 OR (commit_lsn, seq) >= (?3, ?4)))
             OR (state = 'discarded' AND NOT forgotten AND (commit_lsn, seq) >= (?3, ?4))
             OR (state = 'replaying' AND (key_hash IN (SELECT hash FROM waiting)
                 OR before_key_hash IN (SELECT hash FROM waiting)
                 OR \"table\" IN (SELECT \"table\" FROM dead_letters WHERE sink = ?1
                     AND op = 'truncate' AND state IN ('retrying', 'blocked')))))
         ORDER BY commit_lsn, seq"
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(
        params![sink, on_dead == OnDead::Block, lsn_to_sql(floor.commit_lsn), floor.seq],
        stored,
    )?;
    rows.collect()
}

/// The columns of [`stored`]. One that became older than what the sink has stays dead.
pub(super) const STORED: &str = "id, event_id, commit_lsn, seq, key_hash, before_key_hash,
    CASE WHEN state = 'replaying' AND newer_lsn IS NOT NULL AND NOT forced THEN 'dead' ELSE state END,
    attempts, op = 'truncate', route, replays, forced";

pub(super) fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let event_id: String = row.get(1)?;
    let timeline = event_id.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
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
            "replaying" => LetterState::Replaying,
            _ => LetterState::Dead,
        },
        attempts: row.get(7)?,
        is_truncate: row.get(8)?,
        is_discarded: state == "discarded",
        route: row.get(9)?,
        replays: row.get(10)?,
        forced: row.get(11)?,
    })
}

/// JSON is text; what is not is kept readable.
fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::chunk::{Chunk, Operation, Transaction};
    use crate::envelope::RouteLabel;
    use crate::failure::Category;
    use crate::lsn::{Lsn, Timestamp};
    use crate::sink::Failure;
    use crate::state::State;

    fn letter(state: LetterState) -> Letter {
        let commit_lsn = Lsn(1);
        let transaction = Transaction { commit_lsn, end_lsn: None, xid: None, commit_time: None };
        let chunk = Chunk::of_one(1, transaction, None, 0, Operation::Insert, Bytes::new());
        let envelope = Envelope {
            id: EventId { timeline: 1, position: Position::new(commit_lsn, 0) },
            operation: Operation::Insert,
            body: Bytes::from_static(b"{}"),
            key: Bytes::new(),
            key_hash: 1,
            before_key_hash: None,
            before_key: None,
            outbox: None,
            commit_time: None,
            route: Arc::new(RouteLabel { name: "r".to_owned(), mapping: None }),
            chunk: Arc::new(chunk.unwrap()),
            entry: 0,
        };
        let category = Category::Rejected;
        let failure = Failure::new(category, "no");
        let verdict = Verdict { category, failure, attempts: 1, at: Timestamp::now() };
        let verdict = (state != LetterState::Blocked).then_some(verdict);
        Letter { envelope, original: None, state, verdict, replayed: false }
    }

    #[tokio::test]
    async fn what_a_replay_brings_a_second_time_does_not_hide_a_dead_letter() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let found = state.write(|connection| {
            let first = put(connection, "s", &letter(LetterState::Dead))?;
            let second = put(connection, "s", &letter(LetterState::Blocked))?;
            Ok((first == second, count_dead(connection, "s")?))
        });
        assert_eq!(found.await.unwrap(), (true, 1));
    }

    #[tokio::test]
    async fn what_the_mapping_refuses_of_a_replay_leaves_what_was_sent_before() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let found = state.write(|connection| {
            let row = put(connection, "s", &letter(LetterState::Dead))?;
            connection.execute("UPDATE dead_letters SET replays = 1", [])?;
            let Letter { mut envelope, verdict, .. } = letter(LetterState::Dead);
            envelope.body = Bytes::new();
            let verdict = verdict.unwrap();
            tried(connection, row, LetterState::Dead, None, Some(&envelope), &verdict)?;
            let sql = "SELECT payload, attempts FROM dead_letters";
            connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        });
        assert_eq!(found.await.unwrap(), (b"{}".to_vec(), 1));
    }
}
