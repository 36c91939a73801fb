//! Sinks: what they send, and what they make of every kind of answer.

mod ack;
#[cfg(feature = "amqp")]
pub(crate) mod amqp;
mod auth;
mod aws;
pub(crate) mod clickhouse;
mod connections;
mod elasticsearch;
pub(crate) mod fakes;
mod file;
mod http;
mod hubspot;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "nats")]
pub(crate) mod nats;
mod page;
mod poll;
mod poll_replay;
mod poll_sink;
mod postgres;
pub(crate) mod pubsub;
#[cfg(feature = "redis")]
pub(crate) mod redis;
mod salesforce;
#[cfg(any(feature = "nats", feature = "redis"))]
mod served;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use walgate::chunk::{Chunk, Operation};
use walgate::envelope::{Envelope, RouteLabel};
use walgate::lsn::{EventId, Lsn, Position};
use walgate::sink::{Answer, Batch, Common, Failure, Form};

/// As a sink with one event a request has it, but quicker to give up.
const COMMON: Common = Common {
    timeout: Duration::from_millis(500),
    concurrency: 4,
    max_events: 1,
    form: Form::Walgate,
};

fn envelope(operation: Operation, id: u32, data: &str) -> Envelope {
    let event = EventId { timeline: 1, position: Position::new(Lsn(0x17C_8338), id) };
    let key = format!(r#"{{"id":{id}}}"#);
    let op = operation.as_str();
    let body =
        format!(r#"{{"id":"{event}","op":"{op}","table":"public.t","key":{key},"data":{data}}}"#);
    Envelope {
        id: event,
        operation,
        body: body.into(),
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

fn batch(ids: std::ops::Range<u32>) -> Batch {
    let events = ids.map(|id| envelope(Operation::Insert, id, r#"{"a":1}"#)).collect();
    Batch { events, replay: 0 }
}

fn one(operation: Operation, id: u32, data: &str) -> Batch {
    Batch { events: vec![envelope(operation, id, data)], replay: 0 }
}

#[track_caller]
fn failure(answer: Answer) -> Failure {
    match answer {
        Answer::Failed(failure) => failure,
        other => unreachable!("{other:?}"),
    }
}
