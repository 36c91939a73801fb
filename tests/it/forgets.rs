//! Nothing that ran is forgotten without a word: sinks, routes, dead letters.

use serde_json::json;
use walgate::demo::cluster::Cluster;

use super::support::process::eventually;
use super::support::receiver::{Event, Receiver, Reply};
use super::support::road::{PATIENCE, Road, T, http, route};

/// Runs a command and returns its exit code and what it said.
fn call(road: &Road, args: &[&str]) -> (i32, String) {
    let output = road.walgate.call(args);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[track_caller]
fn check(road: &Road, args: &[&str], code: i32, says: &[&str]) {
    let (found, said) = call(road, args);
    assert_eq!(found, code, "{said}");
    for part in says {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

#[test]
fn a_sink_that_the_config_lost_is_forgotten_only_when_told() {
    let (near, far) = (Receiver::start(), Receiver::start());
    let one = format!("{}{}", http("near", &near.url("/"), ""), route("t", "near"));
    let two = format!("{one}{}{}", http("far", &far.url("/"), ""), route("t", "far"));
    let mut road = Road::new(Cluster::builder().major(15), T, &two);
    far.when(|event: &Event| event.0["data"]["id"] == 1, Reply::status(422));
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 10) g");
    far.wait("nine rows", PATIENCE, |journal| journal.events_processed == 9);
    road.confirms(&road.wal_end());
    check(&road, &["sink", "forget", "far"], 6, &["in use"]);
    road.stop();
    road.configure(&one);
    let cures = ["sink `far`", "`walgate sink forget far`", "`walgate sink rename far NEW`"];
    check(&road, &["run"], 4, &cures);
    check(&road, &["sink", "forget", "farr"], 2, &["did you mean \"far\""]);
    let left = ["stood at 0/", "9 events were delivered", "1 dead letters were discarded"];
    check(&road, &["sink", "forget", "far"], 0, &left);
    road.start();
    road.sql("INSERT INTO t VALUES (11, 'b')");
    near.wait("it goes on", PATIENCE, |journal| journal.events_processed == 11);
    assert_eq!(road.walgate.status()["sinks"].as_array().unwrap().len(), 1);
}

/// What the sink's earlier life had set aside was taken for discarded for ever.
#[test]
fn a_forgotten_sink_that_begins_anew_is_sent_what_was_discarded_with_it() {
    let receiver = Receiver::start();
    let route = route("t", "far").replace("\"now\"", "\"journal\"");
    let config = http("far", &receiver.url("/"), "") + &route;
    let mut road = Road::new(Cluster::builder().major(15), T, &config);
    receiver.when(|event: &Event| event.0["data"]["id"] == 1, Reply::status(422));
    receiver.when(|event: &Event| event.0["data"]["id"] == 2, Reply::status(422));
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 10) g");
    receiver.wait("eight rows", PATIENCE, |journal| journal.events_processed == 8);
    road.confirms(&road.wal_end());
    road.stop();
    check(&road, &["sink", "forget", "far"], 0, &["2 dead letters were discarded"]);
    receiver.behave();
    receiver.when(|event: &Event| event.0["data"]["id"] == 2, Reply::status(422));
    road.start();
    receiver.wait("nine rows", PATIENCE, |journal| journal.events_processed == 8 + 9);
    eventually("the other is dead again", PATIENCE, || {
        let dead = road.dead_letters(&["--state", "dead"]);
        dead.len() == 1 && dead[0]["key"]["id"] == 2 && dead[0]["reason"].is_null()
    });
    assert_eq!(road.dead_letters(&["--state", "discarded"]).len(), 1);
    road.stop();
}

#[test]
fn a_renamed_sink_goes_on_where_it_was_under_its_new_name() {
    let receiver = Receiver::start();
    let named = |name: &str| format!("{}{}", http(name, &receiver.url("/"), ""), route("t", name));
    let mut road = Road::new(Cluster::builder().major(15), T, &named("old"));
    receiver.when(|event: &Event| event.0["data"]["id"] == 1, Reply::status(422));
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 10) g");
    receiver.wait("nine rows", PATIENCE, |journal| journal.events_processed == 9);
    road.confirms(&road.wal_end());
    road.stop();
    road.sql("INSERT INTO t VALUES (11, 'b')");
    road.configure(&named("new"));
    check(&road, &["run"], 4, &["sink `old`"]);
    check(&road, &["sink", "rename", "old", "new"], 0, &[]);
    check(&road, &["run"], 4, &["route `t-to-old`", "walgate route rename t-to-old NEW"]);
    check(&road, &["route", "rename", "t-to-old", "t-to-new"], 0, &[]);
    road.start();
    receiver.wait("the rest", PATIENCE, |journal| journal.events_processed == 10);
    road.confirms(&road.wal_end());
    assert_eq!(receiver.journal().repeats(), 0);
    eventually("all is counted on", PATIENCE, || {
        let status = road.walgate.status();
        let sink = &status["sinks"][0];
        sink["name"] == "new"
            && sink["delivered"] == 10
            && sink["dead_letters"] == json!({ "rejected": 1 })
    });
}

#[test]
fn dead_letters_older_than_the_sink_keeps_them_are_discarded() {
    let receiver = Receiver::start();
    receiver.when(|event: &Event| event.0["data"]["id"] == 1, Reply::status(422));
    let road = Road::of_t(&http("far", &receiver.url("/"), "dead_retain = \"2s\""));
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    let dead = || road.walgate.status()["sinks"][0]["dead_letters"].clone();
    eventually("one is dead", PATIENCE, || dead() == json!({ "rejected": 1 }));
    eventually("it is discarded", PATIENCE, || dead() == json!({}));
    assert!(road.walgate.log().contains("dead letters older than dead_retain were discarded"));
}
