//! Amazon `EventBridge`. Source:
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>.

use serde::Deserialize;

use super::Error;
use super::code::Said;
use super::kinesis::{Record, in_order};
use super::message::{self, json};
use super::place::short;
use super::service::{Entry, Limits, Request, Service};
use crate::lsn::Timestamp;
use crate::sink::template::{Event, Template};

/// A detail type and a source are no longer.
const NAME_CHARS_MAX: usize = 128;

/// What an entry's time counts for, in bytes.
const TIME_BYTES: usize = 14;

/// A bus.
#[derive(Debug)]
pub(super) struct EventBridge {
    bus: String,
    source: String,
    detail_type: Template,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    entries: Vec<Record>,
}

impl EventBridge {
    pub(super) fn new(bus: &str, source: &str, detail_type: &str) -> Result<Self, Error> {
        let is_name = (1..=NAME_CHARS_MAX).contains(&source.chars().count());
        if !is_name || source.starts_with("aws.") {
            let what = "a name of your own, of up to 128 characters, that does not begin with aws.";
            return Err(Error::Name { key: "source", what });
        }
        Ok(Self {
            bus: bus.to_owned(),
            source: source.to_owned(),
            detail_type: message::template("detail_type", detail_type)?,
        })
    }

    fn request_of(action: &'static str, target: &'static str, body: String) -> Request {
        Request {
            action,
            content_type: "application/x-amz-json-1.1",
            target: Some(target),
            body: body.into(),
        }
    }
}

impl Service for EventBridge {
    /// All of it has to be less than a million bytes.
    fn limits(&self) -> Limits {
        Limits { entries: 10, bytes: 999_999 }
    }

    fn entry(&self, event: &Event<'_>, _replay: u32) -> Result<Entry, String> {
        let body = str::from_utf8(&event.envelope.body).unwrap_or_default();
        if !body.starts_with('{') {
            return Err("the body is not a JSON object, which EventBridge takes alone".to_owned());
        }
        let kind = self.detail_type.render(event).map_err(|problem| problem.to_string())?;
        if !(1..=NAME_CHARS_MAX).contains(&kind.chars().count()) {
            return Err("detail_type comes to no text, or to more than 128 characters".to_owned());
        }
        let time = event.envelope.commit_time.map(Timestamp::unix_micros);
        let time_bytes = if time.is_some() { TIME_BYTES } else { 0 };
        let time = time.and_then(|micros| micros.div_euclid(1_000_000).try_into().ok());
        let time = time.map(|seconds: u64| format!(",\"Time\":{seconds}"));
        let part = format!(
            "{{\"EventBusName\":{},\"Source\":{},\"DetailType\":{},\"Detail\":{}{}}}",
            json(&self.bus),
            json(&self.source),
            json(&kind),
            json(body),
            time.unwrap_or_default()
        );
        let bytes = body.len() + self.source.len() + kind.len() + time_bytes;
        Ok(Entry { parts: vec![part], bytes, group: None })
    }

    fn request(&self, entries: &[&Entry]) -> Request {
        let entries: Vec<String> = entries.iter().map(|entry| entry.parts.concat()).collect();
        let body = format!("{{\"Entries\":[{}]}}", entries.join(","));
        Self::request_of("events:PutEvents", "AWSEvents.PutEvents", body)
    }

    fn outcomes(&self, body: &[u8], count: usize) -> Option<Vec<Result<(), Said>>> {
        let answer: Answer = serde_json::from_slice(body).ok()?;
        in_order(answer.entries, count)
    }

    fn look(&self) -> Request {
        let body = format!("{{\"Name\":{}}}", json(&self.bus));
        Self::request_of("events:DescribeEventBus", "AWSEvents.DescribeEventBus", body)
    }

    fn seen(&self, _body: &[u8]) -> String {
        format!("bus {} is there", short(&self.bus))
    }
}
