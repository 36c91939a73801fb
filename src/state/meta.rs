//! Whose state this is, and how far the stream has come: the one row of `meta`.
//!
//! A position is worth something only together with the system, timeline, database and slot it
//! was read from. Functions here run inside [`State::write`](super::State::write) or `read`.

use rusqlite::Connection;

use super::{Error, lsn_from_sql, lsn_to_sql};
use crate::lsn::Lsn;

/// What a position is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's system identifier.
    pub system_id: String,
    /// The timeline last streamed from; the one part that may change.
    pub timeline: u32,
    /// Where that timeline left the one before; zero for the first.
    pub began: Lsn,
    /// When the server was started, as it says.
    pub started: String,
    /// The database's name.
    pub database: String,
    /// The slot's name.
    pub slot: String,
}

impl Identity {
    /// Refuses a source that is not the one this state was made for. Timelines are not compared:
    /// whether a new one goes on from the old is for its history to say.
    ///
    /// # Errors
    ///
    /// [`Error::OtherSource`] names what differs.
    pub fn agrees_with(&self, found: &Self) -> Result<(), Error> {
        let pairs = [
            ("system identifier", &self.system_id, &found.system_id),
            ("database", &self.database, &found.database),
            ("slot", &self.slot, &found.slot),
        ];
        match pairs.into_iter().find(|(_, stored, found)| stored != found) {
            None => Ok(()),
            Some((what, stored, found)) => {
                Err(Error::OtherSource { what, stored: stored.clone(), found: found.clone() })
            }
        }
    }
}

/// The row of `meta`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Whose state it is; none before the first start.
    pub identity: Option<Identity>,
    /// The end of the last whole transaction that is durable in the journal; zero for none.
    pub received: Lsn,
    /// What the slot was told last, or was about to be told; zero for nothing.
    pub confirmed: Lsn,
}

/// Reads the row.
///
/// # Errors
///
/// Any of SQLite's.
pub fn load(connection: &Connection) -> rusqlite::Result<Meta> {
    let sql = "SELECT system_id, timeline, database, slot, received, confirmed, began, started
               FROM meta";
    connection.prepare(sql)?.query_row([], |row| {
        let parts: (Option<String>, Option<u32>, Option<String>, Option<String>) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let identity = match parts {
            (Some(system_id), Some(timeline), Some(database), Some(slot)) => {
                let (began, started) = (lsn_from_sql(row.get(6)?), row.get(7)?);
                Some(Identity { system_id, timeline, began, started, database, slot })
            }
            _ => None,
        };
        Ok(Meta {
            identity,
            received: lsn_from_sql(row.get(4)?),
            confirmed: lsn_from_sql(row.get(5)?),
        })
    })
}

/// Stores whose state it is, or a new timeline of the same.
///
/// # Errors
///
/// Any of SQLite's.
pub fn set_identity(connection: &Connection, identity: &Identity) -> rusqlite::Result<()> {
    let Identity { system_id, timeline, began, started, database, slot } = identity;
    let sql = "UPDATE meta SET system_id = ?1, timeline = ?2, began = ?3, started = ?4,
                               database = ?5, slot = ?6";
    let row = (system_id, timeline, lsn_to_sql(*began), started, database, slot);
    connection.prepare(sql)?.execute(row).map(drop)
}

/// Stores the end of the last whole transaction in the journal. It never goes back.
///
/// # Errors
///
/// Any of SQLite's.
pub fn set_received(connection: &Connection, received: Lsn) -> rusqlite::Result<()> {
    let sql = "UPDATE meta SET received = ?1 WHERE received < ?1";
    connection.prepare(sql)?.execute([lsn_to_sql(received)]).map(drop)
}

/// Claims no more than this of what was received: what lies behind is not in the journal.
///
/// # Errors
///
/// Any of SQLite's.
pub fn lower_received(connection: &Connection, received: Lsn) -> rusqlite::Result<()> {
    let sql = "UPDATE meta SET received = ?1 WHERE received > ?1";
    connection.prepare(sql)?.execute([lsn_to_sql(received)]).map(drop)
}

/// Stores what the slot is about to be told. It never goes back.
///
/// # Errors
///
/// Any of SQLite's.
pub fn set_confirmed(connection: &Connection, confirmed: Lsn) -> rusqlite::Result<()> {
    let sql = "UPDATE meta SET confirmed = ?1 WHERE confirmed < ?1";
    connection.prepare(sql)?.execute([lsn_to_sql(confirmed)]).map(drop)
}

/// Claims no more than this of what the slot was told: what lies behind was of a timeline that the
/// server has left.
///
/// # Errors
///
/// Any of SQLite's.
pub fn lower_confirmed(connection: &Connection, confirmed: Lsn) -> rusqlite::Result<()> {
    let sql = "UPDATE meta SET confirmed = ?1 WHERE confirmed > ?1";
    connection.prepare(sql)?.execute([lsn_to_sql(confirmed)]).map(drop)
}

/// Stores both positions as they are told, back too: for a slot taken over on purpose
/// (`--adopt-slot`, `--accept-gap`).
///
/// # Errors
///
/// Any of SQLite's.
pub fn restart_at(connection: &Connection, received: Lsn, confirmed: Lsn) -> rusqlite::Result<()> {
    let sql = "UPDATE meta SET received = ?1, confirmed = ?2";
    connection.prepare(sql)?.execute([received, confirmed].map(lsn_to_sql)).map(drop)
}
