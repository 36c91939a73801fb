//! APIs that say 200 and mean no, or answer for each event; and bodies that are compressed.

use serde_json::json;
use walgate::failure::Category;
use walgate::secret::Secret;
use walgate::sink::http::{self, AckSettings};
use walgate::sink::{self, Answer, Common, Config, Sink};

use super::{COMMON, batch, failure};
use crate::support::receiver::{Receiver, Reply};

fn ack(when: &str) -> AckSettings {
    let when = (!when.is_empty()).then(|| when.to_owned());
    AckSettings { when, ..AckSettings::default() }
}

fn build(receiver: &Receiver, ack: AckSettings, max_events: usize) -> Box<dyn Sink> {
    let config = http::Config { ack: Some(ack), ..http::Config::to(receiver.url("/events")) };
    let common = Common { max_events, ..COMMON };
    sink::build("crm", &Config::Http(Box::new(config)), &common).unwrap()
}

#[tokio::test]
async fn an_answer_is_an_acknowledgement_when_its_body_says_so() {
    let receiver = Receiver::start();
    let settings = AckSettings {
        retry: Some("body.error == 'busy'".to_owned()),
        ..ack("status in [200, 409] && (status == 409 || body.ok)")
    };
    let sink = build(&receiver, settings, 1);
    let rows = [
        (200, r#"{"ok":true}"#, None),
        (409, "", None),
        (200, r#"{"ok":false,"error":"no such list"}"#, Some(Category::Rejected)),
        (200, r#"{"ok":false,"error":"busy"}"#, Some(Category::Transient)),
        // What can't be told is no acknowledgement, and may be told the next time.
        (200, "<html>", Some(Category::Transient)),
        (200, r#"{"ok":"yes"}"#, Some(Category::Transient)),
        (201, r#"{"ok":true}"#, Some(Category::Rejected)),
        (422, r#"{"ok":true}"#, Some(Category::Rejected)),
        (500, r#"{"ok":true}"#, Some(Category::Transient)),
    ];
    for (status, body, expected) in rows {
        receiver.next(Reply::status(status).body(body));
        match (sink.deliver(&batch(0..1)).await, expected) {
            (Answer::Acknowledged, None) => {}
            (Answer::Failed(failure), Some(category)) => {
                assert_eq!(failure.category, category, "{status} {body}: {failure:?}");
                assert_eq!(failure.status, Some(status));
            }
            (answer, _) => unreachable!("{status} {body}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn each_event_of_a_batch_has_its_own_answer() {
    let receiver = Receiver::start();
    let settings = AckSettings { items: Some("data.results".to_owned()), ..ack("") };
    let sink = build(&receiver, settings, 10);
    let answer = async |items: serde_json::Value| {
        let body = json!({ "data": { "results": items } });
        receiver.next(Reply::ok().body(body.to_string()));
        sink.deliver(&batch(0..3)).await
    };
    let categories = |answer: Answer| match answer {
        Answer::PerEvent(each) => each
            .into_iter()
            .map(|one| one.err().map(|failure| failure.category))
            .collect::<Vec<_>>(),
        other => unreachable!("{other:?}"),
    };
    let (rejected, transient) = (Some(Category::Rejected), Some(Category::Transient));
    let all = json!([{ "ok": true }, { "status": 201 }, { "status": "created" }]);
    assert_eq!(answer(all).await, Answer::Acknowledged);
    let some = json!([{ "status": 422 }, { "success": true }, { "status": 503 }]);
    assert_eq!(categories(answer(some).await), [rejected, None, transient]);
    let words = json!([{ "status": "retry" }, { "error": null }, { "errors": ["no"] }]);
    assert_eq!(categories(answer(words).await), [transient, None, rejected]);
    // By their ids, whatever their order.
    let id = |seq: u32| format!("00000001-00000000017C8338-{seq:08X}");
    let turned = json!([{ "id": id(2), "ok": true }, { "id": id(0), "ok": false },
        { "id": id(1), "ok": true }]);
    assert_eq!(categories(answer(turned).await), [rejected, None, None]);
    // One that says nothing is no acknowledgement.
    let silent = json!([{}, { "ok": true }, { "ok": true }]);
    assert_eq!(categories(answer(silent).await), [transient, None, None]);
    for wrong in [json!([{ "ok": true }]), json!({ "ok": true })] {
        assert_eq!(failure(answer(wrong).await).category, Category::Transient);
    }
}

#[tokio::test]
async fn what_an_item_says_can_be_told_by_an_expression() {
    let receiver = Receiver::start();
    let settings = AckSettings {
        items: Some("r".to_owned()),
        item: Some("item.code == 0".to_owned()),
        retry: Some("item.code == 7".to_owned()),
        ..ack("")
    };
    let sink = build(&receiver, settings, 10);
    receiver.next(Reply::ok().body(r#"{"r":[{"code":0},{"code":7},{"code":3}]}"#));
    let Answer::PerEvent(each) = sink.deliver(&batch(0..3)).await else { unreachable!() };
    let categories: Vec<_> = each.into_iter().map(|one| one.err().map(|f| f.category)).collect();
    assert_eq!(categories, [None, Some(Category::Transient), Some(Category::Rejected)]);
}

#[tokio::test]
async fn an_answer_that_was_not_read_whole_is_no_acknowledgement() {
    let receiver = Receiver::start();
    let sink = build(&receiver, ack("body.ok"), 1);
    let long = format!(r#"{{"ok":true,"more":"{}"}}"#, "x".repeat(1 << 20));
    receiver.next(Reply::ok().body(long));
    assert_eq!(failure(sink.deliver(&batch(0..1)).await).category, Category::Transient);
    let whole = format!(r#"{{"ok":true,"more":"{}"}}"#, "x".repeat(500_000));
    receiver.next(Reply::ok().body(whole));
    assert_eq!(sink.deliver(&batch(0..1)).await, Answer::Acknowledged);
}

#[test]
fn an_expression_that_is_none_is_a_problem_of_its_key() {
    let key = |ack: AckSettings, max_events| {
        let config = http::Config { ack: Some(ack), ..http::Config::to("http://127.0.0.1:9/") };
        let common = Common { max_events, ..COMMON };
        let built = sink::build("crm", &Config::Http(Box::new(config)), &common);
        built.unwrap_err().key().to_owned()
    };
    assert_eq!(key(ack("body.ok &&"), 1), "ack.when");
    let of = |items: &str, item: Option<&str>| AckSettings {
        items: (!items.is_empty()).then(|| items.to_owned()),
        item: item.map(str::to_owned),
        ..ack("")
    };
    assert_eq!(key(of("a..b", None), 5), "ack.items");
    assert_eq!(key(of("a", None), 1), "ack.items");
    assert_eq!(key(of("", Some("item.ok")), 5), "ack.item");
    assert_eq!(key(of("a", Some("item.(")), 5), "ack.item");
}

#[tokio::test]
async fn a_body_that_is_large_enough_is_compressed_and_signed_as_it_is_read() {
    let receiver = Receiver::start();
    let config = http::Config {
        gzip: true,
        signing_secret: vec![Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned())],
        ..http::Config::to(receiver.url("/events"))
    };
    let common = Common { max_events: 100, ..COMMON };
    let zipped = sink::build("crm", &Config::Http(Box::new(config.clone())), &common).unwrap();
    let plain = http::Config { gzip: false, ..config };
    let plain = sink::build("crm", &Config::Http(Box::new(plain)), &common).unwrap();
    for (sink, events) in [(&zipped, 100), (&plain, 100), (&zipped, 1)] {
        assert_eq!(sink.deliver(&batch(0..events)).await, Answer::Acknowledged);
    }
    let requests = receiver.journal().requests;
    let encodings: Vec<_> = requests.iter().map(|it| it.header("content-encoding")).collect();
    assert_eq!(encodings, [Some("gzip"), None, None]);
    assert!(requests[0].body.len() * 4 < requests[1].body.len());
    assert_eq!(requests[0].plain(), requests[1].body);
    let signed = |request: &crate::support::receiver::Request| {
        let at = request.header("webhook-timestamp").unwrap().to_owned();
        (at, request.header("webhook-signature").unwrap().to_owned())
    };
    let (one, other) = (signed(&requests[0]), signed(&requests[1]));
    assert!(one.0 != other.0 || one.1 == other.1, "{one:?} {other:?}");
}
