//! Nothing is lost: each story of a stream that lost changes, told to walgate over the whole road.
//!
//! The stories are the bugs of others, by their numbers in the comments: D1 to D25.

mod answers;
mod confirmed;
mod connection;
mod keys;
mod outages;
mod resumed;
mod source;
mod values;

use serde_json::Value;
use walgate::demo::cluster::{Builder, Cluster};
use walgate::lsn::{Lsn, Position};
use walgate::progress::store;

use crate::support::process::{Walgate, eventually};
use crate::support::receiver::{Event, Journal, Receiver};
use crate::support::road::{PATIENCE, Road, http, route};

/// A published table `t (id, v)`, and `noise`, which is not published.
const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE noise (v text);
                      CREATE PUBLICATION walgate FOR TABLE t";

/// Retries that do not keep a test waiting.
const BRISK: &str = "retry = { initial = \"20ms\", max = \"100ms\" }\n\
                     breaker = { cooldown = \"100ms\" }\nhalt_probe = \"200ms\"";

/// A road of [`SCHEMA`] on a version, that streams. A stop waits for nothing that hangs.
#[track_caller]
fn road(major: u32, sinks: &[String]) -> Road {
    road_of(Cluster::builder().major(major), sinks)
}

#[track_caller]
fn road_of(builder: Builder, sinks: &[String]) -> Road {
    let mut road = Road::bare(builder, SCHEMA);
    road.configure_as(QUICK_STOP, "", &sinks.concat());
    road.start();
    road
}

const QUICK_STOP: &str = "shutdown_grace = \"1s\"";

/// An HTTP sink with a route of table `t`; `keys` are lines of the sink.
fn sink(name: &str, receiver: &Receiver, keys: &str) -> String {
    http(name, &receiver.url("/events"), keys) + &route("t", name)
}

fn commit_lsn(event: &Event) -> Lsn {
    event.0["commit"]["lsn"].as_str().unwrap().parse().unwrap()
}

/// The column `id` of the event's row.
fn id(event: &Event) -> i64 {
    [&event.0["data"]["id"], &event.0["key"]["id"]].into_iter().find_map(Value::as_i64).unwrap()
}

/// Whether each of these rows was processed at least once.
fn has_all(journal: &Journal, ids: impl IntoIterator<Item = i64>) -> bool {
    let seen: std::collections::BTreeSet<i64> = journal.events().iter().map(id).collect();
    ids.into_iter().all(|id| seen.contains(&id))
}

/// Reads the state beside the running instance.
fn state<T>(walgate: &Walgate, read: impl FnOnce(&rusqlite::Connection) -> T) -> T {
    let path = walgate.folder().join("walgate-state/walgate.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    read(&connection)
}

/// Reads rows beside the running instance, as text with `|` between the columns.
fn rows_of(walgate: &Walgate, sql: &str) -> Vec<String> {
    use rusqlite::types::Value;
    let text = |value: Value| match value {
        Value::Null => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text,
        Value::Blob(bytes) => format!("{} bytes", bytes.len()),
    };
    state(walgate, |connection| {
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            let cells: Vec<_> =
                (0..columns).map(|i| row.get(i).map(text)).collect::<Result<_, _>>()?;
            Ok(cells.join("|"))
        });
        rows.unwrap().map(Result::unwrap).collect()
    })
}

/// The state of a sink, as a running instance reports it at least every second.
fn sink_state(walgate: &Walgate, name: &str) -> String {
    let document = walgate.status();
    let sinks = document["sinks"].as_array().cloned().unwrap_or_default();
    let sink = sinks.into_iter().find(|sink| sink["name"] == name).unwrap_or_default();
    sink["state"].as_str().unwrap_or_default().to_owned()
}

/// Keeps walgate from storing anything until dropped.
fn lock_state(walgate: &Walgate) -> rusqlite::Connection {
    let path = walgate.folder().join("walgate-state/walgate.db");
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

/// The lowest position that a sink is not known to have done.
fn floor(walgate: &Walgate, sink: &str) -> Position {
    let stored = state(walgate, |connection| store::load_all(connection).unwrap());
    stored[sink].reached.floor
}

/// How many events a sink is stored to have acknowledged.
fn delivered(walgate: &Walgate, sink: &str) -> usize {
    let stored = state(walgate, |connection| store::load_all(connection).unwrap());
    stored[sink].delivered.try_into().unwrap()
}
