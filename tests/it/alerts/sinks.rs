//! What breaks at a sink.

use std::time::{Duration, Instant};

use serde_json::json;
use walgate::demo::cluster::Cluster;

use super::{alert, are_told, firing, notices, once_each, ops, sink};
use crate::support::process::eventually;
use crate::support::receiver::{Event, Receiver, Reply};
use crate::support::road::{PATIENCE, Road, T};
use crate::support::state;

fn road(sinks: &[String]) -> Road {
    Road::new(Cluster::builder(), T, &sinks.concat())
}

#[test]
fn a_sink_that_halts_is_down_sets_aside_or_is_old_is_told_of() {
    let (bell, receiver) = (Receiver::start(), Receiver::start());
    let road = road(&[
        ops(&bell),
        sink("halts", &receiver, ""),
        sink("opens", &receiver, ""),
        sink("dies", &receiver, ""),
        alert("halted-one", "halted", "sinks = [\"halts\"]"),
        alert("open-one", "breaker_open", "sinks = [\"opens\"]"),
        alert("dead-one", "dead_letters", "routes = [\"t-to-dies\"]"),
        alert("old-one", "freshness", "threshold = \"2s\"\nsinks = [\"halts\"]"),
    ]);
    let names = ["halted-one", "open-one", "dead-one", "old-one"];
    receiver.at("/halts", Reply::status(401));
    receiver.at("/opens", Reply::status(503));
    receiver.at("/dies", Reply::status(422));
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    are_told(&bell, &names, 1);
    assert_eq!(firing(&road, "halted-one").as_deref(), Some("1"));
    let text = String::from_utf8(road.walgate.call(&["status"]).stdout).unwrap();
    assert!(text.contains("firing   ") && text.contains("sink halts is halted: "), "{text}");

    let told = notices(&bell);
    let of = |name: &str| told.iter().find(|notice| notice["name"] == name).unwrap();
    let halted = of("halted-one");
    assert_eq!((&halted["status"], &halted["when"]), (&json!("firing"), &json!("halted")));
    assert_eq!(halted["subject"], json!({ "kind": "sink", "name": "halts" }));
    assert_eq!(halted["instance"], json!({ "database": "postgres", "slot": "walgate" }));
    assert!(halted["message"].as_str().unwrap().contains("401"), "{halted}");
    assert!(halted["next"].as_str().unwrap().contains("walgate"), "{halted}");
    assert!(halted["ended"].is_null() && halted["since"].is_string(), "{halted}");
    let dead = &of("dead-one")["message"];
    assert!(dead.as_str().unwrap().starts_with("sink dies has "), "{dead}");

    receiver.behave();
    assert_eq!(road.dlq(&["discard", "--all", "--reason", "no use"]).0, 0);
    are_told(&bell, &names, 2);
    once_each(&bell, &names);
    assert!(notices(&bell).iter().all(|it| it["status"] == "firing" || it["ended"].is_string()));
    eventually("nothing is firing", PATIENCE, || {
        firing(&road, "halted-one").as_deref() == Some("0")
            && state::number(&road.walgate, "SELECT count(*) FROM incidents WHERE ended IS NULL")
                == 0
    });
    // Every notice is one that a receiver would know again.
    let journal = bell.journal();
    let mut keys: Vec<_> = journal.requests.iter().map(|r| r.header("idempotency-key")).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count);
    // What is built in was not told to anybody, but is there.
    let other = "SELECT count(*) FROM incidents WHERE alert IN ('halted', 'dead_letters')";
    assert_eq!(state::number(&road.walgate, other), 0, "the config's own go before");
}

#[test]
fn a_sink_that_fails_more_or_gets_slower_than_usual_is_told_of() {
    let (bell, receiver) = (Receiver::start(), Receiver::start());
    let window = "for = \"2s\"";
    let usual = |name: &str, when: &str, sink: &str| {
        alert(name, when, &format!("threshold = 2\nsinks = [\"{sink}\"]"))
            .replace("for = \"1s\"", window)
    };
    let road = road(&[
        ops(&bell),
        sink("flaky", &receiver, "concurrency = 4"),
        sink("slow", &receiver, "concurrency = 10"),
        usual("fails", "failure_rate", "flaky"),
        usual("slower", "latency", "slow"),
    ]);
    road.sql("INSERT INTO t SELECT g, 'usual' FROM generate_series(1, 200) g");
    road.confirms(&road.wal_end());
    let done = Instant::now();
    eventually("that is what is usual", PATIENCE, || done.elapsed() > Duration::from_secs(4));
    assert_eq!(notices(&bell).len(), 0);
    receiver.at("/slow", Reply::ok().after(Duration::from_millis(600)));
    road.sql("INSERT INTO t SELECT g, 'slow' FROM generate_series(201, 240) g");
    are_told(&bell, &["slower"], 1);
    receiver.behave();
    let is_odd = |event: &Event| event.0["data"]["id"].as_i64().is_some_and(|id| id % 2 == 1);
    receiver
        .when(move |event| is_odd(event) && event.0["route"] == "t-to-flaky", Reply::status(422));
    road.sql("INSERT INTO t SELECT g, 'odd' FROM generate_series(301, 400) g");
    are_told(&bell, &["fails"], 1);
    receiver.behave();
    are_told(&bell, &["slower", "fails"], 2);
    once_each(&bell, &["slower", "fails"]);
    let told = notices(&bell);
    let message = |name: &str| {
        let notice = told.iter().find(|notice| notice["name"] == name).unwrap();
        notice["message"].as_str().unwrap().to_owned()
    };
    assert!(message("fails").contains("% fail, usually 0 %"), "{}", message("fails"));
    assert!(message("slower").contains("to sink slow, usually "), "{}", message("slower"));
}

#[test]
fn a_figure_is_never_young_while_what_it_stands_for_is_old() {
    let receiver = Receiver::start();
    let mut road = road(&[sink("far", &receiver, "")]);
    let fresh = |road: &Road| {
        let name = "walgate_sink_freshness_seconds{sink=\"far\"} ";
        let page = road.walgate.get("/metrics").body;
        page.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok())
    };
    // Known, and low, before anything was ever delivered there.
    eventually("it is known and low", PATIENCE, || fresh(&road).is_some_and(|age| age < 5.0));
    // The first row keeps failing, while others pass.
    receiver.when(|event| event.0["data"]["id"] == 1, Reply::status(503));
    road.sql("INSERT INTO t VALUES (1, 'stuck')");
    road.sql("INSERT INTO t VALUES (2, 'passes'), (3, 'passes')");
    eventually("others pass", PATIENCE, || {
        road.walgate.status()["sinks"][0]["delivered"].as_u64() >= Some(2)
    });
    let mut row = 10;
    eventually("it is as old as the row that is stuck", PATIENCE, || {
        row += 1;
        road.sql(&format!("INSERT INTO t VALUES ({row}, 'passes')"));
        fresh(&road).is_some_and(|age| age > 4.0)
    });
    // A restart forgets none of it.
    road.walgate.kill();
    road.start();
    assert!(fresh(&road).is_some_and(|age| age > 4.0), "{:?}", fresh(&road));
    receiver.behave();
    eventually("it is done", PATIENCE, || fresh(&road).is_some_and(|age| age < 4.0));
    // One that is paused is sent nothing: what it has grows old, and a stopped walgate says so too.
    assert!(road.walgate.call(&["sink", "pause", "far"]).status.success());
    road.sql("INSERT INTO t VALUES (1000, 'waits')");
    eventually("it grows old", PATIENCE, || fresh(&road).is_some_and(|age| age > 3.0));
    road.stop();
    let status = road.walgate.status();
    assert!(status["sinks"][0]["freshness_seconds"].as_f64() > Some(3.0), "{status}");
    road.start();
    assert!(fresh(&road).is_some_and(|age| age > 3.0), "{:?}", fresh(&road));
}
