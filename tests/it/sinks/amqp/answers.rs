//! What the sink makes of each answer of a real RabbitMQ.

use std::time::Duration;

use serde_json::{Value, json};
use walgate::chunk::Operation;
use walgate::envelope::Envelope;
use walgate::failure::Category;
use walgate::secret::Secret;
use walgate::sink::{self, Answer, Batch, Common, Config, Failure, Form, Sink, amqp, tls};

use super::super::tls::Authority;
use super::super::{batch, envelope, failure, one};
use super::server::Rabbit;
use crate::support::loopback;

const COMMON: Common = Common {
    timeout: Duration::from_secs(10),
    concurrency: 4,
    max_events: 500,
    form: Form::Walgate,
};

fn config(url: String, exchange: &str, routing_key: &str) -> amqp::Config {
    amqp::Config {
        url: Secret::new(url),
        exchange: exchange.to_owned(),
        routing_key: routing_key.to_owned(),
        mandatory: true,
        persistent: true,
        tls: tls::Files::default(),
    }
}

fn build(config: amqp::Config, common: &Common) -> Box<dyn Sink> {
    sink::build("far", &Config::Amqp(Box::new(config)), common).unwrap()
}

/// A sink as an administrator.
fn to(rabbit: &Rabbit, exchange: &str, routing_key: &str) -> Box<dyn Sink> {
    build(config(rabbit.url("guest:guest"), exchange, routing_key), &COMMON)
}

#[track_caller]
fn each(answer: Answer) -> Vec<Result<(), Failure>> {
    match answer {
        Answer::PerEvent(outcomes) => outcomes,
        other => unreachable!("{other:?}"),
    }
}

#[track_caller]
fn refuses(failure: &Failure, category: Category, status: u16) {
    assert_eq!((failure.category, failure.status), (category, Some(status)), "{failure:?}");
}

/// The ids of the rows of the messages in a queue.
fn ids(rabbit: &Rabbit, queue: &str) -> Vec<i64> {
    let messages = rabbit.ask(&json!([["read", queue]]));
    let event = |message: &Value| -> Value {
        serde_json::from_str(message["body"].as_str().unwrap()).unwrap()
    };
    messages.iter().map(|message| event(message)["key"]["id"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_server_is_understood() {
    let authority = Authority::new();
    let tls = loopback().0;
    let path = |name: &str| authority.path(name).display().to_string();
    let rabbit = Rabbit::start(&format!(
        "max_message_size = 65536\nlisteners.ssl.1 = {tls}\nssl_options.cacertfile = {}\n\
         ssl_options.certfile = {}\nssl_options.keyfile = {}\nssl_options.verify = verify_peer\n\
         ssl_options.fail_if_no_peer_cert = true\n",
        path("ca.pem"),
        path("server.pem"),
        path("server.key"),
    ));
    an_exchange_that_is_missing_is_awaited(&rabbit).await;
    what_no_queue_gets_is_told_apart(&rabbit).await;
    a_message_that_is_too_large_is_refused_alone(&rabbit).await;
    a_full_queue_is_waited_for(&rabbit).await;
    nobody_is_let_in_without_a_right(&rabbit).await;
    certificates_are_looked_at(&authority, &format!("amqps://guest:guest@{tls}")).await;
    what_was_given_up_never_comes_after_what_follows(&rabbit).await;
}

async fn an_exchange_that_is_missing_is_awaited(rabbit: &Rabbit) {
    let sink = to(rabbit, "cdc", "rows");
    let missing = failure(sink.deliver(&batch(0..50)).await);
    refuses(&missing, Category::Setup, 404);
    assert!(missing.message.ends_with("no exchange 'cdc' in vhost '/'"), "{}", missing.message);
    refuses(&sink.check().await.unwrap_err(), Category::Setup, 404);
    rabbit.ask(&json!([["exchange", "cdc"], ["queue", "rows"], ["bind", "rows", "cdc", "rows"]]));
    assert_eq!(sink.deliver(&batch(0..50)).await, Answer::Acknowledged);
    let seen = sink.check().await.unwrap();
    assert!(seen.ends_with("virtual host /, without TLS, exchange cdc is there"), "{seen}");
    assert_eq!(ids(rabbit, "rows"), (0..50).collect::<Vec<_>>());

    let queue = to(rabbit, "", "missing");
    refuses(&queue.check().await.unwrap_err(), Category::Setup, 404);
    let outcomes = each(queue.deliver(&batch(0..3)).await);
    outcomes.iter().for_each(|outcome| {
        refuses(outcome.as_ref().unwrap_err(), Category::Setup, 312);
    });
    let seen = to(rabbit, "", "rows").check().await.unwrap();
    assert!(seen.ends_with("queue rows is there, 0 messages wait"), "{seen}");
}

/// Confirmations and messages that come back are told apart, though many are under way.
async fn what_no_queue_gets_is_told_apart(rabbit: &Rabbit) {
    rabbit.ask(&json!([["queue", "odd"]]));
    let sink = to(rabbit, "", "{{ data.to }}");
    let event = |id: u32| {
        let to = if id.is_multiple_of(3) { "nowhere" } else { "odd" };
        envelope(Operation::Insert, id, &format!(r#"{{"to":"{to}"}}"#))
    };
    let all = Batch { events: (0..300).map(event).collect(), replay: 0 };
    for (outcome, id) in each(sink.deliver(&all).await).iter().zip(0..) {
        match outcome {
            Ok(()) => assert_ne!(id % 3, 0, "{id}"),
            Err(failure) => {
                assert_eq!(id % 3, 0, "{id}");
                refuses(failure, Category::Rejected, 312);
            }
        }
    }
    let expected: Vec<i64> = (0..300).filter(|id| id % 3 != 0).collect();
    assert_eq!(ids(rabbit, "odd"), expected);

    let careless =
        amqp::Config { mandatory: false, ..config(rabbit.url("guest:guest"), "", "nowhere") };
    let sink = build(careless, &COMMON);
    assert_eq!(sink.deliver(&batch(0..3)).await, Answer::Acknowledged, "as it was asked for");
}

async fn a_message_that_is_too_large_is_refused_alone(rabbit: &Rabbit) {
    let sink = to(rabbit, "", "rows");
    let large = format!(r#"{{"v":"{}"}}"#, "x".repeat(70_000));
    let refused = failure(sink.deliver(&one(Operation::Insert, 1, &large)).await);
    refuses(&refused, Category::Rejected, 406);
    let both = vec![envelope(Operation::Insert, 2, "{}"), envelope(Operation::Insert, 3, &large)];
    let refused = failure(sink.deliver(&Batch { events: both, replay: 0 }).await);
    refuses(&refused, Category::Rejected, 406);
    assert_eq!(sink.deliver(&one(Operation::Insert, 4, "{}")).await, Answer::Acknowledged);
    let found = ids(rabbit, "rows");
    assert_eq!((found.last(), found.contains(&3)), (Some(&4), false), "{found:?}");
}

async fn a_full_queue_is_waited_for(rabbit: &Rabbit) {
    let arguments = json!({ "x-max-length": 2, "x-overflow": "reject-publish" });
    rabbit.ask(&json!([["queue", "small", arguments]]));
    let sink = to(rabbit, "", "small");
    let outcomes = each(sink.deliver(&batch(0..20)).await);
    assert_eq!(outcomes[0], Ok(()));
    let full = outcomes[19].clone().unwrap_err();
    assert_eq!(full.category, Category::Throttled, "{full:?}");
    let taken: Vec<i64> =
        outcomes.iter().zip(0..).filter(|(said, _)| said.is_ok()).map(|(_, id)| id).collect();
    assert_eq!(ids(rabbit, "small"), taken);
    assert_eq!(sink.deliver(&batch(19..20)).await, Answer::Acknowledged, "there is room again");
}

async fn nobody_is_let_in_without_a_right(rabbit: &Rabbit) {
    let deliver = async |url: String| {
        let sink = build(config(url, "", "rows"), &COMMON);
        let checked = sink.check().await.err();
        (failure(sink.deliver(&batch(0..1)).await), checked)
    };
    for (url, status) in [
        (rabbit.url("guest:wrong"), 403),
        (format!("{}/no-such-vhost", rabbit.url("guest:guest")), 530),
    ] {
        let (refused, checked) = deliver(url).await;
        refuses(&refused, Category::Setup, status);
        refuses(&checked.unwrap(), Category::Setup, status);
        assert!(!refused.message.contains("wrong"), "{}", refused.message);
    }
    let (_, listener) = loopback();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let (refused, checked) = deliver(format!("amqp://{closed}")).await;
    assert_eq!(refused.category, Category::Transient, "{refused:?}");
    assert_eq!(checked.unwrap().category, Category::Setup);
}

async fn certificates_are_looked_at(authority: &Authority, url: &str) {
    let known = tls::Files {
        ca: Some(authority.path("ca.pem")),
        cert: Some(authority.path("client.pem")),
        key: Some(authority.path("client.key")),
    };
    let of = |tls: tls::Files| {
        build(amqp::Config { tls, ..config(url.to_owned(), "", "rows") }, &COMMON)
    };
    let stranger = of(tls::Files { ca: None, ..known.clone() });
    let refused = failure(stranger.deliver(&batch(0..1)).await);
    assert_eq!(refused.category, Category::Transient, "at first: {}", refused.message);
    assert!(refused.message.contains("certificate"), "{}", refused.message);
    let nobody = of(tls::Files { cert: None, key: None, ..known.clone() });
    assert_eq!(failure(nobody.deliver(&batch(0..1)).await).category, Category::Transient);
    let friend = of(known);
    assert_eq!(friend.deliver(&batch(0..1)).await, Answer::Acknowledged);
    let seen = friend.check().await.unwrap();
    assert!(seen.contains("TLS, certificate verified"), "{seen}");
}

/// A server that is short of memory reads no messages. What waits in between comes before what is
/// sent later, though it was given up long ago.
async fn what_was_given_up_never_comes_after_what_follows(rabbit: &Rabbit) {
    rabbit.ask(&json!([["queue", "late"]]));
    let quick = Common { timeout: Duration::from_secs(2), ..COMMON };
    let sink = build(config(rabbit.url("guest:guest"), "", "late"), &quick);
    assert_eq!(sink.deliver(&batch(0..1)).await, Answer::Acknowledged);
    rabbit.control(&["set_vm_memory_high_watermark", "0.000001"]);
    for _ in 0..2 {
        let blocked = failure(sink.deliver(&batch(0..100)).await);
        assert_eq!(blocked.category, Category::Throttled, "{blocked:?}");
        assert!(blocked.message.contains("connection.blocked"), "{}", blocked.message);
    }
    rabbit.control(&["set_vm_memory_high_watermark", "0.6"]);
    let mut said = sink.deliver(&batch(0..100)).await;
    while said != Answer::Acknowledged {
        said = sink.deliver(&batch(0..100)).await;
    }
    let newer: Vec<Envelope> = (100..200).map(|id| envelope(Operation::Insert, id, "{}")).collect();
    assert_eq!(sink.deliver(&Batch { events: newer, replay: 0 }).await, Answer::Acknowledged);
    let found = ids(rabbit, "late");
    let first = found.iter().position(|id| *id >= 100).unwrap();
    assert_eq!(found[first..], (100..200).collect::<Vec<_>>(), "nothing older comes behind");
    assert!((0..100).all(|id| found.contains(&id)), "{found:?}");
}
