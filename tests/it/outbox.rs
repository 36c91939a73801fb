//! Outboxes: what a transaction wrote as an event is sent once, in order, as it was meant.

use std::time::Duration;

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::support::process::eventually;
use super::support::receiver::{Event, Receiver, Reply};
use super::support::road::{PATIENCE, Road, http, route};

/// The table as it is shipped.
const SHIPPED: &str = include_str!("../../sql/source/outbox.sql");

fn table() -> String {
    format!("{}outbox = {{}}\n", route("outbox", "far"))
}

fn messages() -> String {
    "[[route]]\nname = \"messages\"\nmessage = \"outbox.*\"\nsink = \"far\"\noutbox = {}\n".into()
}

/// A road whose one sink takes the outbox.
fn road(sink: &str, route: &str) -> Road {
    Road::new(Cluster::builder().major(15), SHIPPED, &format!("{sink}{route}"))
}

const INSERT: &str =
    "INSERT INTO outbox (aggregate_type, aggregate_id, type, payload, headers) VALUES";

#[test]
fn an_insert_and_its_delete_in_one_transaction_are_one_event() {
    let receiver = Receiver::start();
    let road = road(&http("far", &receiver.url("/"), ""), &table());
    road.sql(&format!(
        "BEGIN; {INSERT} ('order', '7', 'placed', '{{\"total\": 12.50}}', NULL);
         DELETE FROM outbox; COMMIT"
    ));
    road.sql(&format!(
        "{INSERT} ('order', '8', 'placed', '[]', NULL); UPDATE outbox SET type = 'x'"
    ));
    road.sql("UPDATE outbox SET type = 'y'; DELETE FROM outbox");
    road.sql(&format!("BEGIN; {INSERT} ('order', '9', 'placed', '[]', NULL); ROLLBACK"));
    road.confirms(&road.wal_end());
    let events = receiver.journal().events();
    let told: Vec<_> = events.iter().map(|e| (e.op(), &e.0["key"], &e.0["data"])).collect();
    let (seven, eight) = (json!({"aggregate_id": "7"}), json!({"aggregate_id": "8"}));
    let (object, list) = (json!({"total": 12.50}), json!([]));
    assert_eq!(told, [("insert", &seven, &object), ("insert", &eight, &list)]);
    let outbox = &events[0].0["outbox"];
    assert_eq!((&outbox["type"], &outbox["aggregate_type"]), (&json!("placed"), &json!("order")));
    assert!(outbox["id"].as_str().is_some_and(|id| id.len() == 36), "{outbox}");
    assert_eq!((&outbox["aggregate_id"], &outbox["headers"]), (&json!("7"), &Value::Null));
    let raw = String::from_utf8(receiver.journal().requests[0].body.clone()).unwrap();
    assert!(raw.contains(r#""data":{"total": 12.50}"#), "digits stay: {raw}");
    assert_eq!(road.value("SELECT count(*) FROM outbox"), "0");
    let warned = road.walgate.log().matches("a row of an outbox was updated").count();
    assert_eq!(warned, 1, "one warning a route");
}

#[test]
fn skips_of_an_outbox_are_counted() {
    let receiver = Receiver::start();
    let road = road(&http("far", &receiver.url("/"), ""), &table());
    road.sql(&format!("{INSERT} ('order', '7', 'placed', '{{}}', NULL); DELETE FROM outbox"));
    road.confirms(&road.wal_end());
    let status = |road: &Road| {
        let output = road.walgate.call(&["status", "--json"]);
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["sinks"][0].clone()
    };
    eventually("the counts are told", PATIENCE, || {
        let sink = status(&road);
        (&sink["delivered"], &sink["skipped"]) == (&json!(1), &json!(1))
    });
}

/// Every other event fails three times: those of the same aggregate wait, the others do not.
#[test]
fn events_of_an_aggregate_keep_their_order_under_failures() {
    let receiver = Receiver::start();
    // Where many of them come in a row the sink looks down for a moment.
    let more = "concurrency = 4\nretry = { initial = \"5ms\", max = \"50ms\" }\n\
                breaker = { cooldown = \"30ms\" }";
    let road = road(&http("far", &receiver.url("/"), more), &table());
    for n in 0..40 {
        if n % 5 == 0 {
            receiver.next(Reply::status(503));
            receiver.next(Reply::reset());
        }
        road.sql(&format!(
            "BEGIN; {INSERT} ('order', '{}', 'n', '{n}', NULL), ('order', '{}', 'n', '{n}', NULL);
             DELETE FROM outbox; COMMIT",
            n % 3,
            3 + n % 2
        ));
    }
    // One that failed beside others that did not goes on by itself: the position is past it.
    receiver.wait("all of it", PATIENCE, |j| j.events_processed - j.repeats() == 80);
    let journal = receiver.journal();
    assert_eq!(journal.out_of_order(), Vec::<String>::new());
    assert_eq!(journal.by_key().len(), 5);
    for (key, events) in journal.by_key() {
        let numbers: Vec<i64> = events.iter().filter_map(|e| e.0["data"].as_i64()).collect();
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
}

#[test]
fn headers_arrive_and_the_url_follows_the_type() {
    let receiver = Receiver::start();
    let url = receiver.url("/{{ outbox.aggregate_type }}/{{ outbox.type }}");
    let road = road(&http("far", &url, "format = \"mapped\""), &table());
    road.sql(&format!(
        r#"{INSERT} ('order', '7', 'placed', '{{"n": 1}}',
            '{{"trace-id": "a-1", "Attempt": 3, "none": null, "content-type": "application/x+json"}}')"#
    ));
    receiver.wait("an event", PATIENCE, |journal| journal.events_processed == 1);
    let request = receiver.journal().requests[0].clone();
    assert_eq!(request.target, "/order/placed");
    assert_eq!(request.body, br#"{"n": 1}"#);
    assert_eq!(request.header("trace-id"), Some("a-1"));
    assert_eq!(request.header("attempt"), Some("3"));
    assert_eq!(request.header("none"), None);
    assert_eq!(request.header("content-type"), Some("application/x+json"));
    assert!(request.header("idempotency-key").is_some_and(|key| key.len() == 34));
}

#[test]
fn a_header_that_cannot_be_sent_makes_a_dead_letter() {
    let receiver = Receiver::start();
    let sink = http("far", &receiver.url("/"), "") + "headers = { authorization = \"Bearer x\" }\n";
    let road = road(&sink, &table());
    for (headers, why) in [
        (r#"{"a b": "1"}"#, "outbox.headers: a name that no header has"),
        (r#"{"x": "1\r\nhost: evil"}"#, "header x: a line end or control character in its value"),
        (r#"{"x": {}}"#, "header x: an object or a list"),
        (r#"{"Host": "evil"}"#, "header host: an event can't set it"),
        (r#"{"idempotency-key": "1"}"#, "header idempotency-key: an event can't set it"),
        (r#"{"content-length": 1}"#, "header content-length: an event can't set it"),
        (r#"{"Authorization": "mine"}"#, "header authorization: an event can't set it"),
        (r#"{"x": "1", "X": "2"}"#, "header x: given twice"),
    ] {
        road.sql(&format!("{INSERT} ('order', '7', 'placed', '1', '{headers}')"));
        road.confirms(&road.wal_end());
        let letters = road.dead_letters(&[]);
        let letter = letters.iter().max_by_key(|letter| letter["id"].as_i64()).unwrap();
        assert_eq!(letter["category"], "rejected");
        let message = letter["message"].as_str().unwrap();
        assert!(message.ends_with(why), "{headers}: {message}");
    }
    assert_eq!(receiver.journal().requests.len(), 0, "nothing of them was sent");
    road.sql(&format!("{INSERT} ('order', '7', 'placed', '1', '{{\"x\": \"é\"}}')"));
    receiver.wait("a good one", PATIENCE, |journal| journal.events_processed == 1);
    assert_eq!(receiver.journal().requests[0].header("authorization"), Some("Bearer x"));
}

/// Order within the transaction is kept; what is rolled back never comes, but for messages outside
/// of transactions, which Postgres writes at once.
#[test]
fn a_message_is_an_outbox_without_a_table() {
    let receiver = Receiver::start();
    let url = receiver.url("/{{ outbox.aggregate_type }}");
    let road = road(&http("far", &url, ""), &messages());
    let emit = |transactional: bool, prefix: &str, n: i32| {
        format!(
            "SELECT pg_logical_emit_message({transactional}, '{prefix}', json_build_object(
                 'id', {n}, 'aggregate_type', 'order', 'aggregate_id', 7, 'type', 'placed',
                 'payload', json_build_object('n', {n}), 'headers', json_build_object('n', {n})
             )::text);"
        )
    };
    let of = |n| emit(true, "outbox.order", n);
    road.sql(&format!("BEGIN; {} {} COMMIT", of(1), of(2)));
    road.sql(&format!("BEGIN; {} ROLLBACK", of(3)));
    road.sql(&format!("BEGIN; {} {} ROLLBACK", of(4), emit(false, "outbox.order", 5)));
    road.sql(&emit(true, "other.order", 6));
    road.confirms(&road.wal_end());
    let journal = receiver.journal();
    let told: Vec<_> = journal.events().iter().map(|e| e.0["data"]["n"].clone()).collect();
    assert_eq!(told, [json!(1), json!(2), json!(5)]);
    assert_eq!(journal.requests[0].header("n"), Some("1"));
    assert_eq!(journal.requests[0].target, "/order");
    let event = &journal.events()[0].0;
    assert_eq!((&event["op"], &event["table"]), (&json!("message"), &Value::Null));
    assert_eq!(event["key"], json!({"aggregate_id": 7}));
    assert_eq!(event["message"], json!({"prefix": "outbox.order"}));
}

#[test]
fn a_message_that_is_no_event_becomes_a_dead_letter_that_says_why() {
    let receiver = Receiver::start();
    let road = road(&http("far", &receiver.url("/"), ""), &messages());
    for (content, why) in [
        ("not json", "field `message`: is no JSON object"),
        (r#"{"id": 1}"#, "field `outbox.type`: the message has no member \"type\""),
    ] {
        road.sql(&format!("SELECT pg_logical_emit_message(true, 'outbox.order', '{content}')"));
        road.confirms(&road.wal_end());
        let letters = road.dead_letters(&[]);
        let letter = letters.iter().max_by_key(|letter| letter["id"].as_i64()).unwrap();
        assert_eq!((&letter["message"], &letter["category"]), (&json!(why), &json!("rejected")));
    }
    road.sql("SELECT pg_logical_emit_message(true, 'outbox.order',
        '{\"id\": 1, \"type\": \"t\", \"aggregate_type\": \"a\", \"aggregate_id\": 1, \"payload\": null}')");
    receiver.wait("a good one", PATIENCE, |journal| journal.events_processed == 1);
}

/// What is left over of an outbox is found missing before the start and named afterwards.
#[test]
fn a_column_that_is_dropped_later_is_named() {
    let receiver = Receiver::start();
    let road = road(&http("far", &receiver.url("/"), ""), &table());
    let checked = |road: &Road| {
        let output = road.walgate.call(&["check", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let is_it = |check: &&Value| check["id"] == "route.outbox";
        let check = report["checks"].as_array().unwrap().iter().find(is_it).unwrap();
        (check["status"].clone(), check["seen"].as_str().unwrap().to_owned())
    };
    assert_eq!(checked(&road).0, "ok");
    road.sql("ALTER TABLE outbox RENAME payload TO body; ALTER TABLE outbox ADD more int");
    road.sql(
        "INSERT INTO outbox (aggregate_type, aggregate_id, type, body) VALUES ('a', '1', 't', '1')",
    );
    eventually("a dead letter", PATIENCE, || road.dead_letters(&[]).len() == 1);
    let why = "field `outbox.payload`: the table has no column payload";
    assert_eq!(road.dead_letters(&[])[0]["message"], why);
    let (status, seen) = checked(&road);
    assert_eq!(
        (status, seen.as_str()),
        (json!("fail"), "outbox.payload: there is no column payload")
    );
    road.sql("ALTER TABLE outbox RENAME body TO payload");
    road.sql(&format!("{INSERT} ('a', '1', 't', '2', NULL)"));
    receiver.wait("the next row", PATIENCE, |journal| journal.events_processed == 1);
}

#[test]
fn payloads_of_every_form_arrive_as_they_are() {
    let schema = "CREATE TABLE ob (id int PRIMARY KEY, kind text, at text, what text, j json, t text, b bytea)";
    let receiver = Receiver::start();
    let of = |column: &str| {
        format!(
            "[sink.{column}]\nformat = \"mapped\"\n[sink.{column}.http]\nurl = \"{}\"\n{}name = \"{column}\"\noutbox = {{ aggregate_type = \"kind\", aggregate_id = \"at\", type = \"what\", payload = \"{column}\" }}\n",
            receiver.url(&format!("/{column}")),
            route("ob", column).replace(&format!("name = \"ob-to-{column}\"\n"), ""),
        )
    };
    let sinks = ["j", "t", "b"].map(of).concat();
    let road = Road::new(Cluster::builder().major(15), schema, &sinks);
    road.sql(
        r#"INSERT INTO ob VALUES (1, 'k', '1', 'w', '{"a": [null, [], {}], "n": 1.50}', '{"a":1}', '\x00ff'),
           (2, 'k', '1', 'w', NULL, NULL, NULL), (3, 'k', '1', 'w', 'null', '', '');
           INSERT INTO ob SELECT 4, 'k', '1', 'w', to_json(repeat('x', 1000000)), repeat('y', 1000000), NULL"#,
    );
    road.confirms(&road.wal_end());
    let journal = receiver.journal();
    let of = |path: &str| -> Vec<String> {
        let requests = journal.requests.iter().filter(|request| request.target == path);
        requests.map(|request| String::from_utf8(request.body.clone()).unwrap()).collect()
    };
    let (json, text, bytes) = (of("/j"), of("/t"), of("/b"));
    assert_eq!(json[..3], [r#"{"a": [null, [], {}], "n": 1.50}"#, "null", "null"]);
    assert_eq!(text[..3], [r#""{\"a\":1}""#, "null", r#""""#]);
    assert_eq!(bytes[..3], [r#""AP8=""#, "null", r#""""#]);
    assert_eq!((json[3].len(), text[3].len()), (1_000_002, 1_000_002));
}

#[test]
fn what_means_nothing_beside_an_outbox_is_a_problem() {
    let walgate = super::support::process::Walgate::new(
        "[source]\nurl = \"postgres://x@localhost/x\"\n[sink.far]\n[sink.far.http]\nurl = \"http://x/\"\n\
         [[route]]\nname = \"a\"\ntable = \"public.outbox\"\nsink = \"far\"\nkey = [\"id\"]\n\
         on_delete = \"ignore\"\noutbox = { kind = \"x\", payload = \"Body\" }\n",
    );
    let output = walgate.call(&["check", "--offline"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    for expected in [
        "\"key\" means nothing beside \"outbox\"",
        "\"on_delete\" means nothing beside \"outbox\"",
        "unknown key \"kind\"",
        "write the quotes too: '\"Body\"'",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

/// What is refused is a dead letter that keeps its key, and goes the same way again when replayed.
#[test]
fn an_event_that_is_refused_lets_the_next_of_its_aggregate_pass() {
    let receiver = Receiver::start();
    let road = road(&http("far", &receiver.url("/"), ""), &table());
    receiver.when(|event: &Event| event.0["data"] == json!(1), Reply::status(422));
    road.sql(&format!("{INSERT} ('a', '1', 't', '1', NULL), ('a', '1', 't', '2', NULL)"));
    receiver.wait("the second", Duration::from_secs(30), |journal| journal.events_processed == 1);
    road.confirms(&road.wal_end());
    let letter = &road.dead_letters(&[])[0];
    assert_eq!((&letter["key"], &letter["op"]), (&json!({"aggregate_id": "1"}), &json!("insert")));
    receiver.behave();
    let (code, _, said) = road.dlq(&["replay", "--all", "--force"]);
    assert_eq!(code, 0, "{said}");
    let last = receiver.journal().requests.last().unwrap().clone();
    assert_eq!(last.header("walgate-replay"), Some("true"));
    assert_eq!(last.events()[0].0["outbox"]["type"], "t");
}
