//! Where each sink's progress is stored: functions to run inside `State::write` and `State::read`.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row};

use super::ledger::Reached;
use crate::lsn::{Position, Timestamp};
use crate::state::{lsn_from_sql, lsn_to_sql};

/// Bytes of a finished range: two positions of 12 bytes each.
const RANGE_BYTES: usize = 24;

/// What is stored of a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// How far it is.
    pub reached: Reached,
    /// Events it acknowledged, ever.
    pub delivered: u64,
    /// Events a rule skipped, ever.
    pub skipped: u64,
    /// The commit time of the newest change known to be done.
    pub newest_done: Option<Timestamp>,
    /// Why it is stopped until a person acts (paused, a recorded gap); none when it is not.
    pub halted: Option<String>,
}

impl Stored {
    /// Returns the gap behind which the sink was let go, if it was.
    #[must_use]
    pub fn gap(&self) -> Option<&str> {
        self.halted.as_deref().filter(|halted| halted.starts_with(GAP))
    }

    /// Returns why a person has stopped the sink, if one has.
    #[must_use]
    pub fn paused(&self) -> Option<&str> {
        self.halted.as_deref().filter(|halted| halted.starts_with(PAUSED))
    }
}

/// With this begins why a sink is halted that was let go: what lies in the gap was not sent, and
/// neither is anything behind it.
pub const GAP: &str = "a gap from ";

/// With this begins why a sink is halted that a person has stopped.
pub const PAUSED: &str = "paused by a person";

/// Returns why a sink is halted that a person stops, with what was said about it.
#[must_use]
pub fn paused(reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{PAUSED}: {reason}"),
        None => PAUSED.to_owned(),
    }
}

/// Stores what is known of a sink, over what was; why it is halted stays as it was.
///
/// # Errors
///
/// Any of SQLite's.
pub fn save(
    connection: &Connection,
    sink: &str,
    stored: &Stored,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO progress (sink, floor_lsn, floor_seq, ranges, delivered, skipped,
                   newest_done, halted, updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
               ON CONFLICT (sink) DO UPDATE SET floor_lsn = excluded.floor_lsn,
                   floor_seq = excluded.floor_seq, ranges = excluded.ranges,
                   delivered = excluded.delivered, skipped = excluded.skipped,
                   newest_done = excluded.newest_done, updated_at = excluded.updated_at";
    let Stored { reached, delivered, skipped, newest_done, halted } = stored;
    let values = (
        sink,
        lsn_to_sql(reached.floor.commit_lsn),
        reached.floor.seq,
        ranges_to_bytes(&reached.finished),
        delivered.cast_signed(),
        skipped.cast_signed(),
        newest_done.map(Timestamp::unix_micros),
        halted,
        now.unix_micros(),
    );
    connection.prepare(sql)?.execute(values).map(drop)
}

/// Stores how far a sink is, and nothing else.
///
/// # Errors
///
/// Any of SQLite's.
pub fn save_reached(
    connection: &Connection,
    sink: &str,
    reached: &Reached,
) -> rusqlite::Result<()> {
    let sql = "UPDATE progress SET floor_lsn = ?2, floor_seq = ?3, ranges = ?4 WHERE sink = ?1";
    let Reached { floor, finished } = reached;
    let ranges = ranges_to_bytes(finished);
    let values = (sink, lsn_to_sql(floor.commit_lsn), floor.seq, ranges);
    connection.prepare(sql)?.execute(values).map(drop)
}

/// Stores why a sink is halted; none: it is not.
///
/// # Errors
///
/// Any of SQLite's.
pub fn set_halted(
    connection: &Connection,
    sink: &str,
    halted: Option<&str>,
) -> rusqlite::Result<()> {
    let sql = "UPDATE progress SET halted = ?2 WHERE sink = ?1";
    connection.prepare(sql)?.execute((sink, halted)).map(drop)
}

/// Stores what was counted of a sink, and leaves how far it is.
///
/// # Errors
///
/// Any of SQLite's.
pub fn save_counts(
    connection: &Connection,
    sink: &str,
    stored: &Stored,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let sql = "UPDATE progress SET delivered = ?2, skipped = ?3, newest_done = ?4, updated_at = ?5
               WHERE sink = ?1";
    let Stored { delivered, skipped, newest_done, .. } = stored;
    let values = (
        sink,
        delivered.cast_signed(),
        skipped.cast_signed(),
        newest_done.map(Timestamp::unix_micros),
        now.unix_micros(),
    );
    connection.prepare(sql)?.execute(values).map(drop)
}

/// Reads what is stored of every sink, by name.
///
/// # Errors
///
/// Any of SQLite's, or one that says that a row is damaged.
pub fn load_all(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Stored>> {
    let sql = "SELECT sink, floor_lsn, floor_seq, ranges, delivered, skipped, newest_done, halted
               FROM progress";
    connection.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, stored(row)?)))?.collect()
}

/// Forgets a sink.
///
/// # Errors
///
/// Any of SQLite's.
pub fn forget(connection: &Connection, sink: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM progress WHERE sink = ?1", [sink]).map(drop)
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let bytes: Vec<u8> = row.get(3)?;
    let finished = ranges_from_bytes(&bytes).ok_or_else(|| {
        let kind = rusqlite::types::Type::Blob;
        rusqlite::Error::InvalidColumnType(3, "ranges".into(), kind)
    })?;
    let floor = Position::new(lsn_from_sql(row.get(1)?), row.get(2)?);
    Ok(Stored {
        reached: Reached { floor, finished },
        delivered: row.get::<_, i64>(4)?.cast_unsigned(),
        skipped: row.get::<_, i64>(5)?.cast_unsigned(),
        newest_done: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_unix_micros),
        halted: row.get(7)?,
    })
}

fn ranges_to_bytes(ranges: &[(Position, Position)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ranges.len() * RANGE_BYTES);
    for position in ranges.iter().flat_map(|(start, end)| [start, end]) {
        bytes.extend(position.commit_lsn.0.to_be_bytes());
        bytes.extend(position.seq.to_be_bytes());
    }
    bytes
}

fn ranges_from_bytes(bytes: &[u8]) -> Option<Vec<(Position, Position)>> {
    let (ranges, rest) = bytes.as_chunks::<RANGE_BYTES>();
    let position = |bytes: &[u8]| {
        let (lsn, seq) = bytes.split_first_chunk()?;
        let seq = u32::from_be_bytes(seq.try_into().ok()?);
        Some(Position::new(crate::lsn::Lsn(u64::from_be_bytes(*lsn)), seq))
    };
    let range = |bytes: &[u8; RANGE_BYTES]| {
        let (start, end) = bytes.split_at(RANGE_BYTES / 2);
        Some((position(start)?, position(end)?))
    };
    rest.is_empty().then(|| ranges.iter().map(range).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Lsn;
    use crate::state::State;

    #[tokio::test]
    async fn what_is_stored_of_a_sink_is_read_back_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let place = |lsn, seq| Position::new(Lsn(lsn), seq);
        let finished = vec![(place(9, 1), place(9, 4)), (place(1 << 62, 0), place(1 << 62, 7))];
        let crm = Stored {
            reached: Reached { floor: place(5, 3), finished },
            delivered: 12,
            skipped: 3,
            newest_done: Some(Timestamp(77)),
            halted: Some("paused".into()),
        };
        let state = State::open(folder.path()).unwrap();
        let saved = crm.clone();
        state
            .write(move |c| {
                save(c, "crm", &Stored::default(), Timestamp(0))?;
                save(c, "other", &Stored::default(), Timestamp(0))?;
                set_halted(c, "crm", saved.halted.as_deref())?;
                // A tick of the keeper, which does not know of it.
                let tick = Stored { halted: None, ..saved };
                save(c, "crm", &tick, Timestamp(1))?;
                save_counts(c, "crm", &tick, Timestamp(2))
            })
            .await
            .unwrap();
        drop(state);
        let state = State::open(folder.path()).unwrap();
        let all = state.read(load_all).await.unwrap();
        assert_eq!(all.get("crm"), Some(&crm));
        assert_eq!(all.get("other"), Some(&Stored::default()));
        state.write(|c| forget(c, "crm")).await.unwrap();
        assert_eq!(state.read(load_all).await.unwrap().len(), 1);
    }
}
