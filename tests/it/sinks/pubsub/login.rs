//! Who walgate says that it is.

use std::path::{Path, PathBuf};

use ring::signature::{KeyPair, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use walgate::failure::Category;
use walgate::sink::pubsub::Config;
use walgate::sink::{self, Answer, Sink};

use super::super::fakes::Fake;
use super::super::fakes::pubsub::PubSub;
use super::super::{batch, failure};
use super::{PATIENT, TOPIC, build, service, settings};
use crate::support::process::eventually;
use crate::support::road::{PATIENCE, Road};

const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/sinks/fakes/rsa.pem");

fn pem() -> String {
    std::fs::read_to_string(KEY).unwrap()
}

/// Makes the service ask who it is: the account that has the key.
fn asks(service: &Fake<PubSub>) {
    let PrivateKeyDer::Pkcs8(der) = PrivateKeyDer::from_pem_file(KEY).unwrap() else {
        unreachable!()
    };
    let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    service.state().public_key = Some(pair.public_key().as_ref().to_vec());
}

/// Writes an account's key as Google hands it out.
fn write(folder: &Path, service: &Fake<PubSub>, account: &str) -> PathBuf {
    let key = json!({
        "type": "service_account",
        "project_id": "walgate-test",
        "private_key_id": "key-1",
        "private_key": pem(),
        "client_email": format!("{account}@walgate-test.iam"),
        "token_uri": format!("{}/token", service.url()),
    });
    let path = folder.join(format!("{account}.json"));
    std::fs::write(&path, key.to_string()).unwrap();
    path
}

fn known(folder: &Path, service: &Fake<PubSub>) -> Box<dyn Sink> {
    asks(service);
    build(Config { credentials: Some(write(folder, service, "walgate")), ..settings(service) })
}

#[tokio::test]
async fn a_key_is_exchanged_for_tokens_and_a_refused_one_is_renewed_once() {
    let (service, folder) = (service(), tempfile::tempdir().unwrap());
    let sink = known(folder.path(), &service);
    assert_eq!(sink.deliver(&batch(0..40)).await, Answer::Acknowledged);
    assert_eq!(service.state().issued, 1);
    service.state().expire();
    assert_eq!(sink.deliver(&batch(0..40)).await, Answer::Acknowledged);
    assert_eq!(service.state().issued, 2);
    // One that is refused as soon as it is there.
    service.state().refuses = true;
    let failure = failure(sink.deliver(&batch(0..1)).await);
    assert_eq!((failure.category, failure.status), (Category::Setup, Some(401)));
    assert_eq!(service.state().issued, 3);
    let answer = failure.answer.unwrap_or_default();
    assert!(answer.contains("credentials: ***."), "{answer}");
}

#[test]
fn a_file_that_is_no_key_is_told_of_before_anything_is_sent() {
    let (service, folder) = (service(), tempfile::tempdir().unwrap());
    let path = folder.path().join("key.json");
    let of_type = |kind: &str| json!({ "type": kind, "client_email": "a", "private_key": "b" });
    for (text, expected) in [
        (None, "can't be read"),
        (Some("nonsense".to_owned()), "no key of a service account (JSON)"),
        (Some(of_type("external_account").to_string()), "its type is \"external_account\""),
        (Some(of_type("service_account").to_string()), "its private_key is no RSA key"),
    ] {
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let config = Config { credentials: Some(path.clone()), ..settings(&service) };
        let config = sink::Config::PubSub(Box::new(config));
        let error = sink::build("far", &config, &PATIENT).unwrap_err();
        assert_eq!(error.key(), "credentials");
        let told = walgate::failure::chain(&error);
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn who_is_not_known_or_may_not_publish_halts_the_sink_until_that_is_mended() {
    let (service, folder) = (service(), tempfile::tempdir().unwrap());
    asks(&service);
    service.state().rights.clear();
    let (wrong, right) =
        (write(folder.path(), &service, "other"), write(folder.path(), &service, "walgate"));
    let sink = |key: &Path| {
        format!(
            "retry = {{ initial = \"50ms\", max = \"500ms\" }}\nhalt_probe = \"100ms\"\n\
             [sink.far.pubsub]\ntopic = \"{TOPIC}\"\nendpoint = \"{}\"\ncredentials = \"{}\"\n",
            service.url(),
            key.display()
        )
    };
    let whole = |key: &Path| {
        let route = crate::support::road::route("t", "far");
        format!("[sink.far]\n{}{route}", sink(key))
    };
    let mut road = Road::of_t(&format!("[sink.far]\n{}", sink(&wrong)));
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    let is_halted = |road: &Road, reason: &str| {
        eventually(reason, PATIENCE, || {
            let sink = road.walgate.status()["sinks"][0].clone();
            sink["state"] == "halted" && sink["reason"].as_str().unwrap().contains(reason)
        });
    };
    is_halted(&road, "no token");
    road.stop();
    road.configure(&whole(&right));
    let output = road.walgate.call(&["check", "--json"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("the right pubsub.topics.publish on topic"), "{said}");
    road.start();
    is_halted(&road, "403 Forbidden: PERMISSION_DENIED");
    service.state().rights.insert("pubsub.topics.publish");
    road.confirms(&road.wal_end());
    assert_eq!(service.state().published.len(), 2);
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
    let log = road.walgate.log();
    assert!(!log.contains("ya29") && !log.contains("PRIVATE"), "{log}");
}
