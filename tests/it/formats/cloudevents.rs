//! CloudEvents over HTTP: structured, in batches and in binary mode, as the SDK reads them.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Map, Value, json};
use walgate::demo::cluster::Cluster;

use super::Python;
use crate::support::receiver::{Receiver, Request};
use crate::support::road::{PATIENCE, Road, http, route};

const MODES: [&str; 3] = ["structured", "batch", "binary"];
const EVENTS: usize = 7;

/// One road, a sink a mode.
fn road(receiver: &Receiver) -> Road {
    let mut config = "[mapping.m]\nversion = 3\nrest = \"include\"\n[mapping.m.fields]\n\
                      id = { column = \"id\" }\n"
        .to_owned();
    for mode in MODES {
        let batch = if mode == "batch" { "batch = { max_events = 100 }" } else { "" };
        let more = format!("format = \"cloudevents\"\n{batch}");
        config += &http(mode, &receiver.url(&format!("/{mode}")), &more);
        if mode == "binary" {
            config += "cloudevents = \"binary\"\n";
        }
        config += &route("t", mode);
        config += "mapping = \"m\"\non = [\"insert\", \"update\", \"delete\", \"truncate\"]\n";
        config += &format!(
            "[[route]]\nname = \"messages-{mode}\"\nmessage = \"p*\"\nsink = \"{mode}\"\n"
        );
    }
    let schema = "CREATE TABLE t (id text PRIMARY KEY, v jsonb, large text);
                  ALTER TABLE t ALTER large SET STORAGE EXTERNAL";
    Road::new(Cluster::builder().major(15), schema, &config)
}

/// Returns what the SDK reads: the events of each mode, in order.
fn read(requests: &[Request]) -> BTreeMap<String, Vec<Value>> {
    let folder = tempfile::tempdir().unwrap();
    let requests: Vec<Value> = requests
        .iter()
        .map(|request| {
            let headers: Map<String, Value> =
                request.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            let body = str::from_utf8(&request.body).unwrap();
            json!({ "path": request.target, "headers": headers, "body": body })
        })
        .collect();
    fs::write(folder.path().join("requests"), json!(requests).to_string()).unwrap();
    Python::start("cloudevents.py", folder.path(), &["requests", "events"]).ends(folder.path());
    let text = fs::read_to_string(folder.path().join("events")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_sdk_reads_the_same_events_from_each_mode() {
    let receiver = Receiver::start();
    let road = road(&receiver);
    // Signs that a header can't hold as they are.
    road.sql(r#"INSERT INTO t VALUES ('ü "100%"', '{"a": 1.50, "b": "x\n"}', repeat('x', 9000))"#);
    road.sql("UPDATE t SET v = 'null'");
    road.sql("UPDATE t SET id = 'new'; SELECT pg_logical_emit_message(true, 'p q', 'hi')");
    road.sql("DELETE FROM t; INSERT INTO t VALUES ('b', NULL, NULL); TRUNCATE t");
    let of = |requests: &[Request], mode: &str| {
        let path = format!("/{mode}");
        requests.iter().filter(|request| request.target == path).cloned().collect::<Vec<_>>()
    };
    // One of those in binary mode has no data, and so no body that counts.
    receiver.wait("all of it", PATIENCE, |journal| {
        journal.events_processed == 3 * EVENTS - 1
            && of(&journal.requests, "binary").len() == EVENTS
    });
    let requests = receiver.journal().requests;
    for (mode, expected) in [
        ("structured", "application/cloudevents+json"),
        ("batch", "application/cloudevents-batch+json"),
        ("binary", "application/json"),
    ] {
        for request in of(&requests, mode) {
            // Without data there is no type of it.
            let is_bare = mode == "binary" && request.body.is_empty();
            let expected = (!is_bare).then_some(expected);
            assert_eq!(request.header("content-type"), expected, "{mode}");
        }
    }
    let inserted = &of(&requests, "binary")[0];
    assert_eq!(inserted.header("ce-type"), Some("walgate.insert"));
    let key = r#"{%22id%22:%22%C3%BC%20\%22100%25\%22%22}"#;
    assert_eq!(inserted.header("ce-partitionkey"), Some(key));
    let body = str::from_utf8(&inserted.body).unwrap();
    assert!(body.contains(r#""v":{"a": 1.50, "b": "x\n"}"#), "the data to the byte: {body}");

    let read = read(&requests);
    let events = &read["structured"];
    let types: Vec<&str> =
        events.iter().map(|e| e["attributes"]["type"].as_str().unwrap()).collect();
    let ops = ["insert", "update", "update", "message", "delete", "insert", "truncate"];
    assert_eq!(types, ops.map(|op| format!("walgate.{op}")));
    for mode in MODES {
        assert_eq!(read[mode].len(), EVENTS, "{mode}");
        for (event, other) in events.iter().zip(&read[mode]) {
            let plain = |event: &Value| {
                let mut event = event.clone();
                event["attributes"].as_object_mut().unwrap().remove("route");
                event
            };
            assert_eq!(plain(event), plain(other), "{mode}");
        }
    }
    let attribute = |event: usize, name: &str| events[event]["attributes"][name].clone();
    let [insert, update, moved, message, delete, ..] = [0, 1, 2, 3, 4, 5, 6];
    assert_eq!(attribute(insert, "source"), "/postgres/postgres/walgate");
    assert_eq!(attribute(insert, "subject"), "public.t");
    assert_eq!(
        (attribute(insert, "mapping"), attribute(insert, "mappingversion")),
        (json!("m"), json!("3"))
    );
    assert_eq!(attribute(update, "unchanged"), r#"["large"]"#);
    assert_eq!(attribute(update, "jsonnulls"), r#"["v"]"#);
    assert_eq!(attribute(moved, "partitionkey"), r#"{"id":"new"}"#);
    assert_eq!(attribute(moved, "beforekey"), r#"{"id":"ü \"100%\""}"#);
    assert_eq!(attribute(message, "subject"), "p q");
    assert_eq!(events[message]["data"], json!({ "prefix": "p q", "content": "hi" }));
    assert_eq!(events[delete]["data"], json!({ "id": "new" }));
}
