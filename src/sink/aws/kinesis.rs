//! Amazon Kinesis Data Streams. Source:
//! <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Error;
use super::code::Said;
use super::message::{self, json};
use super::place::{is_arn, short};
use super::service::{Entry, Limits, Request, Service};
use super::sign::sha256;
use crate::sink::template::{Event, Template};

/// A partition key is no longer.
const KEY_CHARS_MAX: usize = 256;

/// A stream.
#[derive(Debug)]
pub(super) struct Kinesis {
    stream: String,
    partition_key: Option<Template>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    records: Vec<Record>,
}

/// What is said of a record; those that were taken have no code.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Record {
    error_code: Option<String>,
    error_message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    stream_description_summary: Description,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    stream_status: String,
    open_shard_count: Option<u64>,
}

impl Kinesis {
    pub(super) fn new(stream: &str, partition_key: Option<&str>) -> Result<Self, Error> {
        let partition_key =
            partition_key.map(|text| message::template("partition_key", text)).transpose()?;
        Ok(Self { stream: stream.to_owned(), partition_key })
    }

    fn request_of(&self, action: &'static str, target: &'static str, rest: &str) -> Request {
        let name = if is_arn(&self.stream) { "StreamARN" } else { "StreamName" };
        let body = format!("{{\"{name}\":{}{rest}}}", json(&self.stream));
        Request {
            action,
            content_type: "application/x-amz-json-1.1",
            target: Some(target),
            body: body.into(),
        }
    }
}

impl Service for Kinesis {
    fn limits(&self) -> Limits {
        Limits { entries: 500, bytes: 10 * 1024 * 1024 }
    }

    fn entry(&self, event: &Event<'_>, _replay: u32) -> Result<Entry, String> {
        let key = message::group(self.partition_key.as_ref(), event)?;
        let fits = (1..=KEY_CHARS_MAX).contains(&key.chars().count());
        let key = if fits { key } else { sha256(key.as_bytes()) };
        let body = &event.envelope.body;
        let data = STANDARD.encode(body);
        let part = format!("{{\"Data\":\"{data}\",\"PartitionKey\":{}}}", json(&key));
        Ok(Entry { parts: vec![part], bytes: body.len() + key.len(), group: Some(key) })
    }

    fn request(&self, entries: &[&Entry]) -> Request {
        let records: Vec<String> = entries.iter().map(|entry| entry.parts.concat()).collect();
        let rest = format!(",\"Records\":[{}]", records.join(","));
        self.request_of("kinesis:PutRecords", "Kinesis_20131202.PutRecords", &rest)
    }

    fn outcomes(&self, body: &[u8], count: usize) -> Option<Vec<Result<(), Said>>> {
        let answer: Answer = serde_json::from_slice(body).ok()?;
        in_order(answer.records, count)
    }

    fn look(&self) -> Request {
        let target = "Kinesis_20131202.DescribeStreamSummary";
        self.request_of("kinesis:DescribeStreamSummary", target, "")
    }

    fn seen(&self, body: &[u8]) -> String {
        let name = short(&self.stream);
        match serde_json::from_slice(body) {
            Ok(Summary {
                stream_description_summary: Description { stream_status, open_shard_count },
            }) => {
                let shards = open_shard_count.map(|count| format!(", {count} open shards"));
                format!("stream {name} is {stream_status}{}", shards.unwrap_or_default())
            }
            Err(_) => format!("stream {name} is there"),
        }
    }
}

/// Reads what is said of each record, in the order in which they were sent.
pub(super) fn in_order(records: Vec<Record>, count: usize) -> Option<Vec<Result<(), Said>>> {
    let outcome = |record: Record| match record.error_code {
        None => Ok(()),
        Some(code) => {
            let message = record.error_message.unwrap_or_default();
            Err(Said { code, message, is_senders: None })
        }
    };
    (records.len() == count).then(|| records.into_iter().map(outcome).collect())
}
