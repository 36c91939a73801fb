//! Tokens, and where they are good for.

use std::path::PathBuf;
use std::time::Duration;

use ring::signature::{KeyPair, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use walgate::failure::Category;
use walgate::secret::Secret;
use walgate::sink::salesforce::{Config, Login};
use walgate::sink::{self, Answer, Common};

use super::super::fakes::Fake;
use super::super::{COMMON, one};
use super::{Org, alone, build, settings};

const PATIENT: Common = Common { timeout: Duration::from_secs(10), ..COMMON };

fn key() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/sinks/fakes/rsa.pem"))
}

fn jwt(org: &Fake<Org>, key: PathBuf) -> Config {
    let (client_id, user) = (Secret::new("app".to_owned()), "walgate@acme.com".to_owned());
    Config { auth: Login::Jwt { client_id, user, key }, ..settings(&org.url()) }
}

fn insert() -> walgate::sink::Batch {
    one(walgate::chunk::Operation::Insert, 1, r#"{"Name":"a"}"#)
}

#[tokio::test]
async fn an_assertion_is_signed_with_the_apps_key() {
    let PrivateKeyDer::Pkcs8(der) = PrivateKeyDer::from_pem_file(key()).unwrap() else {
        unreachable!()
    };
    let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let public_key = Some(pair.public_key().as_ref().to_vec());
    let org = Fake::start(Org { public_key, ..Org::default() });
    let sink = build(jwt(&org, key()), &PATIENT);
    assert_eq!(sink.deliver(&insert()).await, Answer::Acknowledged);
    org.state().expire();
    assert_eq!(sink.deliver(&insert()).await, Answer::Acknowledged);
    assert_eq!(org.state().issued, 2);
}

#[test]
fn a_key_that_cannot_sign_is_told_of_before_anything_is_sent() {
    let org = Fake::start(Org::default());
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in [
        (None, "no PEM can be read"),
        (Some("nonsense"), "no PEM can be read"),
        (Some(&*rcgen::KeyPair::generate().unwrap().serialize_pem()), "no RSA private key"),
    ] {
        let path = folder.path().join("key.pem");
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let config = sink::Config::Salesforce(Box::new(jwt(&org, path)));
        let error = sink::build("crm", &config, &PATIENT).unwrap_err();
        assert_eq!(error.key(), "auth.jwt.key");
        let told = walgate::failure::chain(&error);
        assert!(told.contains(expected), "{told}");
    }
}

#[tokio::test]
async fn requests_go_where_the_token_is_good_for() {
    let instance = Fake::start(Org::default());
    let home = Fake::start(Org { instance_url: Some(instance.url()), ..Org::default() });
    instance.state().tokens.insert("00Dx!token-1".to_owned());
    let sink = build(settings(&home.url()), &PATIENT);
    assert_eq!(sink.deliver(&insert()).await, Answer::Acknowledged);
    assert_eq!((home.state().records.len(), instance.state().records.len()), (0, 1));
    // It may not lead astray.
    home.state().instance_url = Some("http://10.0.0.1".to_owned());
    instance.state().expire();
    let failure = alone(sink.deliver(&insert()).await);
    assert_eq!(failure.category, Category::Setup);
    assert!(failure.message.contains("where no request may go"), "{failure:?}");
}

#[tokio::test]
async fn many_at_once_ask_for_one_token() {
    let org = Fake::start(Org::default());
    let sink = build(settings(&org.url()), &PATIENT);
    let insert = insert();
    let all = (0..8).map(|_| sink.deliver(&insert));
    let answers = futures_util::future::join_all(all).await;
    assert!(answers.iter().all(|answer| *answer == Answer::Acknowledged), "{answers:?}");
    assert_eq!(org.state().issued, 1);
    org.state().expire();
    let answers = futures_util::future::join_all((0..8).map(|_| sink.deliver(&insert))).await;
    assert!(answers.iter().all(|answer| *answer == Answer::Acknowledged), "{answers:?}");
    assert_eq!(org.state().issued, 2);
}
