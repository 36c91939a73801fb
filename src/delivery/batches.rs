//! What was delivered, as rows of the state database: functions to run inside `State::write` and
//! `State::read`.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

use super::record::Record;
use crate::envelope::RouteLabel;
use crate::lsn::{Position, Timestamp};
use crate::state::{lsn_from_sql, lsn_to_sql};

/// Rows that are looked at to find the one of an event. More than one can lie before it only
/// where runs overlap.
const CANDIDATES_MAX: u32 = 16;

/// Stores what a sink acknowledged.
///
/// # Errors
/// Any of SQLite's.
pub fn store(connection: &Connection, sink: &str, rows: &[Record]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "INSERT INTO batches (sink, lane, lanes, first_lsn, first_seq, last_lsn, last_seq, count,
             requests, mappings, attempts, replay, started_at, took_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    for row in rows {
        statement.execute(params![
            sink,
            row.lane,
            row.lanes,
            lsn_to_sql(row.first.commit_lsn),
            row.first.seq,
            lsn_to_sql(row.last.commit_lsn),
            row.last.seq,
            row.count.cast_signed(),
            row.requests,
            routes_to_json(&row.routes),
            row.attempts,
            row.replay,
            row.started_us,
            row.took_us.cast_signed(),
        ])?;
    }
    Ok(())
}

/// What a sink acknowledged in one request, or in some that were noted as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The first and the last change in it.
    pub first: Position,
    /// See `first`.
    pub last: Position,
    /// Events in it.
    pub count: u64,
    /// Requests that are noted with it.
    pub requests: u32,
    /// How often these events were sent.
    pub attempts: u32,
    /// Which replay it was; 0: none.
    pub replay: u32,
    /// When it was sent.
    pub started: Timestamp,
    /// Until it was answered, in microseconds.
    pub took_us: u64,
}

/// Returns what a sink acknowledged last, newest first.
///
/// # Errors
/// Any of SQLite's.
pub fn newest(connection: &Connection, sink: &str, limit: u32) -> rusqlite::Result<Vec<Batch>> {
    let sql = "SELECT first_lsn, first_seq, last_lsn, last_seq, count, requests, attempts, replay,
                   started_at, took_us
               FROM batches WHERE id IN (SELECT id FROM batches WHERE sink = ?1
                   ORDER BY id DESC LIMIT ?2) ORDER BY id DESC";
    let mut statement = connection.prepare(sql)?;
    let batches = statement.query_map((sink, limit), |row| {
        Ok(Batch {
            first: Position::new(lsn_from_sql(row.get(0)?), row.get(1)?),
            last: Position::new(lsn_from_sql(row.get(2)?), row.get(3)?),
            count: row.get::<_, i64>(4)?.unsigned_abs(),
            requests: row.get(5)?,
            attempts: row.get(6)?,
            replay: row.get(7)?,
            started: Timestamp::from_unix_micros(row.get(8)?),
            took_us: row.get::<_, i64>(9)?.unsigned_abs(),
        })
    })?;
    batches.collect()
}

/// Forgets what lies as a whole below `begin`: the journal does not have it any more either.
///
/// # Errors
/// Any of SQLite's.
pub fn prune(connection: &Connection, begin: Position) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM batches WHERE (last_lsn, last_seq) < (?1, ?2)";
    connection.prepare(sql)?.execute((lsn_to_sql(begin.commit_lsn), begin.seq))
}

/// Gives a route another name.
///
/// # Errors
/// Any of SQLite's.
pub fn rename_route(connection: &Connection, old: &str, new: &str) -> rusqlite::Result<()> {
    // As `routes_to_json` writes it: the member's own text, and nothing that looks like it.
    let [old, new] = [old, new].map(|name| format!("{{\"route\":{}", Value::from(name)));
    let sql = "UPDATE batches SET mappings = replace(replace(mappings, ?1 || ',', ?2 || ','),
                   ?1 || '}', ?2 || '}')
               WHERE instr(mappings, ?1) > 0";
    connection.prepare(sql)?.execute((old, new)).map(drop)
}

/// Returns the row that delivered an event; none when none is known.
///
/// Of several (a repeat after a crash) it is the first; of an operator's replays only where there
/// is nothing else. `key_hash` is the one that the event's envelope has.
///
/// Dead letters come first: what waits outside its lane lies among the events of a row, too.
///
/// # Errors
/// Any of SQLite's.
pub(super) fn find(
    connection: &Connection,
    sink: &str,
    key_hash: u64,
    position: Position,
) -> rusqlite::Result<Option<Record>> {
    let mut found: Vec<(bool, u32, i64, Record)> = Vec::new();
    let mut more =
        connection.prepare("SELECT min(lanes) FROM batches WHERE sink = ?1 AND lanes > ?2")?;
    let mut rows = connection.prepare(
        "SELECT id, lane, lanes, first_lsn, first_seq, last_lsn, last_seq, count, requests,
             mappings, attempts, replay, started_at, took_us
         FROM batches
         WHERE sink = ?1 AND lanes = ?2 AND lane IS ?3 AND (last_lsn, last_seq) >= (?4, ?5)
         ORDER BY last_lsn, last_seq LIMIT ?6",
    )?;
    let mut lanes = 0;
    while let Some(next) = more.query_row((sink, lanes), |row| row.get::<_, Option<u32>>(0))? {
        lanes = next;
        for lane in [None, u32::try_from(key_hash % u64::from(lanes.max(1))).ok()] {
            let (lsn, seq) = (lsn_to_sql(position.commit_lsn), position.seq);
            let candidates = rows
                .query_map(params![sink, lanes, lane, lsn, seq, CANDIDATES_MAX], |row| {
                    Ok((row.get::<_, i64>(0)?, record(row)?))
                })?;
            for candidate in candidates {
                let (id, record) = candidate?;
                if record.first <= position && position <= record.last {
                    found.push((record.lane.is_some(), record.replay, id, record));
                }
            }
        }
    }
    let first = found.into_iter().min_by_key(|(in_lane, replay, id, _)| (*replay, *in_lane, *id));
    Ok(first.map(|(.., record)| record))
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let routes: String = row.get(9)?;
    Ok(Record {
        lane: row.get(1)?,
        lanes: row.get(2)?,
        first: Position::new(lsn_from_sql(row.get(3)?), row.get(4)?),
        last: Position::new(lsn_from_sql(row.get(5)?), row.get(6)?),
        count: row.get::<_, i64>(7)?.cast_unsigned(),
        requests: row.get(8)?,
        routes: routes_from_json(&routes),
        attempts: row.get(10)?,
        replay: row.get(11)?,
        started_us: row.get(12)?,
        took_us: row.get::<_, i64>(13)?.cast_unsigned(),
    })
}

/// `[{"route":"customers-to-crm","name":"contact","version":3}]`
fn routes_to_json(routes: &[Arc<RouteLabel>]) -> String {
    let route = |label: &Arc<RouteLabel>| match &label.mapping {
        Some((name, version)) => json!({ "route": label.name, "name": name, "version": version }),
        None => json!({ "route": label.name }),
    };
    Value::Array(routes.iter().map(route).collect()).to_string()
}

fn routes_from_json(text: &str) -> Vec<Arc<RouteLabel>> {
    let Ok(Value::Array(routes)) = serde_json::from_str(text) else { return Vec::new() };
    let route = |route: &Value| {
        let text = |name: &str| route.get(name).and_then(Value::as_str).map(str::to_owned);
        let version = route.get("version").and_then(Value::as_u64);
        let version = version.and_then(|version| u32::try_from(version).ok());
        Some(Arc::new(RouteLabel { name: text("route")?, mapping: text("name").zip(version) }))
    };
    routes.iter().filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Lsn;
    use crate::state::State;

    fn row(lane: Option<u32>, lanes: u32, first: u64, last: u64) -> Record {
        let mapped = RouteLabel { name: "a".into(), mapping: Some(("contact".into(), 3)) };
        let plain = RouteLabel { name: "b".into(), mapping: None };
        Record {
            lane,
            lanes,
            first: place(first),
            last: place(last),
            count: 2,
            requests: 1,
            routes: vec![Arc::new(mapped), Arc::new(plain)],
            attempts: 1,
            replay: 0,
            started_us: 10,
            took_us: 5,
        }
    }

    const fn place(lsn: u64) -> Position {
        Position::new(Lsn(lsn), 7)
    }

    #[tokio::test]
    async fn an_event_is_found_in_the_row_of_its_lane_until_it_is_pruned() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let rows = [
            row(Some(1), 4, 10, 19),
            row(Some(2), 4, 12, 30),
            row(Some(1), 4, 21, 40),
            // It was set aside, and went later.
            row(None, 4, 15, 15),
            // An earlier run had two lanes.
            row(Some(1), 2, 1, 5),
            Record { replay: 1, attempts: 9, ..row(Some(1), 4, 10, 40) },
        ];
        let stored = rows.clone();
        state.write(move |c| store(c, "crm", &stored)).await.unwrap();
        let look = async |hash: u64, lsn: u64| {
            state.read(move |c| find(c, "crm", hash, place(lsn))).await.unwrap()
        };
        assert_eq!(look(5, 10).await.as_ref(), Some(&rows[0]));
        assert_eq!(look(5, 12).await.as_ref(), Some(&rows[0]));
        assert_eq!(look(6, 12).await.as_ref(), Some(&rows[1]));
        assert_eq!(look(5, 15).await.as_ref(), Some(&rows[3]));
        assert_eq!(look(5, 20).await.map(|row| row.replay), Some(1));
        assert_eq!(look(5, 3).await.as_ref(), Some(&rows[4]));
        assert_eq!(look(4, 3).await, None);
        assert_eq!(look(5, 41).await, None);
        assert_eq!(state.read(|c| find(c, "other", 5, place(12))).await.unwrap(), None);
        state.write(|c| rename_route(c, "a", "new")).await.unwrap();
        state.write(|c| rename_route(c, "b", "a")).await.unwrap();
        let routes = look(5, 10).await.unwrap().routes;
        let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        assert_eq!(names, ["new", "a"]);
        state.write(|c| rename_route(c, "a", "b")).await.unwrap();
        state.write(|c| rename_route(c, "new", "a")).await.unwrap();
        assert_eq!(state.write(|c| prune(c, place(19))).await.unwrap(), 2);
        assert_eq!(look(5, 12).await.as_ref(), Some(&rows[0]));
        assert_eq!(look(5, 3).await, None);
    }
}
