//! How a batch is spread over calls, and what each service makes of an event.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::calls::{Held, Item, spread};
use super::service::{Entry, Limits, Service};
use super::{eventbridge, firehose, kinesis, sns, sqs};
use crate::chunk::{Chunk, Operation};
use crate::envelope::{Envelope, RouteLabel};
use crate::failure::Category;
use crate::lsn::{EventId, Lsn, Position, Timestamp};
use crate::sink::template::Event;
use crate::sink::{Failure, Form};

fn envelope(key: u64, body: &str) -> Envelope {
    Envelope {
        id: EventId { timeline: 1, position: Position::new(Lsn(0x17C_8338), 3) },
        operation: Operation::Insert,
        body: Bytes::copy_from_slice(body.as_bytes()),
        key: format!("{{\"id\":{key}}}").into(),
        key_hash: key,
        before_key_hash: None,
        before_key: None,
        outbox: None,
        commit_time: Some(Timestamp::from_unix_micros(1_795_496_400_654_321)),
        route: Arc::new(RouteLabel { name: "r".into(), mapping: Some(("m".into(), 3)) }),
        chunk: Arc::new(Chunk {
            timeline: 1,
            frames: Bytes::new(),
            transactions: Vec::new(),
            relations: Vec::new(),
            entries: Vec::new(),
            audience: None,
        }),
        entry: 0,
    }
}

fn entry(service: &dyn Service, envelope: &Envelope, replay: u32) -> Result<Entry, String> {
    service.entry(&Event { envelope, form: Form::Walgate }, replay)
}

/// Makes the call of one event, as JSON.
#[track_caller]
fn request(service: &dyn Service, envelope: &Envelope) -> Value {
    let entry = entry(service, envelope, 0).unwrap();
    serde_json::from_slice(&service.request(&[&entry]).body).unwrap()
}

/// `events`: key, old key, bytes, group.
#[track_caller]
fn check(events: &[(u64, Option<u64>, usize, Option<&str>)], expected: &[&[usize]]) {
    let made: Vec<(Entry, Envelope)> = events
        .iter()
        .map(|(key, before, bytes, group)| {
            let group = group.map(str::to_owned);
            let entry = Entry { parts: Vec::new(), bytes: *bytes, group };
            (entry, Envelope { before_key_hash: *before, ..envelope(*key, "{}") })
        })
        .collect();
    let items = made.iter().enumerate();
    let items = items.map(|(place, (entry, envelope))| Item { place, entry, envelope });
    let calls = spread(items, Limits { entries: 3, bytes: 100 });
    let places: Vec<Vec<usize>> =
        calls.iter().map(|call| call.iter().map(|item| item.place).collect()).collect();
    assert_eq!(places, expected);
}

#[test]
fn a_batch_is_spread_over_calls_that_the_service_takes() {
    check(&[], &[]);
    check(
        &[(1, None, 1, None), (2, None, 1, None), (3, None, 1, None), (4, None, 1, None)],
        &[&[0, 1, 2], &[3]],
    );
    // By their bytes; one that is too large alone is for the service to refuse.
    check(
        &[(1, None, 60, None), (2, None, 60, None), (3, None, 40, None), (4, None, 900, None)],
        &[&[0, 2], &[1], &[3]],
    );
}

#[test]
fn a_key_goes_in_order_also_where_calls_have_room() {
    // The third is of a key whose last one went in the second call.
    check(
        &[(1, None, 60, None), (2, None, 60, None), (2, None, 10, None), (3, None, 10, None)],
        &[&[0, 3], &[1, 2]],
    );
    // A changed key is of both.
    check(
        &[(1, None, 60, None), (2, None, 60, None), (3, Some(2), 1, None), (3, None, 1, None)],
        &[&[0], &[1, 2, 3]],
    );
}

#[test]
fn a_call_has_one_of_a_group() {
    let of = |key, group| (key, None, 1, Some(group));
    check(&[of(1, "a"), of(1, "a"), of(2, "b"), of(1, "a"), of(2, "b")], &[&[0, 2], &[1, 4], &[3]]);
    // Two keys of one group are in order with each other.
    check(&[of(1, "a"), of(2, "a"), of(1, "a")], &[&[0], &[1], &[2]]);
}

#[test]
fn what_comes_behind_a_failure_stays() {
    let entry = |group: &str| Entry { parts: vec![], bytes: 0, group: Some(group.to_owned()) };
    let entries = [entry("a"), entry("b"), entry("c")];
    let moved = Envelope { before_key_hash: Some(1), ..envelope(2, "{}") };
    let envelopes = [envelope(1, "{}"), moved, envelope(3, "{}")];
    let item = |place: usize| Item { place, entry: &entries[place], envelope: &envelopes[place] };
    let mut held = Held::default();
    assert_eq!(held.why(item(1)), None);
    let down = Failure::new(Category::Transient, "down");
    held.add_item(item(0), &down);
    assert_eq!((held.why(item(1)), held.why(item(2))), (Some(down), None));
    // Of a group, whatever the key.
    let other = Item { place: 2, entry: &entries[0], envelope: &envelopes[2] };
    assert!(held.why(other).is_some());
    // Behind one that was refused nothing is wrong: it comes again at once.
    let mut held = Held::default();
    held.add(&envelopes[0], None, &Failure::new(Category::Rejected, "no"));
    let behind = held.why(item(1)).unwrap();
    assert_eq!((behind.category, behind.retry_after.unwrap().as_secs()), (Category::Throttled, 0));
}

#[test]
fn a_queue_gets_the_body_and_what_consumers_sort_by() {
    let url = "https://sqs.eu-central-1.amazonaws.com/1/q";
    let mut event = envelope(42, "{\"a\":\"x\u{ffff}\"}");
    event.outbox =
        Some(Box::new(Bytes::from_static(br#"{"id":"1","headers":{"trace":"t","n":1}}"#)));
    let sent = request(&sqs::Sqs::new(url, None).unwrap(), &event);
    let text = |value: &str| json!({ "DataType": "String", "StringValue": value });
    let id = "00000001-00000000017C8338-00000003";
    let entry = json!({
        "Id": "0", "MessageBody": r#"{"a":"x\uffff"}"#,
        "MessageAttributes": {
            "walgate-id": text(id), "walgate-op": text("insert"), "walgate-mapping": text("m-v3"),
            "trace": text("t"), "n": text("1")
        }
    });
    assert_eq!(sent, json!({ "QueueUrl": url, "Entries": [entry] }));
    let fair = sqs::Sqs::new(url, Some("{{ data.tenant }}")).unwrap();
    let event = envelope(42, r#"{"data":{"tenant":"a b"}}"#);
    let sent = &request(&fair, &event)["Entries"][0];
    assert_eq!(sent["MessageGroupId"].as_str().unwrap().len(), 64, "a space is no sign of a group");
    assert!(sent.get("MessageDeduplicationId").is_none());
    let fifo = sqs::Sqs::new(&format!("{url}.fifo"), None).unwrap();
    let sent = &request(&fifo, &event)["Entries"][0];
    assert_eq!(sent["MessageGroupId"], r#"{"id":42}"#);
    assert_eq!(sent["MessageDeduplicationId"], format!("{id}-v3"));
    let again = self::entry(&fifo, &event, 2).unwrap();
    assert!(again.parts[0].contains(&format!("{id}-v3-r2")), "{again:?}");
    assert!(again.parts[0].contains("walgate-replay"), "{again:?}");
}

#[test]
fn headers_that_are_no_attributes_are_refused_without_their_values() {
    let queue = sqs::Sqs::new("https://sqs.x.amazonaws.com/1/q", None).unwrap();
    let many: Vec<String> = (0..9).map(|n| format!("\"h{n}\":\"secret\"")).collect();
    for (headers, expected) in [
        (r#""walgate-id":"secret""#, "outbox.headers.walgate-id: an event can't set it"),
        (r#""a b":"secret""#, "outbox.headers: a name that no attribute has"),
        (r#""a":"""#, "outbox.headers.a: empty, which no attribute is"),
        (r#""a":"secret\u0001""#, "outbox.headers.a: a character that no attribute has"),
        (r#""a":["secret"]"#, "outbox.headers.a: an object or a list"),
        (&many.join(","), "into 10 attributes"),
    ] {
        let mut event = envelope(1, "{}");
        event.outbox = Some(Box::new(format!("{{\"headers\":{{{headers}}}}}").into()));
        let said = entry(&queue, &event, 0).unwrap_err();
        assert!(said.contains(expected) && !said.contains("secret"), "{said}");
    }
}

#[test]
fn a_topic_gets_a_form() {
    let arn = "arn:aws:sns:eu-central-1:1:t.fifo";
    let topic = sns::Sns::new(arn, None).unwrap();
    let event = envelope(42, r#"{"a":"ä&="}"#);
    let entries = [entry(&topic, &event, 0).unwrap(), entry(&topic, &event, 0).unwrap()];
    let body = topic.request(&[&entries[0], &entries[1]]).body;
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
    let value = |name: &str| {
        let found = pairs.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    assert_eq!((value("Action"), value("TopicArn")), ("PublishBatch", arn));
    let member = |name: &str| value(&format!("PublishBatchRequestEntries.member.2.{name}"));
    assert_eq!((member("Id"), member("Message")), ("1", r#"{"a":"ä&="}"#));
    assert_eq!(member("MessageAttributes.entry.2.Name"), "walgate-op");
    assert_eq!(member("MessageAttributes.entry.2.Value.DataType"), "String");
    assert_eq!(member("MessageAttributes.entry.2.Value.StringValue"), "insert");
    assert_eq!(member("MessageGroupId"), r#"{"id":42}"#);
    let answer = "<PublishBatchResponse xmlns=\"x\"><PublishBatchResult><Failed><member><Id>0</Id>\
        <Code>InternalError</Code><SenderFault>false</SenderFault></member></Failed><Successful>\
        <member><Id>1</Id></member></Successful></PublishBatchResult></PublishBatchResponse>";
    let said = topic.outcomes(answer.as_bytes(), 2).unwrap();
    assert_eq!(said[0].as_ref().unwrap_err().code, "InternalError");
    assert_eq!((said[0].as_ref().unwrap_err().is_senders, &said[1]), (Some(false), &Ok(())));
    assert_eq!(topic.outcomes(answer.as_bytes(), 3), None);
    assert_eq!(topic.outcomes(b"<html>", 2), None);
}

#[test]
fn a_stream_gets_bytes_and_a_key() {
    let stream = kinesis::Kinesis::new("s", None).unwrap();
    let sent = request(&stream, &envelope(42, "{}"));
    let record = json!({ "Data": "e30=", "PartitionKey": r#"{"id":42}"# });
    assert_eq!(sent, json!({ "StreamName": "s", "Records": [record] }));
    let long = Envelope { key: format!("\"{}\"", "x".repeat(300)).into(), ..envelope(1, "{}") };
    let sent =
        request(&kinesis::Kinesis::new("arn:aws:kinesis:x:1:stream/s", None).unwrap(), &long);
    assert_eq!(sent["StreamARN"], "arn:aws:kinesis:x:1:stream/s");
    assert_eq!(sent["Records"][0]["PartitionKey"].as_str().unwrap().len(), 64);
    // Without a key all are in order with each other.
    let keyless = Envelope { key: "null".into(), ..envelope(1, "{}") };
    assert_eq!(request(&stream, &keyless)["Records"][0]["PartitionKey"], "walgate");
    let own = kinesis::Kinesis::new("s", Some("{{ op }}")).unwrap();
    assert_eq!(request(&own, &long)["Records"][0]["PartitionKey"], "insert");
    let said = stream.outcomes(br#"{"Records":[{"SequenceNumber":"1"},{"ErrorCode":"X"}]}"#, 2);
    assert!(matches!(said.as_deref(), Some([Ok(()), Err(_)])), "{said:?}");
    assert_eq!(stream.outcomes(br#"{"Records":[{}]}"#, 2), None);
}

#[test]
fn what_is_delivered_elsewhere_has_a_line_an_event() {
    let stream = firehose::Firehose::new("arn:aws:firehose:x:1:deliverystream/f");
    let sent = request(&stream, &envelope(1, "{}"));
    assert_eq!(sent, json!({ "DeliveryStreamName": "f", "Records": [{ "Data": "e30K" }] }));
}

#[test]
fn a_bus_gets_objects_with_a_type_of_their_own() {
    let bus = eventbridge::EventBridge::new("b", "shop", "shop.{{ op }}").unwrap();
    let sent = request(&bus, &envelope(1, "{\"a\":1.50}"));
    let entry = json!({
        "EventBusName": "b", "Source": "shop", "DetailType": "shop.insert",
        "Detail": "{\"a\":1.50}", "Time": 1_795_496_400
    });
    assert_eq!(sent, json!({ "Entries": [entry] }));
    assert!(entry_fails(&bus, "null").contains("not a JSON object"));
    let long = eventbridge::EventBridge::new("b", "shop", "{{ data.t }}").unwrap();
    let body = format!("{{\"data\":{{\"t\":\"{}\"}}}}", "x".repeat(129));
    assert!(entry_fails(&long, &body).contains("more than 128"));
    assert!(entry_fails(&long, "{\"data\":{}}").contains("no `data.t`"));
    assert_eq!(eventbridge::EventBridge::new("b", "aws.x", "y").unwrap_err().key(), "source");
    assert_eq!(eventbridge::EventBridge::new("b", "x", "{{").unwrap_err().key(), "detail_type");
}

#[track_caller]
fn entry_fails(service: &dyn Service, body: &str) -> String {
    entry(service, &envelope(1, body), 0).unwrap_err()
}
