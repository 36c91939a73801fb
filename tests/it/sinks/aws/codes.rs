//! What answers mean, service by service. The server says what the services' references have; no
//! service of Amazon's is here.

use serde_json::{Value, json};
use walgate::failure::Category;
use walgate::sink::aws::Target;
use walgate::sink::{self, Answer, Batch, Common, Config, Failure, Sink};

use super::config;
use crate::sinks::{COMMON, batch};
use crate::support::receiver::{Receiver, Reply};

const REJECTED: Option<Category> = Some(Category::Rejected);
const TRANSIENT: Option<Category> = Some(Category::Transient);
const THROTTLED: Option<Category> = Some(Category::Throttled);
const SETUP: Option<Category> = Some(Category::Setup);

fn build(target: Target, receiver: &Receiver) -> Box<dyn Sink> {
    let config = Config::Aws(Box::new(config(target, receiver)));
    sink::build("far", &config, &Common { max_events: 500, ..COMMON }).unwrap()
}

fn sqs(end: &str) -> Target {
    let queue_url = format!("https://sqs.eu-central-1.amazonaws.com/1/q{end}");
    Target::Sqs { queue_url, group: None }
}

fn sns() -> Target {
    Target::Sns { topic_arn: "arn:aws:sns:eu-central-1:1:t".to_owned(), group: None }
}

fn kinesis() -> Target {
    Target::Kinesis { stream: "s".to_owned(), partition_key: None }
}

fn firehose() -> Target {
    Target::Firehose { stream: "f".to_owned() }
}

fn eventbridge() -> Target {
    Target::EventBridge {
        bus: "b".to_owned(),
        source: "shop".to_owned(),
        detail_type: "{{ op }}".to_owned(),
    }
}

/// Events of these keys, in order.
fn of_keys(keys: &[u32]) -> Batch {
    let mut batch = batch(0..u32::try_from(keys.len()).unwrap());
    for (event, key) in batch.events.iter_mut().zip(keys) {
        event.key = format!("{{\"id\":{key}}}").into();
        event.key_hash = u64::from(*key);
    }
    batch
}

#[track_caller]
fn categories(answer: Answer) -> Vec<Option<Category>> {
    match answer {
        Answer::PerEvent(each) => {
            each.into_iter().map(|one| one.err().map(|failure| failure.category)).collect()
        }
        other => unreachable!("{other:?}"),
    }
}

/// Returns an answer to a call of two: the first was taken, the second not, with this code.
fn answered(target: &Target, code: &str) -> String {
    let list = |name: &str| json!({ name: [{}, { "ErrorCode": code }] }).to_string();
    match target {
        Target::Sqs { .. } => {
            let is_mine = code.starts_with("Mine");
            let failed = json!([{ "Id": "1", "Code": code, "SenderFault": is_mine }]);
            json!({ "Successful": [{ "Id": "0" }], "Failed": failed }).to_string()
        }
        Target::Sns { .. } => format!(
            "<PublishBatchResponse><PublishBatchResult><Failed><member><Id>1</Id><Code>{code}\
             </Code></member></Failed><Successful><member><Id>0</Id></member></Successful>\
             </PublishBatchResult></PublishBatchResponse>"
        ),
        Target::Kinesis { .. } => list("Records"),
        Target::Firehose { .. } => list("RequestResponses"),
        Target::EventBridge { .. } => list("Entries"),
    }
}

#[tokio::test]
async fn each_event_of_a_call_has_its_own_answer() {
    let rows = [
        (sqs(""), "InvalidMessageContents", REJECTED),
        (sqs(""), "MineAndNew", REJECTED),
        (sqs(""), "InternalError", TRANSIENT),
        (sqs(""), "New", TRANSIENT),
        (sqs(""), "KmsThrottled", THROTTLED),
        (sqs(""), "KmsDisabled", SETUP),
        (sqs(""), "AccessDenied", SETUP),
        (sns(), "InvalidParameter", REJECTED),
        (sns(), "InternalError", TRANSIENT),
        (sns(), "Throttled", THROTTLED),
        (sns(), "KMSAccessDenied", SETUP),
        (sns(), "AuthorizationError", SETUP),
        (kinesis(), "ProvisionedThroughputExceededException", THROTTLED),
        (kinesis(), "InternalFailure", TRANSIENT),
        (firehose(), "ServiceUnavailableException", THROTTLED),
        (firehose(), "InternalFailure", TRANSIENT),
        (eventbridge(), "MalformedDetail", REJECTED),
        (eventbridge(), "InvalidArgument", REJECTED),
        (eventbridge(), "ThrottlingException", THROTTLED),
        (eventbridge(), "InternalFailure", TRANSIENT),
        (eventbridge(), "NotAuthorizedForSourceException", SETUP),
        (eventbridge(), "AccessDeniedException", SETUP),
    ];
    let receiver = Receiver::start();
    for (target, code, expected) in rows {
        let sink = build(target.clone(), &receiver);
        receiver.next(Reply::ok().body(answered(&target, code)));
        let answer = sink.deliver(&of_keys(&[1, 2])).await;
        assert_eq!(categories(answer), [None, expected], "{} {code}", sink.kind());
    }
}

#[tokio::test]
async fn what_says_nothing_of_the_events_is_no_acknowledgement() {
    let receiver = Receiver::start();
    for target in [sqs(""), sns(), kinesis(), firehose(), eventbridge()] {
        let sink = build(target, &receiver);
        receiver.next(Reply::ok().body("{}"));
        let answer = sink.deliver(&of_keys(&[1, 2])).await;
        assert_eq!(categories(answer), [TRANSIENT, TRANSIENT], "{}", sink.kind());
    }
}

#[tokio::test]
async fn an_answer_to_the_whole_call_is_sorted_by_its_code() {
    let receiver = Receiver::start();
    let sink = build(kinesis(), &receiver);
    for (status, code, expected) in [
        (400, "ProvisionedThroughputExceededException", THROTTLED),
        (400, "ThrottlingException", THROTTLED),
        (400, "LimitExceededException", THROTTLED),
        (400, "KMSThrottlingException", THROTTLED),
        (400, "AccessDeniedException", SETUP),
        (400, "UnrecognizedClientException", SETUP),
        (400, "ResourceNotFoundException", SETUP),
        (400, "KMSAccessDeniedException", SETUP),
        (403, "InvalidSignatureException", SETUP),
        (403, "RequestTimeTooSkewed", SETUP),
        (400, "ValidationException", REJECTED),
        (400, "Neverheard", REJECTED),
        (403, "Neverheard", SETUP),
        (500, "InternalFailure", TRANSIENT),
        (503, "Neverheard", TRANSIENT),
    ] {
        let body = json!({ "__type": format!("com.amazonaws#{code}"), "message": "in words" });
        receiver.next(Reply::status(status).body(body.to_string()));
        let Answer::PerEvent(each) = sink.deliver(&batch(0..1)).await else { unreachable!() };
        let failure = each[0].clone().unwrap_err();
        assert_eq!((Some(failure.category), failure.status), (expected, Some(status)), "{code}");
        assert!(failure.message.contains(code), "{failure:?}");
        assert_eq!(failure.message.contains("clock skew"), code.contains("Skewed"), "{failure:?}");
        assert!(failure.answer.unwrap().contains("in words"));
    }
    // Whoever stands before it may not speak like it.
    receiver.next(Reply::status(502).body("<html>"));
    assert_eq!(categories(sink.deliver(&batch(0..1)).await), [TRANSIENT]);
}

#[tokio::test]
async fn an_answer_that_echoes_what_was_signed_shows_no_secret() {
    let receiver = Receiver::start();
    let sink = build(kinesis(), &receiver);
    let echo = "not 'x-amz-security-token:the token of this test' by 'the secret of this test'";
    let body = json!({ "__type": "InvalidSignatureException", "message": echo });
    receiver.next(Reply::status(403).body(body.to_string()));
    let Answer::PerEvent(each) = sink.deliver(&batch(0..1)).await else { unreachable!() };
    let said = format!("{each:?} {sink:?}");
    assert!(said.contains("x-amz-security-token:***") && !said.contains("of this test"), "{said}");
    let request = &receiver.journal().requests[0];
    assert_eq!(request.header("x-amz-security-token"), Some("the token of this test"));
    assert_eq!(request.header("x-amz-target"), Some("Kinesis_20131202.PutRecords"));
}

/// The keys of each call so far.
fn calls(receiver: &Receiver) -> Vec<Vec<String>> {
    let requests = receiver.journal().requests;
    let keys = |body: &[u8]| {
        let body: Value = serde_json::from_slice(body).unwrap();
        let entries = body.get("Records").or(body.get("Entries")).unwrap().as_array().unwrap();
        let key = |entry: &Value| {
            let key = entry.get("PartitionKey").or(entry.get("MessageGroupId"));
            key.unwrap().as_str().unwrap().to_owned()
        };
        entries.iter().map(key).collect()
    };
    requests.iter().map(|request| keys(&request.body)).collect()
}

#[tokio::test]
async fn a_call_has_one_event_of_a_key_and_a_failure_holds_the_later_ones() {
    let receiver = Receiver::start();
    let sink = build(kinesis(), &receiver);
    let (one, two) = (r#"{"id":1}"#, r#"{"id":2}"#);
    let taken = json!({ "SequenceNumber": "1" });
    let failed = json!({ "ErrorCode": "InternalFailure" });
    let say =
        |records: Value| receiver.next(Reply::ok().body(json!({ "Records": records }).to_string()));
    say(json!([taken, taken]));
    say(json!([taken]));
    say(json!([taken]));
    assert_eq!(sink.deliver(&of_keys(&[1, 1, 2, 1])).await, Answer::Acknowledged);
    assert_eq!(calls(&receiver), [vec![one, two], vec![one], vec![one]]);
    say(json!([failed, taken]));
    say(json!([taken]));
    let answer = sink.deliver(&of_keys(&[1, 1, 2, 1, 2])).await;
    assert_eq!(categories(answer), [TRANSIENT, TRANSIENT, None, TRANSIENT, None]);
    assert_eq!(calls(&receiver)[3..], [vec![one, two], vec![two]]);
}

#[tokio::test]
async fn a_fifo_queue_has_one_event_of_a_group_a_call_too() {
    let receiver = Receiver::start();
    let sink = build(sqs(".fifo"), &receiver);
    let failed = json!([{ "Id": "0", "Code": "InvalidMessageContents", "SenderFault": true }]);
    let body = json!({ "Successful": [{ "Id": "1" }], "Failed": failed });
    receiver.next(Reply::ok().body(body.to_string()));
    let Answer::PerEvent(each) = sink.deliver(&of_keys(&[1, 1, 2])).await else { unreachable!() };
    let behind = each[1].clone().unwrap_err();
    // Nothing is wrong with what comes behind: it goes at once, without one attempt less.
    assert_eq!(
        (behind.category, behind.retry_after),
        (Category::Throttled, Some(std::time::Duration::ZERO))
    );
    assert_eq!(categories(Answer::PerEvent(each)), [REJECTED, THROTTLED, None]);
    assert_eq!(receiver.journal().requests.len(), 1);
}

#[tokio::test]
async fn a_batch_larger_than_a_call_goes_in_several_until_the_sink_fails() {
    let receiver = Receiver::start();
    let sink = build(eventbridge(), &receiver);
    let entries = |count: usize| json!({ "Entries": vec![json!({}); count] }).to_string();
    let size = |request: &crate::support::receiver::Request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        body["Entries"].as_array().unwrap().len()
    };
    for count in [10, 10, 5] {
        receiver.next(Reply::ok().body(entries(count)));
    }
    assert_eq!(sink.deliver(&batch(0..25)).await, Answer::Acknowledged);
    let sizes: Vec<usize> = receiver.journal().requests.iter().map(size).collect();
    assert_eq!(sizes, [10, 10, 5]);
    // The second call fails as a whole: the third is not made.
    receiver.next(Reply::ok().body(entries(10)));
    receiver.next(Reply::status(503));
    let each = categories(sink.deliver(&batch(0..25)).await);
    assert_eq!(each, [vec![None; 10], vec![TRANSIENT; 15]].concat());
    assert_eq!(receiver.journal().requests.len(), 5);
}

#[tokio::test]
async fn a_call_that_is_refused_as_a_whole_is_halved_until_one_event_is() {
    let receiver = Receiver::start();
    let sink = build(firehose(), &receiver);
    let no = || Reply::status(400).body(json!({ "__type": "ValidationException" }).to_string());
    let yes = |count: usize| {
        Reply::ok().body(json!({ "RequestResponses": vec![json!({}); count] }).to_string())
    };
    for reply in [no(), yes(2), no(), no(), yes(1)] {
        receiver.next(reply);
    }
    let each = categories(sink.deliver(&batch(0..4)).await);
    assert_eq!(each, [None, None, REJECTED, None]);
    assert_eq!(receiver.journal().requests.len(), 5);
}

#[tokio::test]
async fn credentials_that_have_ended_are_asked_for_once_more_and_then_blame_the_setup() {
    let receiver = Receiver::start();
    let sink = build(firehose(), &receiver);
    let ended =
        || Reply::status(400).body(json!({ "__type": "ExpiredTokenException" }).to_string());
    receiver.next(ended());
    receiver.next(ended());
    let Answer::PerEvent(each) = sink.deliver(&batch(0..2)).await else { unreachable!() };
    let failure: Failure = each[0].clone().unwrap_err();
    assert_eq!(failure.category, Category::Setup);
    assert!(failure.message.contains("the credentials have ended"), "{failure:?}");
    assert_eq!(receiver.journal().requests.len(), 2);
}

#[tokio::test]
async fn an_event_that_does_not_fit_stands_in_nobody_elses_way() {
    let receiver = Receiver::start();
    let sink = build(eventbridge(), &receiver);
    let mut mixed = of_keys(&[1, 2, 1]);
    mixed.events[0].body = "null".into();
    receiver.next(Reply::ok().body(json!({ "Entries": [{}] }).to_string()));
    assert_eq!(categories(sink.deliver(&mixed).await), [REJECTED, None, THROTTLED]);
    mixed.events.truncate(1);
    let alone = sink.deliver(&mixed).await;
    assert_eq!(categories(alone), [REJECTED]);
    assert_eq!(receiver.journal().requests.len(), 1);
}

#[tokio::test]
async fn check_looks_and_says_what_it_may_not_see() {
    let receiver = Receiver::start();
    let sink = build(kinesis(), &receiver);
    let summary = json!({ "StreamStatus": "ACTIVE", "OpenShardCount": 4 });
    let body = json!({ "StreamDescriptionSummary": summary });
    receiver.next(Reply::ok().body(body.to_string()));
    let seen = sink.check().await.unwrap();
    assert!(seen.ends_with("stream s is ACTIVE, 4 open shards"), "{seen}");
    receiver
        .next(Reply::status(400).body(json!({ "__type": "AccessDeniedException" }).to_string()));
    let seen = sink.check().await.unwrap();
    assert!(seen.contains("without the right kinesis:DescribeStreamSummary"), "{seen}");
    let gone = json!({ "__type": "ResourceNotFoundException" });
    receiver.next(Reply::status(400).body(gone.to_string()));
    assert_eq!(sink.check().await.unwrap_err().category, Category::Setup);
    receiver.refuse();
    assert_eq!(sink.check().await.unwrap_err().category, Category::Setup);
}
