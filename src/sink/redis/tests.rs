//! What the tests of this sink share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::chunk::{Chunk, Operation};
use crate::envelope::{Envelope, RouteLabel};
use crate::lsn::{EventId, Lsn, Position};
use crate::secret::Secret;
use crate::sink::redis::{Config, Redis};
use crate::sink::{Common, Form};

pub(super) const COMMON: Common = Common {
    timeout: Duration::from_millis(500),
    concurrency: 1,
    max_events: 500,
    form: Form::Walgate,
};

/// An insert.
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
        route: Arc::new(RouteLabel { name: "r".into(), mapping: None }),
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
    let url = Secret::new("redis://user:hunter2@redis.example".to_owned());
    let config = Config { url, stream: "s".to_owned(), ..Config::default() };
    let sink = Redis::new(&config, &COMMON).unwrap();
    assert_eq!(format!("{sink:?}"), r#"Redis { to: "redis.example:6379", .. }"#);
}

#[test]
fn what_is_wrong_is_told_with_its_key() {
    let of = |url: &str, stream: &str| {
        let config = Config {
            url: Secret::new(url.to_owned()),
            stream: stream.to_owned(),
            ..Config::default()
        };
        Redis::new(&config, &COMMON).map(|_| ()).map_err(|error| error.key())
    };
    assert_eq!(of("redis://a", "s"), Ok(()));
    assert_eq!(of("http://a", "s"), Err("url"));
    assert_eq!(of("redis://a", ""), Err("stream"));
    assert_eq!(of("redis://a", "{{ x"), Err("stream"));
}
