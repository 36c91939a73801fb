//! The `http` sink against a real server that answers to order.

use std::time::{Duration, Instant};

use walgate::chunk::Operation;
use walgate::failure::Category;
use walgate::secret::Secret;
use walgate::sink::{self, Answer, Batch, Common, Config, Sink, http};

use super::{COMMON, batch, failure, one};
use crate::support::receiver::{Receiver, Reply, Request};

fn build(config: http::Config, common: Common) -> Box<dyn Sink> {
    sink::build("crm", &Config::Http(Box::new(config)), &common).unwrap()
}

fn to(receiver: &Receiver) -> Box<dyn Sink> {
    build(http::Config::to(receiver.url("/events")), COMMON)
}

fn last(receiver: &Receiver) -> Request {
    receiver.journal().requests.last().unwrap().clone()
}

#[tokio::test]
async fn an_event_is_the_body_and_carries_its_idempotency_key() {
    let receiver = Receiver::start();
    let sent = one(Operation::Update, 7, r#"{"price":12.50}"#);
    assert_eq!(to(&receiver).deliver(&sent).await, Answer::Acknowledged);
    let request = last(&receiver);
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/events"));
    assert_eq!(request.body, sent.events[0].body);
    assert_eq!(request.header("content-type"), Some("application/json"));
    let key = "00000001-00000000017C8338-00000007-v3";
    assert_eq!(request.header("idempotency-key"), Some(key));
    assert_eq!(request.header("walgate-replay"), None);
    assert_eq!(request.header("accept-encoding"), None);
}

#[tokio::test]
async fn a_replayed_event_says_so_and_has_a_key_of_its_own() {
    let receiver = Receiver::start();
    let sent = Batch { replay: 2, ..batch(7..8) };
    assert_eq!(to(&receiver).deliver(&sent).await, Answer::Acknowledged);
    let request = last(&receiver);
    let key = "00000001-00000000017C8338-00000007-v3-r2";
    assert_eq!(request.header("idempotency-key"), Some(key));
    assert_eq!(request.header("walgate-replay"), Some("true"));
}

#[tokio::test]
async fn a_batch_is_one_array_whose_key_stays_while_its_events_stay_together() {
    let receiver = Receiver::start();
    let common = Common { max_events: 100, ..COMMON };
    let sink = build(http::Config::to(receiver.url("/events")), common);
    for ids in [0..3, 0..3, 0..2, 0..1] {
        assert_eq!(sink.deliver(&batch(ids)).await, Answer::Acknowledged);
    }
    let requests = receiver.journal().requests;
    let keys: Vec<&str> =
        requests.iter().map(|request| request.header("idempotency-key").unwrap()).collect();
    assert_eq!(keys[0], keys[1]);
    assert!(keys[0].len() == 64 && keys[0] != keys[2] && keys[2] != keys[3]);
    assert_eq!(requests[0].events().len(), 3);
    assert!(requests[3].body.starts_with(b"[{") && requests[3].body.ends_with(b"}]"));
    assert_eq!(receiver.journal().repeats(), 6);
    assert_eq!(receiver.journal().connections, 1, "the connection is kept");
}

#[tokio::test]
async fn every_status_means_what_the_contract_says() {
    use Category::{Rejected, Setup, Throttled, Transient};
    let receiver = Receiver::start();
    let sink = to(&receiver);
    let rows: [(&[u16], Category); 4] = [
        (&[408, 425, 500, 501, 502, 503, 504], Transient),
        (&[429], Throttled),
        (&[400, 402, 405, 409, 413, 415, 418, 422], Rejected),
        (&[300, 302, 304, 307, 401, 403, 404, 407, 410], Setup),
    ];
    for (statuses, category) in rows {
        for status in statuses {
            receiver.next(Reply::status(*status).body("no"));
            let failure = failure(sink.deliver(&batch(0..1)).await);
            assert_eq!((failure.category, failure.status), (category, Some(*status)));
            let answer = (*status != 304).then(|| "no".to_owned());
            assert_eq!(failure.answer, answer, "{status}");
            assert!(failure.message.contains(&status.to_string()), "{}", failure.message);
        }
    }
    assert_eq!(receiver.journal().events_processed, 0);
}

#[tokio::test]
async fn a_rate_limit_that_is_used_up_is_told_with_any_answer() {
    let receiver = Receiver::start();
    let sink = to(&receiver);
    let spent = |status| Reply::status(status).header("ratelimit", r#""default";r=0;t=5"#);
    let five = Some(Duration::from_secs(5));
    receiver.next(spent(201));
    let reply = sink.reply(&batch(0..1)).await;
    assert_eq!(reply, walgate::sink::Reply { answer: Answer::Acknowledged, pause: five });
    receiver.next(Reply::ok().header("ratelimit", r#""default";r=1;t=5"#));
    assert_eq!(sink.reply(&batch(0..1)).await.pause, None);
    for status in [422, 500, 429] {
        receiver.next(spent(status));
        let reply = sink.reply(&batch(0..1)).await;
        assert_eq!(reply.pause, five, "{status}");
        let waits = if status == 429 { five } else { None };
        assert_eq!(failure(reply.answer).retry_after, waits, "{status}");
    }
    receiver.next(spent(429).retry_after("7"));
    let reply = sink.reply(&batch(0..1)).await;
    assert_eq!(reply.pause, None);
    assert_eq!(failure(reply.answer).retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_is_given_it() {
    let receiver = Receiver::start();
    let sink = to(&receiver);
    for (status, after, category, wait) in [
        (429, "7", Category::Throttled, Some(7)),
        (503, "7", Category::Throttled, Some(7)),
        (429, "soon", Category::Throttled, None),
        (503, "soon", Category::Transient, None),
        (429, "Sun, 06 Nov 1994 08:49:37 GMT", Category::Throttled, Some(0)),
    ] {
        receiver.next(Reply::status(status).retry_after(after));
        let failure = failure(sink.deliver(&batch(0..1)).await);
        assert_eq!(failure.category, category, "{status} {after}");
        assert_eq!(failure.retry_after, wait.map(Duration::from_secs), "{status} {after}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (receiver, elsewhere) = (Receiver::start(), Receiver::start());
    receiver.next(Reply::redirect(&elsewhere.url("/events")));
    let failure = failure(to(&receiver).deliver(&batch(0..1)).await);
    assert_eq!((failure.category, failure.status), (Category::Setup, Some(307)));
    assert_eq!(elsewhere.journal().connections, 0);
}

#[tokio::test]
async fn whatever_breaks_on_the_way_is_tried_again() {
    let receiver = Receiver::start();
    let sink = to(&receiver);
    let broken = [Reply::hang(), Reply::reset(), Reply::cut(), Reply::lost()];
    for reply in broken.into_iter().chain([
        Reply::ok().after(Duration::from_secs(2)),
        Reply::ok().drip(Duration::from_millis(50)),
        Reply::ok().header("x-large", &"x".repeat(1 << 20)),
    ]) {
        receiver.next(reply.clone());
        let failure = failure(sink.deliver(&batch(0..1)).await);
        assert_eq!(failure.category, Category::Transient, "{reply:?}");
        assert_eq!(failure.status, None);
        assert!(failure.message.starts_with("127.0.0.1:"), "{}", failure.message);
    }
    assert_eq!(sink.deliver(&batch(0..1)).await, Answer::Acknowledged);
    receiver.refuse();
    let failure = failure(sink.deliver(&batch(0..1)).await);
    assert_eq!(failure.category, Category::Transient);
    receiver.listen();
    receiver.behave();
    assert_eq!(sink.deliver(&batch(0..1)).await, Answer::Acknowledged);
}

#[tokio::test]
async fn a_lost_answer_repeats_the_event_with_the_same_key_and_body() {
    let receiver = Receiver::start();
    let sink = to(&receiver);
    receiver.next(Reply::lost());
    failure(sink.deliver(&batch(0..1)).await);
    assert_eq!(sink.deliver(&batch(0..1)).await, Answer::Acknowledged);
    let journal = receiver.journal();
    assert_eq!((journal.requests.len(), journal.repeats()), (2, 1));
    let [first, second] = [&journal.requests[0], &journal.requests[1]];
    assert_eq!(first.header("idempotency-key"), second.header("idempotency-key"));
    assert_eq!(first.body, second.body);
    assert_eq!(journal.out_of_order(), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_without_an_end_is_read_no_further_than_needed() {
    let receiver = Receiver::start();
    let sink = to(&receiver);
    let began = Instant::now();
    receiver.next(Reply::status(422).endless());
    let refused = failure(sink.deliver(&batch(0..1)).await);
    assert_eq!(refused.category, Category::Rejected);
    assert_eq!(refused.answer.unwrap().len(), 2048);
    receiver.next(Reply::ok().endless());
    assert_eq!(sink.deliver(&batch(0..1)).await, Answer::Acknowledged);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_echoed_credential_is_not_kept() {
    let receiver = Receiver::start();
    let headers = vec![("authorization".into(), Secret::new("Bearer top-secret-token".into()))];
    let config = http::Config { headers, ..http::Config::to(receiver.url("/")) };
    let sink = build(config, COMMON);
    receiver.next(Reply::status(401).body("bad token top-secret-token"));
    let failure = failure(sink.deliver(&batch(0..1)).await);
    assert_eq!(failure.answer.as_deref(), Some("bad token ***"));
    assert_eq!(last(&receiver).header("authorization"), Some("Bearer top-secret-token"));
    assert!(!format!("{sink:?}").contains("top-secret"), "{sink:?}");
}

#[tokio::test]
async fn a_password_in_the_url_is_sent_and_not_shown() {
    let receiver = Receiver::start();
    let url = format!("http://user:pass-word@{}/hook/s3cr3t", receiver.address());
    let sink = build(http::Config::to(url), COMMON);
    receiver.next(Reply::status(500));
    let refused = failure(sink.deliver(&batch(0..1)).await);
    assert_eq!(last(&receiver).header("authorization"), Some("Basic dXNlcjpwYXNzLXdvcmQ="));
    receiver.next(Reply::lost());
    let broken = failure(sink.deliver(&batch(0..1)).await);
    for message in [refused.message, broken.message, format!("{sink:?}")] {
        assert!(!message.contains("pass-word") && !message.contains("s3cr3t"), "{message}");
    }
}

/// Where a URL with templates leads for an event, or why it is refused.
async fn target(path: &str, data: &str) -> Result<String, String> {
    let receiver = Receiver::start();
    let sink = build(http::Config::to(receiver.url(path)), COMMON);
    match sink.deliver(&one(Operation::Update, 42, data)).await {
        Answer::Acknowledged => Ok(last(&receiver).target),
        answer => {
            let failure = failure(answer);
            assert_eq!(failure.category, Category::Rejected, "{}", failure.message);
            Err(failure.message)
        }
    }
}

#[tokio::test]
async fn a_url_is_built_from_the_event_and_a_value_stays_in_its_place() {
    let data = r#"{"name":"a b/../c?d=e#f%","n":12.500,"deep":{"er":[true]},"_x y":"ü"}"#;
    for (path, expected) in [
        ("/c/{{ key.id }}", "/c/42"),
        ("/c/{{id}}/{{ op }}", "/c/00000001-00000000017C8338-0000002A/update"),
        ("/{{ route }}/{{ mapping.name }}/{{ mapping.version }}", "/r/m/3"),
        ("/{{ commit.lsn }}?s={{ commit.seq }}", "/0%2F17C8338?s=42"),
        ("/c/{{ data.name }}/", "/c/a%20b%2F..%2Fc%3Fd%3De%23f%25/"),
        ("/c?q={{ data.name }}&n={{ data.n }}", "/c?q=a%20b%2F..%2Fc%3Fd%3De%23f%25&n=12.500"),
        ("/{{ data.deep.er.0 }}", "/true"),
        ("/x{{ data.\"_x y\" }}.json", "/x%C3%BC.json"),
    ] {
        assert_eq!(target(path, data).await.as_deref(), Ok(expected), "{path}");
    }
    // What a URL may hold can be asked for; a fragment is not.
    let odd = target("/a|b[c]^d'e?f=^`|\\{}\"#gone", data).await.unwrap();
    assert!(odd.starts_with("/a|b[c]") && !odd.contains("gone"), "{odd}");
    let long = format!(r#"{{"v":"{}"}}"#, "x".repeat(70_000));
    assert!(target("/c/{{ data.v }}", &long).await.unwrap_err().ends_with("url: too long"));
}

#[tokio::test]
async fn a_value_that_would_climb_or_vanish_from_the_path_rejects_its_event() {
    for value in ["\"\"", "\".\"", "\"..\"", "null", "{}", "[1]"] {
        let data = format!(r#"{{"v":{value}}}"#);
        assert!(target("/c/{{ data.v }}/x", &data).await.is_err(), "{value}");
    }
    assert!(target("/c/%2e{{ data.v }}", r#"{"v":"."}"#).await.is_err());
    assert!(target("/c/{{ data.v }}{{ data.v }}", r#"{"v":"."}"#).await.is_err());
    let message = target("/c/{{ data.w }}", r#"{"v":1}"#).await.unwrap_err();
    assert!(message.contains("the event has no `data.w`"), "{message}");
    let kept = target("/c/{{ data.v }}", r#"{"v":"%2e%2e"}"#).await;
    assert_eq!(kept.as_deref(), Ok("/c/%252e%252e"));
}

#[tokio::test]
async fn a_404_on_a_url_built_from_the_event_is_the_events_own() {
    let receiver = Receiver::start();
    let sink = build(http::Config::to(receiver.url("/c/{{ key.id }}")), COMMON);
    receiver.next(Reply::status(404));
    assert_eq!(failure(sink.deliver(&batch(0..1)).await).category, Category::Rejected);
}

#[tokio::test]
async fn headers_are_built_from_the_event_and_cannot_be_broken_out_of() {
    let receiver = Receiver::start();
    let headers = vec![("x-name".into(), Secret::new("n={{ data.name }}".into()))];
    let sink = build(http::Config { headers, ..http::Config::to(receiver.url("/")) }, COMMON);
    let with = |name: &str| one(Operation::Insert, 1, &format!(r#"{{"name":"{name}"}}"#));
    assert_eq!(sink.deliver(&with("Grün")).await, Answer::Acknowledged);
    assert_eq!(last(&receiver).header("x-name"), Some("n=Grün"));
    for name in [r"a\r\nx-evil: 1", r"a\nb", r"a\u0000", &"x".repeat(9000)] {
        let failure = failure(sink.deliver(&with(name)).await);
        assert_eq!(failure.category, Category::Rejected, "{}", failure.message);
        assert!(!failure.message.contains("evil"), "{}", failure.message);
    }
    assert_eq!(receiver.journal().requests.len(), 1);
}

#[tokio::test]
async fn an_operation_has_its_own_request() {
    let receiver = Receiver::start();
    let delete = http::Overrides {
        url: Some(Secret::new(receiver.url("/c/{{ key.id }}"))),
        method: Some("DELETE".into()),
        headers: vec![("x-both".into(), Secret::new("delete".into()))],
    };
    let mut config = http::Config::to(receiver.url("/c"));
    config.headers = vec![
        ("x-both".into(), Secret::new("all".into())),
        ("content-type".into(), Secret::new("application/vnd.api+json".into())),
    ];
    config.on = vec![(Operation::Delete, delete)];
    let sink = build(config, COMMON);
    for (operation, line) in
        [(Operation::Insert, "POST /c all"), (Operation::Delete, "DELETE /c/5 delete")]
    {
        assert_eq!(sink.deliver(&one(operation, 5, "{}")).await, Answer::Acknowledged);
        let request = last(&receiver);
        let both = request.header("x-both").unwrap();
        assert_eq!(format!("{} {} {both}", request.method, request.target), line);
        assert_eq!(request.header("content-type"), Some("application/vnd.api+json"));
    }
}

#[tokio::test]
async fn requests_are_signed_as_standard_webhooks_and_signed_anew_on_a_retry() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let receiver = Receiver::start();
    let secrets: [&[u8]; 2] = [&[1; 32], &[2; 24]];
    let mut config = http::Config::to(receiver.url("/"));
    config.signing_secret = secrets
        .iter()
        .map(|secret| Secret::new(format!("whsec_{}", STANDARD.encode(secret))))
        .collect();
    let sink = build(config, COMMON);
    receiver.next(Reply::status(500));
    failure(sink.deliver(&batch(0..1)).await);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(sink.deliver(&batch(0..1)).await, Answer::Acknowledged);
    let requests = receiver.journal().requests;
    for request in &requests {
        let header = |name: &str| request.header(name).unwrap().to_owned();
        assert_eq!(header("webhook-id"), header("idempotency-key"));
        let mut signed = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp"));
        signed.push_str(std::str::from_utf8(&request.body).unwrap());
        let signatures = header("webhook-signature");
        for (signature, secret) in signatures.split(' ').zip(secrets) {
            let tag = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
            ring::hmac::verify(&key, signed.as_bytes(), &tag).unwrap();
        }
    }
    let header = |index: usize, name: &str| requests[index].header(name).unwrap().to_owned();
    assert_eq!(header(0, "webhook-id"), header(1, "webhook-id"));
    assert_ne!(header(0, "webhook-timestamp"), header(1, "webhook-timestamp"));
}

#[test]
fn settings_that_cannot_work_are_refused_with_their_place() {
    let check = |change: &dyn Fn(&mut http::Config), key: &str| {
        let mut config = http::Config::to("https://example.com/");
        change(&mut config);
        let common = Common { max_events: 10, ..COMMON };
        let error = sink::build("crm", &Config::Http(Box::new(config)), &common).unwrap_err();
        assert_eq!(error.key(), key, "{error:?}");
    };
    let header = |name: &str, value: &str| vec![(name.to_owned(), Secret::new(value.to_owned()))];
    for url in [
        "",
        "example.com",
        "ftp://example.com/",
        "https://{{ key.id }}.com/",
        "https://e.com:{{ n }}/",
        "https://e.com/{{",
        "https://e.com/{{ a b }}",
        "https://e.com/{{ key.id }}",
        &format!("https://e.com/{}", "x".repeat(70_000)),
    ] {
        check(&|config| config.url = Secret::new(url.into()), "url");
    }
    check(&|config| config.method = "get".into(), "method");
    check(&|config| config.headers = header("a b", "c"), "headers.a b");
    check(&|config| config.headers = header("x-a", "b\nc"), "headers.x-a");
    check(&|config| config.headers = header("Content-Length", "1"), "headers.Content-Length");
    check(&|config| config.headers = header("x-a", "{{ id }}"), "headers");
    check(&|config| config.on = vec![(Operation::Delete, http::Overrides::default())], "on.delete");
    check(&|config| config.signing_secret = vec![Secret::new("no".into())], "signing_secret");
    check(&|config| config.reach.tls.ca = Some("/nowhere.pem".into()), "ca");
    check(&|config| config.reach.tls.cert = Some("/nowhere.pem".into()), "key");
}

#[tokio::test]
async fn a_template_finds_the_data_in_each_format() {
    use walgate::sink::Form::{CloudEvents, Debezium, Mapped, Walgate};
    let receiver = Receiver::start();
    for (form, operation, body) in [
        (Walgate, Operation::Update, r#"{"data":{"v":"x"},"before":{"v":"y"}}"#),
        (Mapped, Operation::Update, r#"{"v":"x"}"#),
        (Debezium, Operation::Update, r#"{"before":{"v":"y"},"after":{"v":"x"}}"#),
        (Debezium, Operation::Delete, r#"{"before":{"v":"x"},"after":null}"#),
        (CloudEvents, Operation::Update, r#"{"data":{"v":"x"},"before":"{\"v\":\"y\"}"}"#),
    ] {
        let mut sent = one(operation, 7, "{}");
        sent.events[0].body = body.into();
        let deliver = async |path: &str| {
            let sink = build(http::Config::to(receiver.url(path)), Common { form, ..COMMON });
            (sink.deliver(&sent).await, last(&receiver).target)
        };
        let told = deliver("/{{ data.v }}/{{ key.id }}").await;
        assert_eq!(told, (Answer::Acknowledged, "/x/7".into()), "{form:?}");
        if form == Walgate || form == CloudEvents {
            assert_eq!(deliver("/{{ before.v }}").await.1, "/y", "{form:?}");
        }
    }
}
