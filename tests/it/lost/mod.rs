//! Nothing is lost: each story of a stream that lost changes, told to walgate over the whole road.
//!
//! The stories are the bugs of others, by their numbers in the comments: D1 to D25.

mod confirmed;

use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;
use walgate::demo::cluster::{Builder, Cluster, Stop};
use walgate::lsn::{Lsn, Position};
use walgate::progress::store;

use crate::support::process::{Walgate, eventually};
use crate::support::receiver::{Event, Journal, Receiver};

/// More than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// A server with a published table `t (id, v)`, and `noise`, which is not published.
struct Postgres {
    runtime: Runtime,
    cluster: Cluster,
}

impl Postgres {
    fn start() -> Self {
        Self::of(Cluster::builder().major(15))
    }

    fn of(builder: Builder) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let cluster = runtime.block_on(builder.start()).unwrap();
        let postgres = Self { runtime, cluster };
        postgres.sql(
            "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE noise (v text);
             CREATE PUBLICATION walgate FOR TABLE t",
        );
        postgres
    }

    #[track_caller]
    fn sql(&self, sql: &str) {
        self.runtime.block_on(self.cluster.execute(sql)).unwrap();
    }

    #[track_caller]
    fn value(&self, sql: &str) -> String {
        self.runtime.block_on(self.cluster.value(sql)).unwrap()
    }

    /// Waits until the query answers `true`.
    #[track_caller]
    fn until(&self, condition: &str) {
        let sql = format!("SELECT ({condition})::text");
        eventually(condition, PATIENCE, || self.value(&sql) == "true");
    }

    /// Waits until walgate has the slot; what commits from now on is in its stream.
    #[track_caller]
    fn until_attached(&self) {
        self.until(
            "SELECT active AND confirmed_flush_lsn IS NOT NULL
             FROM pg_replication_slots WHERE slot_name = 'walgate'",
        );
    }

    /// Waits until nobody has the slot.
    #[track_caller]
    fn until_free(&self) {
        self.until("SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'walgate'");
    }

    #[track_caller]
    fn confirmed(&self) -> Lsn {
        let sql = "SELECT confirmed_flush_lsn FROM pg_replication_slots
                   WHERE slot_name = 'walgate'";
        self.value(sql).parse().unwrap()
    }

    fn restart(&mut self, how: Stop) {
        self.runtime.block_on(self.cluster.restart(how)).unwrap();
    }

    fn url(&self) -> String {
        self.cluster.url("postgres", "postgres")
    }
}

/// A config of these sinks; each `sink()` brings its route.
fn config(source: &str, sinks: &[String]) -> String {
    format!(
        "shutdown_grace = \"1s\"\n[source]\nurl = \"{source}\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n{}",
        sinks.concat()
    )
}

/// An HTTP sink with a route of table `t`; `keys` are lines of the sink.
fn sink(name: &str, receiver: &Receiver, keys: &str) -> String {
    format!(
        "[sink.{name}]\n{keys}\n[sink.{name}.http]\nurl = \"{}\"\n\
         [[route]]\nname = \"t-to-{name}\"\ntable = \"public.t\"\nstart = \"now\"\n\
         sink = \"{name}\"\n",
        receiver.url("/events")
    )
}

/// Retries that do not keep a test waiting.
const BRISK: &str = "retry = { initial = \"20ms\", max = \"100ms\" }\n\
                     breaker = { cooldown = \"100ms\" }\nhalt_probe = \"200ms\"";

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

/// Starts `walgate run` and waits until it streams.
#[track_caller]
fn started(postgres: &Postgres, config: &str) -> Walgate {
    let mut walgate = Walgate::new(config);
    walgate.start(&[]);
    postgres.until_attached();
    walgate
}

/// Reads the state beside the running instance.
fn state<T>(walgate: &Walgate, read: impl FnOnce(&rusqlite::Connection) -> T) -> T {
    let path = walgate.folder().join("walgate-state/walgate.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    read(&connection)
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
