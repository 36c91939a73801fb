//! Loads of rows that were there before: what is wanted, and how far each is. Functions to run
//! inside `State::write` and `State::read`.

use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use crate::lsn::{Oid, Timestamp};

/// How a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadState {
    /// It goes on, or waits for its turn.
    Running,
    /// A person stopped it for a while.
    Paused,
    /// Every row was read.
    Done,
    /// A person gave it up.
    Cancelled,
    /// It can't be done.
    Failed,
}

impl LoadState {
    const ALL: [Self; 5] = [Self::Running, Self::Paused, Self::Done, Self::Cancelled, Self::Failed];

    /// Returns the word that the database and the command line have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Whether it may still go on.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// A load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its number.
    pub id: i64,
    /// The table, as SQL would quote it.
    pub table: String,
    /// Its oid; none until it was found.
    pub relation: Option<Oid>,
    /// The one sink that it was asked for; none: every one that wants the table.
    pub sink: Option<String>,
    /// The routes that it is for.
    pub routes: Vec<String>,
    /// A condition in SQL that rows have to meet.
    pub filter: Option<String>,
    /// Keys that the journal has and the table has not are deleted at its end.
    pub sweep: bool,
    /// How it is.
    pub state: LoadState,
    /// Why it does not go on, where that is so.
    pub reason: Option<String>,
    /// Where the next piece begins, as JSON; none: with the first row.
    pub cursor: Option<String>,
    /// Rows that were handed to the journal.
    pub rows: u64,
    /// About how many there are.
    pub total_estimate: Option<u64>,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// See [`Load::table`].
    pub table: String,
    /// See [`Load::sink`].
    pub sink: Option<String>,
    /// See [`Load::routes`].
    pub routes: Vec<String>,
    /// See [`Load::filter`].
    pub filter: Option<String>,
    /// See [`Load::sweep`].
    pub sweep: bool,
}

/// Stores a load and returns its number.
///
/// # Errors
/// Any of SQLite's.
pub fn add(connection: &Connection, wanted: &Wanted, now: Timestamp) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO loads
                   (\"table\", sink, routes, \"where\", sweep, state, started_at, updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, 'running', ?6, ?6)";
    let routes = serde_json::to_string(&wanted.routes).unwrap_or_default();
    let Wanted { table, sink, filter, sweep, .. } = wanted;
    connection.prepare(sql)?.insert((table, sink, routes, filter, sweep, now.unix_micros()))
}

/// Stores what a person asks for: of one table, or of every table of the routes.
///
/// # Errors
/// Any of SQLite's.
pub fn want(
    connection: &Connection,
    wanted: Option<&Wanted>,
    routes: &[String],
    now: Timestamp,
) -> rusqlite::Result<()> {
    match wanted {
        Some(wanted) => add(connection, wanted, now).map(drop),
        None => routes.iter().try_for_each(|route| plan(connection, route)),
    }
}

const COLUMNS: &str = "id, \"table\", sink, routes, \"where\", state, reason, \"cursor\", rows,
                       total_estimate, started_at, updated_at, sweep, relation";

fn read(row: &Row<'_>) -> rusqlite::Result<Load> {
    let routes: String = row.get(3)?;
    let word: String = row.get(5)?;
    let state = LoadState::ALL.into_iter().find(|state| state.as_str() == word);
    Ok(Load {
        id: row.get(0)?,
        table: row.get(1)?,
        relation: row.get::<_, Option<u32>>(13)?.map(Oid),
        sink: row.get(2)?,
        routes: serde_json::from_str(&routes).unwrap_or_default(),
        filter: row.get(4)?,
        sweep: row.get(12)?,
        state: state.unwrap_or(LoadState::Failed),
        reason: row.get(6)?,
        cursor: row.get(7)?,
        rows: row.get::<_, i64>(8)?.cast_unsigned(),
        total_estimate: row.get::<_, Option<i64>>(9)?.map(i64::cast_unsigned),
        started_at: Timestamp::from_unix_micros(row.get(10)?),
        updated_at: Timestamp::from_unix_micros(row.get(11)?),
    })
}

/// Returns the loads, oldest first; those alone that may still go on where `open`.
///
/// # Errors
/// Any of SQLite's.
pub fn all(connection: &Connection, open: bool) -> rusqlite::Result<Vec<Load>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM loads WHERE NOT ?1 OR state IN ('running', 'paused') ORDER BY id"
    );
    connection.prepare(&sql)?.query_map([open], read)?.collect()
}

/// Returns a load; none without one of that number.
///
/// # Errors
/// Any of SQLite's.
pub fn get(connection: &Connection, id: i64) -> rusqlite::Result<Option<Load>> {
    let sql = format!("SELECT {COLUMNS} FROM loads WHERE id = ?1");
    connection.prepare(&sql)?.query_row([id], read).optional()
}

/// Changes how a load is, where it is not over. Returns whether it was.
///
/// # Errors
/// Any of SQLite's.
pub fn turn(
    connection: &Connection,
    id: i64,
    state: LoadState,
    reason: Option<&str>,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    // One that failed may be taken up again.
    let sql = "UPDATE loads SET state = ?2, reason = ?3, updated_at = ?4
               WHERE id = ?1 AND (state IN ('running', 'paused')
                                  OR (state = 'failed' AND ?2 IN ('running', 'cancelled')))";
    let values = (id, state.as_str(), reason, now.unix_micros());
    Ok(connection.prepare(sql)?.execute(values)? > 0)
}

/// Changes how loads are, those that are not over.
///
/// # Errors
/// Any of SQLite's.
pub fn turn_all(
    connection: &Connection,
    ids: &[i64],
    state: LoadState,
    now: Timestamp,
) -> rusqlite::Result<()> {
    ids.iter().try_for_each(|id| turn(connection, *id, state, None, now).map(drop))
}

/// Notes why a load waits; none: it goes on.
///
/// # Errors
/// Any of SQLite's.
pub fn note(connection: &Connection, id: i64, reason: Option<&str>) -> rusqlite::Result<()> {
    let sql =
        "UPDATE loads SET reason = ?2 WHERE id = ?1 AND state = 'running' AND reason IS NOT ?2";
    connection.prepare(sql)?.execute((id, reason)).map(drop)
}

/// Notes which table a load is of, and about how many rows that has. Another than before is read
/// from its first row.
///
/// # Errors
/// Any of SQLite's.
pub fn found(
    connection: &Connection,
    id: i64,
    table: Oid,
    rows: Option<u64>,
) -> rusqlite::Result<()> {
    let sql = "UPDATE loads SET relation = ?2, total_estimate = ?3,
                      \"cursor\" = CASE WHEN coalesce(relation, ?2) = ?2 THEN \"cursor\" END,
                      rows = CASE WHEN coalesce(relation, ?2) = ?2 THEN rows ELSE 0 END
               WHERE id = ?1";
    let other = "UPDATE pieces SET \"before\" = NULL, rows = 0
                 WHERE load = ?1 AND (SELECT relation FROM loads WHERE id = ?1) <> ?2";
    connection.prepare(other)?.execute((id, table.0))?;
    connection.prepare(sql)?.execute((id, table.0, rows.map(u64::cast_signed))).map(drop)
}

/// How far a load came with a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The load.
    pub load: i64,
    /// Rows in the piece.
    pub rows: u64,
    /// Where the next one begins; none: that was the last.
    pub next: Option<String>,
}

/// Notes how far a load came. One that was paused or cancelled meanwhile stays so.
///
/// # Errors
/// Any of SQLite's.
pub fn step(connection: &Connection, step: &Step, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "UPDATE loads SET rows = rows + ?2, \"cursor\" = ?3, updated_at = ?4, reason = NULL,
                      state = CASE WHEN ?3 IS NULL AND state IN ('running', 'paused') THEN 'done'
                                   ELSE state END
               WHERE id = ?1";
    let rows = step.rows.cast_signed();
    let values = (step.load, rows, &step.next, now.unix_micros());
    connection.prepare(sql)?.execute(values).map(drop)
}

/// Says that a new route begins with the rows that are there.
///
/// # Errors
/// Any of SQLite's.
pub fn plan(connection: &Connection, route: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE known SET to_load = 1 WHERE kind = 'route' AND name = ?1";
    connection.prepare(sql)?.execute([route]).map(drop)
}

/// Returns the routes whose tables are not among the loads yet.
///
/// # Errors
/// Any of SQLite's.
pub fn planned(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM known WHERE kind = 'route' AND to_load = 1 ORDER BY name";
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// Stores the loads of routes that were planned.
///
/// # Errors
/// Any of SQLite's.
pub fn begin(
    connection: &Connection,
    routes: &[String],
    wanted: &[Wanted],
    now: Timestamp,
) -> rusqlite::Result<()> {
    wanted.iter().try_for_each(|wanted| add(connection, wanted, now).map(drop))?;
    let sql = "UPDATE known SET to_load = 0 WHERE kind = 'route' AND name = ?1";
    let mut statement = connection.prepare(sql)?;
    routes.iter().try_for_each(|route| statement.execute([route]).map(drop))
}

/// Gives a route another name in what is still to be loaded for it.
pub(super) fn rename_route(connection: &Connection, old: &str, new: &str) -> rusqlite::Result<()> {
    for mut load in all(connection, false)? {
        if let Some(route) = load.routes.iter_mut().find(|route| *route == old) {
            new.clone_into(route);
            let routes = serde_json::to_string(&load.routes).unwrap_or_default();
            let sql = "UPDATE loads SET routes = ?2 WHERE id = ?1";
            connection.prepare(sql)?.execute((load.id, routes))?;
        }
    }
    Ok(())
}

/// Leaves a route out of what is still to be loaded; what was for it alone is given up.
pub(super) fn forget_route(connection: &Connection, route: &str) -> rusqlite::Result<()> {
    for mut load in all(connection, false)? {
        let before = load.routes.len();
        load.routes.retain(|other| other != route);
        if load.routes.len() == before {
            continue;
        }
        let routes = serde_json::to_string(&load.routes).unwrap_or_default();
        let sql = "UPDATE loads SET routes = ?2,
                          state = CASE WHEN ?3 AND state IN ('running', 'paused', 'failed')
                                       THEN 'cancelled' ELSE state END
                   WHERE id = ?1";
        connection.prepare(sql)?.execute((load.id, routes, load.routes.is_empty()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    fn wanted(table: &str) -> Wanted {
        let routes = vec!["a".to_owned(), "b".to_owned()];
        Wanted {
            table: table.to_owned(),
            sink: None,
            routes,
            filter: Some("x > 1".to_owned()),
            sweep: true,
        }
    }

    fn within<T>(work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static) -> T
    where
        T: Send + 'static,
    {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state")).unwrap();
        state.write_blocking(work).unwrap()
    }

    #[test]
    fn a_load_goes_on_where_its_last_piece_ended_and_ends_with_the_last_row() {
        within(|connection| {
            let at = Timestamp::now();
            let id = add(connection, &wanted("public.t"), at)?;
            let next = Some("{}".to_owned());
            step(connection, &Step { load: id, rows: 10, next: next.clone() }, at)?;
            let load = get(connection, id)?.unwrap();
            assert_eq!(
                (load.rows, load.cursor, load.state),
                (10, next.clone(), LoadState::Running)
            );
            assert!(turn(connection, id, LoadState::Paused, None, at)?);
            step(connection, &Step { load: id, rows: 1, next }, at)?;
            assert_eq!(get(connection, id)?.unwrap().state, LoadState::Paused, "stays so");
            step(connection, &Step { load: id, rows: 1, next: None }, at)?;
            let load = get(connection, id)?.unwrap();
            assert_eq!((load.rows, load.state), (12, LoadState::Done));
            assert!(!turn(connection, id, LoadState::Running, None, at)?, "it is over");
            assert_eq!(all(connection, true)?, []);
            assert_eq!(all(connection, false)?.len(), 1);
            Ok(())
        });
    }

    #[test]
    fn a_route_that_is_planned_becomes_loads_and_keeps_them_under_another_name() {
        within(|connection| {
            use crate::progress::known::{self, Kind};
            let at = Timestamp::now();
            known::remember(connection, Kind::Route, "a", "far", at)?;
            plan(connection, "a")?;
            assert_eq!(planned(connection)?, ["a"]);
            begin(connection, &planned(connection)?, &[wanted("public.t")], at)?;
            assert!(planned(connection)?.is_empty());
            known::rename(connection, Kind::Route, "a", "new")?;
            assert_eq!(all(connection, true)?[0].routes, ["new", "b"]);
            known::remember(connection, Kind::Route, "b", "far", at)?;
            known::forget(connection, Kind::Route, "new")?;
            assert_eq!(all(connection, true)?[0].routes, ["b"]);
            known::forget(connection, Kind::Sink, "far")?;
            assert_eq!(all(connection, true)?, [], "it was for nobody else");
            Ok(())
        });
    }
}
