//! From a real Postgres to a real RabbitMQ: what arrives, and what becomes of it in between.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::server::Rabbit;
use super::sink;
use crate::support::process::eventually;
use crate::support::proxy::Proxy;
use crate::support::road::{PATIENCE, Road, T, route};

/// Reads all that a queue has: each message, and its event.
#[track_caller]
fn read(rabbit: &Rabbit, queue: &str) -> Vec<(Value, Value)> {
    let messages = rabbit.ask(&json!([["read", queue]]));
    let event = |message: &Value| serde_json::from_str(message["body"].as_str().unwrap()).unwrap();
    messages.into_iter().map(|message| (message.clone(), event(&message))).collect()
}

/// The rows that events leave, by their id.
fn fold<'a>(events: impl Iterator<Item = &'a Value>) -> BTreeMap<i64, String> {
    let mut rows = BTreeMap::new();
    for event in events {
        let id = event["key"]["id"].as_i64().unwrap();
        match event["op"].as_str().unwrap() {
            "delete" => rows.remove(&id),
            _ => rows.insert(id, event["data"]["v"].as_str().unwrap().to_owned()),
        };
    }
    rows
}

/// The rows of `t`.
#[track_caller]
fn rows(road: &Road) -> BTreeMap<i64, String> {
    let rows = road.value("SELECT coalesce(json_object_agg(id, v), '{}') FROM t");
    let rows: BTreeMap<String, String> = serde_json::from_str(&rows).unwrap();
    rows.into_iter().map(|(id, v)| (id.parse().unwrap(), v)).collect()
}

#[track_caller]
fn is_halted(road: &Road, reason: &str) {
    let mut sink = Value::Null;
    eventually(reason, PATIENCE, || {
        sink = road.walgate.status()["sinks"][0].clone();
        let said = sink["reason"].as_str().unwrap_or_default();
        sink["state"] == "halted" && said.contains(reason)
    });
}

#[test]
fn events_arrive_and_outlive_a_stop_of_the_server() {
    let mut rabbit = Rabbit::start("");
    rabbit.ask(&json!([["queue", "public.t"], ["queue", "here"]]));
    let url = rabbit.url("guest:guest");
    let mut road = Road::of_t(&sink(&url, "", "{{ table }}", ""));
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    road.sql("UPDATE t SET v = 'c' WHERE id = 1");
    road.sql("DELETE FROM t WHERE id = 2");
    road.confirms(&road.wal_end());
    let found = read(&rabbit, "public.t");
    let ops: Vec<_> = found.iter().map(|(message, _)| message["type"].as_str().unwrap()).collect();
    assert_eq!(ops, ["insert", "insert", "update", "delete"]);
    for (message, event) in &found {
        assert_eq!(message["type"], event["op"]);
        assert_eq!(message["message_id"], event["id"]);
        assert_eq!(message["headers"]["walgate-id"], event["id"]);
        assert_eq!(message["headers"]["walgate-table"], "public.t");
        assert_eq!(message["headers"]["walgate-route"], "t-to-far");
        assert_eq!(message["delivery_mode"], 2);
        assert_eq!(message["content_type"], "application/json");
        assert_eq!(message["app_id"], "walgate");
        let time: String = event["commit"]["time"].as_str().unwrap().to_owned();
        let seconds =
            road.value(&format!("SELECT floor(extract(epoch FROM '{time}'::timestamptz))"));
        assert_eq!(message["timestamp"].to_string(), seconds);
    }
    assert_eq!(fold(found.iter().map(|(_, event)| event)), rows(&road));

    rabbit.stop();
    road.sql("INSERT INTO t SELECT n, 'n' || n FROM generate_series(10, 1200) n");
    road.sql("UPDATE t SET v = v || '!' WHERE id > 1000");
    eventually("the sink is known to be down", PATIENCE, || {
        let state = road.walgate.status()["sinks"][0]["state"].clone();
        state == "open" || state == "half_open"
    });
    rabbit.run();
    road.confirms(&road.wal_end());
    let more = read(&rabbit, "public.t");
    let all = found.iter().chain(&more).map(|(_, event)| event);
    assert_eq!(fold(all), rows(&road));
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());

    // One that can't be addressed, and one that no queue gets, beside others.
    road.stop();
    let body = "{{ data.v }}";
    road.configure(&format!("{}{}", sink(&url, "", body, ""), route("t", "far")));
    road.start();
    road.sql(
        "INSERT INTO t VALUES (2001, 'here'), (2002, NULL), (2003, 'nowhere'), (2004, 'here');
         UPDATE t SET v = 'here' WHERE id = 2003",
    );
    road.confirms(&road.wal_end());
    let letters = road.dead_letters(&[]);
    let told = |letter: &Value| {
        assert_eq!(letter["category"], "rejected");
        (letter["key"]["id"].as_i64().unwrap(), letter["message"].as_str().unwrap().to_owned())
    };
    let mut letters: Vec<_> = letters.iter().map(told).collect();
    letters.sort_unstable();
    let host = rabbit.address();
    let null = (2002, format!("{host}: routing_key: `data.v` is null"));
    let nowhere = (2003, format!("{host} has no queue of the event's routing key"));
    assert_eq!(letters, [null, nowhere]);
    let here: BTreeSet<i64> = read(&rabbit, "here")
        .iter()
        .map(|(_, event)| event["key"]["id"].as_i64().unwrap())
        .collect();
    assert_eq!(here, BTreeSet::from([2001, 2003, 2004]));
    road.stop();
    let log = road.walgate.log();
    assert!(!log.contains("nowhere"), "no value gets into the log: {log}");
    assert!(!log.contains("a fault of walgate"), "{log}");
}

#[test]
fn a_wrong_setup_halts_and_goes_on_once_it_is_mended() {
    let rabbit = Rabbit::start("");
    let url = rabbit.url("shop:secret");
    let road = Road::of_t(&sink(&url, "cdc", "rows", ""));
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    is_halted(&road, "refused it with 403: ACCESS_REFUSED - Login was refused");
    rabbit.control(&["add_user", "shop", "secret"]);
    is_halted(&road, "refused it with 530: NOT_ALLOWED");
    rabbit.control(&["set_permissions", "shop", "", "", ""]);
    is_halted(&road, "refused it with 403: ACCESS_REFUSED - access to exchange 'cdc'");
    rabbit.control(&["set_permissions", "shop", "", "cdc", ""]);
    is_halted(&road, "refused it with 404: NOT_FOUND - no exchange 'cdc' in vhost '/'");
    rabbit.ask(&json!([["exchange", "cdc"]]));
    is_halted(&road, "has no queue for \"rows\" from exchange \"cdc\"");
    rabbit.ask(&json!([["queue", "far"], ["bind", "far", "cdc", "rows"]]));
    road.confirms(&road.wal_end());
    let found = read(&rabbit, "far");
    assert_eq!(fold(found.iter().map(|(_, event)| event)), rows(&road));
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
    assert!(!road.walgate.log().contains("secret"), "no password gets into the log");
}

/// Looks at what came: nothing is missing, and what came first came in the order of its key.
#[track_caller]
fn is_whole_and_in_order(found: &[(Value, Value)], events: usize) {
    let mut seen = BTreeMap::<i64, BTreeSet<&str>>::new();
    for (_, event) in found {
        let (key, id) = (event["key"]["id"].as_i64().unwrap(), event["id"].as_str().unwrap());
        let known = seen.entry(key).or_default();
        if !known.contains(id) {
            assert!(known.last().is_none_or(|last| *last < id), "{id} came too late");
        }
        known.insert(id);
    }
    assert_eq!(seen.values().map(BTreeSet::len).sum::<usize>(), events);
}

#[test]
fn connections_that_break_in_a_batch_lose_nothing_and_keep_the_order() {
    let rabbit = Rabbit::start("");
    rabbit.ask(&json!([["queue", "public.t"]]));
    let proxy = Proxy::start(rabbit.address());
    let url = format!("amqp://guest:guest@{}", proxy.address());
    let more = "concurrency = 4\nbatch = { max_events = 50 }";
    let sinks = format!("{}{}", sink(&url, "", "{{ table }}", more), route("t", "far"));
    let road = Road::new(Cluster::builder(), T, &sinks);
    let (keys, rounds) = (20, 300);
    road.sql(&format!("INSERT INTO t SELECT n, '0' FROM generate_series(1, {keys}) n"));
    road.confirms(&road.wal_end());
    road.sql(&format!(
        "DO $$ BEGIN FOR n IN 1..{rounds} LOOP UPDATE t SET v = n::text; COMMIT; END LOOP; END $$"
    ));
    for _ in 0..5 {
        // The next connection has said hello and confirmed something.
        let (before, connections) = (proxy.bytes_from_server(), proxy.connections());
        eventually("confirmations come", PATIENCE, || proxy.bytes_from_server() > before + 100);
        proxy.cut();
        eventually("it connects again", PATIENCE, || proxy.connections() > connections);
    }
    road.confirms(&road.wal_end());
    let found = read(&rabbit, "public.t");
    is_whole_and_in_order(&found, keys * (rounds + 1));
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
}
