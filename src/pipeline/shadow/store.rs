//! Where figures are kept. Functions to run inside `State::write` and `State::read`.

use std::sync::Arc;

use rusqlite::Connection;

use super::tally::Figures;
use crate::lsn::Timestamp;
use crate::mapping::Mapping;

/// What is known of one mapping's next version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The mapping.
    pub name: String,
    /// The version that delivers.
    pub version: u32,
    /// The one beside it.
    pub next_version: u32,
    /// Since when they are compared.
    pub since: Timestamp,
    /// When that was stored.
    pub updated_at: Timestamp,
    /// How they compare.
    pub figures: Figures,
}

/// Begins anew where either version is not what the figures are of, and forgets mappings that have
/// no next version any more.
pub(in crate::pipeline) fn begin(
    connection: &Connection,
    mappings: &[Arc<Mapping>],
    nexts: &[Arc<Mapping>],
    now: Timestamp,
) -> rusqlite::Result<()> {
    let names: Vec<String> = connection
        .prepare("SELECT name FROM shadows")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let has = |all: &[Arc<Mapping>], name: &str| all.iter().any(|mapping| mapping.name == name);
    for name in names.iter().filter(|name| !has(nexts, name) || !has(mappings, name)) {
        connection.execute("DELETE FROM shadows WHERE name = ?1", [name])?;
    }
    for next in nexts {
        let Some(present) = mappings.iter().find(|mapping| mapping.name == next.name) else {
            continue;
        };
        let sql = "INSERT INTO shadows (name, version, hash, next_version, next_hash, since,
                       updated_at, figures) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, '{}')
                   ON CONFLICT (name) DO UPDATE SET version = excluded.version,
                       hash = excluded.hash, next_version = excluded.next_version,
                       next_hash = excluded.next_hash, since = excluded.since,
                       updated_at = excluded.updated_at, figures = excluded.figures
                   WHERE hash <> excluded.hash OR next_hash <> excluded.next_hash
                       OR version <> excluded.version OR next_version <> excluded.next_version";
        let (version, hash) = (present.version, present.hash());
        let values = (&next.name, version, hash, next.version, next.hash(), now.unix_micros());
        connection.prepare(sql)?.execute(values)?;
    }
    Ok(())
}

/// Stores figures in place of those before.
pub(super) fn save(
    connection: &Connection,
    name: &str,
    figures: &Figures,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let figures = serde_json::to_string(figures)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let sql = "UPDATE shadows SET figures = ?2, updated_at = ?3 WHERE name = ?1";
    connection.prepare(sql)?.execute((name, figures, now.unix_micros())).map(drop)
}

/// Returns what is known of every mapping's next version, by name.
///
/// # Errors
/// Any of SQLite's.
pub fn load(connection: &Connection) -> rusqlite::Result<Vec<Stored>> {
    let sql = "SELECT name, version, next_version, since, updated_at, figures FROM shadows
               ORDER BY name";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let figures: String = row.get(5)?;
        Ok(Stored {
            name: row.get(0)?,
            version: row.get(1)?,
            next_version: row.get(2)?,
            since: Timestamp::from_unix_micros(row.get(3)?),
            updated_at: Timestamp::from_unix_micros(row.get(4)?),
            figures: serde_json::from_str(&figures).unwrap_or_default(),
        })
    })?;
    rows.collect()
}
