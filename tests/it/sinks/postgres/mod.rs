//! The `postgres` sink: a warehouse that is what the source is, whatever happens on the way.

mod append;
mod copy;
mod faults;
mod grows;
pub(super) mod upsert;
mod values;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use walgate::demo::cluster::{Builder, Cluster, Session};

use crate::support::process::pause;
use crate::support::road::{PATIENCE, Road, runtime};

/// Failures are tried again at once.
pub(super) const BRISK: &str = "retry = { initial = \"20ms\", max = \"100ms\" }\nhalt_probe = \"100ms\"\n\
                     breaker = { cooldown = \"100ms\" }\nconcurrency = 4";

/// A source, a warehouse, and walgate between them. Walgate ends before both.
struct Warehouse {
    road: Road,
    far: Cluster,
}

/// What a test sets.
#[derive(Clone, Copy)]
struct Set<'a> {
    /// Of the source.
    schema: &'a str,
    /// Of the warehouse.
    far_schema: &'a str,
    /// Keys of the sink.
    sink: &'a str,
    /// Keys of its table.
    postgres: &'a str,
    /// Keys of the route.
    route: &'a str,
}

impl Default for Set<'_> {
    fn default() -> Self {
        Self {
            schema: "CREATE TABLE t (id int PRIMARY KEY, v text)",
            far_schema: "",
            sink: BRISK,
            postgres: "evolve = true",
            route: "",
        }
    }
}

impl Warehouse {
    /// Starts everything; walgate streams.
    #[track_caller]
    fn start(set: Set<'_>) -> Self {
        let mut warehouse = Self::quiet(Cluster::builder(), set);
        warehouse.road.start();
        warehouse
    }

    /// As [`Warehouse::start`], with a server of `far` and without walgate.
    #[track_caller]
    fn quiet(far: Builder, set: Set<'_>) -> Self {
        let road = Road::bare(Cluster::builder(), set.schema);
        road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
        let far = runtime().block_on(far.start()).unwrap();
        let warehouse = Self { road, far };
        warehouse.sql(set.far_schema);
        warehouse.configure(set, &warehouse.far.url("postgres", "postgres"));
        warehouse
    }

    fn configure(&self, set: Set<'_>, url: &str) {
        let Set { sink, postgres, route, .. } = set;
        self.road.configure(&format!(
            "[sink.far]\n{sink}\n[sink.far.postgres]\nurl = \"{url}\"\n{postgres}\n\
             [[route]]\nname = \"all\"\ntable = \"public.*\"\nsink = \"far\"\n{route}\n"
        ));
    }

    /// Runs statements at the warehouse.
    #[track_caller]
    fn sql(&self, sql: &str) {
        runtime().block_on(self.far.execute(sql)).unwrap();
    }

    /// Returns the first value of a query at the warehouse.
    #[track_caller]
    fn value(&self, sql: &str) -> String {
        runtime().block_on(self.far.value(sql)).unwrap()
    }

    /// Waits until all that was committed so far is there.
    #[track_caller]
    fn catches_up(&self) {
        self.road.confirms(&self.road.wal_end());
    }

    /// Waits for what was committed so far and the loads, then holds a table against its source.
    #[track_caller]
    fn is_equal(&self, table: &str, far: &str) {
        self.catches_up();
        let deadline = Instant::now() + PATIENCE;
        let here = self.road.value(&rows(table));
        assert!(!here.is_empty(), "{table} is empty");
        loop {
            // There is no table before the load has begun.
            let there = runtime().block_on(self.far.value(&rows(far))).unwrap_or_default();
            if here == there {
                return;
            }
            let log = self.road.walgate.log();
            let difference = difference(&here, &there);
            assert!(Instant::now() < deadline, "{table}:\n{difference}\n{log}");
            pause(Duration::from_millis(50));
        }
    }
}

/// Prints every row of a table in order, exactly. The names of its columns come first.
fn rows(table: &str) -> String {
    let mut sql = String::new();
    for (name, value) in [
        ("datestyle", "ISO"),
        ("intervalstyle", "iso_8601"),
        ("timezone", "UTC"),
        ("extra_float_digits", "3"),
        ("bytea_output", "hex"),
        ("lc_monetary", "C"),
    ] {
        let _ = write!(sql, "SET {name} = '{value}';");
    }
    let _ = write!(
        sql,
        "SELECT string_agg(line, E'\\n' ORDER BY line COLLATE \"C\")
         FROM (SELECT x::text AS line FROM {table} x) lines"
    );
    sql
}

/// The lines that only one has, a few of them.
fn difference(here: &str, there: &str) -> String {
    let only = |one: &str, other: &str, mark: &str| -> Vec<String> {
        let other: std::collections::HashSet<&str> = other.lines().collect();
        let lines = one.lines().filter(|line| !other.contains(line));
        lines.take(5).map(|line| format!("{mark} {line:.300}")).collect()
    };
    [only(here, there, "source only:"), only(there, here, "warehouse only:")].concat().join("\n")
}

/// Sessions that write to the source at the same time; each runs a block of PL/pgSQL.
pub(super) struct Writers(Vec<std::thread::JoinHandle<()>>);

impl Writers {
    pub(super) fn start(road: &Road, count: usize, block: &str) -> Self {
        let url = road.cluster.url("postgres", "postgres");
        let writer = || {
            let (url, block) = (url.clone(), block.to_owned());
            std::thread::spawn(move || {
                runtime().block_on(async {
                    let session = Session::open(&url).await.unwrap();
                    session.batch_execute(&block).await.unwrap();
                });
            })
        };
        Self((0..count).map(|_| writer()).collect())
    }

    #[track_caller]
    pub(super) fn end(self) {
        for writer in self.0 {
            writer.join().unwrap();
        }
    }
}

/// How long something is left to go on.
pub(super) const A_WHILE: Duration = Duration::from_millis(300);
