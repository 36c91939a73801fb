//! The slot that is about to be made, until [`meta`](super::meta) knows it.
//!
//! Functions here run inside [`State::write`](super::State::write) or `read`.

use rusqlite::{Connection, OptionalExtension};

use super::{lsn_from_sql, lsn_to_sql};
use crate::lsn::Lsn;

/// The row of `slot_intent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The cluster's system identifier.
    pub system_id: String,
    /// The database's name.
    pub database: String,
    /// The slot's name.
    pub slot: String,
    /// Where the server's log ended while there was no such slot.
    pub lsn: Lsn,
}

/// Reads the row; none where no slot is about to be made.
///
/// # Errors
///
/// Any of SQLite's.
pub fn load(connection: &Connection) -> rusqlite::Result<Option<Intent>> {
    let sql = "SELECT system_id, database, slot, lsn FROM slot_intent";
    let mut statement = connection.prepare(sql)?;
    let row = statement.query_row([], |row| {
        Ok(Intent {
            system_id: row.get(0)?,
            database: row.get(1)?,
            slot: row.get(2)?,
            lsn: lsn_from_sql(row.get(3)?),
        })
    });
    row.optional()
}

/// Stores the row instead of any other.
///
/// # Errors
///
/// Any of SQLite's.
pub fn set(connection: &Connection, intent: &Intent) -> rusqlite::Result<()> {
    let Intent { system_id, database, slot, lsn } = intent;
    let sql = "INSERT OR REPLACE INTO slot_intent (one, system_id, database, slot, lsn)
               VALUES (1, ?1, ?2, ?3, ?4)";
    let row = (system_id, database, slot, lsn_to_sql(*lsn));
    connection.prepare(sql)?.execute(row).map(drop)
}

/// Removes the row.
///
/// # Errors
///
/// Any of SQLite's.
pub fn clear(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM slot_intent", []).map(drop)
}
