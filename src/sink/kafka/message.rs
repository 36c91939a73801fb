//! An event as messages: topic, key, value, headers, tombstones.

use std::borrow::Cow;

use bytes::Bytes;

use super::topic::Topic;
use super::{Config, Error, Tombstones, cloudevents};
use crate::chunk::Operation;
use crate::envelope::Envelope;
use crate::sink::template::Event;
use crate::sink::{Common, Form, outbox};

/// What every header of walgate's own begins with.
const PREFIX: &str = "walgate-";
const CONTENT_TYPE: &str = "content-type";

/// What is sent of an event. Made once from the settings.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) topic: Topic,
    tombstones: Tombstones,
    binary: bool,
    form: Form,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) topic: Cow<'a, str>,
    /// None: any partition.
    pub(super) key: Option<Bytes>,
    /// None: a tombstone.
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<(String, Bytes)>,
    /// Since the Unix epoch; none: when it is sent.
    pub(super) time_ms: Option<i64>,
}

impl Plan {
    pub(super) fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        if config.binary && common.form != Form::CloudEvents {
            return Err(Error::NoCloudEvents);
        }
        let usual = match common.form {
            Form::Debezium => Tombstones::After,
            Form::Mapped => Tombstones::Instead,
            Form::Walgate | Form::CloudEvents => Tombstones::Off,
        };
        Ok(Self {
            topic: Topic::parse(&config.topic)?,
            tombstones: config.tombstones.unwrap_or(usual),
            binary: config.binary,
            form: common.form,
        })
    }

    /// Returns the messages of an event in the order in which they are sent, or what stands in the
    /// way; that holds no value. `replay`: an operator sends it again.
    pub(super) fn messages(
        &self,
        envelope: &Envelope,
        replay: bool,
    ) -> Result<Vec<Message<'_>>, String> {
        let topic = self.topic.name(&Event { envelope, form: self.form })?;
        let key = known(&envelope.key);
        let mut headers = own_headers(envelope, replay);
        let tombstone = |key: Bytes| Message {
            topic: topic.clone(),
            key: Some(key),
            value: None,
            headers: own_headers(envelope, replay),
            time_ms: envelope.commit_time.map(|time| time.unix_micros().div_euclid(1000)),
        };
        let is_delete = envelope.operation == Operation::Delete;
        if is_delete && self.tombstones == Tombstones::Instead {
            let key = key.ok_or("a delete without a key has no tombstone")?;
            return Ok(vec![tombstone(key)]);
        }
        let mut messages = Vec::with_capacity(1);
        if self.tombstones != Tombstones::Off
            && let Some(old) = envelope.before_key.as_deref().and_then(known)
        {
            messages.push(tombstone(old));
        }
        let behind = (is_delete && self.tombstones == Tombstones::After).then(|| key.clone());
        let value = self.value(envelope, &mut headers)?;
        let message = Message { value: Some(value), headers, ..tombstone(Bytes::new()) };
        messages.push(Message { key, ..message });
        messages.extend(behind.flatten().map(tombstone));
        Ok(messages)
    }

    /// Returns the value, and adds the headers that go with it.
    fn value(
        &self,
        envelope: &Envelope,
        headers: &mut Vec<(String, Bytes)>,
    ) -> Result<Bytes, String> {
        let value = if self.binary {
            cloudevents::binary(&envelope.body, headers)?
        } else {
            let kind = match self.form {
                Form::CloudEvents => "application/cloudevents+json",
                Form::Walgate | Form::Mapped | Form::Debezium => "application/json",
            };
            headers.push(text(CONTENT_TYPE, kind));
            envelope.body.clone()
        };
        if let Some(outbox) = &envelope.outbox {
            for (name, value) in outbox::headers(outbox)? {
                // A name from a row is shown only where it can be no more than a name.
                let shown = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                if name.is_empty() || !name.chars().all(shown) {
                    return Err("outbox.headers: a name with other signs than letters, digits, \
                                `-`, `_` and `.`"
                        .to_owned());
                }
                let owned = name.starts_with(PREFIX) || headers.iter().any(|(own, _)| *own == name);
                if owned {
                    return Err(format!("header {name}: an event can't set it"));
                }
                let value = value.map_err(|problem| format!("header {name}: {problem}"))?;
                headers.push((name, value.into()));
            }
        }
        Ok(value)
    }
}

/// Returns a key's bytes; none of a table without one.
fn known(key: &Bytes) -> Option<Bytes> {
    (!key.is_empty() && key.as_ref() != b"null").then(|| key.clone())
}

fn own_headers(envelope: &Envelope, replay: bool) -> Vec<(String, Bytes)> {
    let mut headers = vec![
        text("walgate-id", envelope.id.to_string()),
        text("walgate-op", envelope.operation.as_str()),
    ];
    headers.extend(envelope.table().map(|table| text("walgate-table", table)));
    if let Some((name, version)) = &envelope.route.mapping {
        headers.push(text("walgate-mapping", format!("{name}-v{version}")));
    }
    if replay {
        headers.push(text("walgate-replay", "true"));
    }
    headers
}

pub(super) fn text(name: &str, value: impl Into<Vec<u8>>) -> (String, Bytes) {
    (name.to_owned(), Bytes::from(value.into()))
}
