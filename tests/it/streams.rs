//! Transactions that come while they are open, over the whole road.

use std::time::Duration;

use walgate::demo::cluster::{Builder, Cluster};

use super::support::process::{eventually, say};
use super::support::receiver::Receiver;
use super::support::road::{PATIENCE, Road, T, http, route};

/// The most memory that walgate may ever hold.
const MEMORY_BYTES_MAX: u64 = 150 << 20;
const LONG: Duration = Duration::from_secs(180);

fn eager(major: u32) -> Builder {
    Cluster::builder()
        .major(major)
        .setting("logical_decoding_work_mem", "64kB")
        .setting("max_prepared_transactions", "5")
}

/// A road to one receiver of batches.
fn road(builder: Builder, receiver: &Receiver) -> Road {
    let sink = http("far", &receiver.url("/"), "batch = { max_events = 500 }");
    Road::new(builder, T, &format!("{sink}{}", route("t", "far")))
}

fn spilled(road: &Road) -> u64 {
    let folder = road.walgate.folder().join("walgate-state").join("spill");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

fn insert(from: u32, to: u32) -> String {
    format!("INSERT INTO t SELECT g, md5(g::text) FROM generate_series({from}, {to}) g")
}

#[test]
fn a_huge_open_transaction_takes_disk_and_not_memory_and_survives_a_kill() {
    let receiver = Receiver::start();
    let mut road = road(eager(18), &receiver);
    let session = road.session();
    road.sql_in(&session, "BEGIN");
    road.sql_in(&session, &insert(1, 300_000));
    road.sql_in(&session, "SAVEPOINT s");
    road.sql_in(&session, &insert(300_001, 400_000));
    road.sql("INSERT INTO t VALUES (0, 'small')");
    receiver.wait("the small one passes", PATIENCE, |journal| journal.events_processed >= 1);
    eventually("it goes to disk", LONG, || spilled(&road) > 10 << 20);
    road.walgate.kill();
    road.sql_in(&session, "ROLLBACK TO s");
    road.start();
    road.sql("INSERT INTO t VALUES (-1, 'small')");
    receiver.wait("another passes", PATIENCE, |journal| journal.events_processed >= 2);
    road.sql_in(&session, "COMMIT");
    receiver.wait("the middle of it", LONG, |journal| journal.events_processed > 50_000);
    road.walgate.kill();
    road.start();
    road.confirms(&road.wal_end());
    let journal = receiver.journal();
    assert_eq!(journal.fold(), road.table("t"));
    assert_eq!(journal.repeats_unlike(), Vec::<String>::new());
    eventually("its file is gone", PATIENCE, || spilled(&road) == 0);

    // Undone as a whole, and more than there is memory for.
    road.sql_in(&session, "BEGIN");
    road.sql_in(&session, &insert(1_000_001, 2_000_000));
    eventually("it goes to disk", LONG, || spilled(&road) > 40 << 20);
    road.sql_in(&session, "ROLLBACK");
    road.confirms(&road.wal_end());
    eventually("its file is gone", PATIENCE, || spilled(&road) == 0);
    let peak = road.walgate.peak_memory_bytes();
    say(&format!("peak memory {} MiB", peak >> 20));
    assert!(peak < MEMORY_BYTES_MAX, "{} MiB", peak >> 20);
    assert_eq!(receiver.journal().fold(), road.table("t"), "nothing that was undone");
}

/// A table that is altered in a part that is undone, and then again: the server fails to decode
/// that while the transaction is open, each time anew, and not once it has committed.
#[test]
fn what_the_server_cannot_stream_is_asked_for_without() {
    for major in [15, 18] {
        let receiver = Receiver::start();
        let road = road(eager(major), &receiver);
        let session = road.session();
        road.sql_in(&session, "BEGIN");
        road.sql_in(&session, &insert(1, 2000));
        road.sql_in(&session, "SAVEPOINT s; ALTER TABLE t ADD d int");
        road.sql_in(&session, &insert(2001, 4000));
        road.sql_in(&session, "ROLLBACK TO s");
        road.sql_in(&session, &insert(4001, 6000));
        road.sql_in(&session, "ALTER TABLE t ADD e int");
        road.sql_in(&session, &insert(6001, 8000));
        road.sql_in(&session, "COMMIT");
        receiver.wait("all of it", LONG, |journal| journal.events_processed >= 6000);
        let journal = receiver.journal();
        assert_eq!(journal.fold().len(), 6000, "PostgreSQL {major}");
        let log = road.walgate.log();
        assert!(
            log.contains("until the next start, transactions come once they commit"),
            "PostgreSQL {major}: {log}"
        );
    }
}

#[test]
fn a_prepared_transaction_outlives_a_kill_between_its_halves() {
    for major in [15, 18] {
        let receiver = Receiver::start();
        let sink = http("far", &receiver.url("/"), "batch = { max_events = 500 }");
        let mut road = Road::quiet(eager(major), T, &format!("{sink}{}", route("t", "far")));
        road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
        road.sql("SELECT pg_create_logical_replication_slot('walgate', 'pgoutput', false, true)");
        road.start_with(&["--adopt-slot"]);
        let session = road.session();
        for (rows, gid) in [((1, 2000), "g"), ((3001, 5000), "h")] {
            road.sql_in(&session, "BEGIN");
            road.sql_in(&session, &insert(rows.0, rows.1));
            road.sql_in(&session, &format!("PREPARE TRANSACTION '{gid}'"));
        }
        road.sql("INSERT INTO t VALUES (0, 'small')");
        receiver.wait("the small one passes", PATIENCE, |journal| journal.events_processed >= 1);
        road.walgate.kill();
        road.start();
        road.sql_in(&session, "ROLLBACK PREPARED 'h'");
        road.sql_in(&session, "COMMIT PREPARED 'g'");
        road.confirms(&road.wal_end());
        let journal = receiver.journal();
        assert_eq!(journal.fold(), road.table("t"), "PostgreSQL {major}");
        assert_eq!(journal.fold().len(), 2001);
    }
}
