//! `journal.max_size = "0"`: nothing is kept on disk, all sinks share the pace of the slowest.

use std::time::Duration;

use walgate::demo::cluster::Cluster;

use super::support::process::{eventually, pause};
use super::support::receiver::{Receiver, Reply};
use super::support::road::{PATIENCE, Road, T, http, route};

const OFF: &str = "[journal]\nmax_size = \"0\"\n";
const BRISK: &str = "concurrency = 2\nbatch = { max_events = 50 }\ntimeout = \"500ms\"\n\
                     retry = { initial = \"20ms\", max = \"100ms\" }\n\
                     breaker = { cooldown = \"100ms\" }\n";

fn config(journal: &str, near: &Receiver, far: &Receiver) -> String {
    [
        journal.to_owned(),
        http("near", &near.url("/"), BRISK),
        http("far", &far.url("/"), BRISK),
        route("t", "near"),
        route("t", "far"),
    ]
    .concat()
}

/// Says of a command how it ends and what it says.
fn call(road: &Road, args: &[&str]) -> (i32, String) {
    let output = road.walgate.call(args);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn without_a_journal_everything_arrives_over_kills_and_the_slot_waits_for_the_slowest() {
    let (near, far) = (Receiver::start(), Receiver::start());
    let mut road = Road::new(Cluster::builder().major(15), T, &config(OFF, &near, &far));
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 500) g");
    road.arrived(&near);
    road.arrived(&far);
    // One is down: the slot stays where that is.
    far.otherwise(Reply::status(503));
    let before = road.wal_end();
    road.sql("UPDATE t SET v = 'b' WHERE id <= 100");
    near.wait("the other one", PATIENCE, |journal| journal.events_processed >= 600);
    pause(Duration::from_millis(500));
    assert!(road.confirmed() <= before.parse().unwrap(), "it has not done that yet");
    road.walgate.kill();
    road.start();
    road.sql("INSERT INTO t SELECT g, 'c' FROM generate_series(501, 600) g");
    pause(Duration::from_millis(300));
    road.walgate.kill();
    far.behave();
    road.start();
    road.arrived(&far);
    road.arrived(&near);
    assert!(!road.walgate.folder().join("walgate-state/journal").join("00000001.wgj").exists());
    // An idle server's log does not pile up for it.
    road.sql("CREATE TABLE other (id int); INSERT INTO other SELECT generate_series(1, 5000)");
    road.confirms(&road.wal_end());
    for args in [
        &["replay", "--sink", "far", "--from", "0/1"][..],
        &["trace", "--table", "public.t", "--key", "{\"id\": 1}"],
        &["route", "hold", "t-to-far"],
    ] {
        let (code, said) = call(&road, args);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("there is no journal"), "{said}");
    }
    road.stop();
}

#[test]
fn a_dead_letter_and_its_followers_need_no_journal() {
    let (near, far) = (Receiver::start(), Receiver::start());
    far.when(|event| event.0["data"]["v"] == "bad", Reply::status(422));
    let config =
        config(OFF, &near, &far).replace("[sink.far]\n", "[sink.far]\non_dead = \"block\"\n");
    let mut road = Road::new(Cluster::builder().major(15), T, &config);
    road.sql("INSERT INTO t VALUES (1, 'bad'), (2, 'a'); UPDATE t SET v = 'good' WHERE id = 1");
    near.wait("the other sink", PATIENCE, |journal| journal.events_processed == 3);
    road.confirms(&road.wal_end());
    road.walgate.kill();
    road.start();
    far.behave();
    let (code, _, said) = road.dlq(&["replay", "--state", "dead"]);
    assert_eq!(code, 0, "{said}");
    far.wait("all three", PATIENCE, |journal| journal.events_processed == 3);
    assert_eq!(far.journal().fold(), road.table("t"));
}

#[test]
fn a_journal_is_given_up_only_when_nobody_needs_it() {
    let (near, far) = (Receiver::start(), Receiver::start());
    let mut road = Road::new(Cluster::builder().major(15), T, &config("", &near, &far));
    far.otherwise(Reply::status(503));
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 100) g");
    near.wait("one of them", PATIENCE, |journal| journal.events_processed == 100);
    eventually("it is on disk", PATIENCE, || {
        road.walgate.status()["journal"]["bytes"].as_u64() > Some(0)
    });
    pause(Duration::from_millis(300));
    road.stop();
    road.configure(&config(OFF, &near, &far));
    let (code, said) = call(&road, &["run"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("sink `far` has not done"), "{said}");
    road.configure(&config("", &near, &far));
    far.behave();
    road.start();
    road.arrived(&far);
    road.stop();
    road.configure(&config(OFF, &near, &far));
    road.start();
    road.sql("UPDATE t SET v = 'b'");
    road.arrived(&far);
    road.stop();
    // And taken up again.
    road.configure(&config("", &near, &far));
    road.start();
    road.sql("UPDATE t SET v = 'c'");
    assert_eq!(road.arrived(&far).repeats(), 0);
    assert_eq!(road.arrived(&near).repeats(), 0);
}
