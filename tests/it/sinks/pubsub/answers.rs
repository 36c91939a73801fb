//! What each answer means, and what is asked for.

use std::time::Duration;

use serde_json::{Value, json};
use walgate::chunk::Operation;
use walgate::failure::Category;
use walgate::secret::Secret;
use walgate::sink::pubsub::Config;
use walgate::sink::{Answer, Failure};

use super::super::fakes::Says;
use super::super::fakes::pubsub::error;
use super::super::{batch, failure, one};
use super::{build, service, settings};

/// The failure of a batch of one event.
#[track_caller]
fn alone(answer: Answer) -> Failure {
    match answer {
        Answer::PerEvent(outcomes) => outcomes.into_iter().next().unwrap().unwrap_err(),
        answer => failure(answer),
    }
}

#[tokio::test]
async fn every_answer_is_sorted() {
    let service = service();
    let sink = build(settings(&service));
    for (http, status, category) in [
        (400, "INVALID_ARGUMENT", Category::Rejected),
        (400, "FAILED_PRECONDITION", Category::Setup),
        (401, "UNAUTHENTICATED", Category::Setup),
        (403, "PERMISSION_DENIED", Category::Setup),
        (404, "NOT_FOUND", Category::Setup),
        (409, "ABORTED", Category::Transient),
        (429, "RESOURCE_EXHAUSTED", Category::Throttled),
        (499, "CANCELLED", Category::Transient),
        (500, "INTERNAL", Category::Transient),
        (503, "UNAVAILABLE", Category::Transient),
        (504, "DEADLINE_EXCEEDED", Category::Transient),
    ] {
        service.state().next.push_back(error(http, status, "why"));
        let failure = alone(sink.deliver(&batch(0..1)).await);
        assert_eq!((failure.category, failure.status), (category, Some(http)), "{status}");
        assert!(failure.message.ends_with(status), "{failure:?}");
        assert!(failure.answer.unwrap().contains("why"));
    }
    for (http, category) in [
        (301, Category::Setup),
        (404, Category::Setup),
        (408, Category::Transient),
        (413, Category::Rejected),
        (502, Category::Transient),
    ] {
        service.state().next.push_back(Says::text(http, "<html>"));
        assert_eq!(alone(sink.deliver(&batch(0..1)).await).category, category, "{http}");
    }
    // A yes that does not say to what.
    for odd in ["<html>", "{}", r#"{"messageIds":[]}"#, r#"{"messageIds":["1","2"]}"#] {
        service.state().next.push_back(Says::text(200, odd));
        assert_eq!(alone(sink.deliver(&batch(0..1)).await).category, Category::Transient, "{odd}");
    }
    assert_eq!(sink.deliver(&batch(0..1)).await, Answer::Acknowledged);
}

#[tokio::test]
async fn a_quota_is_waited_for_as_told() {
    let service = service();
    let sink = build(settings(&service));
    let body = json!({ "error": { "code": 429, "status": "RESOURCE_EXHAUSTED", "details": [
        { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s" } ] } });
    service.state().next.push_back(Says::json(429, &body));
    let told = alone(sink.deliver(&batch(0..1)).await);
    assert_eq!(told.retry_after, Some(Duration::from_secs(7)));
    service.state().next.push_back(Says::json(429, &body).with("retry-after", "9"));
    let told = alone(sink.deliver(&batch(0..1)).await);
    assert_eq!(told.retry_after, Some(Duration::from_secs(9)));
}

#[tokio::test]
async fn a_topic_that_is_missing_halts_unless_the_event_names_it() {
    let service = service();
    service.state().topics.clear();
    let failed = alone(build(settings(&service)).deliver(&batch(0..1)).await);
    assert_eq!((failed.category, failed.status), (Category::Setup, Some(404)));
    let topic = "projects/walgate-test/topics/{{ table }}".to_owned();
    let by_event = build(Config { topic, ..settings(&service) });
    let failed = alone(by_event.deliver(&batch(0..1)).await);
    // The event of this test has no table.
    assert_eq!(failed.category, Category::Rejected);
    assert!(failed.message.contains("topic: the event has no `table`"), "{failed:?}");
    let topic = "projects/walgate-test/topics/t-{{ key.id }}".to_owned();
    let by_event = build(Config { topic, ..settings(&service) });
    service.state().topics.insert("projects/walgate-test/topics/t-0".to_owned(), None);
    let Answer::PerEvent(each) = by_event.deliver(&batch(0..2)).await else { unreachable!() };
    assert_eq!(each[0], Ok(()));
    let failed = each[1].clone().unwrap_err();
    assert_eq!((failed.category, failed.status), (Category::Rejected, Some(404)));
}

#[tokio::test]
async fn check_looks_at_the_topic_and_the_right_to_publish() {
    let service = service();
    let look = || async { build(settings(&service)).check().await };
    let seen = look().await.unwrap();
    assert!(seen.contains("topic projects/walgate-test/topics/orders is there"), "{seen}");
    service.state().rights.remove("pubsub.topics.get");
    let seen = look().await.unwrap();
    assert!(seen.contains("can't be seen without the right pubsub.topics.get"), "{seen}");
    service.state().rights = ["pubsub.topics.get"].into();
    let failed = look().await.unwrap_err();
    assert_eq!(failed.category, Category::Setup);
    assert!(failed.message.contains("pubsub.topics.publish"), "{failed:?}");
    service.state().topics.clear();
    let failed = look().await.unwrap_err();
    assert_eq!((failed.category, failed.status), (Category::Setup, Some(404)));
    let topic = "projects/walgate-test/topics/{{ op }}".to_owned();
    let seen = build(Config { topic, ..settings(&service) }).check().await.unwrap();
    assert!(seen.contains("none is looked at"), "{seen}");
    assert!(service.state().published.is_empty(), "no event was sent");
}

#[tokio::test]
async fn an_event_past_the_limits_is_refused_and_others_are_not() {
    let service = service();
    let secret = |text: &str| Secret::new(text.to_owned());
    let attributes = vec![("note".to_owned(), secret("{{ data.a }}"))];
    let sink = build(Config { attributes, ..settings(&service) });
    let mut several = one(Operation::Insert, 1, r#"{"a":"fine"}"#);
    for (id, note) in [(2, "n".repeat(1025)), (3, "n".repeat(1024))] {
        let data = json!({ "a": note }).to_string();
        several.events.extend(one(Operation::Insert, id, &data).events);
    }
    let large = json!({ "a": "large", "b": "x".repeat(10_000_000) }).to_string();
    several.events.extend(one(Operation::Insert, 4, &large).events);
    let Answer::PerEvent(each) = sink.deliver(&several).await else { unreachable!() };
    let told: Vec<Option<String>> =
        each.into_iter().map(|one| one.err().map(|failure| failure.message)).collect();
    assert_eq!((&told[0], &told[2]), (&None, &None));
    assert!(told[1].as_ref().unwrap().ends_with("attribute note: longer than 1024 bytes"));
    assert!(told[3].as_ref().unwrap().contains("the most is 10000000"), "{:?}", told[3]);
    // Events of different keys go side by side.
    let mut lengths: Vec<usize> = Vec::new();
    for (_, bodies) in &service.state().published {
        let body: Value = serde_json::from_str(&bodies[0]).unwrap();
        lengths.push(body["data"]["a"].as_str().unwrap().len());
    }
    lengths.sort_unstable();
    assert_eq!(lengths, ["fine".len(), 1024]);
}
