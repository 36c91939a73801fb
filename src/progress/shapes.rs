//! The shapes of tables that a person knows of, for routes that are held when one changes.
//! Functions to run inside `State::write` and `State::read`.

use rusqlite::Connection;

use crate::lsn::Oid;

/// What a route knows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The route.
    pub route: String,
    /// The table.
    pub table: Oid,
    /// Its columns and key, as JSON.
    pub shape: String,
}

/// Stores what a route knows of a table from now on.
///
/// # Errors
/// Any of SQLite's.
pub fn save(connection: &Connection, shape: &Shape) -> rusqlite::Result<()> {
    let sql = "INSERT INTO shapes (route, relation, shape) VALUES (?1, ?2, ?3)
               ON CONFLICT (route, relation) DO UPDATE SET shape = excluded.shape";
    connection.prepare(sql)?.execute((&shape.route, shape.table.0, &shape.shape)).map(drop)
}

/// Returns what every route knows.
///
/// # Errors
/// Any of SQLite's.
pub fn load(connection: &Connection) -> rusqlite::Result<Vec<Shape>> {
    let mut statement = connection.prepare("SELECT route, relation, shape FROM shapes")?;
    let rows = statement.query_map([], |row| {
        Ok(Shape { route: row.get(0)?, table: Oid(row.get(1)?), shape: row.get(2)? })
    })?;
    rows.collect()
}

/// Forgets what a route knows: the next shape of each table will do.
///
/// # Errors
/// Any of SQLite's.
pub fn forget(connection: &Connection, route: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM shapes WHERE route = ?1", [route]).map(drop)
}
