//! Who an `http` sink says that it is, and where it may go.

use std::time::Duration;

use serde_json::json;
use walgate::failure::Category;
use walgate::secret::Secret;
use walgate::sink::http;
use walgate::sink::web::{Auth, OAuth2, Reach};
use walgate::sink::{self, Answer, Common, Config, Sink};

use super::{COMMON, batch, failure};
use crate::support::receiver::{Receiver, Reply};

fn secret(text: impl Into<String>) -> Secret {
    Secret::new(text.into())
}

fn build(receiver: &Receiver, auth: Auth) -> Box<dyn Sink> {
    let config = http::Config { auth: Some(auth), ..http::Config::to(receiver.url("/events")) };
    let common = Common { timeout: Duration::from_secs(5), ..COMMON };
    sink::build("crm", &Config::Http(Box::new(config)), &common).unwrap()
}

/// What each request to the events said of who asks.
fn said(receiver: &Receiver) -> Vec<String> {
    let journal = receiver.journal();
    let requests = journal.requests.iter().filter(|request| request.target == "/events");
    requests.map(|request| request.header("authorization").unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_user_or_a_token_goes_with_each_request_and_never_into_a_message() {
    let receiver = Receiver::start();
    let (user, password) = (secret("ada"), secret("pass:word!"));
    let basic = build(&receiver, Auth::Basic { user, password });
    assert_eq!(basic.deliver(&batch(0..1)).await, Answer::Acknowledged);
    let bearer = build(&receiver, Auth::Bearer(secret("a-long-token")));
    assert_eq!(bearer.deliver(&batch(1..2)).await, Answer::Acknowledged);
    assert_eq!(said(&receiver), ["Basic YWRhOnBhc3M6d29yZCE=", "Bearer a-long-token"]);
    for (sink, echo) in [(&basic, "YWRhOnBhc3M6d29yZCE= pass:word!"), (&bearer, "a-long-token")] {
        receiver.next(Reply::status(401).body(echo));
        let failure = failure(sink.deliver(&batch(2..3)).await);
        assert_eq!(failure.category, Category::Setup);
        let told = format!("{failure:?} {sink:?}");
        assert!(!told.contains("word!") && !told.contains("YWRh") && !told.contains("long-token"));
    }
}

/// A server that issues tokens, and a sink that takes them.
fn with_tokens(issuer: &Receiver, receiver: &Receiver, in_body: bool) -> Box<dyn Sink> {
    build(
        receiver,
        Auth::OAuth2(Box::new(OAuth2 {
            token_url: secret(issuer.url("/token")),
            client_id: secret("walgate"),
            client_secret: secret("the client's secret"),
            scope: Some("write".to_owned()),
            audience: None,
            in_body,
        })),
    )
}

fn issues(issuer: &Receiver, token: &str, seconds: u32) {
    let body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": seconds });
    issuer.next(Reply::ok().body(body.to_string()));
}

#[tokio::test]
async fn a_token_serves_until_it_is_refused_and_then_another_is_asked_for_once() {
    let (issuer, receiver) = (Receiver::start(), Receiver::start());
    let sink = with_tokens(&issuer, &receiver, false);
    issues(&issuer, "first-token", 3600);
    for id in 0..2 {
        assert_eq!(sink.deliver(&batch(id..id + 1)).await, Answer::Acknowledged);
    }
    receiver.next(Reply::status(401));
    issues(&issuer, "second-token", 3600);
    assert_eq!(sink.deliver(&batch(2..3)).await, Answer::Acknowledged);
    let (first, second) = ("Bearer first-token", "Bearer second-token");
    assert_eq!(said(&receiver), [first, first, first, second]);
    // Refused with a new one as well: it is not the token.
    receiver.next(Reply::status(401).body("third-token"));
    receiver.next(Reply::status(401).body("third-token"));
    issues(&issuer, "third-token", 3600);
    let failure = failure(sink.deliver(&batch(3..4)).await);
    assert_eq!((failure.category, failure.status), (Category::Setup, Some(401)));
    assert_eq!(failure.answer.as_deref(), Some("***"));
    let asked = issuer.journal().requests;
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].body, b"grant_type=client_credentials&scope=write");
    let credentials = "Basic d2FsZ2F0ZTp0aGUrY2xpZW50JTI3cytzZWNyZXQ=";
    assert_eq!(asked[0].header("authorization"), Some(credentials));
}

#[tokio::test]
async fn a_token_at_its_end_is_not_sent() {
    let (issuer, receiver) = (Receiver::start(), Receiver::start());
    let sink = with_tokens(&issuer, &receiver, true);
    issues(&issuer, "first-token", 0);
    issues(&issuer, "second-token", 3600);
    for id in 0..3 {
        assert_eq!(sink.deliver(&batch(id..id + 1)).await, Answer::Acknowledged);
    }
    let (first, second) = ("Bearer first-token", "Bearer second-token");
    assert_eq!(said(&receiver), [first, second, second]);
    let form = String::from_utf8(issuer.journal().requests[0].body.clone()).unwrap();
    assert!(form.contains("client_id=walgate&client_secret=the+client%27s+secret"), "{form}");
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_it_is_said_why() {
    let (issuer, receiver) = (Receiver::start(), Receiver::start());
    let sink = with_tokens(&issuer, &receiver, true);
    for (reply, category) in [
        (Reply::status(400).body("{\"error\":\"invalid_client\"}"), Category::Setup),
        (Reply::status(401).body("the client's secret"), Category::Setup),
        (Reply::status(503), Category::Transient),
        (Reply::status(429).retry_after("3"), Category::Throttled),
        (Reply::ok().body("<html>"), Category::Setup),
        (Reply::lost(), Category::Transient),
    ] {
        issuer.next(reply);
        let failure = failure(sink.deliver(&batch(0..1)).await);
        assert_eq!(failure.category, category, "{failure:?}");
        assert!(failure.message.starts_with("no token: 127.0.0.1:"), "{}", failure.message);
        assert!(!format!("{failure:?}").contains("client's secret"), "{failure:?}");
    }
    assert_eq!(said(&receiver), Vec::<String>::new());
    issues(&issuer, "a-token", 3600);
    let seen = sink.check().await.unwrap();
    assert!(seen.contains("issues a token"), "{seen}");
}

#[test]
fn a_private_address_takes_a_word_of_the_config() {
    let to = |url: &str, allow_private| {
        let reach = Reach { allow_private, ..Reach::default() };
        let config = http::Config { reach, ..http::Config::to(url) };
        sink::build("crm", &Config::Http(Box::new(config)), &COMMON)
    };
    for url in ["http://10.1.2.3/", "https://169.254.169.254/latest", "http://[fd00::1]:8080/"] {
        let error = to(url, false).unwrap_err();
        assert_eq!(error.key(), "url");
        assert!(walgate::failure::chain(&error).contains("allow_private = true"), "{error:?}");
        assert!(to(url, true).is_ok());
    }
    assert!(to("http://127.0.0.1:9/", false).is_ok() && to("http://[::1]:9/", false).is_ok());
}
