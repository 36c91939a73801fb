//! A connection that breaks, falls silent or must go: the stream goes on, and nobody waits for us.

use std::net::SocketAddr;
use std::time::Duration;

use walgate::demo::cluster::Stop;

use super::*;
use crate::support::load::Load;
use crate::support::proxy::{Faults, Proxy};
use crate::support::receiver::Reply;

/// A road whose source lies behind a proxy.
fn proxied(builder: Builder, sinks: &str) -> (Road, Proxy) {
    let mut road = Road::bare(builder, SCHEMA);
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], road.cluster.port())));
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    road.configure_at(&url, QUICK_STOP, "", sinks);
    road.start();
    (road, proxy)
}

/// A connection that was cut in the middle of a transaction lost its beginning, or brought it
/// twice.
#[test]
fn a_cut_connection_loses_and_repeats_nothing() {
    let receiver = Receiver::start();
    let sinks = sink("far", &receiver, "concurrency = 4\nbatch = { max_events = 10 }");
    let (road, proxy) = proxied(Cluster::builder().major(15), &sinks);
    let load = Load::start(&road, Duration::from_millis(1));
    for _ in 0..6 {
        load.goes_on(50);
        let before = proxy.connections();
        proxy.cut();
        eventually("it connects again", PATIENCE, || proxy.connections() >= before + 2);
    }
    // Every connection is cut somewhere, in the middle of a message as well.
    for _ in 0..6 {
        let cut_after = fastrand::u64(6_000..40_000);
        proxy.set(Faults { cut_after, ..Faults::default() });
        let before = proxy.connections();
        load.goes_on(50);
        eventually("it connects again", PATIENCE, || proxy.connections() > before);
    }
    proxy.set(Faults::default());
    load.end();
    assert_eq!(road.arrived(&receiver).repeats(), 0);
}

/// A server that was gone without a word was waited for until somebody restarted the client.
#[test]
fn a_connection_that_falls_silent_is_given_up() {
    for faults in [
        Faults { half_open: true, ..Faults::default() },
        Faults { blackhole: true, ..Faults::default() },
    ] {
        let receiver = Receiver::start();
        let builder = Cluster::builder().major(15).setting("wal_sender_timeout", "1s");
        let (road, proxy) = proxied(builder, &sink("far", &receiver, ""));
        road.sql("INSERT INTO t VALUES (1, 'before')");
        road.arrived(&receiver);
        let before = proxy.connections();
        proxy.set(faults);
        road.sql("INSERT INTO t VALUES (2, 'meanwhile')");
        eventually("it is given up", PATIENCE, || proxy.connections() > before);
        proxy.set(Faults::default());
        road.sql("INSERT INTO t VALUES (3, 'after')");
        let journal = road.arrived(&receiver);
        assert_eq!((journal.events_processed, journal.repeats()), (3, 0));
    }
}

/// A server that was told to stop waited for ever for a confirmation that could not come, and
/// with it a failover.
#[test]
fn a_server_that_stops_does_not_wait_for_what_is_undelivered() {
    let receiver = Receiver::start();
    receiver.otherwise(Reply::hang());
    let keys = format!("timeout = \"3s\"\n{BRISK}");
    let mut road = road(15, &[sink("far", &receiver, &keys)]);
    road.sql("INSERT INTO t SELECT g, 'row' FROM generate_series(1, 100) g");
    receiver.wait("a request", PATIENCE, |journal| !journal.requests.is_empty());
    for round in 0..2 {
        road.stop_server(Stop::Fast, Duration::from_secs(15));
        road.start_server();
        road.streams();
        road.sql(&format!("INSERT INTO t VALUES (1000 + {round}, 'after')"));
    }
    receiver.behave();
    let journal = road.arrived(&receiver);
    assert_eq!((journal.events_processed, journal.repeats()), (102, 0));
}

/// The connection for questions had been closed while nobody looked, and the next question, of a
/// table that had changed, was waited for without end.
#[test]
fn a_closed_connection_for_questions_is_opened_again() {
    let receiver = Receiver::start();
    let road = road(15, &[sink("far", &receiver, "")]);
    road.sql("INSERT INTO t VALUES (1, 'before')");
    road.arrived(&receiver);
    let theirs = "FROM pg_stat_activity WHERE backend_type = 'client backend'
                  AND application_name LIKE '%walgate%' AND pid <> pg_backend_pid()";
    assert_ne!(road.value(&format!("SELECT count(*) {theirs}")), "0");
    for column in ["w", "x"] {
        road.sql(&format!("SELECT pg_terminate_backend(pid, 5000) {theirs}"));
        road.sql(&format!("ALTER TABLE t ADD COLUMN {column} int"));
        road.sql("UPDATE t SET v = v || '.'");
    }
    road.sql("INSERT INTO t VALUES (2, 'after')");
    receiver.wait("the row", PATIENCE, |journal| has_all(journal, [2]));
}
