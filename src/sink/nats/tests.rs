//! What the tests of this sink share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::chunk::{Chunk, Operation};
use crate::envelope::{Envelope, RouteLabel};
use crate::lsn::{EventId, Lsn, Position};
use crate::secret::Secret;
use crate::sink::nats::{Config, Error, Nats};
use crate::sink::{Common, Form};

pub(super) const COMMON: Common = Common {
    timeout: Duration::from_millis(500),
    concurrency: 1,
    max_events: 500,
    form: Form::Walgate,
};

/// An insert of the mapping `m`, version 3.
pub(super) fn envelope(id: u32, data: &str) -> Envelope {
    let event = EventId { timeline: 1, position: Position::new(Lsn(0x17C_8338), id) };
    let key = format!(r#"{{"id":{id}}}"#);
    Envelope {
        id: event,
        operation: Operation::Insert,
        body: format!(r#"{{"id":"{event}","op":"insert","key":{key},"data":{data}}}"#).into(),
        key: key.into(),
        key_hash: id.into(),
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

#[test]
fn a_sink_shows_no_credentials() {
    let config = Config {
        servers: vec![Secret::new("nats://user:hunter2@nats.example:4222".to_owned())],
        subject: "a".to_owned(),
        ..Config::default()
    };
    let sink = Nats::new(&config, &COMMON).unwrap();
    assert_eq!(format!("{sink:?}"), r#"Nats { to: "nats.example:4222", .. }"#);
}

#[test]
fn what_is_wrong_is_told_with_its_key() {
    let of = |config: Config| Nats::new(&config, &COMMON).map(|_| ()).map_err(|e| e.key());
    let good = || Config {
        servers: vec![Secret::new("a".to_owned())],
        subject: "a".to_owned(),
        ..Config::default()
    };
    assert_eq!(of(good()), Ok(()));
    assert_eq!(of(Config { servers: Vec::new(), ..good() }), Err("servers"));
    assert_eq!(of(Config { subject: "a b".into(), ..good() }), Err("subject"));
    assert_eq!(of(Config { stream: Some("a.b".into()), ..good() }), Err("stream"));
    assert_eq!(Error::IdPrefix.key(), "id_prefix");
}
