//! What an event becomes, and who walgate says that it is.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Duration, Instant};

use super::login::Login;
use super::message::{Message, Shape};
use super::requests::{Item, Requests};
use super::{Config, Error, PubSub};
use crate::chunk::{Chunk, Operation};
use crate::envelope::{Envelope, RouteLabel};
use crate::lsn::{EventId, Lsn, Position};
use crate::secret::Secret;
use crate::sink::web::auth::Tokens;
use crate::sink::web::{Auth, Machine, Reach};
use crate::sink::{Common, Form};

const COMMON: Common = Common {
    timeout: Duration::from_secs(5),
    concurrency: 1,
    max_events: 500,
    form: Form::Walgate,
};

fn config() -> Config {
    Config {
        topic: "projects/acme/topics/orders".to_owned(),
        ordering: true,
        ordering_key: None,
        attributes: Vec::new(),
        binary: false,
        credentials: None,
        endpoint: None,
        reach: Reach::default(),
    }
}

fn envelope(key: &str, body: &str) -> Envelope {
    Envelope {
        id: EventId { timeline: 1, position: Position::new(Lsn(0x17C_8338), 3) },
        operation: Operation::Insert,
        body: Bytes::copy_from_slice(body.as_bytes()),
        key: Bytes::copy_from_slice(key.as_bytes()),
        key_hash: 7,
        before_key_hash: None,
        before_key: None,
        outbox: None,
        commit_time: None,
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

fn message(config: &Config, form: Form, envelope: &Envelope) -> Result<Message, String> {
    Shape::new(config, &Common { form, ..COMMON }).unwrap().message(envelope, false)
}

#[test]
fn a_message_has_the_event_and_what_filters_go_by() {
    let secret = |text: &str| Secret::new(text.to_owned());
    let attributes = vec![("kind".to_owned(), secret("shop.{{ op }}"))];
    let outbox = br#"{"type":"paid","headers":{"trace":"a-1","n":7,"none":null}}"#;
    let event = Envelope {
        outbox: Some(Box::new(Bytes::from_static(outbox))),
        ..envelope(r#"{"id":42}"#, r#"{"data":1}"#)
    };
    let config = Config { attributes, ..config() };
    let shape = Shape::new(&config, &COMMON).unwrap();
    let made = shape.message(&event, true).unwrap();
    assert_eq!(made.topic.to_string(), "projects/acme/topics/orders");
    let json: Value = serde_json::from_str(&made.json).unwrap();
    let expected = json!({
        "data": STANDARD.encode(r#"{"data":1}"#),
        "orderingKey": r#"{"id":42}"#,
        "attributes": {
            "walgate-id": event.id.to_string(), "walgate-op": "insert", "walgate-mapping": "m-v3",
            "walgate-replay": "true", "content-type": "application/json", "kind": "shop.insert",
            "trace": "a-1", "n": "7",
        },
    });
    assert_eq!(json, expected);
}

#[test]
fn order_goes_by_the_key_or_what_the_settings_say() {
    let key = |config: &Config, key: &str| {
        let event = envelope(key, r#"{"data":{"tenant":"acme"}}"#);
        message(config, Form::Walgate, &event).unwrap().ordering_key
    };
    assert_eq!(key(&config(), r#"{"id":42}"#).as_deref(), Some(r#"{"id":42}"#));
    // Of a table without a key all are in order; an event of these tests has no table either.
    assert_eq!(key(&config(), "null").as_deref(), Some("walgate"));
    let long = "x".repeat(1025);
    let hashed = key(&config(), &long).unwrap();
    assert!(hashed.len() == 64 && hashed.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hashed}");
    assert_eq!(key(&config(), &long[..1024]).as_deref(), Some(&long[..1024]));
    let off = Config { ordering: false, ..config() };
    assert_eq!(key(&off, r#"{"id":42}"#), None);
    let by = Config { ordering_key: Some("{{ data.tenant }}".to_owned()), ..config() };
    assert_eq!(key(&by, r#"{"id":42}"#).as_deref(), Some("acme"));
    let both = Config { ordering: false, ..by };
    assert!(matches!(Shape::new(&both, &COMMON), Err(Error::NoOrdering)));
}

#[test]
fn attributes_that_pubsub_does_not_take_are_refused() {
    let refused = |headers: &Value| {
        let outbox = Bytes::from(json!({ "headers": headers }).to_string());
        let event = Envelope { outbox: Some(Box::new(outbox)), ..envelope("{}", "{}") };
        message(&config(), Form::Walgate, &event).unwrap_err()
    };
    for (headers, expected) in [
        (json!({ "walgate-id": "x" }), "outbox.headers.walgate-id is an attribute that walgate"),
        (json!({ "content-type": "x" }), "outbox.headers.content-type is an attribute that"),
        (json!({ "googclient": "x" }), "outbox.headers.googclient begins with `goog`"),
        (json!({ "a b": "secret" }), "outbox.headers: a name with other signs"),
        (json!({ "": "x" }), "a name that no attribute has"),
        (json!({ "a": ["x"] }), "outbox.headers.a: an object or a list"),
        (json!({ "a": "v".repeat(1025) }), "attribute a: longer than 1024 bytes"),
        (json!({ "n".repeat(257): "x" }), "or too long"),
    ] {
        let told = refused(&headers);
        assert!(told.contains(expected), "{told}");
    }
    let named = |name: &str| {
        let attributes = vec![(name.to_owned(), Secret::new("x".to_owned()))];
        Shape::new(&Config { attributes, ..config() }, &COMMON).unwrap_err().to_string()
    };
    assert!(named("walgate-x").contains("`attributes.walgate-x` is an attribute that walgate"));
    assert!(named("ce-id").contains("walgate sets itself"));
    let many = (0..97).map(|n| (format!("a{n}"), Secret::new("x".to_owned()))).collect();
    let told =
        message(&Config { attributes: many, ..config() }, Form::Walgate, &envelope("{}", "{}"));
    assert_eq!(told.unwrap_err(), "more than 100 attributes");
}

#[test]
fn cloudevents_go_whole_or_taken_apart() {
    let event = r#"{"specversion":"1.0","id":"e-1","type":"t","datacontenttype":"application/json","data":{"a":1.50}}"#;
    let event = envelope("{}", event);
    let of = |binary: bool| {
        let made = message(&Config { binary, ..config() }, Form::CloudEvents, &event).unwrap();
        let json: Value = serde_json::from_str(&made.json).unwrap();
        let data = STANDARD.decode(json["data"].as_str().unwrap()).unwrap();
        (String::from_utf8(data).unwrap(), json["attributes"].clone())
    };
    let (data, attributes) = of(false);
    assert_eq!(data.as_bytes(), event.body);
    assert_eq!(attributes["content-type"], "application/cloudevents+json");
    assert_eq!(attributes.get("ce-id"), None);
    let (data, attributes) = of(true);
    assert_eq!(data, r#"{"a":1.50}"#);
    assert_eq!(attributes["content-type"], "application/json");
    assert_eq!(
        (&attributes["ce-id"], &attributes["ce-specversion"]),
        (&json!("e-1"), &json!("1.0"))
    );
    let other = Shape::new(&Config { binary: true, ..config() }, &COMMON);
    assert!(matches!(other, Err(Error::NoCloudEvents)));
}

/// `events`: key, old key, ordering key, whether it is a TRUNCATE. Each round is the requests that may
/// go once all before are over.
#[track_caller]
fn rounds(events: &[(u64, Option<u64>, Option<&str>, bool)], expected: &[&[&[usize]]]) {
    let topic = message(&config(), Form::Walgate, &envelope("{}", "{}")).unwrap().topic;
    let made: Vec<(Message, Envelope)> = events
        .iter()
        .map(|(key, before, ordering_key, is_truncate)| {
            let ordering_key = ordering_key.map(str::to_owned);
            let operation = if *is_truncate { Operation::Truncate } else { Operation::Update };
            let event = Envelope {
                key_hash: *key,
                before_key_hash: *before,
                operation,
                ..envelope("{}", "{}")
            };
            (Message { topic: topic.clone(), ordering_key, json: "{}".to_owned() }, event)
        })
        .collect();
    let items = made.iter().enumerate();
    let items = items.map(|(place, (message, envelope))| Item { place, message, envelope });
    let mut requests = Requests::new(items);
    let mut seen: Vec<Vec<Vec<usize>>> = Vec::new();
    loop {
        let round: Vec<_> = std::iter::from_fn(|| requests.next()).collect();
        if round.is_empty() {
            break;
        }
        round.iter().for_each(|(at, _)| requests.over(*at));
        let places = |(_, items): (usize, Vec<Item<'_>>)| {
            items.iter().map(|item| item.place).collect::<Vec<_>>()
        };
        seen.push(round.into_iter().map(places).collect());
    }
    assert_eq!(seen, expected);
}

#[test]
fn requests_go_beside_each_other_and_each_key_in_order() {
    let of = |key: u64, ordering: &'static str| (key, None, Some(ordering), false);
    rounds(&[], &[]);
    rounds(&[of(1, "a"), of(2, "b"), of(1, "a")], &[&[&[0, 2], &[1]]]);
    // One ordering key for several keys.
    rounds(&[of(1, "a"), of(2, "a"), of(3, "b")], &[&[&[0, 1], &[2]]]);
    // A key that changes comes behind what both were, and before what both are.
    let moved = (2, Some(1), Some("b"), false);
    rounds(&[of(1, "a"), moved, of(2, "b"), of(1, "a")], &[&[&[0]], &[&[1, 2]], &[&[3]]]);
    // One whose ordering key has changed since.
    rounds(&[of(1, "a"), of(1, "b"), of(1, "a")], &[&[&[0]], &[&[1]], &[&[2]]]);
    let truncate = (9, None, Some("t"), true);
    rounds(
        &[of(1, "a"), of(2, "b"), truncate, of(1, "a"), of(3, "t")],
        &[&[&[0], &[1]], &[&[2, 4]], &[&[3]]],
    );
}

#[test]
fn without_ordering_a_batch_is_one_request() {
    let of = |key: u64| (key, None, None, false);
    rounds(&[of(1), of(2), of(1), (2, Some(1), None, false), of(3)], &[&[&[0, 1, 2, 3, 4]]]);
    let many: Vec<_> = (0..1001).map(|place| of(place % 1000)).collect();
    let first: Vec<usize> = (0..1000).collect();
    // The last is of the first's key.
    rounds(&many, &[&[&first], &[&[1000]]]);
}

/// Where a sink with these settings sends to in this environment, and as whom.
#[track_caller]
fn check(config: &Config, variables: &[(&str, &str)], to: &str, machine: bool) {
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let sink = PubSub::made(config, &COMMON, &variable).unwrap();
    assert_eq!((sink.client.origin(), sink.is_of_machine), (to, machine), "{variables:?}");
}

#[test]
fn what_the_environment_says_goes_as_with_googles_clients() {
    let emulator = ("PUBSUB_EMULATOR_HOST", "localhost:8085");
    check(&config(), &[], "https://pubsub.googleapis.com:443", true);
    check(&config(), &[emulator], "http://localhost:8085", false);
    check(&config(), &[("PUBSUB_EMULATOR_HOST", "")], "https://pubsub.googleapis.com:443", true);
    let at = |endpoint: &str| Config { endpoint: Some(endpoint.to_owned()), ..config() };
    let region = "https://europe-west1-pubsub.googleapis.com";
    check(&at(region), &[emulator], &format!("{region}:443"), true);
    check(&at("http://127.0.0.1:9"), &[], "http://127.0.0.1:9", false);
    let path = PubSub::made(&at(&format!("{region}/v1")), &COMMON, &|_| None);
    assert!(matches!(path, Err(Error::Path)));
    // A key that the environment names is not shown to an emulator.
    let named = ("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/key.json");
    check(&config(), &[emulator, named], "http://localhost:8085", false);
    let variable = |name: &str| (name == named.0).then(|| named.1.to_owned());
    let error = PubSub::made(&config(), &COMMON, &variable).unwrap_err();
    assert!(error.to_string().starts_with("GOOGLE_APPLICATION_CREDENTIALS names"), "{error}");
    let own = Config { credentials: Some("/no/such/key.json".into()), ..config() };
    let error = PubSub::made(&own, &COMMON, &|_| None).unwrap_err();
    assert_eq!(
        (error.key(), error.to_string().starts_with("`credentials` names")),
        ("credentials", true)
    );
    check(&own, &[emulator], "http://localhost:8085", false);
}

#[tokio::test]
async fn a_machine_of_googles_has_a_token_for_who_asks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let variable = |name: &str| (name == "GCE_METADATA_HOST").then(|| host.clone());
    let Login::Machine(Machine { url }) = Login::find(&config(), None, &variable).unwrap() else {
        unreachable!()
    };
    let auth = Auth::Machine(Machine { url });
    let tokens = Tokens::new(Some(&auth), &Reach::default(), COMMON.timeout, &[]).unwrap().unwrap();
    let answers = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 4096];
        let read = stream.read(&mut asked).await.unwrap();
        let body = r#"{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}"#;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(asked[..read].to_vec()).unwrap()
    };
    let deadline = Instant::now() + COMMON.timeout;
    let (token, asked) = tokio::join!(tokens.token(None, deadline), answers);
    assert_eq!(token.unwrap(), "Bearer ya29.x");
    let line = "GET /computeMetadata/v1/instance/service-accounts/default/token HTTP/1.1\r\n";
    assert!(asked.starts_with(line) && asked.contains("metadata-flavor: Google\r\n"), "{asked}");
}
