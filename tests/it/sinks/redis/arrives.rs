//! What is committed arrives in order, whatever becomes of walgate, the server and the connection.

use std::time::Duration;

use serde_json::json;
use walgate::demo::cluster::Cluster;

use super::super::served::arrived;
use super::{Redis, STREAM, far};
use crate::support::load::Load;
use crate::support::process::eventually;
use crate::support::proxy::Proxy;
use crate::support::road::{PATIENCE, Road, route};

const QUICK: &str = "batch = { max_events = 10 }\n\
    retry = { initial = \"20ms\", max = \"200ms\" }\nbreaker = { cooldown = \"50ms\" }";

/// Four batches in flight.
fn wide() -> String {
    format!("concurrency = 4\n{QUICK}")
}

#[test]
fn rows_are_entries_with_their_fields() {
    let redis = Redis::start();
    let road = Road::of_t(&far(&redis.address(), "", ""));
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, 'ü \"b\"')");
    road.sql("UPDATE t SET id = 3 WHERE id = 2; DELETE FROM t WHERE id = 1");
    let journal = arrived(&road, || redis.read());
    let ops: Vec<_> = journal.requests.iter().map(|r| r.header("op").unwrap()).collect();
    assert_eq!(ops, ["insert", "insert", "update", "delete"]);
    for (request, event) in journal.requests.iter().zip(journal.events()) {
        assert_eq!(request.header("id"), Some(event.id()));
        assert_eq!(request.header("table"), Some("public.t"));
        let key: serde_json::Value = serde_json::from_str(request.header("key").unwrap()).unwrap();
        assert_eq!((&key, request.header("replay")), (&event.0["key"], None));
    }
}

#[test]
fn a_killed_run_repeats_but_never_skips() {
    let redis = Redis::start();
    let mut road = Road::of_t(&far(&redis.address(), &wide(), ""));
    let load = Load::start(&road, Duration::from_millis(1));
    for _ in 0..4 {
        load.goes_on(150);
        road.walgate.kill();
        road.start();
    }
    load.goes_on(50);
    load.end();
    let journal = arrived(&road, || redis.read());
    assert!(journal.repeats() <= 4 * 4 * 10 + 400, "{} repeats", journal.repeats());
}

/// What was in flight comes again, and is known by its place.
#[test]
fn with_ids_of_the_log_a_killed_run_leaves_each_event_once() {
    let redis = Redis::start();
    let mut road = Road::of_t(&far(&redis.address(), QUICK, "ids = \"lsn\""));
    let load = Load::start(&road, Duration::from_millis(1));
    for _ in 0..4 {
        load.goes_on(150);
        road.walgate.kill();
        road.start();
    }
    load.goes_on(50);
    load.end();
    let journal = arrived(&road, || redis.read());
    assert_eq!(journal.repeats(), 0);
    for (request, event) in journal.requests.iter().zip(journal.events()) {
        let lsn: walgate::lsn::Lsn = event.0["commit"]["lsn"].as_str().unwrap().parse().unwrap();
        assert_eq!(request.target, format!("{}-{}", lsn.0, event.0["commit"]["seq"]));
    }
}

#[test]
fn a_server_that_is_gone_for_a_while_is_waited_for() {
    for keys in ["", "ids = \"lsn\""] {
        let mut redis = Redis::start();
        let road = Road::of_t(&far(&redis.address(), QUICK, keys));
        let load = Load::start(&road, Duration::from_millis(1));
        for _ in 0..2 {
            load.goes_on(100);
            redis.server.kill();
            load.goes_on(100);
            redis.server.start();
        }
        load.end();
        arrived(&road, || redis.read());
        assert_eq!(road.dead_letters(&[]), Vec::<serde_json::Value>::new());
    }
}

#[test]
fn a_connection_that_breaks_again_and_again_loses_nothing() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.server.address);
    let keys = "ids = \"lsn\"";
    let road = Road::of_t(&far(&proxy.address().to_string(), QUICK, keys));
    let load = Load::start(&road, Duration::ZERO);
    for _ in 0..12 {
        load.goes_on(60);
        proxy.cut();
    }
    load.end();
    arrived(&road, || redis.read());
    assert_eq!(road.dead_letters(&[]), Vec::<serde_json::Value>::new());
}

#[test]
fn an_outbox_has_streams_and_fields_of_its_own() {
    let redis = Redis::start();
    let shipped = include_str!("../../../../sql/source/outbox.sql");
    let sinks = format!(
        "{}{}outbox = {{}}\n",
        far(&redis.address(), "format = \"mapped\"", "stream = \"{{ outbox.aggregate_type }}s\""),
        route("outbox", "far")
    );
    let road = Road::new(Cluster::builder(), shipped, &sinks);
    road.sql(
        r#"INSERT INTO outbox (aggregate_type, aggregate_id, type, payload, headers) VALUES
           ('order', '7', 'placed', '{"total": 12.50}', '{"trace-id": "a-1"}')"#,
    );
    road.confirms(&road.wal_end());
    let entries = redis.entries("orders");
    let [(_, fields)] = entries.as_slice() else { panic!("one entry: {entries:?}") };
    let of = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| &field.1[..]);
    assert_eq!(of("event"), Some(r#"{"total": 12.50}"#));
    assert_eq!(of("header:trace-id"), Some("a-1"));
    assert_eq!(of("key"), Some(r#"{"aggregate_id":"7"}"#));
}

/// Its own place is taken: it goes behind what is newest.
#[test]
fn a_replay_is_added_behind_with_ids_of_either_kind() {
    for keys in ["", "ids = \"lsn\""] {
        let redis = Redis::start();
        let road = Road::of_t(&far(&redis.address(), "", keys));
        road.sql("INSERT INTO t VALUES (1, 'a')");
        road.confirms(&road.wal_end());
        let from = redis.read().events()[0].0["commit"]["lsn"].as_str().unwrap().to_owned();
        let output = road.walgate.call(&["replay", "--sink", "far", "--from", &from]);
        assert!(output.status.success(), "{output:?}");
        eventually("it is there twice", PATIENCE, || redis.read().requests.len() == 2);
        let journal = redis.read();
        let [first, second] = journal.requests.as_slice() else { panic!("two entries") };
        assert_eq!((&first.body, first.header("id")), (&second.body, second.header("id")));
        assert_eq!(first.header("replay"), None);
        let number: u32 = second.header("replay").unwrap().parse().unwrap();
        assert!(number > 0);
        road.sql("INSERT INTO t VALUES (2, 'b')");
        assert_eq!(arrived(&road, || redis.read()).events().len(), 3);
    }
}

#[test]
fn a_stream_is_trimmed_where_that_is_asked_for() {
    let redis = Redis::start();
    let road = Road::of_t(&far(&redis.address(), "", "max_len = 100"));
    road.sql("INSERT INTO t SELECT n, 'v' FROM generate_series(1, 2000) n");
    road.confirms(&road.wal_end());
    let length = redis.ask(&["XLEN", STREAM]).as_i64().unwrap();
    assert!((100..300).contains(&length), "{length}");
}

#[test]
fn replicas_are_waited_for() {
    let redis = Redis::start();
    let quick = format!("timeout = \"1s\"\n{QUICK}");
    let road = Road::of_t(&far(&redis.address(), &quick, "wait_replicas = 1\nids = \"lsn\""));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    eventually("it is tried again", PATIENCE, || {
        let metrics = road.walgate.get("/metrics").body;
        metrics.contains("walgate_sink_attempts_total{sink=\"far\",category=\"transient\"}")
    });
    let port = redis.server.address.port().to_string();
    let _replica = Redis::start_with(&["--replicaof", &format!("127.0.0.1 {port}")]);
    let journal = arrived(&road, || redis.read());
    assert_eq!((journal.events().len(), journal.repeats()), (1, 0));
    assert_eq!(road.dead_letters(&[]), Vec::from([json!(null); 0]));
}
