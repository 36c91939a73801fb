//! `ExportTraceServiceRequest`: requests to sinks as OTLP has them (pure).

use std::time::Duration;

use serde_json::{Value, json};

use super::json::{attribute, nanos, scope};
use crate::delivery::{By, Span};

/// `SPAN_KIND_CLIENT`: a request to somebody else.
const CLIENT: u8 = 3;
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

/// Returns the request.
pub(super) fn request(spans: &[Span], resource: &Value) -> Value {
    let spans: Vec<Value> = spans.iter().map(span).collect();
    json!({ "resourceSpans": [{
        "resource": resource,
        "scopeSpans": [{ "scope": scope(), "spans": spans }],
    }] })
}

fn span(span: &Span) -> Value {
    let took_us = i64::try_from(span.took.as_micros()).unwrap_or(i64::MAX);
    // Nothing is said of what went well: that is for who looks at the span.
    let status = match &span.refused {
        Some(refused) => json!({ "code": ERROR, "message": refused.message }),
        None => json!({}),
    };
    json!({
        "traceId": span.trace.to_string(),
        "spanId": span.id.to_string(),
        "name": format!("deliver {}", span.by.sink),
        "kind": CLIENT,
        "startTimeUnixNano": nanos(span.began_us),
        "endTimeUnixNano": nanos(span.began_us.saturating_add(took_us)),
        "attributes": attributes(span),
        "status": status,
        // It is kept (the flag of W3C's traces), and has no parent, known to be none of elsewhere.
        "flags": 0x101,
    })
}

fn attributes(span: &Span) -> Vec<Value> {
    let By { sink, kind, host } = &*span.by;
    let refused = span.refused.as_ref();
    let answer = refused.map_or("acknowledged", |refused| refused.category.as_str());
    let mut all = vec![
        ("walgate.sink", json!(sink)),
        ("walgate.sink.kind", json!(kind)),
        ("walgate.route", json!(span.route)),
        ("walgate.events", json!(span.events)),
        ("walgate.bytes", json!(span.bytes)),
        ("walgate.attempt", json!(span.attempt)),
        ("walgate.event.first", json!(span.first.to_string())),
        ("walgate.event.last", json!(span.last.to_string())),
        ("walgate.answer", json!(answer)),
    ];
    let seconds = |duration: Duration| json!(duration.as_secs_f64());
    let host = host.as_deref().map(address);
    let more = [
        ("walgate.table", span.table.as_ref().map(|table| json!(table))),
        ("walgate.replay", (span.replay > 0).then(|| json!(span.replay))),
        ("walgate.events.refused", refused.map(|refused| json!(refused.events))),
        ("walgate.commit_to_ack_seconds", span.commit_to_ack.map(seconds)),
        ("http.response.status_code", span.status.map(|status| json!(status))),
        // An error is known by its kind, which has few values.
        ("error.type", refused.map(|refused| json!(refused.category.as_str()))),
        ("server.address", host.map(|(host, _)| json!(host))),
        ("server.port", host.and_then(|(_, port)| port).map(|port| json!(port))),
    ];
    all.extend(more.into_iter().filter_map(|(name, value)| Some((name, value?))));
    all.iter().map(|(name, value)| attribute(name, value)).collect()
}

/// Parts `https://host:443` into host and port.
fn address(host: &str) -> (&str, Option<u16>) {
    let host = host.split_once("://").map_or(host, |(_, host)| host);
    match host.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
        Some((name, Ok(port))) => (name, Some(port)),
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::delivery::Refused;
    use crate::failure::Category;
    use crate::lsn::{EventId, Lsn, Position};
    use crate::sink::span::{SpanId, TraceId};

    fn taken() -> Span {
        let id = |seq| EventId { timeline: 1, position: Position::new(Lsn(0x17C_8338), seq) };
        let host = Some("https://crm.example:8443".to_owned());
        Span {
            trace: TraceId([0x5b; 16]),
            id: SpanId([0xee; 8]),
            by: Arc::new(By { sink: "crm".to_owned(), kind: "http", host }),
            began_us: 1_000_000,
            took: Duration::from_millis(250),
            route: "customers".to_owned(),
            table: Some("public.customers".to_owned()),
            events: 2,
            bytes: 512,
            attempt: 3,
            replay: 0,
            first: id(1),
            last: id(2),
            status: Some(200),
            refused: None,
            commit_to_ack: Some(Duration::from_millis(1_500)),
        }
    }

    /// The one span of a request.
    fn only(span: Span) -> Value {
        let request = request(&[span], &json!({ "attributes": [] }));
        request["resourceSpans"][0]["scopeSpans"][0]["spans"][0].clone()
    }

    fn value(span: &Value, name: &str) -> Option<Value> {
        let attributes = span["attributes"].as_array().unwrap();
        let found = attributes.iter().find(|attribute| attribute["key"] == name)?;
        Some(found["value"].as_object().unwrap().values().next().unwrap().clone())
    }

    #[test]
    fn a_request_that_was_taken_is_a_client_span() {
        let span = only(taken());
        let expected = json!({
            "traceId": "5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b",
            "spanId": "eeeeeeeeeeeeeeee",
            "name": "deliver crm",
            "kind": 3,
            "startTimeUnixNano": "1000000000",
            "endTimeUnixNano": "1250000000",
            "attributes": span["attributes"],
            "status": {},
            "flags": 257,
        });
        assert_eq!(span, expected);
        for (name, expected) in [
            ("walgate.sink", json!("crm")),
            ("walgate.sink.kind", json!("http")),
            ("walgate.route", json!("customers")),
            ("walgate.table", json!("public.customers")),
            ("walgate.events", json!("2")),
            ("walgate.bytes", json!("512")),
            ("walgate.attempt", json!("3")),
            ("walgate.event.first", json!("00000001-00000000017C8338-00000001")),
            ("walgate.event.last", json!("00000001-00000000017C8338-00000002")),
            ("walgate.answer", json!("acknowledged")),
            ("walgate.commit_to_ack_seconds", json!(1.5)),
            ("http.response.status_code", json!("200")),
            ("server.address", json!("crm.example")),
            ("server.port", json!("8443")),
        ] {
            assert_eq!(value(&span, name), Some(expected), "{name}");
        }
        for absent in ["error.type", "walgate.replay", "walgate.events.refused"] {
            assert_eq!(value(&span, absent), None, "{absent}");
        }
    }

    #[test]
    fn one_that_was_refused_says_why() {
        let message = "crm.example:8443 answered 503 Service Unavailable".to_owned();
        let refused = Refused { events: 2, category: Category::Transient, message };
        let span = only(Span { refused: Some(refused), commit_to_ack: None, replay: 4, ..taken() });
        let message = "crm.example:8443 answered 503 Service Unavailable";
        assert_eq!(span["status"], json!({ "code": 2, "message": message }));
        assert_eq!(value(&span, "walgate.answer"), Some(json!("transient")));
        assert_eq!(value(&span, "error.type"), Some(json!("transient")));
        assert_eq!(value(&span, "walgate.replay"), Some(json!("4")));
        assert_eq!(value(&span, "walgate.commit_to_ack_seconds"), None);
    }

    #[test]
    fn an_address_is_parted() {
        assert_eq!(address("http://[::1]:80"), ("[::1]", Some(80)));
        assert_eq!(address("broker"), ("broker", None));
    }
}
