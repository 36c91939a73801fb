//! What of a [`Filter`](super::Filter) names something: so that a slip is told from nothing found.

use rusqlite::Connection;

/// Returns the sinks and the routes that events were set aside of, whatever became of them.
///
/// # Errors
/// Any of SQLite's.
pub fn owners(connection: &Connection) -> rusqlite::Result<(Vec<String>, Vec<String>)> {
    let names = |sql: &str| -> rusqlite::Result<Vec<String>> {
        connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
    };
    let sinks = names("SELECT DISTINCT sink FROM dead_letters ORDER BY 1")?;
    Ok((sinks, names("SELECT DISTINCT route FROM dead_letters ORDER BY 1")?))
}

/// Returns those of `ids` that nothing set aside has as its number, in their order.
///
/// # Errors
/// Any of SQLite's.
pub fn missing(connection: &Connection, ids: &[i64]) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare("SELECT 1 FROM dead_letters WHERE id = ?1")?;
    let mut missing = Vec::new();
    for id in ids {
        if !statement.exists([id])? {
            missing.push(*id);
        }
    }
    Ok(missing)
}
