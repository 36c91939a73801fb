//! Sinks with times of their own: nothing comes between them, and nothing is lost or stale by it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use walgate::config::{self, Environment};
use walgate::demo::cluster::Cluster;

use crate::support::process::eventually;
use crate::support::receiver::{Event, Journal, Receiver, Reply};
use crate::support::road::{PATIENCE, Road, T, http, route};

const STEP: Duration = Duration::from_secs(2);
const EVERY: &str = "schedule = \"2s\"\n";
/// Retries that do not keep a test waiting.
const BRISK: &str = "retry = { initial = \"20ms\", max = \"100ms\" }\n\
                     breaker = { cooldown = \"100ms\" }\n";
const IN_A_YEAR: &str = "schedule = \"0 0 1 1 *\"\n";

/// A table whose `big` lies outside of the row.
const WIDE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text, big text);
                    ALTER TABLE t ALTER big SET STORAGE EXTERNAL;";
const BIG: &str = "repeat('x', 3000)";

/// A sink at the receiver, with a route that takes everything of `t`.
fn sink(name: &str, receiver: &Receiver, keys: &str) -> String {
    let every = "on = [\"insert\", \"update\", \"delete\", \"truncate\"]\n";
    http(name, &receiver.url("/"), keys) + &route("t", name) + every
}

fn road(schema: &str, sinks: &[String]) -> Road {
    let mut road = Road::bare(Cluster::builder().major(15), schema);
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    road.configure_as("shutdown_grace = \"1s\"", "", &sinks.concat());
    road.start();
    road
}

/// What `status` says of a sink.
fn status(road: &Road, name: &str) -> Value {
    let status = road.walgate.status();
    let mut sinks = status["sinks"].as_array().unwrap().iter();
    sinks.find(|sink| sink["name"] == name).unwrap().clone()
}

/// How long after its time each request came, and which time that was.
fn times(journal: &Journal) -> Vec<(u64, Duration)> {
    let (now, wall) = (Instant::now(), SystemTime::now());
    let since_1970 = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let of = |at: Instant| {
        let wall = since_1970 - now.duration_since(at);
        let number = wall.as_secs() / STEP.as_secs();
        (number, wall - Duration::from_secs(number * STEP.as_secs()))
    };
    journal.requests.iter().map(|request| of(request.at)).collect()
}

fn updates(journal: &Journal) -> Vec<Event> {
    journal.events().into_iter().filter(|event| event.op() == "update").collect()
}

#[test]
fn a_sink_with_times_sends_at_them_beside_one_that_sends_at_once() {
    let (timed, prompt) = (Receiver::start(), Receiver::start());
    let batches = format!("{EVERY}batch = {{ max_events = 500 }}\n");
    let road = road(T, &[sink("timed", &timed, &batches), sink("prompt", &prompt, "")]);
    let mut id = 0;
    let distinct = |journal: &Journal| {
        times(journal).into_iter().map(|(number, _)| number).collect::<BTreeSet<_>>().len()
    };
    let mut behind = 0;
    eventually("three times", PATIENCE, || {
        id += 1;
        road.sql(&format!("INSERT INTO t VALUES ({id}, 'row')"));
        prompt.wait("the row", PATIENCE, |journal| journal.events_processed == id);
        behind += usize::from(timed.journal().events_processed < id);
        distinct(&timed.journal()) >= 3
    });
    assert!(behind * 2 > id, "rows came at once: {behind} of {id} did not");
    let journal = road.arrived(&timed);
    assert_eq!(road.arrived(&prompt).repeats() + journal.repeats(), 0);
    let late = times(&journal).into_iter().filter(|(_, late)| *late > STEP * 3 / 4).count();
    assert_eq!(late, 0, "between the times: {:?}", times(&journal));
}

#[test]
fn what_gathers_is_told_and_outlives_a_restart() {
    let receiver = Receiver::start();
    let mut road = road(T, &[sink("far", &receiver, IN_A_YEAR)]);
    road.sql("INSERT INTO t SELECT g, 'row' FROM generate_series(1, 5) g");
    let waits = |road: &Road| {
        eventually("five events wait", PATIENCE, || {
            let sink = status(road, "far");
            let reason = sink["reason"].as_str().unwrap_or_default();
            let next = sink["next"].as_str().unwrap_or_default().to_owned();
            sink["state"] == "ok"
                && sink["lag_events"] == 5
                && next.ends_with("-01-01T00:00:00Z")
                && reason == format!("the next time is {next} (5 events wait)")
        });
    };
    waits(&road);
    road.walgate.kill();
    road.until_free();
    road.start();
    waits(&road);
    assert_eq!(receiver.journal().requests.len(), 0);
    road.stop();
    // For cron itself.
    let run = ["run", "--until-caught-up", "--timeout", "60s"];
    assert_eq!(road.walgate.call(&run).status.code(), Some(0));
    assert_eq!(receiver.journal().events_processed, 5);
    let compacted = format!("{IN_A_YEAR}compact = true\n");
    road.configure(&sink("far", &receiver, &compacted));
    road.sql("UPDATE t SET v = 'one'; UPDATE t SET v = 'two'");
    assert_eq!(road.walgate.call(&run).status.code(), Some(0));
    assert_eq!(receiver.journal().fold(), road.table("t"));
}

#[test]
fn of_hot_rows_one_event_a_time_is_sent() {
    let receiver = Receiver::start();
    let road = road(T, &[sink("far", &receiver, &format!("{EVERY}compact = true\n"))]);
    road.sql("INSERT INTO t SELECT g, 'row' FROM generate_series(1, 10) g");
    road.arrived(&receiver);
    let round = "DO $$ BEGIN FOR i IN 1..100 LOOP UPDATE t SET v = v || '.'; END LOOP; END $$";
    road.sql(round);
    let sent = updates(&road.arrived(&receiver)).len();
    // A time may fall into the transaction.
    assert!((10..=20).contains(&sent), "{sent} of 1000 updates were sent");
    eventually("the others are counted", PATIENCE, || {
        status(&road, "far")["skipped"].as_u64() == Some(1000 - sent as u64)
    });
    let metrics = road.walgate.get("/metrics").body;
    let counted = format!("result=\"skipped\"}} {}", 1000 - sent);
    assert!(metrics.contains(&counted), "{metrics}");

    // What was left out is not told as delivered.
    let came = receiver.journal().by_key()["public.t{\"id\":1}"].len();
    eventually("the life of a row tells what came", PATIENCE, || {
        let trace = ["trace", "--table", "public.t", "--key", "{\"id\":1}", "--json"];
        let told = road.walgate.call(&trace).stdout;
        let told = String::from_utf8(told).unwrap();
        let count = |state: &str| told.matches(&format!("\"state\":\"{state}\"")).count();
        count("delivered") == came && count("unknown") == 101 - came
    });

    // Over several times.
    let begun = times(&receiver.journal()).last().unwrap().0;
    eventually("three more times", PATIENCE, || {
        road.sql("UPDATE t SET v = 'a' || v; UPDATE t SET v = 'b' || v; UPDATE t SET v = 'c'");
        times(&receiver.journal()).last().unwrap().0 >= begun + 3
    });
    let journal = road.arrived(&receiver);
    let mut by_time: BTreeMap<u64, usize> = BTreeMap::new();
    times(&journal).into_iter().for_each(|(number, _)| *by_time.entry(number).or_default() += 1);
    assert!(by_time.len() >= 4 && by_time.values().all(|count| *count <= 20), "{by_time:?}");
}

#[test]
fn rows_end_as_they_are_whatever_was_left_out() {
    let receiver = Receiver::start();
    let keys = format!("{EVERY}compact = true\nconcurrency = 4\nbatch = {{ max_events = 7 }}\n");
    let road = road(WIDE, &[sink("far", &receiver, &keys)]);
    for round in 0..4 {
        road.sql(&format!(
            "INSERT INTO t SELECT g, 'new', {BIG} || {round} FROM generate_series(1, 30) g"
        ));
        // What lies outside of the row is not sent again.
        road.sql(
            "UPDATE t SET v = v || '.' WHERE id <= 20; UPDATE t SET v = v || '.' WHERE id <= 10",
        );
        road.sql("UPDATE t SET v = 'whole', big = big || '!' WHERE id % 3 = 0");
        for (a, b) in [(1, 2), (3, 4), (2, 3)] {
            road.sql(&format!(
                "BEGIN; UPDATE t SET id = -1 WHERE id = {a}; UPDATE t SET id = {a} WHERE id = {b};
                 UPDATE t SET id = {b} WHERE id = -1; COMMIT"
            ));
        }
        road.sql("UPDATE t SET id = id + 100, big = 'small' WHERE id IN (5, 6)");
        road.sql("DELETE FROM t WHERE id IN (6, 7, 8, 106)");
        road.sql(&format!("INSERT INTO t VALUES (5, 'again', NULL), (8, 'again', {BIG})"));
        if round % 2 == 0 {
            road.arrived(&receiver);
            road.sql("UPDATE t SET v = v || '-'");
        }
        if round < 3 {
            road.sql("TRUNCATE t");
        }
    }
    let journal = road.arrived(&receiver);
    let truncates = journal.events().into_iter().filter(|event| event.op() == "truncate");
    assert_eq!(truncates.count(), 3);
    assert!(status(&road, "far")["skipped"].as_u64().unwrap() > 50);
}

#[test]
fn a_kill_in_the_middle_of_a_time_leaves_nothing_out_and_nothing_stale() {
    let receiver = Receiver::start();
    receiver.otherwise(Reply::ok().after(Duration::from_millis(20)));
    let keys = format!("{EVERY}compact = true\nconcurrency = 3\n");
    let mut road = road(WIDE, &[sink("far", &receiver, &keys)]);
    road.sql(&format!("INSERT INTO t SELECT g, 'new', {BIG} FROM generate_series(1, 60) g"));
    for round in 0..3 {
        road.sql("UPDATE t SET v = v || '.', big = big || '!'; UPDATE t SET v = v || ','");
        road.sql("UPDATE t SET v = 'whole', big = 'small' WHERE id % 2 = 0");
        let before = receiver.journal().events_processed;
        receiver.wait("a part", PATIENCE, |journal| journal.events_processed > before + 15);
        road.walgate.kill();
        road.until_free();
        road.sql(&format!("UPDATE t SET v = 'round {round}' WHERE id % 3 = 0"));
        road.sql("DELETE FROM t WHERE id % 7 = 0");
        road.start();
    }
    road.arrived(&receiver);
}

/// What was left out stood between rows that were not done: a run that leaves nothing out would
/// send it behind what had superseded it.
#[test]
fn what_was_left_out_does_not_come_back_with_another_config() {
    let receiver = Receiver::start();
    let keys = "concurrency = 16\n";
    let compacted = format!("{EVERY}compact = true\n{keys}");
    let mut road = road(T, &[sink("far", &receiver, &compacted)]);
    // By the time that these are done, many requests may be under way.
    road.sql("INSERT INTO t SELECT g, 'first' FROM generate_series(1, 60) g");
    road.arrived(&receiver);
    let stuck = |event: &Event| event.0["key"]["id"].as_i64().is_some_and(|id| id > 100);
    receiver.when(stuck, Reply::hang());
    road.sql(
        "BEGIN; INSERT INTO t VALUES (101, 'stuck'); UPDATE t SET v = 'old' WHERE id <= 60;
         INSERT INTO t VALUES (102, 'stuck'); UPDATE t SET v = 'new' WHERE id <= 60; COMMIT",
    );
    let is_new = |event: &Event| event.0["data"]["v"] == "new";
    receiver.wait("some rows", PATIENCE, |journal| journal.events().iter().any(is_new));
    eventually("progress is stored", PATIENCE, || {
        status(&road, "far")["delivered"].as_u64().unwrap() > 60
    });
    road.stop();
    let came = receiver.journal();
    assert!(came.events().iter().all(|event| event.0["data"]["v"] != "old"));
    receiver.behave();
    road.configure(&sink("far", &receiver, keys));
    road.start();
    let journal = road.arrived(&receiver);
    let old = journal.events().into_iter().filter(|event| event.0["data"]["v"] == "old");
    let keys: BTreeSet<String> = old.map(|event| event.key()).collect();
    let known = came.events().into_iter().filter(is_new);
    let known: BTreeSet<String> = known.map(|event| event.key()).collect();
    assert!(known.is_disjoint(&keys), "stale rows came: {keys:?}");
}

#[test]
fn an_outage_over_a_time_delays_and_loses_nothing() {
    let (timed, compact) = (Receiver::start(), Receiver::start());
    let keys = format!("{EVERY}{BRISK}");
    let compacted = format!("{keys}compact = true\n");
    let road = road(T, &[sink("timed", &timed, &keys), sink("compact", &compact, &compacted)]);
    road.sql("INSERT INTO t SELECT g, 'row' FROM generate_series(1, 20) g");
    road.arrived(&timed);
    road.arrived(&compact);
    timed.refuse();
    compact.refuse();
    let mut seen = BTreeSet::new();
    eventually("three times pass while both are down", PATIENCE, || {
        road.sql("UPDATE t SET v = v || '.'");
        for name in ["timed", "compact"] {
            let sink = status(&road, name);
            if sink["state"] != "ok" {
                seen.insert((name, sink["next"].as_str().unwrap().to_owned()));
            }
        }
        let of = |name: &str| seen.iter().filter(|(of, _)| *of == name).count();
        of("timed") > 3 && of("compact") > 3
    });
    timed.listen();
    compact.listen();
    let all = road.arrived(&timed);
    let fewer = road.arrived(&compact);
    assert!(updates(&fewer).len() < updates(&all).len());
    assert_eq!(status(&road, "timed")["dead_letters"], status(&road, "compact")["dead_letters"]);
}

/// The problems of a config with these keys of a sink of this kind.
fn problems(keys: &str, kind: &str) -> Vec<String> {
    let text = format!(
        "[source]\nurl = \"postgres://postgres@localhost/shop\"\n[sink.far]\n{keys}\n{kind}\n{}",
        route("t", "far")
    );
    let variable = |_: &str| None;
    let environment = Environment { variable: &variable, folder: Path::new(".") };
    match config::parse("walgate.toml", &text, &environment) {
        Ok(_) => Vec::new(),
        Err(error) => error.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn a_schedule_that_is_none_is_told_with_its_cure() {
    let stdout = "[sink.far.stdout]";
    for fine in ["\"15m\"", "\"1s\"", "\"7d\"", "\"*/15 * * * *\"", "\"0 6 * * MON-FRI\""] {
        assert_eq!(problems(&format!("schedule = {fine}\ncompact = true"), stdout).len(), 0);
    }
    for (keys, told) in [
        ("schedule = \"soon\"", "walgate.toml:4:12: cannot use the schedule: it is neither"),
        ("schedule = \"100ms\"", "a step of less than 1s is none"),
        ("schedule = \"* * * * * *\"", "a cron line of five fields"),
        ("schedule = \"0 0 30 2 *\"", "never comes true"),
        ("compact = true", "walgate.toml:4:11: \"compact\" needs \"schedule\""),
    ] {
        let problems = problems(keys, stdout);
        assert!(problems.len() == 1 && problems[0].contains(told), "{keys}: {problems:?}");
    }
    let polled = problems("schedule = \"15m\"\ncompact = true", "[sink.far.poll]");
    assert_eq!(polled.len(), 2, "{polled:?}");
    assert!(polled[0].contains("\"schedule\" means nothing with poll"), "{polled:?}");
}
