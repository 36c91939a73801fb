//! What is committed arrives once and in order, whatever becomes of walgate, the server and the
//! connection between them.

use std::time::Duration;

use serde_json::json;
use walgate::demo::cluster::Cluster;

use super::super::served::arrived;
use super::{Nats, far};
use crate::support::load::Load;
use crate::support::process::eventually;
use crate::support::proxy::Proxy;
use crate::support::road::{PATIENCE, Road, route};

/// Four batches of up to ten events in flight, and quick to try again.
const WIDE: &str = "concurrency = 4\nbatch = { max_events = 10 }\n\
    retry = { initial = \"20ms\", max = \"200ms\" }\nbreaker = { cooldown = \"50ms\" }";

#[test]
fn rows_are_messages_with_their_ids() {
    let nats = Nats::with_stream();
    let keys = "subject = \"walgate.{{ table }}.{{ op }}\"\nstream = \"CDC\"";
    let road = Road::of_t(&far(&nats.address(), "", keys));
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    road.sql("UPDATE t SET v = 'c' WHERE id = 1; UPDATE t SET id = 3 WHERE id = 2");
    road.sql("DELETE FROM t WHERE id = 1");
    let journal = arrived(&road, || nats.read());
    let told: Vec<_> = journal.requests.iter().map(|r| r.target.as_str()).collect();
    let of = |op: &str| format!("walgate.public.t.{op}");
    assert_eq!(told, ["insert", "insert", "update", "update", "delete"].map(of));
    for (request, event) in journal.requests.iter().zip(journal.events()) {
        assert_eq!(request.header("nats-msg-id"), Some(event.id()));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("walgate-replay"), None);
    }
}

/// What was in flight comes again, and the stream drops it.
#[test]
fn a_killed_run_leaves_each_event_once() {
    let nats = Nats::with_stream();
    let mut road = Road::of_t(&far(&nats.address(), WIDE, ""));
    let load = Load::start(&road, Duration::from_millis(1));
    for _ in 0..4 {
        load.goes_on(150);
        road.walgate.kill();
        road.start();
    }
    load.goes_on(50);
    load.end();
    assert_eq!(arrived(&road, || nats.read()).repeats(), 0);
}

#[test]
fn a_server_that_is_gone_for_a_while_is_waited_for() {
    let mut nats = Nats::with_stream();
    let road = Road::of_t(&far(&nats.address(), WIDE, ""));
    let load = Load::start(&road, Duration::from_millis(1));
    for _ in 0..2 {
        load.goes_on(100);
        nats.server.kill();
        load.goes_on(100);
        nats.server.start();
    }
    load.end();
    assert_eq!(arrived(&road, || nats.read()).repeats(), 0);
    assert_eq!(road.dead_letters(&[]), Vec::<serde_json::Value>::new());
}

/// A batch of which a part was taken when its connection broke comes again as a whole, and none
/// of the old connection's messages behind it.
#[test]
fn a_connection_that_breaks_again_and_again_breaks_no_order() {
    let nats = Nats::with_stream();
    let proxy = Proxy::start(nats.server.address);
    let road = Road::of_t(&far(&proxy.address().to_string(), WIDE, ""));
    let load = Load::start(&road, Duration::ZERO);
    for _ in 0..12 {
        load.goes_on(60);
        proxy.cut();
    }
    load.end();
    assert_eq!(arrived(&road, || nats.read()).repeats(), 0);
}

#[test]
fn an_outbox_has_subjects_and_headers_of_its_own() {
    let nats = Nats::with_stream();
    let keys = "subject = \"walgate.{{ outbox.aggregate_type }}.{{ outbox.type }}\"";
    let shipped = include_str!("../../../../sql/source/outbox.sql");
    let sinks = format!(
        "{}{}outbox = {{}}\n",
        far(&nats.address(), "format = \"mapped\"", keys),
        route("outbox", "far")
    );
    let road = Road::new(Cluster::builder(), shipped, &sinks);
    road.sql(
        r#"INSERT INTO outbox (aggregate_type, aggregate_id, type, payload, headers) VALUES
           ('order', '7', 'order.placed', '{"total": 12.50}', '{"trace-id": "a-1"}'),
           ('order', '7', 'order.placed', '{}', '{"Nats-Msg-Id": "mine"}')"#,
    );
    road.confirms(&road.wal_end());
    let journal = nats.read();
    let [request] = journal.requests.as_slice() else { panic!("one message: {journal:?}") };
    assert_eq!(request.target, "walgate.order.order%2Eplaced");
    assert_eq!(request.body, br#"{"total": 12.50}"#);
    assert_eq!(request.header("trace-id"), Some("a-1"));
    let letters = road.dead_letters(&[]);
    let message = letters[0]["message"].as_str().unwrap();
    assert!(message.ends_with("header Nats-Msg-Id: an event can't set it"), "{message}");
}

/// What an operator sends again is no repeat to the stream.
#[test]
fn a_replay_is_sent_again_and_says_so() {
    let nats = Nats::with_stream();
    let mut road = Road::of_t(&far(&nats.address(), "", ""));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.confirms(&road.wal_end());
    let from = nats.read().events()[0].0["commit"]["lsn"].as_str().unwrap().to_owned();
    let output = road.walgate.call(&["replay", "--sink", "far", "--from", &from]);
    assert!(output.status.success(), "{output:?}");
    let mut journal = nats.read();
    eventually("it is there twice", PATIENCE, || {
        journal = nats.read();
        journal.requests.len() == 2
    });
    let [first, second] = journal.requests.as_slice() else { panic!("two messages") };
    assert_eq!(first.body, second.body);
    assert_eq!(second.header("walgate-replay"), Some("true"));
    let id = second.header("nats-msg-id").unwrap();
    assert!(id.starts_with(&format!("{}-r", journal.events()[0].id())), "{id}");
    road.stop();
}

/// Whatever else of the batch is in flight: the next change of the key goes once this one is in.
#[test]
fn changes_of_one_key_in_one_batch_are_in_order() {
    let nats = Nats::with_stream();
    nats.stream(&json!({}));
    let road = Road::of_t(&far(&nats.address(), "batch = { max_events = 500 }", ""));
    road.sql("INSERT INTO t VALUES (1, '0'), (2, '0')");
    let updates: String = (1..200).map(|n| format!("UPDATE t SET v = '{n}';")).collect();
    road.sql(&format!("BEGIN; {updates} COMMIT"));
    let journal = arrived(&road, || nats.read());
    assert_eq!((journal.events().len(), journal.repeats()), (400, 0));
}
