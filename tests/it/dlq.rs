//! Dead letters: listed, shown, sent again in order, discarded, beside a running instance and
//! without one.

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::support::process::eventually;
use super::support::receiver::{Event, Receiver, Reply};
use super::support::road::{PATIENCE, Road, T, http, route};

const BRISK: &str = "retry = { initial = \"20ms\", max = \"100ms\", max_attempts = 3 }\n\
                     breaker = { cooldown = \"100ms\" }\nhalt_probe = \"200ms\"";

fn road(receiver: &Receiver, keys: &str) -> Road {
    Road::of_t(&http("far", &receiver.url("/"), &format!("{BRISK}\n{keys}")))
}

/// Refuses rows of this value.
fn refuse(receiver: &Receiver, value: &'static str) {
    let reply = Reply::status(422).body("{\"error\":\"no such plan\"}");
    receiver.when(move |event| event.0["data"]["v"] == value, reply);
}

fn ids(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.0["key"]["id"].as_i64().unwrap()).collect()
}

#[test]
fn a_dead_letter_is_listed_shown_and_sent_again_as_the_same_event() {
    let receiver = Receiver::start();
    refuse(&receiver, "bad");
    let road = road(&receiver, "");
    road.sql("INSERT INTO t VALUES (1, 'bad'), (2, 'good')");
    receiver.wait("the good one", PATIENCE, |journal| journal.events_processed == 1);
    eventually("the bad one is set aside", PATIENCE, || road.dead_letters(&[]).len() == 1);

    let listed = road.dead_letters(&["--sink", "far", "--key", "{\"id\": 1}", "--state", "dead"]);
    let letter = &listed[0];
    let number = letter["id"].to_string();
    for (name, value) in [
        ("sink", json!("far")),
        ("route", json!("t-to-far")),
        ("table", json!("public.t")),
        ("key", json!({ "id": 1 })),
        ("op", json!("insert")),
        ("state", json!("dead")),
        ("category", json!("rejected")),
        ("attempts", json!(1)),
        ("mapping", Value::Null),
    ] {
        assert_eq!(letter[name], value, "{name}");
    }
    assert!(letter["message"].as_str().unwrap().contains("422"));
    assert_eq!(road.dead_letters(&["--category", "exhausted"]), Vec::<Value>::new());
    assert_eq!(road.dead_letters(&["--key", "{\"id\": 2}"]), Vec::<Value>::new());
    assert_eq!(road.dead_letters(&["--since", "1h"]).len(), 1);
    assert_eq!(road.dead_letters(&["--until", "1h"]), Vec::<Value>::new());

    let output = road.walgate.call(&["dlq", "show", &number, "--json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["original"], json!({ "id": 1, "v": "bad" }));
    assert_eq!(shown["payload"]["id"], letter["event_id"]);
    assert_eq!(shown["tries"][0]["status"], 422);
    assert_eq!(shown["tries"][0]["answer"], "{\"error\":\"no such plan\"}");

    // It is refused again, and says so.
    let (code, outcomes, said) = road.dlq(&["replay", &number, "--json"]);
    assert_eq!(code, 5, "{said}");
    assert_eq!(outcomes[0]["outcome"], "dead");
    assert_eq!(road.dead_letters(&[])[0]["attempts"], 2);

    receiver.behave();
    let (code, outcomes, said) = road.dlq(&["replay", "--table", "public.t", "--json"]);
    assert_eq!((code, &outcomes[0]["outcome"]), (0, &json!("delivered")), "{said}");
    assert_eq!(outcomes[0]["event_id"], letter["event_id"]);
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
    let journal = receiver.journal();
    let sent: Vec<_> =
        journal.requests.iter().filter(|request| request.events()[0].0["key"]["id"] == 1).collect();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|request| request.body == sent[0].body), "the same event");
    let headers: Vec<_> = sent.iter().map(|request| request.header("walgate-replay")).collect();
    assert_eq!(headers, [None, Some("true"), Some("true")]);
    let keys: Vec<_> =
        sent.iter().map(|request| request.header("idempotency-key").unwrap()).collect();
    assert_eq!(keys[1], format!("{}-r1", keys[0]));
    assert_eq!(keys[2], format!("{}-r2", keys[0]));
    let (code, _, said) = road.dlq(&["replay", &number]);
    assert_eq!(code, 0);
    assert!(said.contains("no dead letter fits"), "{said}");
}

#[test]
fn what_the_sink_has_newer_is_not_overwritten_unless_forced() {
    let receiver = Receiver::start();
    refuse(&receiver, "bad");
    let road = road(&receiver, "concurrency = 4");
    road.sql("INSERT INTO t VALUES (1, 'bad'), (2, 'bad')");
    eventually("both are dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 2);
    road.sql("UPDATE t SET v = 'good' WHERE id = 1");
    receiver.wait("the update", PATIENCE, |journal| journal.events_processed == 1);
    road.confirms(&road.wal_end());
    receiver.behave();
    let (code, outcomes, said) = road.dlq(&["replay", "--all", "--json"]);
    assert_eq!(code, 5, "{said}");
    let by_id = |id: i64| {
        let key = json!({ "id": id });
        let of = |letter: &Value| letter["key"] == key;
        let letters = road.dead_letters(&["--key", &key.to_string()]);
        letters.into_iter().find(of)
    };
    let refused: Vec<_> = outcomes.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(refused, ["refused", "delivered"]);
    assert!(by_id(1).unwrap()["reason"].as_str().unwrap().contains("newer"));
    assert_eq!(by_id(2), None);
    assert_eq!(ids(&receiver.journal().events()), [1, 2]);
    let (code, outcomes, _) = road.dlq(&["replay", "--all", "--force", "--json"]);
    assert_eq!((code, &outcomes[0]["outcome"]), (0, &json!("delivered")));
    assert_eq!(ids(&receiver.journal().events()), [1, 2, 1]);
}

/// A key was forgotten once one of its dead letters had been sent again: what came later made the
/// others no older, and they would have been sent over it.
#[test]
fn a_newer_change_is_noted_though_another_dead_letter_of_its_key_was_sent_again() {
    let receiver = Receiver::start();
    refuse(&receiver, "bad");
    let road = road(&receiver, "");
    road.sql("INSERT INTO t VALUES (1, 'bad')");
    road.sql("UPDATE t SET v = 'bad'");
    eventually("both are dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 2);
    receiver.behave();
    let first = road.dead_letters(&[])[0]["id"].to_string();
    let (code, _, said) = road.dlq(&["replay", &first]);
    assert_eq!(code, 0, "{said}");
    road.sql("UPDATE t SET v = 'good'");
    receiver.wait("the last change", PATIENCE, |journal| journal.events_processed == 2);
    road.confirms(&road.wal_end());
    let (code, outcomes, said) = road.dlq(&["replay", "--all", "--json"]);
    assert_eq!((code, &outcomes[0]["outcome"]), (5, &json!("refused")), "{said}");
    assert_eq!(receiver.journal().events().last().unwrap().0["data"]["v"], "good");
}

#[test]
fn one_that_its_mapping_refuses_again_is_counted_for_its_route() {
    let receiver = Receiver::start();
    let mapping = "[mapping.m]\nversion = 1\n[mapping.m.fields]\nid = { column = \"id\" }\n\
                   v = { column = \"v\", required = true }\n";
    let sink = http("far", &receiver.url("/"), BRISK);
    let config = format!("{mapping}{sink}{}mapping = \"m\"\n", route("t", "far"));
    let road = Road::new(Cluster::builder().major(15), T, &config);
    road.sql("INSERT INTO t VALUES (1, NULL)");
    eventually("it is dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 1);
    let (code, outcomes, said) = road.dlq(&["replay", "--all", "--json"]);
    assert_eq!((code, &outcomes[0]["outcome"]), (5, &json!("dead")), "{said}");
    let metrics = road.walgate.get("/metrics").body;
    let dead = "walgate_sink_events_total{sink=\"far\",route=\"t-to-far\",result=\"dead\"} 2\n";
    assert!(metrics.contains(dead) && !metrics.contains("route=\"\""), "{metrics}");
}

#[test]
fn what_waits_behind_a_dead_letter_follows_it_in_order() {
    let receiver = Receiver::start();
    refuse(&receiver, "bad");
    let road = road(&receiver, "on_dead = \"block\"");
    road.sql("INSERT INTO t VALUES (1, 'bad')");
    for round in 0..5 {
        road.sql(&format!("UPDATE t SET v = 'round {round}'"));
    }
    road.sql("INSERT INTO t VALUES (2, 'good')");
    receiver.wait("the other key", PATIENCE, |journal| journal.events_processed == 1);
    eventually("they wait", PATIENCE, || road.dead_letters(&["--state", "blocked"]).len() == 5);
    receiver.behave();
    let (code, _, said) = road.dlq(&["replay", "--state", "dead"]);
    assert_eq!(code, 0, "{said}");
    receiver.wait("all of it", PATIENCE, |journal| journal.events_processed == 7);
    let journal = road.arrived(&receiver);
    assert_eq!(journal.out_of_order(), Vec::<String>::new());
    eventually("nothing is left", PATIENCE, || road.dead_letters(&[]).is_empty());
}

#[test]
fn a_discarded_one_lets_go_what_waits_behind_it_and_keeps_the_reason() {
    let receiver = Receiver::start();
    refuse(&receiver, "bad");
    let road = road(&receiver, "on_dead = \"block\"");
    road.sql("INSERT INTO t VALUES (1, 'bad'); UPDATE t SET v = 'good'");
    eventually("one waits", PATIENCE, || road.dead_letters(&["--state", "blocked"]).len() == 1);
    let (code, _, said) = road.dlq(&["discard", "--all"]);
    assert_eq!(code, 2, "a reason is wanted: {said}");
    let (code, _, said) = road.dlq(&["discard", "--reason", "a test"]);
    assert_eq!(code, 2, "which ones: {said}");
    let (code, _, said) = road.dlq(&["discard", "--state", "dead", "--reason", "a test"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("events discarded: 1"), "{said}");
    receiver.wait("the update", PATIENCE, |journal| journal.events_processed == 1);
    let letter = &road.dead_letters(&["--state", "discarded"])[0];
    assert_eq!((&letter["reason"], &letter["op"]), (&json!("a test"), &json!("insert")));
    let number = letter["id"].to_string();
    let (_, exported, _) = road.dlq(&["export", &number]);
    assert_eq!(exported[0]["original"], Value::Null, "its bytes are gone");
    assert_eq!(exported[0]["tries"].as_array().unwrap().len(), 1);
    road.confirms(&road.wal_end());
}

#[test]
fn without_an_instance_the_command_sends_them_itself() {
    let receiver = Receiver::start();
    refuse(&receiver, "bad");
    let mut road = road(&receiver, "");
    road.sql("INSERT INTO t SELECT g, 'bad' FROM generate_series(1, 20) g");
    eventually("all are dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 20);
    road.stop();
    road.sql("INSERT INTO t VALUES (21, 'later')");
    let (code, outcomes, said) = road.dlq(&["replay", "--key", "{\"id\": 7}", "--json"]);
    assert_eq!((code, &outcomes[0]["outcome"]), (5, &json!("dead")), "{said}");
    receiver.behave();
    let (code, outcomes, said) = road.dlq(&["replay", "--all", "--json"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(outcomes.len(), 20);
    assert!(outcomes.iter().all(|line| line["outcome"] == "delivered"));
    // It did that and nothing else.
    assert_eq!(ids(&receiver.journal().events()), (1..=20).collect::<Vec<_>>());
    road.start();
    let journal = road.arrived(&receiver);
    assert_eq!(journal.repeats(), 0);
}

/// A replay is asked for, and the process is killed before it is done: it goes on by itself.
#[test]
fn a_replay_that_was_begun_goes_on_after_a_crash() {
    let receiver = Receiver::start();
    refuse(&receiver, "bad");
    let mut road = road(&receiver, "");
    road.sql("INSERT INTO t SELECT g, 'bad' FROM generate_series(1, 5) g");
    eventually("all are dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 5);
    receiver.behave();
    receiver.otherwise(Reply::status(503));
    let (code, _, said) = road.dlq(&["replay", "--all", "--no-wait"]);
    assert_eq!(code, 0, "{said}");
    eventually("it is tried", PATIENCE, || {
        receiver.journal().requests.iter().any(|r| r.header("walgate-replay").is_some())
    });
    road.walgate.kill();
    receiver.behave();
    road.start();
    receiver.wait("all five", PATIENCE, |journal| journal.events_processed >= 5);
    eventually("nothing is left", PATIENCE, || road.dead_letters(&[]).is_empty());
    assert_eq!(receiver.journal().out_of_order(), Vec::<String>::new());
}

/// What waits behind dead letters that are being sent again overtook them after a crash.
#[test]
fn what_waits_behind_a_replayed_dead_letter_waits_over_a_crash_too() {
    let receiver = Receiver::start();
    refuse(&receiver, "bad");
    let mut road = road(&receiver, "on_dead = \"block\"\nconcurrency = 4");
    road.sql("INSERT INTO t SELECT g, 'bad' FROM generate_series(1, 40) g");
    eventually("all are dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 40);
    for round in 0..3 {
        road.sql(&format!("UPDATE t SET v = 'round {round}'"));
    }
    eventually("they wait", PATIENCE, || road.dead_letters(&["--state", "blocked"]).len() == 120);
    receiver.behave();
    receiver.otherwise(Reply::status(503));
    let (code, _, said) = road.dlq(&["replay", "--state", "dead", "--no-wait"]);
    assert_eq!(code, 0, "{said}");
    eventually("they are tried", PATIENCE, || {
        receiver.journal().requests.iter().any(|r| r.header("walgate-replay").is_some())
    });
    road.walgate.kill();
    receiver.behave();
    road.start();
    receiver.wait("all of it", PATIENCE, |journal| journal.events_processed >= 160);
    let journal = road.arrived(&receiver);
    assert_eq!(journal.repeats(), 0);
    eventually("nothing is left", PATIENCE, || road.dead_letters(&[]).is_empty());
}

/// A dead letter that is sent again before the crash could store how far the sink is came twice:
/// from the stream and as a replay.
#[test]
fn a_replay_of_what_the_stream_brings_again_comes_once() {
    let receiver = Receiver::start();
    refuse(&receiver, "bad");
    let keys = "concurrency = 4\ntimeout = \"60s\"";
    let mut road = road(&receiver, keys);
    road.sql("INSERT INTO t SELECT g, 'good' FROM generate_series(101, 120) g");
    road.confirms(&road.wal_end());
    // This one holds back the position.
    receiver.when(|event| event.0["data"]["v"] == "held", Reply::hang());
    road.sql("INSERT INTO t VALUES (0, 'held')");
    road.sql("INSERT INTO t SELECT g, 'bad' FROM generate_series(1, 20) g");
    // But for those of its lane.
    eventually("they are dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() >= 8);
    receiver.behave();
    receiver.when(|event| event.0["data"]["v"] == "held", Reply::hang());
    receiver.otherwise(Reply::status(503));
    let (code, _, said) = road.dlq(&["replay", "--state", "dead", "--no-wait"]);
    assert_eq!(code, 0, "{said}");
    assert!(road.dead_letters(&["--state", "replaying"]).len() >= 8);
    road.walgate.kill();
    // As if it had come before the keeper's next look.
    super::support::state::change(&road.walgate, "UPDATE progress SET ranges = x''");
    receiver.behave();
    road.start();
    receiver.wait("all of it", PATIENCE, |journal| journal.events_processed >= 41);
    eventually("nothing is left", PATIENCE, || road.dead_letters(&[]).is_empty());
    let journal = road.arrived(&receiver);
    assert_eq!((journal.repeats(), journal.events_processed), (0, 41));
}

/// One that was discarded and is sent again with a part of the journal was no dead letter when it
/// was refused again, and what came behind it waited for it for ever.
#[test]
fn a_discarded_one_that_the_journal_sends_again_is_dead_again_when_it_is_refused() {
    let receiver = Receiver::start();
    refuse(&receiver, "bad");
    let road = road(&receiver, "on_dead = \"block\"");
    let from = road.wal_end();
    road.sql("INSERT INTO t VALUES (1, 'bad'); INSERT INTO t VALUES (2, 'good')");
    road.confirms(&road.wal_end());
    let (code, _, said) = road.dlq(&["discard", "--all", "--reason", "a test"]);
    assert_eq!(code, 0, "{said}");
    let output = road.walgate.call(&["replay", "--sink", "far", "--from", &from]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{said}");
    road.sql("UPDATE t SET v = 'better' WHERE id = 1");
    eventually("it waits", PATIENCE, || road.dead_letters(&["--state", "blocked"]).len() == 1);
    let dead = road.dead_letters(&["--state", "dead"]);
    assert_eq!(dead.len(), 1, "{:?}", road.dead_letters(&[]));
    let (code, _, said) = road.dlq(&["discard", "--state", "dead", "--reason", "a test"]);
    assert_eq!(code, 0, "{said}");
    receiver.wait("the update", PATIENCE, |journal| {
        journal.events().iter().any(|event| event.0["data"]["v"] == "better")
    });
}

/// What came just while a person discarded was discarded behind the back of its sink: with
/// `on_dead = "block"` all that came later of its key waited for it for ever.
#[test]
fn nothing_waits_for_what_is_discarded_while_more_comes() {
    let receiver = Receiver::start();
    refuse(&receiver, "bad");
    let road = road(&receiver, "on_dead = \"block\"\nconcurrency = 4");
    for round in 0..20 {
        let first = round * 200;
        road.sql(&format!(
            "INSERT INTO t SELECT g, CASE WHEN g % 3 = 0 THEN 'good' ELSE 'bad' END
             FROM generate_series({first}, {first} + 199) g"
        ));
        let (code, _, said) = road.dlq(&["discard", "--all", "--reason", "a test"]);
        assert_eq!(code, 0, "{said}");
    }
    road.confirms(&road.wal_end());
    let (code, _, said) = road.dlq(&["discard", "--all", "--reason", "a test"]);
    assert_eq!(code, 0, "{said}");
    road.sql("UPDATE t SET v = 'better'");
    let better = |event: &&Event| event.0["data"]["v"] == "better";
    eventually("nothing waits", PATIENCE, || {
        receiver.journal().events().iter().filter(better).count() == 4000
    });
}

/// A replay to a sink that is paused waited without a word.
#[test]
fn without_an_instance_it_is_said_what_a_replay_waits_for() {
    let receiver = Receiver::start();
    refuse(&receiver, "bad");
    let mut road = road(&receiver, "");
    road.sql("INSERT INTO t VALUES (1, 'bad')");
    eventually("it is dead", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 1);
    road.stop();
    let output = road.walgate.call(&["sink", "pause", "far", "--reason", "moving house"]);
    assert_eq!(output.status.code(), Some(0));
    let said = road.walgate.folder().join("said");
    let mut replay = std::process::Command::new(env!("CARGO_BIN_EXE_walgate"))
        .current_dir(road.walgate.folder())
        .args(["dlq", "replay", "--all"])
        .stderr(std::fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    eventually("it says so", PATIENCE, || {
        let said = std::fs::read_to_string(&said).unwrap();
        said.contains("still waiting: sink far is halted: paused by a person: moving house")
    });
    let pid = replay.id().to_string();
    assert!(
        std::process::Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success()
    );
    assert_eq!(replay.wait().unwrap().code(), Some(1));
}

#[test]
fn a_replay_of_which_nothing_is_sent_says_nothing_of_the_sink() {
    let receiver = Receiver::start();
    let mapping = "mapping = \"m\"\n[mapping.m]\nversion = 1\n[mapping.m.fields]\n\
                   v = { column = \"v\", required = true }\n";
    let sinks = [http("far", &receiver.url("/"), BRISK), route("t", "far"), mapping.to_owned()];
    let mut road = Road::new(Cluster::builder(), T, &sinks.concat());
    road.sql("INSERT INTO t VALUES (1, NULL)");
    eventually("it is refused", PATIENCE, || road.dead_letters(&["--state", "dead"]).len() == 1);
    let (code, outcomes, said) = road.dlq(&["replay", "--all", "--json"]);
    assert_eq!((code, outcomes.len()), (5, 1), "{said}");
    assert_eq!(outcomes[0]["outcome"], "dead");
    road.sql("INSERT INTO t VALUES (2, 'good')");
    receiver.wait("the good one", PATIENCE, |journal| journal.events_processed == 1);
    road.stop();
    let log = road.walgate.log();
    assert!(!log.contains("takes what it is sent"), "{log}");
}

/// A slip in a name was an empty answer.
#[test]
fn a_sink_route_or_number_that_nobody_knows_is_refused() {
    let receiver = Receiver::start();
    refuse(&receiver, "bad");
    let mut road = road(&receiver, "");
    road.sql("INSERT INTO t VALUES (1, 'bad')");
    eventually("it is set aside", PATIENCE, || road.dead_letters(&[]).len() == 1);
    let number = road.dead_letters(&[])[0]["id"].to_string();
    let check = |road: &Road, args: &[&str], said: &str| {
        let output = road.walgate.call(&[&["dlq"], args].concat());
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains(said), "{args:?}: {told}");
        assert_eq!(output.stdout, b"");
    };
    let refuses = |road: &Road| {
        let sink = "neither the config nor the state knows a sink \"fat\"";
        check(road, &["list", "--sink", "fat"], sink);
        check(road, &["export", "--sink", "fat"], "help: did you mean \"far\"?");
        check(road, &["replay", "--sink", "fat"], sink);
        check(road, &["discard", "--sink", "fat", "--reason", "x"], sink);
        check(road, &["list", "--route", "nope"], "a route \"nope\"");
        check(road, &["replay", "77", &number], "there is no dead letter 77");
        check(road, &["discard", "77", "--reason", "x"], "there is no dead letter 77");
    };
    refuses(&road);
    road.stop();
    refuses(&road);
    assert_eq!(road.dead_letters(&["--state", "dead"]).len(), 1, "nothing happened to it");
    // One that the config has no more is known by what is left of it.
    let renamed = http("new", &receiver.url("/"), "");
    road.configure(&format!("{renamed}{}", route("t", "new")));
    assert_eq!(road.dead_letters(&["--sink", "far", "--route", "t-to-far"]).len(), 1);
    let output = road.walgate.call(&["sink", "forget", "far"]);
    assert!(output.status.success());
    assert_eq!(road.dead_letters(&["--sink", "far", "--state", "discarded"]).len(), 1);
    assert_eq!(road.dead_letters(&["--sink", "new"]), Vec::<Value>::new());
}
