//! What each answer means, and which of two changes is the newer.

use serde_json::{Value, json};
use walgate::chunk::Operation;
use walgate::envelope::Envelope;
use walgate::failure::Category;
use walgate::lsn::{Lsn, Position};
use walgate::secret::Secret;
use walgate::sink::elasticsearch::Config;
use walgate::sink::web::{Auth, Reach};
use walgate::sink::{self, Answer, Batch, Failure, Sink};

use crate::sinks::fakes::elasticsearch::Cluster;
use crate::sinks::fakes::{Fake, Says};
use crate::sinks::{COMMON, batch, envelope, failure, one};

fn settings(far: &Fake<Cluster>) -> Config {
    Config {
        url: Secret::new(far.url()),
        index: "t".to_owned(),
        auth: Some(Auth::ApiKey(Secret::new("a-key-of-this-test".to_owned()))),
        reach: Reach::default(),
    }
}

fn build(config: Config) -> Box<dyn Sink> {
    let common = sink::Common { timeout: std::time::Duration::from_secs(20), ..COMMON };
    sink::build("far", &sink::Config::Elasticsearch(Box::new(config)), &common).unwrap()
}

#[track_caller]
fn alone(answer: Answer) -> Failure {
    match answer {
        Answer::Failed(failure) => failure,
        Answer::PerEvent(outcomes) => outcomes.into_iter().next().unwrap().unwrap_err(),
        Answer::Acknowledged => unreachable!(),
    }
}

#[tokio::test]
async fn every_answer_to_a_request_is_sorted() {
    let far = Fake::start(Cluster::default());
    let sink = build(settings(&far));
    for (status, category) in [
        (301, Category::Setup),
        (400, Category::Rejected),
        (401, Category::Setup),
        (403, Category::Setup),
        (404, Category::Setup),
        (406, Category::Rejected),
        (413, Category::Rejected),
        (429, Category::Throttled),
        (500, Category::Transient),
        (502, Category::Transient),
        (503, Category::Transient),
    ] {
        far.state().next.push_back(Says::text(status, "a-key-of-this-test"));
        let failure = alone(sink.deliver(&one(Operation::Insert, 1, r#"{"a":1}"#)).await);
        assert_eq!(failure.category, category, "{status}");
        assert_eq!(failure.answer.as_deref(), Some("***"), "{status}");
    }
    for nonsense in ["<html>", "{}", r#"{"items":[]}"#, r#"{"items":[{}]}"#] {
        far.state().next.push_back(Says::text(200, nonsense));
        let failure = alone(sink.deliver(&one(Operation::Insert, 1, r#"{"a":1}"#)).await);
        assert_eq!(failure.category, Category::Transient, "{nonsense}");
    }
    far.state().next.push_back(Says::text(413, ""));
    assert_eq!(failure(sink.deliver(&batch(0..3)).await).category, Category::Rejected);
}

#[tokio::test]
async fn every_item_is_sorted_by_itself() {
    let far = Fake::start(Cluster::default());
    let sink = build(settings(&far));
    let ok = json!({ "index": { "status": 201, "result": "created" } });
    for (status, kind, category) in [
        (400, "document_parsing_exception", Category::Rejected),
        (403, "security_exception", Category::Setup),
        (404, "index_not_found_exception", Category::Setup),
        (429, "es_rejected_execution_exception", Category::Throttled),
        (503, "unavailable_shards_exception", Category::Transient),
    ] {
        let error = json!({ "type": kind, "reason": "a-key-of-this-test" });
        let bad = json!({ "index": { "status": status, "error": error } });
        let items = [&ok, &bad, &ok];
        far.state().next.push_back(Says::json(200, &json!({ "errors": true, "items": items })));
        let Answer::PerEvent(outcomes) = sink.deliver(&batch(0..3)).await else { unreachable!() };
        assert_eq!((&outcomes[0], &outcomes[2]), (&Ok(()), &Ok(())), "{kind}");
        let failure = outcomes[1].as_ref().unwrap_err();
        assert_eq!((failure.category, failure.status), (category, Some(status)), "{kind}");
        assert!(failure.message.contains(kind), "{failure:?}");
        assert_eq!(failure.answer.as_deref(), Some("***"));
    }
}

/// A change of row 1 in the commit `lsn`.
fn change(operation: Operation, lsn: u64, seq: u32, data: &Value, unchanged: &[&str]) -> Envelope {
    let mut event = envelope(operation, 1, "{}");
    event.id.position = Position::new(Lsn(lsn), seq);
    let op = operation.as_str();
    let body = json!({ "op": op, "key": { "id": 1 }, "data": data, "unchanged": unchanged });
    event.body = body.to_string().into();
    event
}

fn of(event: Envelope) -> Batch {
    Batch { events: vec![event], replay: 0 }
}

#[tokio::test]
async fn what_comes_again_changes_nothing_that_is_newer() {
    let far = Fake::start(Cluster::default());
    let sink = build(settings(&far));
    let document = |far: &Fake<Cluster>| {
        let state = far.state();
        state.indices["t"].documents.get("1").map(|one| Value::Object(one.source.clone()))
    };
    let [first, second, third] = [8, 16, 24].map(|lsn| {
        of(change(Operation::Update, lsn, 0, &json!({ "id": 1, "a": lsn, "big": "x" }), &[]))
    });
    for batch in [&first, &third, &second, &first] {
        assert_eq!(sink.deliver(batch).await, Answer::Acknowledged);
        if !std::ptr::eq(batch, &raw const first) {
            assert_eq!(document(&far).unwrap()["a"], 24);
        }
    }
    // Partial updates raise the version; a change of the same commit behind them is the newer all
    // the same.
    let partial = |seq: u32| {
        of(change(Operation::Update, 32, seq, &json!({ "id": 1, "a": 100 + seq }), &["big"]))
    };
    for seq in 0..5 {
        assert_eq!(sink.deliver(&partial(seq)).await, Answer::Acknowledged);
    }
    let whole = change(Operation::Update, 32, 1, &json!({ "id": 1, "a": 1, "big": "y" }), &[]);
    assert_eq!(sink.deliver(&of(whole)).await, Answer::Acknowledged);
    assert_eq!(document(&far).unwrap(), json!({ "id": 1, "a": 1, "big": "y" }));
    // What a later delete took is not missed by what comes again before it.
    let gone = of(change(Operation::Delete, 40, 0, &json!({ "id": 1 }), &[]));
    assert_eq!(sink.deliver(&gone).await, Answer::Acknowledged);
    assert_eq!(sink.deliver(&partial(4)).await, Answer::Acknowledged);
    assert_eq!(sink.deliver(&third).await, Answer::Acknowledged);
    assert_eq!(sink.deliver(&gone).await, Answer::Acknowledged);
    assert_eq!(document(&far), None);
    // Once that is forgotten, or if it never was, an update of some fields makes no document.
    far.state().forget();
    let failure = alone(sink.deliver(&partial(4)).await);
    assert_eq!(failure.category, Category::Rejected);
    assert!(failure.message.contains("the document is not there"), "{failure:?}");
}

#[tokio::test]
async fn a_truncate_takes_what_no_search_sees_yet() {
    let far = Fake::start(Cluster::default());
    let sink = build(settings(&far));
    assert_eq!(sink.deliver(&batch(0..20)).await, Answer::Acknowledged);
    let mut events = batch(20..22).events;
    events.push(envelope(Operation::Truncate, 22, "null"));
    events.extend(batch(23..25).events);
    let answer = sink.deliver(&Batch { events, replay: 0 }).await;
    assert_eq!(answer, Answer::Acknowledged);
    assert_eq!(far.state().documents("t").len(), 2);
    assert_eq!(far.state().calls, ["bulk 20", "refresh", "clear", "bulk 2"]);
    // Not done is not done.
    let undone = json!({ "timed_out": false, "version_conflicts": 1, "failures": [] });
    let ok = Says::json(200, &json!({}));
    far.state().next.extend([ok, Says::json(200, &undone)]);
    let truncate = one(Operation::Truncate, 30, "null");
    assert_eq!(alone(sink.deliver(&truncate).await).category, Category::Transient);
    assert_eq!(sink.deliver(&truncate).await, Answer::Acknowledged);
    assert_eq!(far.state().documents("t").len(), 0);
}

#[tokio::test]
async fn what_can_be_no_document_is_refused_and_the_rest_goes_on() {
    let far = Fake::start(Cluster::default());
    let sink = build(settings(&far));
    let keyed = |id: u32, key: &Value| {
        let mut event = envelope(Operation::Insert, id, "{}");
        let body = json!({ "op": "insert", "key": key, "data": { "a": id } });
        event.body = body.to_string().into();
        event
    };
    let long = "x".repeat(600);
    let events = vec![
        keyed(1, &Value::Null),
        keyed(2, &json!({ "id": "" })),
        keyed(3, &json!({ "id": "a/b c" })),
        keyed(4, &json!({ "id": 1, "of": "x" })),
        keyed(5, &json!({ "id": long })),
        envelope(Operation::Insert, 6, "[1]"),
    ];
    let Answer::PerEvent(outcomes) = sink.deliver(&Batch { events, replay: 0 }).await else {
        unreachable!()
    };
    let refused: Vec<bool> = outcomes.iter().map(Result::is_err).collect();
    assert_eq!(refused, [true, true, false, false, false, true]);
    let state = far.state();
    let ids: Vec<&str> = state.indices["t"].documents.keys().map(String::as_str).collect();
    assert_eq!(&ids[1..], ["[1,\"x\"]", "a/b c"]);
    assert_eq!(ids[0].len(), 64);
}

#[tokio::test]
async fn check_tells_what_answers_there() {
    let far = Fake::start(Cluster::default());
    let seen = build(settings(&far)).check().await.unwrap();
    assert!(seen.contains("elasticsearch 9.4.1"), "{seen}");
    let version = json!({ "number": "3.1.0", "distribution": "opensearch" });
    far.state().next.push_back(Says::json(200, &json!({ "version": version })));
    let seen = build(settings(&far)).check().await.unwrap();
    assert!(seen.contains("opensearch 3.1.0"), "{seen}");
    far.state().authorization = Some("ApiKey other".to_owned());
    let failure = build(settings(&far)).check().await.unwrap_err();
    assert_eq!((failure.category, failure.status), (Category::Setup, Some(401)));
    far.state().next.push_back(Says::text(200, "<html>"));
    assert!(build(settings(&far)).check().await.is_err());
}

/// Who sends nothing must not be told that a cluster is up which nobody has asked.
#[tokio::test]
async fn an_event_that_is_refused_here_says_nothing_of_the_cluster() {
    let mut far = Fake::start(Cluster::default());
    let sink = build(settings(&far));
    let bad = one(Operation::Insert, 3, "[1]");
    far.refuse();
    assert_eq!(alone(sink.deliver(&batch(0..1)).await).category, Category::Transient);
    assert_eq!(alone(sink.deliver(&bad).await).category, Category::Transient);
    far.listen();
    while let Answer::Failed(_) = sink.deliver(&bad).await {}
    assert_eq!(alone(sink.deliver(&bad).await).category, Category::Rejected);
}
