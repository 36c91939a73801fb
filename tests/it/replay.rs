//! A part of the journal is sent to a sink again, beside the stream.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::support::process::{eventually, pause};
use super::support::receiver::{Event, Receiver, Reply, Request};
use super::support::road::{PATIENCE, Road, T, http, route};

/// Runs `walgate replay …`; returns exit code, what it printed, and what it said.
#[track_caller]
fn replay(road: &Road, args: &[&str]) -> (i32, Vec<Value>, String) {
    let output = road.walgate.call(&[&["replay"], args].concat());
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), lines, String::from_utf8(output.stderr).unwrap())
}

/// Events of the receiver that were sent again.
fn again(receiver: &Receiver) -> Vec<Event> {
    let journal = receiver.journal();
    let replayed = journal.requests.iter().filter(|r| r.header("walgate-replay").is_some());
    replayed.flat_map(Request::events).collect()
}

#[test]
fn a_window_is_sent_again_to_one_sink_as_the_same_events_in_order() {
    let (near, far) = (Receiver::start(), Receiver::start());
    let batched = "batch = { max_events = 20 }\nconcurrency = 3";
    let sinks = [
        http("near", &near.url("/"), batched),
        http("far", &far.url("/"), batched),
        route("t", "near"),
        route("t", "far"),
    ];
    let road = Road::new(Cluster::builder().major(15), T, &sinks.concat());
    road.sql("INSERT INTO t SELECT g, 'before' FROM generate_series(1, 10) g");
    road.confirms(&road.wal_end());
    let from = road.wal_end();
    road.sql("INSERT INTO t SELECT g, 'within' FROM generate_series(11, 200) g");
    road.sql("UPDATE t SET v = 'changed' WHERE id % 2 = 0; DELETE FROM t WHERE id = 200");
    road.confirms(&road.wal_end());
    let to = road.wal_end();
    road.sql("INSERT INTO t SELECT g, 'after' FROM generate_series(201, 210) g");
    road.confirms(&road.wal_end());
    let first = far.journal().events();

    let (code, _, said) = replay(&road, &["--sink", "far", "--from", &from, "--to", &to]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("291 events were sent again, 291 of them delivered"), "{said}");
    let sent = again(&far);
    let window: Vec<&Event> = first
        .iter()
        .filter(|event| event.0["data"]["v"] != "before" && event.0["data"]["v"] != "after")
        .collect();
    assert_eq!(window.len(), 291);
    for event in &window {
        assert!(sent.iter().any(|other| other.0 == event.0), "{} as it was", event.id());
    }
    let mut by_key = std::collections::BTreeMap::<String, Vec<&str>>::new();
    sent.iter().for_each(|event| by_key.entry(event.key()).or_default().push(event.id()));
    assert!(by_key.values().all(|ids| ids.is_sorted()), "in order per key");
    assert_eq!(again(&near).len(), 0);
    // The stream is where it was, and goes on.
    road.sql("INSERT INTO t VALUES (1000, 'on')");
    far.wait("it goes on", PATIENCE, |journal| {
        journal.events().iter().any(|event| event.0["key"] == json!({ "id": 1000 }))
    });
    road.confirms(&road.wal_end());
}

#[test]
fn a_dead_letter_of_the_window_is_sent_with_it_and_is_none_any_more() {
    let receiver = Receiver::start();
    receiver.when(|event| event.0["data"]["v"] == "bad", Reply::status(422));
    let road = Road::of_t(&http("far", &receiver.url("/"), "concurrency = 3"));
    let from = road.wal_end();
    road.sql("INSERT INTO t SELECT g, 'bad' FROM generate_series(1, 3) g; INSERT INTO t VALUES (4, 'good')");
    road.confirms(&road.wal_end());
    let dead = || road.dead_letters(&["--state", "dead"]).len();
    assert_eq!(dead(), 3);
    receiver.behave();
    let (code, _, said) = replay(&road, &["--sink", "far", "--from", &from]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("4 events were sent again, 4 of them delivered"), "{said}");
    assert_eq!(again(&receiver).len(), 4);
    eventually("none is dead any more", PATIENCE, || dead() == 0);
}

#[test]
fn one_table_one_key_and_a_rate() {
    let receiver = Receiver::start();
    let schema = format!("{T}; CREATE TABLE u (id int PRIMARY KEY, v text)");
    let sinks = [http("far", &receiver.url("/"), ""), route("t", "far"), route("u", "far")];
    let road = Road::new(Cluster::builder().major(15), &schema, &sinks.concat());
    let from = road.value("SELECT now() - interval '1 minute'").replace(' ', "T") + ":00";
    for round in 0..5 {
        road.sql(&format!(
            "INSERT INTO t VALUES ({round}, 'a'); INSERT INTO u VALUES ({round}, 'a')"
        ));
    }
    road.sql("UPDATE u SET v = 'b' WHERE id = 3; TRUNCATE t");
    road.confirms(&road.wal_end());
    let (code, _, said) = replay(
        &road,
        &["--sink", "far", "--from", &from, "--table", "public.u", "--key", "{\"id\": 3}"],
    );
    assert_eq!(code, 0, "{said}");
    let ops = |events: &[Event]| events.iter().map(|e| e.op().to_owned()).collect::<Vec<_>>();
    assert_eq!(ops(&again(&receiver)), ["insert", "update"]);
    let begun = Instant::now();
    let args = ["--sink", "far", "--from", &from, "--table", "public.u", "--rate", "5/s"];
    let (code, _, said) = replay(&road, &args);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("6 events were sent again"), "{said}");
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
    let (code, _, said) = replay(&road, &["--sink", "fra", "--from", &from]);
    assert_eq!(code, 2, "{said}");
    let (code, _, said) = replay(&road, &["--sink", "far", "--from", "0/1"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("not in the journal: what lies from 0/1#0 to "), "{said}");
}

/// A receiver that writes what comes and compares nothing is left with the newest state of each
/// row, though its older changes were sent again while newer ones came.
#[test]
fn what_changes_meanwhile_is_newest_at_the_end() {
    let receiver = Receiver::start();
    let keys = "concurrency = 4\nbatch = { max_events = 5 }";
    let sinks = [http("far", &receiver.url("/"), keys), route("t", "far")];
    let road = Road::new(Cluster::builder().major(15), T, &sinks.concat());
    let from = road.wal_end();
    road.sql("INSERT INTO t SELECT g, 'old' FROM generate_series(1, 300) g");
    road.confirms(&road.wal_end());
    receiver.otherwise(Reply::ok().after(Duration::from_millis(5)));
    let (code, _, said) = replay(&road, &["--sink", "far", "--from", &from, "--no-wait"]);
    assert_eq!(code, 0, "{said}");
    for round in 0..20 {
        road.sql(&format!("UPDATE t SET v = 'round {round}' WHERE id % 3 = {round} % 3"));
        pause(Duration::from_millis(15));
    }
    road.confirms(&road.wal_end());
    eventually("the replay has ended", PATIENCE, || {
        let output =
            road.walgate.call(&["replay", "--sink", "far", "--from", &from, "--to", &from]);
        output.status.code() == Some(0)
    });
    let mut state = std::collections::BTreeMap::new();
    for event in receiver.journal().events() {
        state.insert(event.0["key"]["id"].as_i64().unwrap(), event.0["data"]["v"].clone());
    }
    let table = road.table("t");
    assert_eq!(state.len(), 300);
    for (id, v) in state {
        assert_eq!(table[&format!("public.t{{\"id\":{id}}}")]["v"], v, "row {id}");
    }
}

#[test]
fn an_older_version_of_the_mapping_and_what_would_differ() {
    let receiver = Receiver::start();
    let config = |version: u32, extra: &str| {
        format!(
            "[mapping.m]\nversion = {version}\n[mapping.m.fields]\nid = {{ column = \"id\" }}\n\
             name = {{ column = \"v\" }}\n{extra}\n{}[[route]]\nname = \"r\"\n\
             table = \"public.t\"\nmapping = \"m\"\nsink = \"far\"\nstart = \"now\"\n",
            http("far", &receiver.url("/"), "")
        )
    };
    let mut road = Road::new(Cluster::builder().major(15), T, &config(1, ""));
    let from = road.wal_end();
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    road.confirms(&road.wal_end());
    road.stop();
    road.configure(&config(2, "source = { value = \"shop\" }"));
    road.start();
    let args = ["--sink", "far", "--from", &from];
    let (code, lines, said) = replay(&road, &[&args[..], &["--dry-run"]].concat());
    assert_eq!(code, 0, "{said}");
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["was"], 1);
    assert_eq!(lines[0]["would_be"], 2);
    assert_eq!(lines[0]["differs"], json!(["source"]));
    assert_eq!(lines[0]["would_send"]["data"], json!({ "id": 1, "name": "a", "source": "shop" }));
    assert_eq!(again(&receiver).len(), 0, "nothing was sent");
    let (code, _, said) = replay(&road, &args);
    assert_eq!(code, 0, "{said}");
    let (code, _, said) = replay(&road, &[&args[..], &["--mapping-version", "1"]].concat());
    assert_eq!(code, 0, "{said}");
    let versions: Vec<_> =
        again(&receiver).iter().map(|event| event.0["mapping"]["version"].clone()).collect();
    assert_eq!(versions, [json!(2), json!(2), json!(1), json!(1)]);
    let (code, _, said) = replay(&road, &[&args[..], &["--mapping-version", "7"]].concat());
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("never ran here"), "{said}");
}

#[test]
fn without_an_instance_and_over_a_crash() {
    let receiver = Receiver::start();
    let mut road = Road::of_t(&http("far", &receiver.url("/"), ""));
    let from = road.wal_end();
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 60) g");
    road.confirms(&road.wal_end());
    road.stop();
    road.sql("INSERT INTO t VALUES (61, 'later')");
    let (code, _, said) = replay(&road, &["--sink", "far", "--from", &from]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("60 events were sent again, 60 of them delivered"), "{said}");
    assert_eq!(again(&receiver).len(), 60);
    road.start();
    road.arrived(&receiver);
    // Killed in the middle, it goes on with the next start.
    let (code, _, _) =
        replay(&road, &["--sink", "far", "--from", &from, "--rate", "20/s", "--no-wait"]);
    assert_eq!(code, 0);
    eventually("it has begun", PATIENCE, || again(&receiver).len() >= 70);
    road.walgate.kill();
    road.start();
    eventually("it goes on to its end", PATIENCE, || {
        let mut seen = std::collections::BTreeMap::<String, usize>::new();
        again(&receiver).iter().for_each(|e| *seen.entry(e.key()).or_default() += 1);
        seen.values().filter(|times| **times >= 2).count() >= 60
    });
}

/// What the sink refused of a part of the journal was sent later over what it had long been sent
/// since.
#[test]
fn what_is_refused_of_a_replay_overwrites_nothing_newer_unless_forced() {
    let receiver = Receiver::start();
    let road = Road::of_t(&http("far", &receiver.url("/"), ""));
    let from = road.wal_end();
    road.sql("INSERT INTO t VALUES (1, 'old'), (2, 'old')");
    road.confirms(&road.wal_end());
    let to = road.wal_end();
    road.sql("UPDATE t SET v = 'new' WHERE id = 1");
    road.confirms(&road.wal_end());
    receiver.when(|event| event.0["data"]["v"] == "old", Reply::status(422));
    let (code, _, said) = replay(&road, &["--sink", "far", "--from", &from, "--to", &to]);
    assert_eq!(code, 5, "{said}");
    receiver.behave();
    let (code, _, said) = road.dlq(&["replay", "--state", "dead"]);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("may have one (--force)"), "{said}");
    let dead = road.dead_letters(&["--state", "dead"]);
    assert_eq!(dead.len(), 2);
    assert!(dead[0]["reason"].as_str().unwrap().contains("out of the journal"), "{dead:?}");
    assert_eq!(receiver.journal().events_processed, 3);
    let (code, _, said) = road.dlq(&["replay", "--state", "dead", "--force"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(receiver.journal().events_processed, 5);
}

/// A route or a sink that is new begins as far back as the journal goes, where it says so.
#[test]
fn what_is_new_begins_with_the_journal_where_it_says_so() {
    let (far, late) = (Receiver::start(), Receiver::start());
    let schema = format!("{T}; CREATE TABLE u (id int PRIMARY KEY, v text)");
    let one = format!("{}{}", http("far", &far.url("/"), ""), route("t", "far"));
    let mut road = Road::new(Cluster::builder().major(15), &schema, &one);
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 40) g");
    road.sql("INSERT INTO u SELECT g, 'a' FROM generate_series(1, 40) g; UPDATE u SET v = 'b'");
    road.confirms(&road.wal_end());
    road.stop();
    let from_journal = |table: &str, sink: &str| {
        route(table, sink).replace("start = \"now\"", "start = \"journal\"")
    };
    let more = [
        one.clone(),
        from_journal("u", "far"),
        http("late", &late.url("/"), ""),
        from_journal("t", "late"),
        route("u", "late"),
    ];
    road.configure(&more.concat());
    road.start();
    road.sql("UPDATE u SET v = 'c' WHERE id <= 5; UPDATE t SET v = 'c' WHERE id <= 5");
    let of = |receiver: &Receiver, table: &str| {
        let events = receiver.journal().events();
        events.iter().filter(|event| event.0["table"] == format!("public.{table}")).count()
    };
    eventually("the new route has all of it", PATIENCE, || of(&far, "u") >= 85);
    eventually("the new sink has all of it", PATIENCE, || of(&late, "t") >= 45);
    road.confirms(&road.wal_end());
    // Those of the new sink that do not say so begin now.
    assert_eq!(of(&late, "u"), 5);
    for (receiver, table) in [(&far, "u"), (&late, "t")] {
        let mut rows = std::collections::BTreeMap::new();
        for event in receiver.journal().events() {
            if event.0["table"] == format!("public.{table}") {
                rows.insert(event.key(), event.0["data"].clone());
            }
        }
        assert_eq!(rows, road.table(table));
    }
    assert_eq!((of(&far, "t"), again(&far).len(), again(&late).len()), (45, 0, 0));
    // It is done once.
    road.stop();
    road.start();
    road.sql("INSERT INTO t VALUES (1000, 'on')");
    eventually("it goes on", PATIENCE, || of(&far, "t") == 46 && of(&late, "t") >= 46);
    assert!(of(&late, "t") <= 51, "only what changed meanwhile comes once more");
    assert!(of(&far, "u") <= 90, "only what changed meanwhile comes once more");
}
