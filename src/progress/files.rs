//! In which file each published table lay when it was last looked at, and whether its rows were
//! written anew since. Functions to run inside `State::write` and `State::read`.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::lsn::{Oid, Timestamp};

/// What is known of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What was seen last, as JSON.
    pub seen: String,
    /// When its rows were found to have been written anew; none: nobody has to do anything.
    pub rewritten_at: Option<Timestamp>,
}

/// Returns what is known of each table.
///
/// # Errors
/// Any of SQLite's.
pub fn load(connection: &Connection) -> rusqlite::Result<BTreeMap<Oid, Stored>> {
    let mut statement = connection.prepare("SELECT oid, seen, rewritten_at FROM files")?;
    let rows = statement.query_map([], |row| {
        let rewritten_at = row.get::<_, Option<i64>>(2)?.map(Timestamp::from_unix_micros);
        Ok((Oid(row.get(0)?), Stored { seen: row.get(1)?, rewritten_at }))
    })?;
    rows.collect()
}

/// Stores what has `changed`; none: the table is published no longer.
///
/// # Errors
/// Any of SQLite's.
pub fn save(
    connection: &Connection,
    changed: &BTreeMap<Oid, Option<Stored>>,
) -> rusqlite::Result<()> {
    let mut forget = connection.prepare("DELETE FROM files WHERE oid = ?1")?;
    let sql = "INSERT OR REPLACE INTO files (oid, seen, rewritten_at) VALUES (?1, ?2, ?3)";
    let mut store = connection.prepare(sql)?;
    changed.iter().try_for_each(|(oid, stored)| match stored {
        None => forget.execute([oid.0]).map(drop),
        Some(Stored { seen, rewritten_at }) => {
            store.execute((oid.0, seen, rewritten_at.map(Timestamp::unix_micros))).map(drop)
        }
    })
}

/// Returns the tables that were loaded as a whole, and when that was last asked for.
///
/// # Errors
/// Any of SQLite's.
pub fn loaded(connection: &Connection) -> rusqlite::Result<BTreeMap<Oid, Timestamp>> {
    let sql = "SELECT relation, max(started_at) FROM loads
               WHERE state = 'done' AND relation IS NOT NULL AND \"where\" IS NULL GROUP BY relation";
    let mut statement = connection.prepare(sql)?;
    let rows = statement
        .query_map([], |row| Ok((Oid(row.get(0)?), Timestamp::from_unix_micros(row.get(1)?))))?;
    rows.collect()
}
