//! What breaks at the source.

use serde_json::json;
use walgate::demo::cluster::{Cluster, Stop};

use super::{alert, are_told, notices, once_each, ops, sink};
use crate::support::process::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::road::{PATIENCE, Road, T};

#[test]
fn a_source_that_is_away_or_keeps_too_much_is_told_of() {
    let (bell, receiver) = (Receiver::start(), Receiver::start());
    receiver.otherwise(Reply::hang());
    let builder = Cluster::builder().setting("max_slot_wal_keep_size", "200MB");
    let mut road = Road::bare(builder, T);
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES; CREATE TABLE noise (v text)");
    let sinks = [
        ops(&bell),
        sink("far", &receiver, "timeout = \"2s\""),
        alert("behind", "lag", "threshold = \"4MiB\""),
        alert("keeps", "retained_wal", "threshold = \"4MiB\""),
        alert("danger", "wal_seconds_left", ""),
        alert("away", "source_away", ""),
    ];
    road.configure_as("shutdown_grace = \"1s\"", "heartbeat = \"1s\"", &sinks.concat());
    road.start();
    road.sql("INSERT INTO t VALUES (1, 'held')");
    receiver.wait("the row", PATIENCE, |journal| !journal.requests.is_empty());
    let mut rounds = 0;
    eventually("all of it is told", PATIENCE, || {
        if rounds < 12 {
            rounds += 1;
            road.sql("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 1500)");
        }
        let seen = super::statuses(&bell);
        ["behind", "keeps", "danger"].iter().all(|name| seen.contains_key(*name))
    });
    // What is sent is taken from now on; what hangs is given up at the timeout.
    receiver.behave();
    eventually("the slot moves", PATIENCE, || {
        road.sql("CHECKPOINT");
        let seen = super::statuses(&bell);
        ["behind", "keeps", "danger"].iter().all(|name| seen[*name].len() == 2)
    });
    road.stop_server(Stop::Fast, PATIENCE);
    are_told(&bell, &["away"], 1);
    road.start_server();
    are_told(&bell, &["away"], 2);
    once_each(&bell, &["behind", "keeps", "danger", "away"]);
    let told = notices(&bell);
    let away = told.iter().find(|notice| notice["name"] == "away").unwrap();
    assert_eq!(away["subject"], json!({ "kind": "source", "name": "walgate" }));
}

#[test]
fn a_run_that_ends_for_a_person_and_a_gap_are_told_of() {
    let (bell, receiver) = (Receiver::start(), Receiver::start());
    let sinks = [
        ops(&bell),
        sink("far", &receiver, ""),
        alert("halted-run", "halted", ""),
        alert("lost", "gap", ""),
    ];
    let mut road = Road::new(Cluster::builder(), T, &sinks.concat());
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.confirms(&road.wal_end());
    road.stop();
    road.until_free();
    road.sql("SELECT pg_drop_replication_slot('walgate'); INSERT INTO t VALUES (2, 'lost')");
    // However often somebody starts it again.
    for _ in 0..2 {
        assert_eq!(road.walgate.call(&["run"]).status.code(), Some(4));
    }
    assert_eq!(super::statuses(&bell)["halted-run"], ["firing"]);
    let told = notices(&bell);
    assert!(told[0]["message"].as_str().unwrap().contains("--accept-gap"), "{told:?}");
    road.start_with(&["--accept-gap"]);
    are_told(&bell, &["lost"], 1);
    are_told(&bell, &["halted-run"], 2);
    let told = notices(&bell);
    let lost = told.iter().find(|notice| notice["name"] == "lost").unwrap();
    assert!(lost["message"].as_str().unwrap().contains("is lost to the stream"), "{lost}");
    assert!(lost["next"].as_str().unwrap().contains("backfill start"), "{lost}");
    road.stop();
    road.start();
    are_told(&bell, &["lost"], 2);
    once_each(&bell, &["lost", "halted-run"]);
}
