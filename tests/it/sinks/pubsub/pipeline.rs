//! From a real Postgres to Pub/Sub and back.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::TOPIC;
use super::far::Far;
use crate::support::journal::{Journal, Request};
use crate::support::process::eventually;
use crate::support::proxy::{Faults, Proxy};
use crate::support::road::{PATIENCE, Road, T, route};

/// A sink that does not wait long after a failure.
fn sink(name: &str, address: std::net::SocketAddr, more: &str, keys: &str) -> String {
    format!(
        "[sink.{name}]\nretry = {{ initial = \"50ms\", max = \"500ms\" }}\n\
         breaker = {{ failures = 5, cooldown = \"500ms\" }}\nhalt_probe = \"500ms\"\n{more}\n\
         [sink.{name}.pubsub]\nendpoint = \"http://{address}\"\n{keys}\n{}",
        route("t", name)
    )
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

#[track_caller]
fn arrives_in_order_over_an_outage_and_a_kill(far: &Far) {
    let proxy = Proxy::start(far.address);
    let keys = format!("topic = \"{TOPIC}\"");
    let more = "concurrency = 3\nbatch = { max_events = 100 }";
    let mut road = Road::new(Cluster::builder(), T, &sink("far", proxy.address(), more, &keys));
    road.sql("INSERT INTO t SELECT g, 'ä <&> \"' || chr(1) FROM generate_series(1, 120) g");
    road.sql("UPDATE t SET v = v || '2'; UPDATE t SET v = 'x' WHERE id < 20");
    road.confirms(&road.wal_end());
    // Answers get lost, then nobody is there, then walgate is killed.
    let connections = proxy.connections();
    proxy.set(Faults { cut_after: 400, ..Faults::default() });
    road.sql("UPDATE t SET v = v || '3'");
    eventually("connections break", PATIENCE, || proxy.connections() > connections + 2);
    proxy.set(Faults { refuse: true, ..Faults::default() });
    road.sql(
        "UPDATE t SET v = v || '4'; DELETE FROM t WHERE id < 5; INSERT INTO t VALUES (1, 'y')",
    );
    eventually("the sink is down", PATIENCE, || road.walgate.status()["sinks"][0]["state"] != "ok");
    road.walgate.kill();
    proxy.set(Faults::default());
    road.start();
    road.sql("UPDATE t SET id = 1000, v = 'moved' WHERE id = 10; UPDATE t SET v = v || '5'");
    road.confirms(&road.wal_end());
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
    let found = far.read("orders");
    let journal = journal(&found);
    assert_eq!(journal.out_of_order(), Vec::<String>::new());
    assert_eq!(journal.repeats_unlike(), Vec::<String>::new());
    // What Pub/Sub keeps in order is each key, not the keys: by commit they make up the table.
    let mut sorted = journal;
    sorted.requests.sort_by_key(|request| request.events()[0].id().to_owned());
    assert_eq!(sorted.fold(), road.table("t"));
    for one in &found {
        let body: Value = serde_json::from_str(one["body"].as_str().unwrap()).unwrap();
        let attributes = &one["attributes"];
        assert_eq!(
            (&attributes["walgate-id"], &attributes["walgate-op"]),
            (&body["id"], &body["op"])
        );
        assert_eq!(attributes["walgate-table"], "public.t");
        assert_eq!(attributes["content-type"], "application/json");
        assert_eq!(one["key"], body["key"].to_string());
    }
}

#[test]
fn the_far_side_has_what_was_written_over_an_outage_and_a_kill() {
    arrives_in_order_over_an_outage_and_a_kill(&Far::start(&["orders"]));
}

#[test]
fn the_stand_in_has_what_was_written_over_an_outage_and_a_kill() {
    arrives_in_order_over_an_outage_and_a_kill(&Far::stand_in(&["orders"]));
}

#[track_caller]
fn what_can_not_be_published_is_set_aside(far: &Far) {
    let by_row = "topic = \"projects/walgate-test/topics/{{ data.v }}\"";
    let noted = format!("topic = \"{TOPIC}\"\nattributes = {{ note = \"{{{{ data.v }}}}\" }}");
    let sinks = [
        sink("by_row", far.address, "", by_row),
        sink("noted", far.address, "batch = { max_bytes = \"16MiB\" }", &noted),
    ];
    let road = Road::new(Cluster::builder(), T, &sinks.concat());
    road.sql(
        "INSERT INTO t VALUES (1, 'others'), (2, NULL), (3, 'nowhere'), (4, 'no topic'),
             (5, repeat('x', 1025)), (6, 'others')",
    );
    road.sql("UPDATE t SET v = 'others' WHERE id = 3");
    road.confirms(&road.wal_end());
    let letters = |sink: &str| {
        let letters = road.dead_letters(&["--sink", sink]);
        let told = |letter: &Value| {
            assert_eq!(letter["category"], "rejected");
            let message = letter["message"].as_str().unwrap().to_owned();
            (letter["key"]["id"].as_u64().unwrap(), message)
        };
        let mut told: Vec<_> = letters.iter().map(told).collect();
        told.sort_unstable();
        told
    };
    let host = far.address;
    let found = letters("by_row");
    assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2, 3, 4, 5], "{found:?}");
    assert_eq!(found[0].1, format!("{host}: topic: `data.v` is null"));
    assert_eq!(found[1].1, format!("{host} answered 404 Not Found: NOT_FOUND"));
    assert!(found[2].1.contains("letters, digits and the signs"), "{found:?}");
    assert!(found[3].1.contains("3 to 255 characters"), "{found:?}");
    let noted = [
        (2, format!("{host}: attributes.note: `data.v` is null")),
        (5, format!("{host}: attribute note: longer than 1024 bytes")),
    ];
    assert_eq!(letters("noted"), noted);
    let ids = |topic: &str| -> BTreeSet<u64> {
        let journal = journal(&far.read(topic));
        journal.events().iter().map(|event| event.0["key"]["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids("others"), [1, 3, 6].into());
    assert_eq!(ids("orders"), [1, 3, 4, 6].into());
    assert!(!road.walgate.log().contains("nowhere"), "no value gets into the log");
}

#[test]
fn the_far_side_gets_the_rest_where_some_can_not_be_published() {
    what_can_not_be_published_is_set_aside(&Far::start(&["orders", "others"]));
}

#[test]
fn the_stand_in_gets_the_rest_where_some_can_not_be_published() {
    what_can_not_be_published_is_set_aside(&Far::stand_in(&["orders", "others"]));
}

/// The far side can't be told so by the emulator: it checks no schema.
#[test]
fn a_message_that_the_topic_refuses_is_set_aside_alone() {
    let service = super::service();
    service.state().topics.insert(TOPIC.to_owned(), Some("poison"));
    let address = service.url().strip_prefix("http://").unwrap().parse().unwrap();
    let keys = format!("topic = \"{TOPIC}\"\nordering = false");
    let road = Road::new(Cluster::builder(), T, &sink("far", address, "", &keys));
    road.sql(
        "INSERT INTO t SELECT g, CASE g WHEN 33 THEN 'poison' ELSE 'x' END
         FROM generate_series(1, 60) g",
    );
    road.confirms(&road.wal_end());
    let letters = road.dead_letters(&[]);
    assert_eq!((letters.len(), &letters[0]["key"]), (1, &json!({ "id": 33 })));
    let message = letters[0]["message"].as_str().unwrap();
    assert!(message.contains("400 Bad Request: INVALID_ARGUMENT"), "{message}");
    let count: usize = service.state().published.iter().map(|(_, data)| data.len()).sum();
    assert_eq!(count, 59);
}
