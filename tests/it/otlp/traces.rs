//! Traces: a span a request to a sink, all attempts of a batch in one trace.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::{otlp, read, to};
use crate::support::receiver::{Event, Receiver, Reply, Request};
use crate::support::road::{PATIENCE, Road, T, file, http, route};

/// What a request says of its span: trace, span, and whether that is kept.
#[track_caller]
fn traceparent(request: &Request) -> (String, String, bool) {
    let header = request.header("traceparent").unwrap();
    let parts: Vec<_> = header.split('-').collect();
    assert_eq!((parts.len(), parts[0]), (4, "00"), "{header}");
    (parts[1].to_owned(), parts[2].to_owned(), parts[3] == "01")
}

/// Whether they are spans of this sink.
fn of(spans: &Value, sink: &str) -> Vec<Value> {
    let spans = spans["spans"].as_array().unwrap().iter();
    spans.filter(|span| span["attributes"]["walgate.sink"] == sink).cloned().collect()
}

/// A span of a request with one event that was taken says all that it should of it.
#[track_caller]
fn tells_all(span: &Value, receiver: &Receiver, request: &Request) {
    assert!(span["walgate.commit_to_ack_seconds"].as_f64().unwrap() > 0.0);
    let event = request.events().remove(0);
    for (name, value) in [
        ("walgate.sink.kind", json!("http")),
        ("walgate.route", json!("t-to-far")),
        ("walgate.table", json!("public.t")),
        ("walgate.events", json!(1)),
        ("walgate.bytes", json!(request.body.len())),
        ("walgate.event.first", json!(event.id())),
        ("walgate.event.last", json!(event.id())),
        ("server.address", json!("127.0.0.1")),
        ("server.port", json!(receiver.address().port())),
    ] {
        assert_eq!(span[name], value, "{name}");
    }
}

#[test]
fn each_request_is_a_span_and_those_of_a_batch_are_one_trace() {
    let (receiver, collector) = (Receiver::start(), Receiver::start());
    receiver.next(Reply::status(503));
    receiver.next(Reply::status(500));
    // The collector too is away for a moment, and is asked again.
    collector.next(Reply::status(503).retry_after("1"));
    let retry = "retry = { initial = \"10ms\", max = \"20ms\" }\nconcurrency = 1";
    let sinks = [
        http("far", &receiver.url("/in"), retry),
        route("t", "far"),
        file("near"),
        route("t", "near"),
        otlp(&collector, "interval = \"1h\"\ntraces = true"),
    ];
    let mut road = Road::new(Cluster::builder(), T, &sinks.concat());
    road.sql("INSERT INTO t VALUES (1, 'geheimer-wert')");
    road.confirms(&road.wal_end());
    collector.wait("spans", PATIENCE, |journal| {
        to(journal, "/v1/traces").iter().any(|request| request.processed)
    });
    let tries = to(&collector.journal(), "/v1/traces").len();
    assert!(tries >= 2, "{tries}");
    road.sql("INSERT INTO t VALUES (2, 'b')");
    road.confirms(&road.wal_end());
    // What nobody has taken yet goes with the last.
    road.stop();

    let requests = receiver.journal().requests;
    let read = read(&collector.journal());
    let spans = of(&read, "far");
    assert_eq!((spans.len(), requests.len()), (4, 4));
    let told: Vec<_> = requests.iter().map(traceparent).collect();
    for (span, (trace, id, is_kept)) in spans.iter().zip(&told) {
        assert_eq!((span["trace"].as_str(), span["id"].as_str()), (Some(&**trace), Some(&**id)));
        assert!(is_kept);
        assert_eq!((&span["name"], &span["kind"]), (&json!("deliver far"), &json!(3)));
        assert_eq!(span["parent"], "");
        assert_eq!(span["resource"]["service.name"], "walgate");
    }
    let traces: BTreeSet<_> = told.iter().map(|(trace, ..)| trace).collect();
    assert_eq!((traces.len(), &told[0].0), (2, &told[2].0));
    let ids: BTreeSet<_> = told.iter().map(|(_, id, _)| id).collect();
    assert_eq!(ids.len(), 4);
    let said = |span: &Value| {
        let of = |name: &str| span["attributes"][name].clone();
        let status = of("http.response.status_code");
        json!([of("walgate.attempt"), of("walgate.answer"), status, span["code"]])
    };
    let seen: Vec<_> = spans.iter().map(said).collect();
    let expected = json!([
        [1, "transient", 503, 2],
        [2, "transient", 500, 2],
        [3, "acknowledged", 200, 0],
        [1, "acknowledged", 200, 0],
    ]);
    assert_eq!(json!(seen), expected);
    assert!(spans[0]["message"].as_str().unwrap().contains("answered 503"), "{}", spans[0]);
    assert!(spans[0]["attributes"].get("walgate.commit_to_ack_seconds").is_none());
    tells_all(&spans[2]["attributes"], &receiver, &requests[2]);
    // Another sink's requests are spans too, and have no status where they are none of HTTP.
    let near = of(&read, "near");
    assert_eq!(near.len(), 2);
    for span in &near {
        assert_eq!(span["attributes"]["walgate.sink.kind"], "file");
        assert!(span["attributes"].get("http.response.status_code").is_none());
    }
    // What a row holds is nobody's business.
    let sent = collector.journal().requests;
    let is_told = |request: &Request| String::from_utf8_lossy(&request.body).contains("geheim");
    assert!(!sent.iter().any(is_told));
}

#[test]
fn of_a_ratio_all_requests_of_a_trace_are_kept_or_none() {
    let (receiver, collector) = (Receiver::start(), Receiver::start());
    receiver.when(|event: &Event| event.0["data"]["id"] == 5, Reply::status(422));
    let keys = "retry = { initial = \"10ms\", max = \"20ms\" }";
    let sinks = [
        http("far", &receiver.url("/"), keys),
        route("t", "far"),
        otlp(&collector, "interval = \"1h\"\ntraces = 0.5"),
    ];
    let mut road = Road::new(Cluster::builder(), T, &sinks.concat());
    road.sql("INSERT INTO t SELECT g, 'x' FROM generate_series(1, 60) g");
    road.confirms(&road.wal_end());
    road.stop();
    let told: Vec<_> = receiver.journal().requests.iter().map(traceparent).collect();
    let kept: BTreeSet<_> =
        told.iter().filter(|(.., is_kept)| *is_kept).map(|(_, id, _)| id.clone()).collect();
    assert!((10..=50).contains(&kept.len()), "{} of {}", kept.len(), told.len());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let read = read(&collector.journal());
    let spans: BTreeSet<_> = of(&read, "far").iter().map(|span| text(&span["id"])).collect();
    assert_eq!(spans, kept);
    let with = |is: bool| -> BTreeSet<_> {
        told.iter().filter(|(.., kept)| *kept == is).map(|(trace, ..)| trace.clone()).collect()
    };
    assert!(with(true).is_disjoint(&with(false)));
}
