//! What commands and the keeper do to events that were set aside.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::Filter;
use super::store::{STORED, stored};
use crate::lsn::{EventId, Position, Timestamp};
use crate::state::lsn_to_sql;

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

/// Discards what waits of a sink or a route that is forgotten, with a reason; its bytes are dropped.
///
/// Should the sink or route begin anew, this comes again as well, as far as the stream brings it.
/// Returns how many there were.
///
/// # Errors
/// Any of SQLite's.
pub fn discard(connection: &Connection, of: Of<'_>, reason: &str) -> rusqlite::Result<usize> {
    let (column, name) = of.column();
    let sql = format!(
        "UPDATE dead_letters SET state = 'discarded', reason = ?2, original = NULL, payload = NULL
         WHERE {column} = ?1 AND state NOT IN ('discarded', 'delivered')"
    );
    let discarded = connection.execute(&sql, (name, reason))?;
    let sql = format!("UPDATE dead_letters SET forgotten = 1 WHERE {column} = ?1");
    connection.execute(&sql, [name])?;
    Ok(discarded)
}

/// What [`discard_selected`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discarded {
    /// So many were discarded.
    pub count: u64,
    /// Those of them that something may wait for, with their rows.
    pub held: Vec<(EventId, i64)>,
}

/// Discards what a person picked, with a reason; its bytes are dropped.
///
/// # Errors
/// Any of SQLite's.
pub fn discard_selected(
    connection: &Connection,
    filter: &Filter,
    reason: &str,
) -> rusqlite::Result<Discarded> {
    let (selection, mut values) = filter.sql();
    let open = "state NOT IN ('discarded', 'delivered')";
    let held = format!(
        "SELECT {STORED} FROM dead_letters WHERE {selection} AND {open} ORDER BY commit_lsn, seq"
    );
    let held = connection
        .prepare(&held)?
        .query_map(params_from_iter(&values), stored)?
        .map(|stored| stored.map(|stored| (stored.id, stored.row)))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let sql = format!(
        "UPDATE dead_letters SET state = 'discarded', reason = ?{}, original = NULL, payload = NULL
         WHERE {selection} AND {open}",
        values.len() + 1
    );
    values.push(Value::Text(reason.to_owned()));
    let count = connection.prepare(&sql)?.execute(params_from_iter(&values))? as u64;
    Ok(Discarded { count, held })
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

/// Returns the sinks that have set something aside which is neither done nor dead: it goes on
/// trying by itself, or waits behind another or for a person.
///
/// # Errors
/// Any of SQLite's.
pub fn waiting_sinks(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let sql = "SELECT DISTINCT sink FROM dead_letters WHERE state IN ('retrying', 'blocked')";
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// Forgets what was delivered after all, once the journal no longer has it. Returns how many
/// there were.
///
/// # Errors
/// Any of SQLite's.
pub fn prune(connection: &Connection, journal_begin: Position) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM dead_letters
               WHERE state = 'delivered' AND (commit_lsn, seq) < (?1, ?2)";
    let Position { commit_lsn, seq } = journal_begin;
    connection.prepare(sql)?.execute((lsn_to_sql(commit_lsn), seq))
}

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
