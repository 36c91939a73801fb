//! The keys of each kind of sink.

mod amqp;
mod aws;
mod clickhouse;
mod elasticsearch;
mod http;
mod hubspot;
mod kafka;
mod nats;
mod postgres;
mod pubsub;
mod redis;
mod salesforce;

pub(super) use self::amqp::AMQP;
pub(super) use self::aws::{EVENTBRIDGE, FIREHOSE, KINESIS, SNS, SQS};
pub(super) use self::clickhouse::CLICKHOUSE;
pub(super) use self::elasticsearch::ELASTICSEARCH;
pub(super) use self::http::HTTP;
pub(super) use self::hubspot::HUBSPOT;
pub(super) use self::kafka::KAFKA;
pub(super) use self::nats::NATS;
pub(super) use self::postgres::POSTGRES;
pub(super) use self::pubsub::PUBSUB;
pub(super) use self::redis::REDIS;
pub(super) use self::salesforce::SALESFORCE;
use super::Otherwise::{Required, Toml};
use super::Shape::{Path, Size};
use super::{Section, key};

/// `[sink.NAME.file]`
pub(super) static FILE: Section = Section {
    title: "a file sink",
    keys: &[
        key("path", Path, Required, "the file that is appended to"),
        key(
            "max_size",
            Size,
            Toml("\"0\""),
            "past this the file is put aside and a new one begun; `\"0\"`: never",
        ),
    ],
};

/// `[sink.NAME.poll]`
pub(super) static POLL: Section = Section { title: "a poll sink", keys: &[] };

/// `[sink.NAME.stdout]`
pub(super) static STDOUT: Section = Section { title: "a stdout sink", keys: &[] };
