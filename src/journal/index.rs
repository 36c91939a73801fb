//! [`Run`]: the index of the segments, in memory and as rows of `chunks`.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, params};

use super::record::Header;
use super::{Status, segment};
use crate::chunk::Chunk;
use crate::lsn::{Position, Timestamp};
use crate::state::{lsn_from_sql, lsn_to_sql};

/// A run ends once it holds so many bytes: what is read over to find one record.
pub(super) const RUN_BYTES: u64 = 1 << 20;

/// Records that lie end to end in a segment: a row of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub(super) segment: u32,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) records: u32,
    pub(super) first: Position,
    pub(super) end: Position,
    pub(super) oldest: Option<Timestamp>,
    pub(super) newest: Option<Timestamp>,
    /// Microseconds since 1970.
    pub(super) written_at: i64,
    pub(super) relations: BTreeSet<u32>,
}

impl Run {
    /// Starts a run with nothing in it.
    pub(super) const fn new(segment: u32, offset: u64, first: Position) -> Self {
        Self {
            segment,
            offset,
            length: 0,
            records: 0,
            first,
            end: first,
            oldest: None,
            newest: None,
            written_at: 0,
            relations: BTreeSet::new(),
        }
    }

    /// Adds the record that follows.
    pub(super) fn add(&mut self, header: &Header, chunk: &Chunk) {
        self.length += header.length();
        self.records += 1;
        self.end = header.end;
        // Commit times need not rise: a clock may be set back.
        let times = || chunk.transactions.iter().filter_map(|transaction| transaction.commit_time);
        self.oldest = times().chain(self.oldest).min();
        self.newest = times().chain(self.newest).max();
        self.written_at = header.written_at;
        self.relations.extend(chunk.relations.iter().map(|relation| relation.oid.0));
    }

    /// Returns its segment and where it lies there.
    #[must_use]
    pub const fn place(&self) -> (u32, u64) {
        (self.segment, self.offset)
    }

    /// Where the next record lies.
    pub(super) const fn next_offset(&self) -> u64 {
        self.offset + self.length
    }

    pub(super) const fn is_full(&self) -> bool {
        self.length >= RUN_BYTES
    }
}

/// Stores index rows, over those that they continue.
///
/// # Errors
/// Any of SQLite's.
pub fn store(connection: &Connection, runs: &[Run]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        r#"INSERT OR REPLACE INTO chunks (segment, "offset", length, records, first_lsn, first_seq,
               end_lsn, end_seq, oldest, newest, written_at, relations)
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"#,
    )?;
    for run in runs {
        let relations: Vec<u8> = run.relations.iter().flat_map(|oid| oid.to_be_bytes()).collect();
        statement.execute(params![
            run.segment,
            run.offset.cast_signed(),
            run.length.cast_signed(),
            run.records,
            lsn_to_sql(run.first.commit_lsn),
            run.first.seq,
            lsn_to_sql(run.end.commit_lsn),
            run.end.seq,
            run.oldest.map(Timestamp::unix_micros),
            run.newest.map(Timestamp::unix_micros),
            run.written_at,
            relations,
        ])?;
    }
    Ok(())
}

/// Reads the whole index, in order.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Vec<Run>> {
    let mut statement = connection.prepare(
        r#"SELECT segment, "offset", length, records, first_lsn, first_seq, end_lsn, end_seq,
               oldest, newest, written_at, relations
           FROM chunks ORDER BY segment, "offset""#,
    )?;
    let time = |micros: Option<i64>| micros.map(Timestamp::from_unix_micros);
    let rows = statement.query_map([], |row| {
        let relations: Vec<u8> = row.get(11)?;
        let oids = relations.as_chunks::<4>().0.iter().map(|oid| u32::from_be_bytes(*oid));
        Ok(Run {
            segment: row.get(0)?,
            offset: row.get::<_, i64>(1)?.cast_unsigned(),
            length: row.get::<_, i64>(2)?.cast_unsigned(),
            records: row.get(3)?,
            first: Position::new(lsn_from_sql(row.get(4)?), row.get(5)?),
            end: Position::new(lsn_from_sql(row.get(6)?), row.get(7)?),
            oldest: time(row.get(8)?),
            newest: time(row.get(9)?),
            written_at: row.get(10)?,
            relations: oids.collect(),
        })
    })?;
    rows.collect()
}

/// What is known of a journal that nobody has open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// As [`Journal::status`](super::Journal::status) would say it; never paused.
    pub status: Status,
    /// Behind the last change in it; zero while there is none.
    pub end: Position,
}

/// Looks at a journal that nobody has open: at its index, and at the size of its files. Opens and
/// changes nothing.
///
/// # Errors
/// Any of SQLite's.
pub fn stored(connection: &Connection, state_folder: &Path) -> rusqlite::Result<Stored> {
    let runs = load(connection)?;
    let folder = super::folder(state_folder);
    let numbers = segment::list(&folder).unwrap_or_default();
    let size = |number| std::fs::metadata(segment::path(&folder, number)).map_or(0, |it| it.len());
    let status = Status {
        bytes: numbers.into_iter().map(size).sum(),
        oldest: runs.iter().find_map(|run| run.oldest),
        newest: runs.iter().rev().find_map(|run| run.newest),
        paused: None,
    };
    Ok(Stored { status, end: runs.last().map_or(Position::ZERO, |run| run.end) })
}

/// Returns how many bytes of a journal that nobody has open hold what lies behind `from`.
///
/// # Errors
/// Any of SQLite's.
pub fn stored_bytes_behind(connection: &Connection, from: Position) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce(sum(length), 0) FROM chunks WHERE (end_lsn, end_seq) > (?1, ?2)";
    let from = (lsn_to_sql(from.commit_lsn), from.seq);
    connection.prepare(sql)?.query_row(from, |row| row.get(0)).map(i64::cast_unsigned)
}

/// Returns the parts of the journal in order: where each begins and ends, and its oldest commit.
///
/// # Errors
/// Any of SQLite's.
pub fn stored_ages(
    connection: &Connection,
) -> rusqlite::Result<Vec<(Position, Position, Option<Timestamp>)>> {
    Ok(load(connection)?.into_iter().map(|run| (run.first, run.end, run.oldest)).collect())
}

/// Forgets the rows of a segment that was removed.
pub(super) fn forget(connection: &Connection, segment: u32) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM chunks WHERE segment = ?1", [segment]).map(drop)
}
