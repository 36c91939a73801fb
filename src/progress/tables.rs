//! By which name each table was first known. Functions to run inside `State::write` and
//! `State::read`.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::lsn::Oid;
use crate::relation::TableName;

/// Returns the first name of each table.
///
/// # Errors
/// Any of SQLite's.
pub fn load(connection: &Connection) -> rusqlite::Result<BTreeMap<Oid, TableName>> {
    let mut statement = connection.prepare("SELECT oid, namespace, name FROM tables")?;
    let rows = statement.query_map([], |row| {
        Ok((Oid(row.get(0)?), TableName { namespace: row.get(1)?, name: row.get(2)? }))
    })?;
    rows.collect()
}

/// Stores the first name of each table, in place of what was stored before.
///
/// # Errors
/// Any of SQLite's.
pub fn save(connection: &Connection, names: &BTreeMap<Oid, TableName>) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM tables", [])?;
    let sql = "INSERT INTO tables (oid, namespace, name) VALUES (?1, ?2, ?3)";
    let mut statement = connection.prepare(sql)?;
    names.iter().try_for_each(|(oid, name)| {
        statement.execute((oid.0, &name.namespace, &name.name)).map(drop)
    })
}
