//! What is large: a transaction and a load. `make soak` runs them with ten million rows and five,
//! the suite with a part of that.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use walgate::demo::cluster::Cluster;

use super::support::process::{eventually, say};
use super::support::road::{Road, T, file, route};
use super::support::state;

/// The most memory that walgate may ever hold.
const MEMORY_BYTES_MAX: u64 = 150 << 20;
/// How long each may take as a whole.
const LONG: Duration = Duration::from_secs(1800);
/// Rows that are compared at a time.
const COMPARED: usize = 100_000;

/// Returns `soak` where that was asked for, else `usual`.
fn rows(usual: usize, soak: usize) -> usize {
    if std::env::var_os("WALGATE_SOAK").is_some() { soak } else { usual }
}

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.as_str().hash(&mut hasher);
    hasher.finish()
}

/// What the sink's file says of each row, by id, and how many events were reads.
fn folded(road: &Road) -> (Vec<Option<u64>>, usize) {
    let (mut rows, mut reads) = (Vec::new(), 0);
    let file = File::open(road.walgate.folder().join("far.ndjson")).unwrap();
    for line in BufReader::new(file).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let id = |key: &str| usize::try_from(event[key]["id"].as_u64().unwrap()).unwrap();
        if event.get("before_key").is_some() {
            rows[id("before_key")] = None;
        }
        let id = id("key");
        if rows.len() <= id {
            rows.resize(id + 1, None);
        }
        reads += usize::from(event["op"] == "read");
        rows[id] = (event["op"] != "delete").then(|| hash(&event["data"]["v"]));
    }
    (rows, reads)
}

/// Holds what the sink has against the table.
#[track_caller]
fn is_equal(road: &Road, folded: &[Option<u64>]) {
    for from in (0..folded.len()).step_by(COMPARED) {
        let to = folded.len().min(from + COMPARED);
        let sql = format!(
            "SELECT coalesce(json_object_agg(id, v), '{{}}') FROM t WHERE id >= {from} AND id < {to}"
        );
        let table: Map<String, Value> = serde_json::from_str(&road.value(&sql)).unwrap();
        for (id, seen) in (from..to).zip(&folded[from..to]) {
            assert_eq!(table.get(&id.to_string()).map(hash), *seen, "row {id}");
        }
    }
    let more = format!("SELECT count(*) FROM t WHERE id >= {}", folded.len());
    assert_eq!(road.value(&more), "0", "rows that never came");
}

#[track_caller]
fn memory(road: &Road, what: &str) {
    let peak = road.walgate.peak_memory_bytes();
    say(&format!("{what}: peak memory {} MiB", peak >> 20));
    assert!(peak < MEMORY_BYTES_MAX, "{} MiB", peak >> 20);
}

#[test]
fn a_huge_transaction_is_delivered_within_the_usual_memory() {
    let rows = rows(300_000, 10_000_000);
    let builder = Cluster::builder().setting("logical_decoding_work_mem", "1MB");
    let road = Road::new(builder, T, &format!("{}{}", file("far"), route("t", "far")));
    road.sql(&format!("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, {rows}) g"));
    let (committed, end) = (Instant::now(), road.wal_end());
    eventually("all of it", LONG, || {
        road.value(&format!("SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots"))
            == "t"
    });
    memory(&road, &format!("{rows} rows in {:.1} s", committed.elapsed().as_secs_f64()));
    is_equal(&road, &folded(&road).0);
}

#[test]
fn a_large_load_that_is_killed_ten_times_is_equal_at_its_end() {
    let rows = rows(200_000, 5_000_000);
    let loads = route("t", "far").replace("start = \"now\"\n", "");
    let mut road = Road::quiet(Cluster::builder(), T, &format!("{}{loads}", file("far")));
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    road.sql(&format!("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, {rows}) g"));
    road.start();
    let began = Instant::now();
    for round in 1..=10 {
        eventually("a part of it", LONG, || {
            let sql = "SELECT coalesce(sum(rows), 0) FROM loads";
            usize::try_from(state::number(&road.walgate, sql)).unwrap() >= rows * round / 12
        });
        road.sql(&format!(
            "UPDATE t SET v = 'round {round}' WHERE id % 1000 = {round};
             DELETE FROM t WHERE id % 5000 = {round} + 20;
             UPDATE t SET id = {rows} + id WHERE id % 5000 = {round} + 40 AND id <= {rows};
             INSERT INTO t VALUES (3 * {rows} + {round}, 'new')"
        ));
        memory(&road, &format!("round {round}"));
        road.walgate.kill();
        road.start();
    }
    eventually("all is loaded", LONG, || {
        state::number(&road.walgate, "SELECT count(*) FROM loads WHERE state = 'done'") == 1
    });
    road.confirms(&road.wal_end());
    let (folded, reads) = folded(&road);
    let seconds = began.elapsed().as_secs_f64();
    say(&format!("{rows} rows loaded in {seconds:.1} s with ten kills: {reads} reads came"));
    assert!(reads > rows / 2 && reads < rows * 2, "{reads}");
    is_equal(&road, &folded);
}
