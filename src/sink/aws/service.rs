//! [`Service`]: what each of the services has of its own. Decides, and sends nothing.

use std::fmt;

use bytes::Bytes;

use super::code::Said;
use super::{Config, Error, Target};
use super::{eventbridge, firehose, kinesis, sns, sqs};
use crate::sink::template::Event;

/// A service, and what of it is written to.
pub(super) trait Service: Send + Sync + fmt::Debug {
    /// Returns how much goes in one call.
    fn limits(&self) -> Limits;

    /// Makes an event's entry of a call, or says what of the event stands in the way. `replay`:
    /// how often an operator has sent it again.
    fn entry(&self, event: &Event<'_>, replay: u32) -> Result<Entry, String>;

    /// Makes the call of these entries.
    fn request(&self, entries: &[&Entry]) -> Request;

    /// Reads what the answer to a call that was taken says of each of its entries; none where it
    /// does not say that.
    fn outcomes(&self, body: &[u8], count: usize) -> Option<Vec<Result<(), Said>>>;

    /// Makes the call that looks whether it is there.
    fn look(&self) -> Request;

    /// Says what was seen by that.
    fn seen(&self, body: &[u8]) -> String;
}

/// How much goes in one call; a larger entry goes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) entries: usize,
    /// As the service counts them.
    pub(super) bytes: usize,
}

/// What a call has of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// In the service's form, as far as it does not depend on its place in the call.
    pub(super) parts: Vec<String>,
    /// How large the service takes it for.
    pub(super) bytes: usize,
    /// What the service keeps in order, or a shard: a call has one entry of each, as one that
    /// fails would let those behind it pass.
    pub(super) group: Option<String>,
}

/// A request to the service, without who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// `sqs:SendMessage`, as policies call it.
    pub(super) action: &'static str,
    pub(super) content_type: &'static str,
    /// What is asked, where the form does not say it.
    pub(super) target: Option<&'static str>,
    pub(super) body: Bytes,
}

/// Makes what the settings name.
pub(super) fn of(config: &Config) -> Result<Box<dyn Service>, Error> {
    Ok(match &config.target {
        Target::Sqs { queue_url, group } => Box::new(sqs::Sqs::new(queue_url, group.as_deref())?),
        Target::Sns { topic_arn, group } => Box::new(sns::Sns::new(topic_arn, group.as_deref())?),
        Target::Kinesis { stream, partition_key } => {
            Box::new(kinesis::Kinesis::new(stream, partition_key.as_deref())?)
        }
        Target::Firehose { stream } => Box::new(firehose::Firehose::new(stream)),
        Target::EventBridge { bus, source, detail_type } => {
            Box::new(eventbridge::EventBridge::new(bus, source, detail_type)?)
        }
    })
}
