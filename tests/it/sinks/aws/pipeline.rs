//! From a real Postgres to moto's services, which check every signature, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::far::Far;
use crate::support::journal::{Journal, Request};
use crate::support::process::eventually;
use crate::support::proxy::{Faults, Proxy};
use crate::support::road::{PATIENCE, Road, T, route};

/// A sink that does not wait long after a failure.
const QUICK: &str = "retry = { initial = \"50ms\", max = \"500ms\" }\n\
    breaker = { failures = 5, cooldown = \"500ms\" }\nhalt_probe = \"500ms\"\n";

fn sink(name: &str, kind: &str, more: &str, keys: &str) -> String {
    format!("[sink.{name}]\n{QUICK}{more}\n[sink.{name}.{kind}]\n{keys}\n{}", route("t", name))
}

/// What came, as a receiver would have journaled it.
fn journal(found: &[Value]) -> Journal {
    let request = |one: &Value| Request {
        method: "POST".to_owned(),
        target: "/".to_owned(),
        headers: Vec::new(),
        body: one["body"].as_str().unwrap().as_bytes().to_vec(),
        at: Instant::now(),
        processed: true,
    };
    Journal { requests: found.iter().map(request).collect(), ..Journal::default() }
}

/// The same in the order of commits, for services that have none.
fn sorted(found: &[Value]) -> Journal {
    let mut journal = journal(found);
    journal.requests.sort_by_key(|request| request.events()[0].id().to_owned());
    journal
}

/// Holds that what came makes up the table, and that a repeat is what it was.
#[track_caller]
fn holds(road: &Road, what: &str, journal: &Journal) {
    assert_eq!(journal.fold(), road.table("t"), "{what} differs from the table");
    assert_eq!(journal.repeats_unlike(), Vec::<String>::new(), "{what}");
}

#[test]
fn every_service_has_what_was_written_over_an_outage_and_a_kill() {
    let far = Far::start();
    let proxy = Proxy::start(far.address);
    let keys = far.keys("any", proxy.address());
    let named = |key: &str, value: &str| format!("{key} = \"{value}\"\n{keys}");
    let bus =
        format!("bus = \"b\"\nsource = \"shop\"\ndetail_type = \"shop.{{{{ op }}}}\"\n{keys}");
    let sinks = [
        sink("queue", "sqs", "batch = { max_events = 50 }", &named("queue_url", far.of("queue"))),
        sink("fifo", "sqs", "concurrency = 4", &named("queue_url", far.of("fifo"))),
        sink("topic", "sns", "", &named("topic_arn", far.of("topic"))),
        sink("topic_fifo", "sns", "", &named("topic_arn", far.of("topic_fifo"))),
        sink("stream", "kinesis", "concurrency = 2", &named("stream", "s")),
        sink("hose", "firehose", "", &named("stream", "f")),
        sink("bus", "eventbridge", "", &bus),
    ];
    let mut road = Road::new(Cluster::builder(), T, &sinks.concat());
    road.sql(
        "INSERT INTO t SELECT g, 'ä <&> ' || chr(65535) || chr(1) FROM generate_series(1, 30) g",
    );
    road.sql("UPDATE t SET v = v || '2'; UPDATE t SET v = 'x' WHERE id < 20");
    road.confirms(&road.wal_end());
    proxy.set(Faults { refuse: true, ..Faults::default() });
    road.sql(
        "UPDATE t SET v = v || '3'; DELETE FROM t WHERE id < 5; INSERT INTO t VALUES (1, 'y')",
    );
    let waits = |road: &Road| {
        let status = road.walgate.status();
        status["sinks"].as_array().unwrap().iter().all(|sink| sink["state"] != "ok")
    };
    eventually("every sink is down", PATIENCE, || waits(&road));
    road.walgate.kill();
    proxy.set(Faults::default());
    road.start();
    road.sql("UPDATE t SET id = 100, v = 'moved' WHERE id = 10; UPDATE t SET v = v || '4'");
    road.confirms(&road.wal_end());
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
    messages_hold(&road, &far);
    groups_hold(&road, &far);
    stream_holds(&road, &far.read("stream:s"));
    holds(&road, "hose", &sorted(&far.read("bucket:lake")));
    let found = far.read("bus:of-b");
    assert_eq!(sorted(&found).fold(), road.table("t"));
    let kinds: BTreeSet<_> = found.iter().map(|one| one["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["shop.delete", "shop.insert", "shop.update"].into());
}

/// Messages without an order, and what they have beside their body.
#[track_caller]
fn messages_hold(road: &Road, far: &Far) {
    for (sink, queue) in [("queue", "q"), ("topic", "of-t")] {
        let found = far.read(&format!("queue:{queue}"));
        holds(road, sink, &sorted(&found));
        let attributes = &found[0]["attributes"];
        let body: Value = serde_json::from_str(found[0]["body"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&attributes["walgate-id"], &attributes["walgate-op"]),
            (&body["id"], &body["op"])
        );
        assert_eq!(attributes["walgate-table"], "public.t");
    }
}

/// Messages in order by group, none of them twice.
#[track_caller]
fn groups_hold(road: &Road, far: &Far) {
    for (sink, queue) in [("fifo", "q.fifo"), ("topic_fifo", "of-t.fifo")] {
        let found = far.read(&format!("queue:{queue}"));
        let journal = journal(&found);
        holds(road, sink, &sorted(&found));
        assert_eq!(journal.out_of_order(), Vec::<String>::new(), "{sink}");
        assert_eq!(journal.repeats(), 0, "{sink}: the queue knows a repeat by its id");
        if sink == "fifo" {
            let key = |one: &Value| {
                let body: Value = serde_json::from_str(one["body"].as_str().unwrap()).unwrap();
                body["key"].to_string()
            };
            assert!(found.iter().all(|one| one["group"] == key(one)), "{found:?}");
        }
    }
}

/// A key's records are in one shard, in order.
#[track_caller]
fn stream_holds(road: &Road, found: &[Value]) {
    holds(road, "stream", &sorted(found));
    assert_eq!(journal(found).out_of_order(), Vec::<String>::new());
    let mut shards: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for one in found {
        shards
            .entry(one["key"].as_str().unwrap())
            .or_default()
            .insert(one["shard"].as_str().unwrap());
    }
    assert!(shards.values().all(|shards| shards.len() == 1), "a key is in one shard: {shards:?}");
    assert!(shards.values().flatten().collect::<BTreeSet<_>>().len() > 1, "{shards:?}");
}

#[test]
fn a_message_that_the_queue_refuses_is_set_aside_alone() {
    let far = Far::start();
    let keys = format!("queue_url = \"{}\"\n{}", far.of("queue"), far.keys("any", far.address));
    let more = "batch = { max_events = 10, max_bytes = \"8MiB\" }";
    let road = Road::new(Cluster::builder(), T, &sink("far", "sqs", more, &keys));
    road.sql(
        "INSERT INTO t SELECT g, repeat('x', CASE g WHEN 3 THEN 1100000 ELSE 9 END) \
              FROM generate_series(1, 6) g",
    );
    eventually("it is set aside", PATIENCE, || !road.dead_letters(&[]).is_empty());
    road.confirms(&road.wal_end());
    let letters = road.dead_letters(&[]);
    assert_eq!((letters.len(), &letters[0]["key"]), (1, &json!({ "id": 3 })));
    assert_eq!(letters[0]["category"], "rejected");
    let message = letters[0]["message"].as_str().unwrap();
    assert!(message.contains("BatchRequestTooLong"), "{message}");
    let ids: BTreeSet<u64> = sorted(&far.read("queue:q"))
        .events()
        .iter()
        .map(|event| event.0["key"]["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [1, 2, 4, 5, 6].into());
}

#[test]
fn a_key_that_is_refused_halts_the_sink_until_it_is_mended() {
    let far = Far::start();
    let keys = format!("queue_url = \"{}\"\n{}", far.of("queue"), far.keys("sender", far.address));
    let secret = far.made["sender"]["secret"].as_str().unwrap();
    let wrong = keys.replace(secret, "not the secret of that key");
    let mut road = Road::new(Cluster::builder(), T, &sink("far", "sqs", "", &wrong));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    let state = |road: &Road| road.walgate.status()["sinks"][0].clone();
    eventually("it halts", PATIENCE, || state(&road)["state"] == "halted");
    let why = state(&road)["reason"].to_string();
    assert!(why.contains("403 Forbidden: SignatureDoesNotMatch"), "{why}");
    assert!(!road.walgate.log().contains("not the secret"), "{}", road.walgate.log());
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
    road.stop();
    road.configure(&sink("far", "sqs", "", &keys));
    // Who may only send may not look: that is said, and is no failure.
    let output = road.walgate.call(&["check", "--json"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("without the right sqs:GetQueueAttributes"), "{said}");
    road.start();
    road.confirms(&road.wal_end());
    assert_eq!(sorted(&far.read("queue:q")).events().len(), 1);
}
