//! `walgate status` tells how things are, running or not.

use serde_json::{Value, json};
use walgate::demo::cluster::Stop;

use super::support::process::{Walgate, eventually};
use super::support::receiver::{Event, Receiver, Reply};
use super::support::road::{PATIENCE, Road, http, route};

/// Members in the contract's order.
const SHAPE: &str = "source: state reason slot confirmed_lsn server_lsn lag_bytes lag_seconds \
    retained_wal_bytes wal_status safe_wal_bytes wal_bytes_per_second wal_seconds_left held_by \
    warnings; journal: bytes oldest newest; sinks: name kind state reason \
    since position lag_events freshness_seconds delivered skipped dead_letters events_per_second";

fn names(object: &Value) -> String {
    object.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn has_the_shape(status: &Value) {
    assert_eq!(names(status), "source journal sinks");
    let shape = ["source", "journal"].map(|part| format!("{part}: {}", names(&status[part])));
    for sink in status["sinks"].as_array().unwrap() {
        assert_eq!(format!("{}; {}; sinks: {}", shape[0], shape[1], names(sink)), SHAPE);
        assert_eq!(names(&sink["position"]), "lsn seq");
    }
}

/// Waits until the status is as it should be, and returns it.
#[track_caller]
fn becomes(road: &Road, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut status = Value::Null;
    eventually(what, PATIENCE, || {
        status = road.walgate.status();
        has_the_shape(&status);
        is(&status)
    });
    status
}

fn is_done(status: &Value, delivered: u64) -> bool {
    let sink = &status["sinks"][0];
    sink["delivered"] == delivered && sink["lag_events"] == 0
}

#[test]
fn a_running_instance_a_stopped_and_a_killed_one_are_told_apart() {
    let receiver = Receiver::start();
    let mut road = Road::of_t(&http("far", &receiver.url("/"), ""));
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 100) g");
    let status = becomes(&road, "all is delivered and nothing behind", |status| {
        let source = &status["source"];
        is_done(status, 100)
            && source["state"] == "streaming"
            && source["lag_bytes"] == 0
            && source["lag_seconds"] == 0.0
            && status["sinks"][0]["freshness_seconds"] == 0.0
    });
    assert_eq!(status["source"]["wal_status"], "reserved");
    assert_eq!(status["source"]["slot"], "walgate");
    assert_eq!(status["sinks"][0]["kind"], "http");
    assert_eq!(status["sinks"][0]["state"], "ok");
    assert!(status["journal"]["bytes"].as_u64() > Some(0));
    assert!(status["journal"]["newest"].is_string());
    road.stop();
    let stopped = road.walgate.status();
    has_the_shape(&stopped);
    assert_eq!(stopped["source"]["state"], "stopped");
    assert!(stopped["source"]["server_lsn"].is_string());
    assert_eq!(stopped["journal"], status["journal"]);
    assert!(is_done(&stopped, 100));
    road.start();
    road.sql("INSERT INTO t VALUES (101, 'b')");
    becomes(&road, "the second run counts on", |status| {
        is_done(status, 101) && status["source"]["state"] == "streaming"
    });
    road.walgate.kill();
    assert_eq!(road.walgate.status()["source"]["state"], "stopped");
    road.stop_server(Stop::Fast, PATIENCE);
    let status = road.walgate.status();
    let reason = status["source"]["reason"].as_str().unwrap();
    assert!(reason.contains("the server can't be asked"), "{reason}");
    assert!(is_done(&status, 101));
}

#[test]
fn before_the_first_run_there_is_a_status_and_no_state() {
    let walgate = Walgate::new(&format!(
        "[source]\nurl = \"postgres://nobody:hidden@127.0.0.1:1/none\"\n{}{}",
        http("far", "http://127.0.0.1:1/", ""),
        route("t", "far")
    ));
    let status = walgate.status();
    has_the_shape(&status);
    assert_eq!(status["source"]["state"], "stopped");
    let reason = status["source"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("nothing has run with this state folder yet"), "{reason}");
    let output = walgate.call(&["status"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("nothing has run") && text.contains("far: has not run yet"), "{text}");
    assert!(!text.contains("hidden") && !text.contains('\x1b'), "{text}");
    assert!(!walgate.folder().join("walgate-state").exists());
}

#[test]
fn a_halted_sink_is_named_with_its_reason() {
    let receiver = Receiver::start();
    let mut road = Road::of_t(&http("far", &receiver.url("/"), ""));
    receiver.otherwise(Reply::status(401));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    let status = becomes(&road, "it halts", |status| status["sinks"][0]["state"] == "halted");
    let reason = status["sinks"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("401"), "{reason}");
    assert_eq!(status["sinks"][0]["lag_events"], 1);
    let text = String::from_utf8(road.walgate.call(&["status"]).stdout).unwrap();
    assert!(text.contains(&format!("far: {reason}")), "{text}");
    road.stop();
    let status = road.walgate.status();
    let told = status["sinks"][0]["reason"].as_str().unwrap();
    assert!(told.contains("when last seen") && told.ends_with(&reason), "{told}");
}

#[test]
fn a_sink_that_is_down_says_since_when_and_what_failed_how_often() {
    let receiver = Receiver::start();
    let quick = "retry = { initial = \"20ms\", max = \"50ms\" }\n\
                 breaker = { failures = 4, cooldown = \"1s\" }";
    let road = Road::of_t(&http("far", &receiver.url("/"), quick));
    let since = |status: &Value| status["sinks"][0]["since"].as_str().unwrap().to_owned();
    // Before an instance has said how it is, nobody knows since when.
    let is_ok = |status: &Value| {
        status["source"]["state"] == "streaming" && status["sinks"][0]["state"] == "ok"
    };
    let started = since(&becomes(&road, "it is ok", is_ok));
    receiver.otherwise(Reply::status(503));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    let status = becomes(&road, "it is down", |status| status["sinks"][0]["state"] == "open");
    let reason = status["sinks"][0]["reason"].as_str().unwrap();
    let told = " requests in a row failed, the last one so: 127.0.0.1:";
    let (count, rest) = reason.split_once(told).unwrap_or_else(|| panic!("{reason}"));
    assert!(count.parse::<u32>().unwrap() >= 4 && rest.contains("503"), "{reason}");
    let down = since(&status);
    assert!(down > started, "{down} is not after {started}");
    let text = String::from_utf8(road.walgate.call(&["status"]).stdout).unwrap();
    assert!(text.contains(" since 20"), "{text}");
    receiver.behave();
    let status = becomes(&road, "it is up", |status| status["sinks"][0]["state"] == "ok");
    assert!(since(&status) > down);
    let log = road.walgate.log();
    let up = log.lines().rfind(|line| line.contains("takes what it is sent")).unwrap();
    assert!(up.contains("before=") && up.contains("lasted="), "{up}");
}

#[test]
fn dead_letters_are_counted_by_category_over_restarts() {
    let receiver = Receiver::start();
    let mut road = Road::of_t(&http("far", &receiver.url("/"), ""));
    let is_odd = |event: &Event| event.0["data"]["id"].as_u64().is_some_and(|id| id % 2 == 1);
    receiver.when(is_odd, Reply::status(422));
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 10) g");
    let five = |status: &Value| {
        status["sinks"][0]["dead_letters"] == json!({ "rejected": 5 }) && is_done(status, 5)
    };
    becomes(&road, "five are set aside", five);
    road.walgate.kill();
    assert!(five(&road.walgate.status()), "{}", road.walgate.status());
    road.start();
    becomes(&road, "five are still there", |status| {
        five(status) && status["source"]["state"] == "streaming"
    });
    road.stop();
    assert!(five(&road.walgate.status()), "{}", road.walgate.status());
}

/// Whoever looks after the run has ended is told what the run said last.
#[test]
fn a_run_that_ended_as_a_person_has_to_act_is_halted_until_one_goes_on() {
    let receiver = Receiver::start();
    let mut road = Road::of_t(&http("far", &receiver.url("/"), ""));
    road.stop();
    road.until_free();
    road.sql("SELECT pg_drop_replication_slot('walgate')");
    road.walgate.start(&[]);
    assert_eq!(road.walgate.exit_code(PATIENCE), 4);
    let source = road.walgate.status()["source"].take();
    assert_eq!(source["state"], "halted");
    let reason = source["reason"].as_str().unwrap();
    assert!(reason.contains("slot \"walgate\" is gone"), "{reason}");
    assert!(reason.contains("--accept-gap"), "{reason}");
    road.start_with(&["--accept-gap"]);
    becomes(&road, "it goes on", |status| status["source"]["state"] == "streaming");
    road.stop();
    assert_eq!(road.walgate.status()["source"]["state"], "stopped");
}

#[test]
fn one_that_waits_for_another_to_leave_the_slot_says_so() {
    let receiver = Receiver::start();
    let mut road = Road::of_t(&http("far", &receiver.url("/"), ""));
    road.stop();
    let state = road.walgate.folder().join("walgate-state");
    let copied = road.walgate.folder().join("copied");
    std::fs::rename(&state, &copied).unwrap();
    road.start_with(&["--adopt-slot"]);
    let config = std::fs::read_to_string(road.walgate.folder().join("walgate.toml")).unwrap();
    let mut second = Walgate::new(&config);
    std::fs::rename(&copied, second.folder().join("walgate-state")).unwrap();
    second.start(&["--standby"]);
    eventually("it waits", PATIENCE, || second.status()["source"]["state"] == "standby");
    becomes(&road, "the other streams", |status| status["source"]["state"] == "streaming");
    assert!(second.is_running());
}
