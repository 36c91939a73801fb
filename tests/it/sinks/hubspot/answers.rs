//! What each answer means, and what is asked for.

use std::time::Duration;

use serde_json::{Value, json};
use walgate::chunk::Operation;
use walgate::failure::Category;
use walgate::secret::Secret;
use walgate::sink::hubspot::Config;
use walgate::sink::web::Reach;
use walgate::sink::{self, Answer, Batch, Common, Failure, Sink};

use super::super::fakes::{Fake, Says};
use super::super::{COMMON, envelope, failure, one};
use super::Account;

const PATIENT: Common = Common { timeout: Duration::from_secs(10), ..COMMON };

fn settings(account: &Fake<Account>) -> Config {
    Config {
        url: account.url(),
        token: Secret::new("pat-na1-a-token".to_owned()),
        object: "contacts".to_owned(),
        id_property: "external_id".to_owned(),
        archives: true,
        reach: Reach::default(),
    }
}

fn build(config: Config) -> Box<dyn Sink> {
    sink::build("crm", &sink::Config::HubSpot(Box::new(config)), &PATIENT).unwrap()
}

fn named(ids: std::ops::Range<u32>) -> Batch {
    let events = ids.map(|id| envelope(Operation::Insert, id, r#"{"firstname":"n"}"#)).collect();
    Batch { events, replay: 0 }
}

/// The failure of a batch of one event.
#[track_caller]
fn alone(answer: Answer) -> Failure {
    match answer {
        Answer::PerEvent(outcomes) => outcomes.into_iter().next().unwrap().unwrap_err(),
        answer => failure(answer),
    }
}

#[tokio::test]
async fn every_answer_to_a_request_is_sorted() {
    let account = Fake::start(Account::default());
    let sink = build(settings(&account));
    for (status, category) in [
        (400, Category::Rejected),
        (401, Category::Setup),
        (403, Category::Setup),
        (404, Category::Setup),
        (409, Category::Rejected),
        (423, Category::Throttled),
        (429, Category::Throttled),
        (477, Category::Throttled),
        (500, Category::Transient),
        (502, Category::Transient),
        (503, Category::Transient),
        (301, Category::Setup),
    ] {
        account.state().next.push_back(Says::text(status, "{\"category\":\"X\"}"));
        let failure = alone(sink.deliver(&named(0..1)).await);
        assert_eq!(failure.category, category, "{status}");
    }
    account.state().next.push_back(Says::text(200, "<html>"));
    assert_eq!(alone(sink.deliver(&named(0..1)).await).category, Category::Transient);
    // A whole batch: nobody knows who it was.
    account.state().next.push_back(Says::text(400, "{}"));
    assert_eq!(failure(sink.deliver(&named(0..3)).await).category, Category::Rejected);
    account.state().next.push_back(Says::text(401, "pat-na1-a-token is expired"));
    let failure = failure(sink.deliver(&named(0..3)).await);
    assert_eq!(failure.answer.as_deref(), Some("*** is expired"));
}

#[tokio::test]
async fn limits_are_waited_for_as_they_are() {
    let account = Fake::start(Account::default());
    let sink = build(settings(&account));
    let wait = |policy: &str| {
        let body = json!({ "errorType": "RATE_LIMIT", "policyName": policy });
        let says =
            Says::json(429, &body).with("x-hubspot-ratelimit-interval-milliseconds", "10000");
        account.state().next.push_back(says);
    };
    wait("TEN_SECONDLY_ROLLING");
    let failure = alone(sink.deliver(&named(0..1)).await);
    assert_eq!(failure.retry_after, Some(Duration::from_secs(10)));
    assert!(failure.message.contains("TEN_SECONDLY_ROLLING"), "{failure:?}");
    wait("DAILY");
    let failure = alone(sink.deliver(&named(0..1)).await);
    assert!(failure.retry_after.unwrap() <= Duration::from_secs(901), "{failure:?}");
    assert!(failure.message.contains("DAILY"), "{failure:?}");
    // None are left of the window: nothing is sent until it is over.
    let body = json!({ "status": "COMPLETE", "results": [{ "id": "1" }] });
    let says = Says::json(200, &body)
        .with("x-hubspot-ratelimit-remaining", "0")
        .with("x-hubspot-ratelimit-interval-milliseconds", "7000");
    account.state().next.push_back(says);
    let reply = sink.reply(&named(0..1)).await;
    assert_eq!((reply.answer, reply.pause), (Answer::Acknowledged, Some(Duration::from_secs(7))));
}

/// Answers a batch of three with this, and returns what became of each.
async fn outcomes(body: Value) -> Vec<Option<Category>> {
    let account = Fake::start(Account::default());
    let sink = build(settings(&account));
    account.state().next.push_back(Says::json(207, &body));
    match sink.deliver(&named(0..3)).await {
        Answer::Acknowledged => vec![None; 3],
        Answer::Failed(failure) => vec![Some(failure.category); 3],
        Answer::PerEvent(outcomes) => {
            outcomes.into_iter().map(|outcome| outcome.err().map(|why| why.category)).collect()
        }
    }
}

#[tokio::test]
async fn a_207_is_told_apart_by_trace_or_by_id() {
    let trace = |id: u32| envelope(Operation::Insert, id, "{}").id.to_string();
    let found = |id: u32| json!({ "id": "9", "objectWriteTraceId": trace(id) });
    let error = |category: &str, context: Value| json!({ "status": "error", "category": category, "message": "m", "context": context });
    let by_trace = json!({ "objectWriteTraceId": [trace(1)] });
    let said = outcomes(json!({ "results": [found(2), found(0)],
                                "errors": [error("CONFLICT", by_trace)] }));
    assert_eq!(said.await, [None, Some(Category::Rejected), None]);
    let by_id = json!({ "ids": ["0"] });
    let named = |id: &str| json!({ "id": "9", "properties": { "external_id": id } });
    let said = outcomes(json!({ "results": [named("1"), named("2")],
                                "errors": [error("INTERNAL_ERROR", by_id)] }));
    assert_eq!(said.await, [Some(Category::Transient), None, None]);
    // One that names nobody, where one came to nothing.
    let said = outcomes(json!({ "results": [found(2), found(0)],
                                "errors": [error("VALIDATION_ERROR", json!({}))] }));
    assert_eq!(said.await, [None, Some(Category::Rejected), None]);
    // Where two did, the batch comes again in halves.
    let said = outcomes(json!({ "results": [found(2)],
                                "errors": [error("VALIDATION_ERROR", json!({}))] }));
    assert_eq!(said.await, [Some(Category::Rejected); 3]);
    // What was not answered is not done.
    let said = outcomes(json!({ "results": [found(0), found(2)] }));
    assert_eq!(said.await, [None, Some(Category::Transient), None]);
}

#[tokio::test]
async fn a_hundred_records_go_in_a_request_and_the_same_one_but_once() {
    let account = Fake::start(Account::default());
    let sink = build(settings(&account));
    assert_eq!(sink.deliver(&named(0..250)).await, Answer::Acknowledged);
    let mut twice = named(0..2);
    twice.events.extend(named(1..3).events);
    assert_eq!(sink.deliver(&twice).await, Answer::Acknowledged);
    let gone = (0..120).map(|id| envelope(Operation::Delete, id, "{}")).collect();
    assert_eq!(sink.deliver(&Batch { events: gone, replay: 0 }).await, Answer::Acknowledged);
    assert_eq!(sink.deliver(&one(Operation::Delete, 7, "{}")).await, Answer::Acknowledged);
    assert_eq!(
        account.state().calls,
        [
            "upsert 100",
            "upsert 100",
            "upsert 50",
            "upsert 3",
            "read 100",
            "archive 100",
            "read 20",
            "archive 20",
            "read 1"
        ]
    );
    assert_eq!(account.state().records.len(), 130);
}

#[tokio::test]
async fn a_value_that_no_property_can_have_is_refused() {
    let account = Fake::start(Account::default());
    let sink = build(settings(&account));
    let mut batch = named(0..1);
    batch.events.push(envelope(Operation::Insert, 1, r#"{"note":{"a":1}}"#));
    let Answer::PerEvent(outcomes) = sink.deliver(&batch).await else { unreachable!() };
    assert_eq!(outcomes[0], Ok(()));
    let failure = outcomes[1].clone().unwrap_err();
    assert_eq!(failure.category, Category::Rejected);
    assert!(failure.message.contains("`note` is an object or a list"), "{failure:?}");
}

#[tokio::test]
async fn check_looks_at_the_property() {
    let account = Fake::start(Account::default());
    let seen = build(settings(&account)).check().await.unwrap();
    assert!(seen.contains("contacts are told apart by external_id"), "{seen}");
    let id_property = "company".to_owned();
    let failure = build(Config { id_property, ..settings(&account) }).check().await.unwrap_err();
    assert_eq!(failure.category, Category::Setup);
    assert!(failure.message.contains("may have a value twice"), "{failure:?}");
    account.state().token = "another".to_owned();
    let failure = build(settings(&account)).check().await.unwrap_err();
    assert_eq!((failure.category, failure.status), (Category::Setup, Some(401)));
    assert_eq!(account.state().calls, Vec::<String>::new());
}
