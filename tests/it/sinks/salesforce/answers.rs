//! What each answer means, and what is asked for.

use std::time::Duration;

use serde_json::json;
use walgate::chunk::Operation;
use walgate::failure::Category;
use walgate::sink::salesforce::{Config, Mode};
use walgate::sink::{Answer, Batch, Common, Sink};

use super::super::fakes::{Fake, Says};
use super::super::{COMMON, batch, envelope, failure, one};
use super::{Org, alone, build, settings};

const PATIENT: Common = Common { timeout: Duration::from_secs(10), ..COMMON };

fn sink(org: &Fake<Org>) -> Box<dyn Sink> {
    build(settings(&org.url()), &PATIENT)
}

/// One record is refused with this code beside one that is saved.
async fn refused(org: &Fake<Org>, sink: &dyn Sink, code: &str, message: &str) -> Category {
    let error = json!({ "statusCode": code, "message": message, "fields": [] });
    let body = json!([
        { "id": "003x", "success": true, "errors": [] },
        { "success": false, "errors": [error] },
    ]);
    org.state().next.push_back(Says::json(200, &body));
    let answer = sink.deliver(&named(0..2)).await;
    let Answer::PerEvent(outcomes) = answer else { unreachable!("{code}: {answer:?}") };
    assert_eq!(outcomes[0], Ok(()), "{code}");
    let failure = outcomes[1].clone().unwrap_err();
    assert!(failure.message.contains(code), "{failure:?}");
    failure.category
}

fn named(ids: std::ops::Range<u32>) -> Batch {
    let events = ids.map(|id| envelope(Operation::Insert, id, r#"{"Name":"n"}"#)).collect();
    Batch { events, replay: 0 }
}

#[tokio::test]
async fn every_code_of_a_record_is_sorted() {
    let org = Fake::start(Org::default());
    let sink = sink(&org);
    assert_eq!(sink.deliver(&named(0..1)).await, Answer::Acknowledged);
    for (category, codes) in [
        (
            Category::Transient,
            &[
                "UNABLE_TO_LOCK_ROW",
                "SERVER_UNAVAILABLE",
                "REQUEST_RUNNING_TOO_LONG",
                "QUERY_TIMEOUT",
                "UNKNOWN_EXCEPTION",
                "ALL_OR_NONE_OPERATION_ROLLED_BACK",
                "PROCESSING_HALTED",
            ][..],
        ),
        (
            Category::Throttled,
            &["REQUEST_LIMIT_EXCEEDED", "LIMIT_EXCEEDED", "CONCURRENT_REQUESTS_LIMIT_EXCEEDED"],
        ),
        (
            Category::Setup,
            &[
                "INVALID_SESSION_ID",
                "INVALID_AUTH_HEADER",
                "API_DISABLED_FOR_ORG",
                "INVALID_TYPE",
                "INVALID_FIELD",
                "NOT_FOUND",
                "STORAGE_LIMIT_EXCEEDED",
            ],
        ),
        (
            Category::Rejected,
            &[
                "REQUIRED_FIELD_MISSING",
                "FIELD_CUSTOM_VALIDATION_EXCEPTION",
                "STRING_TOO_LONG",
                "INVALID_EMAIL_ADDRESS",
                "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
                "INVALID_CROSS_REFERENCE_KEY",
                "DUPLICATES_DETECTED",
                "ENTITY_IS_DELETED",
                "INSUFFICIENT_ACCESS_OR_READONLY",
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                "DUPLICATE_VALUE",
                "DUPLICATE_EXTERNAL_ID",
                "SOMETHING_THAT_COMES_LATER",
            ],
        ),
    ] {
        for code in codes {
            assert_eq!(refused(&org, &*sink, code, "").await, category, "{code}");
        }
    }
    for (code, message) in [
        ("DUPLICATE_VALUE", "duplicate value found: Ext__c duplicates value on record with id: x"),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "caused by: UNABLE_TO_LOCK_ROW"),
        (
            "INVALID_FIELD",
            "Foreign key external ID: 7 not found for field Ext__c in entity Account",
        ),
    ] {
        assert_eq!(refused(&org, &*sink, code, message).await, Category::Transient, "{code}");
    }
}

#[tokio::test]
async fn every_answer_to_a_request_is_sorted() {
    let org = Fake::start(Org::default());
    let sink = sink(&org);
    assert_eq!(sink.deliver(&named(0..1)).await, Answer::Acknowledged);
    let of = |code: &str| json!([{ "errorCode": code, "message": "m" }]).to_string();
    for (status, body, category) in [
        (403, of("REQUEST_LIMIT_EXCEEDED"), Category::Throttled),
        (403, of("API_DISABLED_FOR_ORG"), Category::Setup),
        (403, String::new(), Category::Setup),
        (404, of("NOT_FOUND"), Category::Setup),
        (400, of("INVALID_FIELD"), Category::Setup),
        (400, of("JSON_PARSER_ERROR"), Category::Rejected),
        (300, "[\"/services/data/v66.0/sobjects/Contact/1\"]".to_owned(), Category::Rejected),
        (500, of("UNKNOWN_EXCEPTION"), Category::Transient),
        (503, of("SERVER_UNAVAILABLE"), Category::Transient),
        (429, String::new(), Category::Throttled),
        (400, of("UNABLE_TO_LOCK_ROW"), Category::Transient),
        (200, "[]".to_owned(), Category::Transient),
        (200, "<html>".to_owned(), Category::Transient),
    ] {
        org.state().next.push_back(Says::text(status, body.as_str()));
        let failure = alone(sink.deliver(&named(0..1)).await);
        assert_eq!(failure.category, category, "{status} {body}");
    }
    // What is wrong with a whole request is wrong with nobody knows whom.
    org.state().next.push_back(Says::text(400, of("JSON_PARSER_ERROR")));
    assert_eq!(failure(sink.deliver(&named(0..3)).await).category, Category::Rejected);
}

#[tokio::test]
async fn two_hundred_records_go_in_a_request_and_the_same_one_but_once() {
    let org = Fake::start(Org::default());
    let sink = sink(&org);
    assert_eq!(sink.deliver(&named(0..450)).await, Answer::Acknowledged);
    assert_eq!(org.state().calls, ["upsert 200", "upsert 200", "upsert 50"]);
    let mut twice = named(0..2);
    twice.events.extend(named(1..3).events);
    assert_eq!(sink.deliver(&twice).await, Answer::Acknowledged);
    assert_eq!(org.state().calls.last().unwrap(), "upsert 3");
}

#[tokio::test]
async fn deletes_go_by_twenty_five_and_what_is_not_there_is_gone() {
    let org = Fake::start(Org::default());
    let sink = sink(&org);
    assert_eq!(sink.deliver(&named(0..40)).await, Answer::Acknowledged);
    let events = (0..60).map(|id| envelope(Operation::Delete, id, "{}")).collect();
    let deletes = Batch { events, replay: 0 };
    assert_eq!(sink.deliver(&deletes).await, Answer::Acknowledged);
    assert_eq!(org.state().records.len(), 0);
    assert_eq!(org.state().calls, ["upsert 40", "delete 25", "delete 25", "delete 10"]);
    // Where the field of the external id is not there, nothing is gone.
    let message = "Provided external ID field does not exist or is not accessible: Ext__c";
    let body = json!([{ "errorCode": "NOT_FOUND", "message": message }]);
    let body = json!({ "compositeResponse": [{ "httpStatusCode": 404, "body": body }] });
    org.state().next.push_back(Says::json(200, &body));
    let failure = alone(sink.deliver(&one(Operation::Delete, 7, "{}")).await);
    assert_eq!(failure.category, Category::Setup);
}

#[tokio::test]
async fn an_id_that_a_path_cannot_have_is_looked_up() {
    let org = Fake::start(Org::default());
    let sink = sink(&org);
    let data = r#"{"Ext__c":"ada@example.com","Name":"Ada"}"#;
    assert_eq!(sink.deliver(&one(Operation::Insert, 1, data)).await, Answer::Acknowledged);
    assert!(org.state().records.contains_key("ada@example.com"));
    let gone = r#"{"Ext__c":"ada@example.com"}"#;
    assert_eq!(sink.deliver(&one(Operation::Delete, 1, gone)).await, Answer::Acknowledged);
    assert_eq!(org.state().records.len(), 0);
    assert_eq!(sink.deliver(&one(Operation::Delete, 1, gone)).await, Answer::Acknowledged);
    assert_eq!(org.state().calls, ["upsert 1", "query", "delete 1", "query"]);
}

#[tokio::test]
async fn events_are_published_as_they_come() {
    let org = Fake::start(Org::default());
    let config = Config {
        object: "Order_Event__e".to_owned(),
        external_id: None,
        mode: Mode::PlatformEvent,
        ..settings(&org.url())
    };
    let sink = build(config, &PATIENT);
    let mut twice = batch(0..1);
    twice.events.extend(batch(0..1).events);
    assert_eq!(sink.deliver(&twice).await, Answer::Acknowledged);
    let published = org.state().published.clone();
    let expected = json!({ "attributes": { "type": "Order_Event__e" }, "a": 1 });
    assert_eq!(published, [expected.clone(), expected]);
    assert!(sink.check().await.unwrap().contains("can be published"));
}

#[tokio::test]
async fn check_looks_at_the_object_and_its_external_id() {
    let org = Fake::start(Org::default());
    let seen = sink(&org).check().await.unwrap();
    for part in ["issues a token", "requests a day used", "Contact is upserted by Ext__c"] {
        assert!(seen.contains(part), "{seen}");
    }
    let refused = |external_id: &str, object: &str| {
        let (external_id, object) = (Some(external_id.to_owned()), object.to_owned());
        let config = Config { external_id, object, ..settings(&org.url()) };
        async move { build(config, &PATIENT).check().await.unwrap_err() }
    };
    for (failure, expected) in [
        (refused("Name", "Contact").await, "is no external id"),
        (refused("Nothing__c", "Contact").await, "has no Nothing__c"),
        (refused("Ext__c", "Nothing__c").await, "is not there"),
    ] {
        assert_eq!(failure.category, Category::Setup);
        assert!(failure.message.contains(expected), "{failure:?}");
    }
    org.state().secret = "another".to_owned();
    org.state().expire();
    let failure = sink(&org).check().await.unwrap_err();
    assert!(failure.message.starts_with("no token"), "{failure:?}");
    assert_eq!(org.state().calls, Vec::<String>::new());
}
