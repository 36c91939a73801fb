//! The `clickhouse` sink, against ClickHouse's own engine.

mod answers;
mod append;
mod faults;
pub(crate) mod server;
mod upsert;

use std::time::Instant;

use walgate::demo::cluster::Cluster;

use self::server::{PASSWORD, Server};
use super::postgres::BRISK;
use crate::support::process::eventually;
use crate::support::road::{PATIENCE, Road};

/// A source, ClickHouse, and walgate between them. Walgate ends before both.
struct Warehouse {
    road: Road,
    far: Server,
}

/// What a test sets.
#[derive(Clone, Copy, Default)]
struct Set<'a> {
    /// Of the source.
    schema: &'a str,
    /// Of ClickHouse.
    far_schema: &'a str,
    /// Keys of its table.
    clickhouse: &'a str,
    /// Keys of the route.
    route: &'a str,
}

impl Warehouse {
    /// Starts everything; walgate streams.
    #[track_caller]
    fn start(set: Set<'_>) -> Self {
        let mut warehouse = Self::quiet(set);
        warehouse.road.start();
        warehouse
    }

    /// As [`Warehouse::start`], without walgate.
    #[track_caller]
    fn quiet(set: Set<'_>) -> Self {
        let road = Road::bare(Cluster::builder(), set.schema);
        road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
        let warehouse = Self { road, far: Server::start(set.far_schema) };
        warehouse.configure(set);
        warehouse
    }

    fn configure(&self, set: Set<'_>) {
        let Set { clickhouse, route, .. } = set;
        self.road.configure(&format!(
            "[sink.far]\n{BRISK}\n[sink.far.clickhouse]\nurl = \"{}\"\npassword = \"{PASSWORD}\"\n\
             {clickhouse}\n[[route]]\nname = \"all\"\ntable = \"public.*\"\nsink = \"far\"\n{route}\n",
            self.far.url()
        ));
    }

    /// Waits until all that was committed so far is there.
    #[track_caller]
    fn catches_up(&self) {
        self.road.confirms(&self.road.wal_end());
    }

    /// Waits for what was committed so far and the loads, then holds a query here against one
    /// there.
    #[track_caller]
    fn is_equal(&self, here: &str, there: &str) {
        self.catches_up();
        let deadline = Instant::now() + PATIENCE;
        let here = self.road.value(here);
        let mut found = String::new();
        eventually(there, PATIENCE, || {
            found = self.far.value(there);
            found == here || Instant::now() >= deadline
        });
        assert_eq!(found, here, "{there}");
    }

    /// Waits until the sink halts with such a reason.
    #[track_caller]
    fn halts(&self, reason: &str) {
        eventually(reason, PATIENCE, || {
            let status = self.road.walgate.status();
            let sink = &status["sinks"][0];
            sink["state"] == "halted" && sink["reason"].to_string().contains(reason)
        });
    }
}
