//! A row that the server can't send as text stops the stream loudly, and passes in binary.

use std::fs;
use std::time::{Duration, Instant};

use walgate::demo::cluster::Cluster;
use walgate::lsn::Lsn;

use super::support::process::{eventually, pause, say};
use super::support::road::{PATIENCE, Road, file, route};

/// In text it has twice as many digits, which is more than the 1 GiB that the server can hold.
const BYTES: usize = 540 << 20;

/// How long the large row may take on a busy machine.
const LARGE: Duration = Duration::from_secs(300);

#[test]
fn a_row_too_large_as_text_is_told_each_time_and_passes_in_binary() {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, v bytea)";
    let sinks = format!("{}{}", file("far"), route("t", "far"));
    let mut road = Road::new(Cluster::builder().major(15), schema, &sinks);
    road.sql("INSERT INTO t VALUES (1, 'before')");
    road.confirms(&road.wal_end());
    road.sql(&format!("INSERT INTO t VALUES (2, convert_to(repeat('x', {BYTES}), 'UTF8'))"));
    let large: Lsn = road.wal_end().parse().unwrap();
    road.sql("INSERT INTO t VALUES (3, 'behind')");
    let stuck = |road: &Road| road.walgate.log().matches("the stream is stuck").count();
    let started = Instant::now();
    eventually("the third failure", LARGE, || stuck(&road) >= 3);
    let reason = road.walgate.status()["source"]["reason"].as_str().unwrap_or_default().to_owned();
    // Between two attempts it is none.
    let log = road.walgate.log();
    for part in
        ["the server fails to send what follows 0/", "SQLSTATE XX000", "source.binary = true"]
    {
        assert!(log.contains(part), "{part}: {log}");
        assert!(reason.is_empty() || reason.contains(part), "{part}: {reason}");
    }
    pause(Duration::from_secs(3));
    let often = stuck(&road);
    let seconds = started.elapsed().as_secs();
    assert!(often < 40, "{often} attempts in {seconds} s");
    assert!(road.confirmed() < large, "the slot does not pass it");
    road.stop();

    road.configure_as("", "binary = true", &sinks);
    let started = Instant::now();
    road.start();
    let path = road.walgate.folder().join("far.ndjson");
    let expected = u64::try_from(BYTES / 3 * 4).unwrap();
    eventually("the large row", LARGE, || {
        fs::metadata(&path).is_ok_and(|file| file.len() > expected)
    });
    let end = road.wal_end();
    let confirmed = format!(
        "SELECT confirmed_flush_lsn >= '{end}'::pg_lsn FROM pg_replication_slots WHERE slot_name = 'walgate'"
    );
    eventually("the slot has passed it", LARGE, || road.value(&confirmed) == "t");
    let peak = road.walgate.peak_memory_bytes();
    say(&format!(
        "{} MB as text in {:.1} s, peak {} MB",
        BYTES * 2 / 1_000_000,
        started.elapsed().as_secs_f64(),
        peak / 1_000_000
    ));
    let lines = fs::read(&path).unwrap();
    let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 4, "three events, each once");
    let large = lines[1];
    let from = large.windows(5).position(|five| five == b"\"v\":\"").unwrap() + 5;
    let value = &large[from..from + BYTES / 3 * 4];
    assert!(value.chunks_exact(4).all(|four| four == b"eHh4"), "every byte of it");
    assert!(peak < 8_u64 << 30, "{peak}");
}

/// What is wrong in an encoding is as lasting.
#[test]
fn a_text_that_cannot_be_converted_is_told_with_its_place() {
    let sinks = format!("{}{}", file("far"), route("t", "far"));
    let builder = Cluster::builder().major(15);
    let mut road = Road::bare(
        builder,
        "CREATE DATABASE raw ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0",
    );
    let session = road.session_in("raw");
    road.sql_in(
        &session,
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE PUBLICATION walgate FOR ALL TABLES",
    );
    let url = road.cluster.url("postgres", "raw");
    road.configure_at(&url, "", "", &sinks);
    road.start();
    road.sql_in(&session, "INSERT INTO t VALUES (1, convert_from('\\xf6', 'SQL_ASCII'))");
    let told = |road: &Road| road.walgate.log().matches("the stream is stuck").count();
    eventually("two failures", PATIENCE, || told(&road) >= 2);
    let log = road.walgate.log();
    for part in ["the server fails to send what follows 0/", "SQLSTATE 22021", "encoding"] {
        assert!(log.contains(part), "{part}: {log}");
    }
}
