//! The `elasticsearch` sink, against a stand-in of a cluster.

mod answers;
mod faults;
mod upsert;

use serde_json::{Map, Value};
use walgate::demo::cluster;

use super::fakes::Fake;
use super::fakes::elasticsearch::{Cluster, sorted};
use super::postgres::BRISK;
use crate::support::process::eventually;
use crate::support::road::{PATIENCE, Road};

/// The config of a pipeline: `sink` are keys of the sink, `more` of the kind, `route` of the route.
fn config(url: &str, sink: &str, more: &str, route: &str) -> String {
    format!(
        "[sink.far]\n{BRISK}\n{sink}\n[sink.far.elasticsearch]\nurl = \"{url}\"\n{more}\n\
         [[route]]\nname = \"all\"\ntable = \"public.*\"\nsink = \"far\"\n{route}\n"
    )
}

fn road(far: &Fake<Cluster>, schema: &str, route: &str) -> Road {
    let road = Road::quiet(cluster::Cluster::builder(), schema, &config(&far.url(), "", "", route));
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    road
}

/// The rows of a table, as documents.
fn rows(road: &Road, table: &str) -> Vec<String> {
    let sql = format!("SELECT coalesce(json_agg(x), '[]') FROM {table} x");
    let rows: Vec<Map<String, Value>> = serde_json::from_str(&road.value(&sql)).unwrap();
    let mut rows: Vec<String> = rows.iter().map(sorted).collect();
    rows.sort_unstable();
    rows
}

/// Waits for what was committed so far and the loads, then holds an index against its table.
#[track_caller]
fn is_equal(road: &Road, far: &Fake<Cluster>, table: &str) {
    road.confirms(&road.wal_end());
    let rows = rows(road, table);
    let mut found = Vec::new();
    let wait = std::time::Instant::now();
    eventually(table, PATIENCE, || {
        found = far.state().documents(table);
        found == rows || wait.elapsed() > PATIENCE / 2
    });
    let only = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|row| !other.contains(row)).take(5).cloned().collect()
    };
    let different = (only(&rows, &found), only(&found, &rows));
    assert_eq!(found.len(), rows.len(), "{table}: {different:?}");
    assert_eq!(different, (vec![], vec![]), "{table}: only here, only there");
}
