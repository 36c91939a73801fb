//! Memory, disk and pace stay within their bounds, however much comes.

use std::time::Duration;

use walgate::demo::cluster::Cluster;

use super::support::process::eventually;
use super::support::receiver::{Receiver, Reply};
use super::support::road::{Road, T, file, http, route};

/// The most memory that walgate may ever hold.
const MEMORY_BYTES_MAX: u64 = 150 << 20;
const LONG: Duration = Duration::from_secs(180);

#[test]
fn a_transaction_of_a_million_rows_stays_within_the_memory() {
    let receiver = Receiver::start();
    let sinks = [
        file("far"),
        http("near", &receiver.url("/"), "batch = { max_events = 500 }"),
        route("t", "far"),
        route("t", "near"),
    ];
    let road = Road::new(Cluster::builder().major(15), T, &sinks.concat());
    road.sql("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 1000000) g");
    let path = road.walgate.folder().join("far.ndjson");
    receiver.wait("a million rows", LONG, |journal| journal.events_processed >= 1_000_000);
    road.confirms(&road.wal_end());
    let peak = road.walgate.peak_memory_bytes();
    assert!(peak < MEMORY_BYTES_MAX, "{} MiB", peak >> 20);
    let lines = std::fs::read(path).unwrap().iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, 1_000_000);
    assert_eq!(receiver.journal().events_processed, 1_000_000);
}

#[test]
fn ten_sinks_that_hang_share_the_memory_of_one() {
    let receiver = Receiver::start();
    receiver.otherwise(Reply::hang());
    let mut config = [file("near"), route("t", "near")].concat();
    for number in 0..10 {
        let name = format!("far{number}");
        config += &http(&name, &receiver.url("/"), "batch = { max_events = 100 }");
        config += &route("t", &name);
    }
    let road = Road::new(Cluster::builder().major(15), T, &config);
    road.sql(
        "INSERT INTO t SELECT g, md5(g::text) || md5((g + 1)::text)
         FROM generate_series(1, 300000) g",
    );
    let delivered = |road: &Road| {
        let status = road.walgate.status();
        let sinks = status["sinks"].as_array().unwrap();
        sinks.iter().find(|sink| sink["name"] == "near").unwrap()["delivered"].as_u64()
    };
    eventually("the eleventh has it all", LONG, || delivered(&road) == Some(300_000));
    let peak = road.walgate.peak_memory_bytes();
    assert!(peak < MEMORY_BYTES_MAX, "{} MiB", peak >> 20);
}
