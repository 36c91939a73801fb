//! Amazon Data Firehose. Source:
//! <https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::code::Said;
use super::kinesis::{Record, in_order};
use super::message::json;
use super::place::short;
use super::service::{Entry, Limits, Request, Service};
use crate::sink::template::Event;

/// A stream that delivers elsewhere.
#[derive(Debug)]
pub(super) struct Firehose {
    /// Its name.
    stream: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    request_responses: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    delivery_stream_description: Description,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    delivery_stream_status: String,
}

impl Firehose {
    /// Firehose is asked by name; an ARN's last part is that.
    pub(super) fn new(stream: &str) -> Self {
        Self { stream: short(stream).to_owned() }
    }

    fn request_of(&self, action: &'static str, target: &'static str, rest: &str) -> Request {
        let body = format!("{{\"DeliveryStreamName\":{}{rest}}}", json(&self.stream));
        Request {
            action,
            content_type: "application/x-amz-json-1.1",
            target: Some(target),
            body: body.into(),
        }
    }
}

impl Service for Firehose {
    fn limits(&self) -> Limits {
        Limits { entries: 500, bytes: 4 * 1024 * 1024 }
    }

    /// Records come end to end where they are delivered: each brings its line end.
    fn entry(&self, event: &Event<'_>, _replay: u32) -> Result<Entry, String> {
        let line = [&event.envelope.body, b"\n".as_slice()].concat();
        let part = format!("{{\"Data\":\"{}\"}}", STANDARD.encode(&line));
        Ok(Entry { parts: vec![part], bytes: line.len(), group: None })
    }

    fn request(&self, entries: &[&Entry]) -> Request {
        let records: Vec<String> = entries.iter().map(|entry| entry.parts.concat()).collect();
        let rest = format!(",\"Records\":[{}]", records.join(","));
        self.request_of("firehose:PutRecordBatch", "Firehose_20150804.PutRecordBatch", &rest)
    }

    fn outcomes(&self, body: &[u8], count: usize) -> Option<Vec<Result<(), Said>>> {
        let answer: Answer = serde_json::from_slice(body).ok()?;
        in_order(answer.request_responses, count)
    }

    fn look(&self) -> Request {
        let target = "Firehose_20150804.DescribeDeliveryStream";
        self.request_of("firehose:DescribeDeliveryStream", target, "")
    }

    fn seen(&self, body: &[u8]) -> String {
        match serde_json::from_slice(body) {
            Ok(Described { delivery_stream_description: described }) => {
                format!("stream {} is {}", self.stream, described.delivery_stream_status)
            }
            Err(_) => format!("stream {} is there", self.stream),
        }
    }
}
