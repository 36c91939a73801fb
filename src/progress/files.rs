//! In which file each published table lay when it was last looked at, and whether rows of it come by
//! a load alone since. Functions to run inside `State::write` and `State::read`.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::lsn::{Oid, Timestamp};

/// Why rows of a table are not in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// They were written anew, and no event told of it.
    Rewritten,
    /// The table was published when it had rows.
    Added,
}

impl Reason {
    const ALL: [Self; 2] = [Self::Rewritten, Self::Added];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Rewritten => "rewritten",
            Self::Added => "added",
        }
    }
}

/// What is known of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What was seen last, as JSON.
    pub seen: String,
    /// Why rows of it come by a load alone, and since when; none: nobody has to do anything.
    pub missing: Option<(Reason, Timestamp)>,
}

/// Returns what is known of each table.
///
/// # Errors
/// Any of SQLite's.
pub fn load(connection: &Connection) -> rusqlite::Result<BTreeMap<Oid, Stored>> {
    let mut statement = connection.prepare("SELECT oid, seen, reason, since FROM files")?;
    let rows = statement.query_map([], |row| {
        let word: Option<String> = row.get(2)?;
        let is_it = |reason: &Reason| Some(reason.as_str()) == word.as_deref();
        let reason = Reason::ALL.into_iter().find(is_it);
        let since = row.get::<_, Option<i64>>(3)?.map(Timestamp::from_unix_micros);
        Ok((Oid(row.get(0)?), Stored { seen: row.get(1)?, missing: reason.zip(since) }))
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
    let sql = "INSERT OR REPLACE INTO files (oid, seen, reason, since) VALUES (?1, ?2, ?3, ?4)";
    let mut store = connection.prepare(sql)?;
    changed.iter().try_for_each(|(oid, stored)| match stored {
        None => forget.execute([oid.0]).map(drop),
        Some(Stored { seen, missing }) => {
            let (reason, since) = missing.map(|(why, at)| (why.as_str(), at.unix_micros())).unzip();
            store.execute((oid.0, seen, reason, since)).map(drop)
        }
    })
}

/// Returns the tables that were loaded as a whole, or are to be, and when that was last asked for.
///
/// # Errors
/// Any of SQLite's.
pub fn loaded(connection: &Connection) -> rusqlite::Result<BTreeMap<Oid, Timestamp>> {
    let sql = "SELECT relation, max(started_at) FROM loads
               WHERE state IN ('running', 'paused', 'done') AND relation IS NOT NULL AND \"where\" IS NULL GROUP BY relation";
    let mut statement = connection.prepare(sql)?;
    let rows = statement
        .query_map([], |row| Ok((Oid(row.get(0)?), Timestamp::from_unix_micros(row.get(1)?))))?;
    rows.collect()
}
