//! By which name each table was first known, and what it is called by now. Functions to run inside `State::write` and
//! `State::read`.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::lsn::Oid;
use crate::relation::TableName;

/// The names of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// By which it was first known.
    pub first: TableName,
    /// By which it was last known.
    pub now: TableName,
}

/// Returns the names of each table.
///
/// # Errors
/// Any of SQLite's.
pub fn load(connection: &Connection) -> rusqlite::Result<BTreeMap<Oid, Named>> {
    let sql = "SELECT oid, namespace, name, now_in, now FROM tables";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let first = TableName { namespace: row.get(1)?, name: row.get(2)? };
        let now = TableName { namespace: row.get(3)?, name: row.get(4)? };
        Ok((Oid(row.get(0)?), Named { first, now }))
    })?;
    rows.collect()
}

/// Stores what has `changed` of the names of tables; none: it is known by none any more.
///
/// # Errors
/// Any of SQLite's.
pub fn save(
    connection: &Connection,
    changed: &BTreeMap<Oid, Option<Named>>,
) -> rusqlite::Result<()> {
    let mut forget = connection.prepare("DELETE FROM tables WHERE oid = ?1")?;
    let sql = "INSERT OR REPLACE INTO tables (oid, namespace, name, now_in, now)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut store = connection.prepare(sql)?;
    changed.iter().try_for_each(|(oid, named)| match named {
        None => forget.execute([oid.0]).map(drop),
        Some(Named { first, now }) => {
            let row = (oid.0, &first.namespace, &first.name, &now.namespace, &now.name);
            store.execute(row).map(drop)
        }
    })
}
