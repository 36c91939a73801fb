//! Which sinks and routes have run: one that the config no longer has is asked about, not
//! forgotten. Functions to run inside `State::write` and `State::read`.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::lsn::Timestamp;

/// What can be known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A sink.
    Sink,
    /// A route.
    Route,
}

impl Kind {
    /// Returns the word that the database and the command line have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sink => "sink",
            Self::Route => "route",
        }
    }
}

/// Remembers a sink or a route; `sink` is the route's.
///
/// # Errors
///
/// Any of SQLite's.
pub fn remember(
    connection: &Connection,
    kind: Kind,
    name: &str,
    sink: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO known (kind, name, detail, first_seen) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (kind, name) DO UPDATE SET detail = excluded.detail";
    connection.prepare(sql)?.execute((kind.as_str(), name, sink, now.unix_micros())).map(drop)
}

/// Returns what is known, with the sink of each route.
///
/// # Errors
///
/// Any of SQLite's.
pub fn load(connection: &Connection) -> rusqlite::Result<Vec<(Kind, String, String)>> {
    // An earlier version stored a sink's progress only.
    let sql = "SELECT kind, name, detail FROM known
               UNION SELECT 'sink', sink, '' FROM progress ORDER BY 1 DESC, 2";
    let kind = |word: String| if word == "route" { Kind::Route } else { Kind::Sink };
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((kind(row.get(0)?), row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

/// Returns when each sink was first seen.
///
/// # Errors
///
/// Any of SQLite's.
pub fn first_seen(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Timestamp>> {
    let sql = "SELECT name, first_seen FROM known WHERE kind = 'sink'";
    let mut statement = connection.prepare(sql)?;
    let seen =
        |row: &rusqlite::Row<'_>| Ok((row.get(0)?, Timestamp::from_unix_micros(row.get(1)?)));
    statement.query_map([], seen)?.collect()
}

/// Returns what each route was called before, where it was.
///
/// # Errors
///
/// Any of SQLite's.
pub fn former_names(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Vec<String>>> {
    let sql = "SELECT name, formerly FROM known WHERE kind = 'route' AND formerly <> '[]'";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let formerly: String = row.get(1)?;
        Ok((row.get(0)?, serde_json::from_str(&formerly).unwrap_or_default()))
    })?;
    rows.collect()
}

/// Says that a route is held, and why; none: lets it go, with whatever shape its tables have.
///
/// # Errors
///
/// Any of SQLite's.
pub fn hold(connection: &Connection, route: &str, why: Option<&str>) -> rusqlite::Result<()> {
    if why.is_none() {
        super::shapes::forget(connection, route)?;
    }
    let sql = "UPDATE known SET held = ?2 WHERE kind = 'route' AND name = ?1";
    connection.prepare(sql)?.execute((route, why)).map(drop)
}

/// Returns the routes that a person holds.
///
/// # Errors
///
/// Any of SQLite's.
pub fn held(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM known WHERE kind = 'route' AND held IS NOT NULL ORDER BY name";
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// A route that is held, and what waits for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldRoute {
    /// Its name.
    pub route: String,
    /// Its sink.
    pub sink: String,
    /// Why: what a person gave, or how a table changed; empty where nobody said.
    pub why: String,
    /// How many of its events wait.
    pub waiting: u64,
}

/// Returns the routes that are held, with what waits for each.
///
/// # Errors
///
/// Any of SQLite's.
pub fn held_back(connection: &Connection) -> rusqlite::Result<Vec<HeldRoute>> {
    let sql = "SELECT name, detail, held, (SELECT count(*) FROM dead_letters
                   WHERE sink = detail AND route = name
                       AND state IN ('blocked', 'retrying', 'replaying'))
               FROM known WHERE kind = 'route' AND held IS NOT NULL ORDER BY name";
    let held = |row: &rusqlite::Row<'_>| {
        let waiting: i64 = row.get(3)?;
        let (route, sink, why) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(HeldRoute { route, sink, why, waiting: waiting.cast_unsigned() })
    };
    connection.prepare(sql)?.query_map([], held)?.collect()
}

/// Forgets a sink with its routes and its progress, or a route.
///
/// # Errors
///
/// Any of SQLite's.
pub fn forget(connection: &Connection, kind: Kind, name: &str) -> rusqlite::Result<()> {
    let gone: Vec<String> = match kind {
        Kind::Route => vec![name.to_owned()],
        Kind::Sink => {
            let sql = "SELECT name FROM known WHERE kind = 'route' AND detail = ?1";
            let mut statement = connection.prepare(sql)?;
            let routes = statement.query_map([name], |row| row.get(0))?;
            routes.collect::<rusqlite::Result<_>>()?
        }
    };
    for route in &gone {
        super::shapes::forget(connection, route)?;
        super::load::forget_route(connection, route)?;
    }
    let sql = "DELETE FROM known WHERE kind = ?1 AND name = ?2";
    connection.execute(sql, (kind.as_str(), name))?;
    if kind == Kind::Sink {
        connection.execute("DELETE FROM known WHERE kind = 'route' AND detail = ?1", [name])?;
        connection.execute("DELETE FROM batches WHERE sink = ?1", [name])?;
        connection.execute("DELETE FROM loads WHERE sink = ?1", [name])?;
        connection.execute("DELETE FROM history WHERE sink = ?1", [name])?;
        super::store::forget(connection, name)?;
    }
    Ok(())
}

/// Gives a sink or a route another name, under which all goes on.
///
/// # Errors
///
/// Any of SQLite's.
pub fn rename(connection: &Connection, kind: Kind, old: &str, new: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE known SET name = ?3, formerly = json_insert(formerly, '$[#]', name)
               WHERE kind = ?1 AND name = ?2";
    connection.execute(sql, (kind.as_str(), old, new))?;
    match kind {
        Kind::Sink => {
            let sql = "UPDATE known SET detail = ?2 WHERE kind = 'route' AND detail = ?1";
            connection.execute(sql, (old, new))?;
            for table in ["progress", "batches", "loads", "history"] {
                let sql = format!("UPDATE {table} SET sink = ?2 WHERE sink = ?1");
                connection.execute(&sql, (old, new))?;
            }
        }
        Kind::Route => {
            connection.execute("UPDATE shapes SET route = ?2 WHERE route = ?1", (old, new))?;
            super::load::rename_route(connection, old, new)?;
        }
    }
    Ok(())
}
