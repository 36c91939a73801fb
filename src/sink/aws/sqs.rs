//! Amazon SQS, queues of both kinds. Source:
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>.

use serde::Deserialize;

use super::Error;
use super::code::Said;
use super::message::{self, json};
use super::place::short;
use super::service::{Entry, Limits, Request, Service};
use crate::sink::template::{Event, Template};

/// A queue.
#[derive(Debug)]
pub(super) struct Sqs {
    queue_url: String,
    is_fifo: bool,
    group: Option<Template>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    successful: Vec<Taken>,
    #[serde(default)]
    failed: Vec<Failed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Taken {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failed {
    id: String,
    code: String,
    #[serde(default)]
    message: String,
    sender_fault: Option<bool>,
}

impl Sqs {
    pub(super) fn new(queue_url: &str, group: Option<&str>) -> Result<Self, Error> {
        let is_fifo = queue_url.ends_with(".fifo");
        let group = group.map(|text| message::template("group", text)).transpose()?;
        Ok(Self { queue_url: queue_url.to_owned(), is_fifo, group })
    }

    fn request_of(&self, action: &'static str, target: &'static str, rest: &str) -> Request {
        let body = format!("{{\"QueueUrl\":{}{rest}}}", json(&self.queue_url));
        Request {
            action,
            content_type: "application/x-amz-json-1.0",
            target: Some(target),
            body: body.into(),
        }
    }
}

impl Service for Sqs {
    fn limits(&self) -> Limits {
        Limits { entries: 10, bytes: 1024 * 1024 }
    }

    fn entry(&self, event: &Event<'_>, replay: u32) -> Result<Entry, String> {
        let body = message::text(&event.envelope.body)?;
        let attributes = message::attributes(event.envelope, replay)?;
        let size = |(name, value): &(String, String)| name.len() + value.len() + "String".len();
        let bytes = body.len() + attributes.iter().map(size).sum::<usize>();
        let attributes: Vec<String> = attributes
            .iter()
            .map(|(name, value)| {
                let value = json(value);
                format!("{}:{{\"DataType\":\"String\",\"StringValue\":{value}}}", json(name))
            })
            .collect();
        let mut part = format!(
            "\"MessageBody\":{},\"MessageAttributes\":{{{}}}",
            json(&body),
            attributes.join(",")
        );
        let mut alone = None;
        if self.is_fifo || self.group.is_some() {
            let group = message::id(message::group(self.group.as_ref(), event)?);
            part.push_str(&format!(",\"MessageGroupId\":{}", json(&group)));
            alone = self.is_fifo.then_some(group);
        }
        if self.is_fifo {
            let id = message::id(event.envelope.repeat_id(replay));
            part.push_str(&format!(",\"MessageDeduplicationId\":{}", json(&id)));
        }
        Ok(Entry { parts: vec![part], bytes, group: alone })
    }

    fn request(&self, entries: &[&Entry]) -> Request {
        let entries: Vec<String> = entries
            .iter()
            .enumerate()
            .map(|(place, entry)| format!("{{\"Id\":\"{place}\",{}}}", entry.parts.concat()))
            .collect();
        let rest = format!(",\"Entries\":[{}]", entries.join(","));
        self.request_of("sqs:SendMessage", "AmazonSQS.SendMessageBatch", &rest)
    }

    fn outcomes(&self, body: &[u8], count: usize) -> Option<Vec<Result<(), Said>>> {
        let answer: Answer = serde_json::from_slice(body).ok()?;
        let taken = answer.successful.into_iter().map(|taken| (taken.id, Ok(())));
        let failed = answer.failed.into_iter().map(|failed| {
            let Failed { id, code, message, sender_fault } = failed;
            (id, Err(Said { code, message, is_senders: sender_fault }))
        });
        by_place(taken.chain(failed), count)
    }

    fn look(&self) -> Request {
        let rest = ",\"AttributeNames\":[\"QueueArn\"]";
        self.request_of("sqs:GetQueueAttributes", "AmazonSQS.GetQueueAttributes", rest)
    }

    fn seen(&self, _body: &[u8]) -> String {
        let kind = if self.is_fifo { "FIFO queue" } else { "queue" };
        format!("{kind} {} is there", short(&self.queue_url))
    }
}

/// Puts outcomes in the order of the entries, whose ids are their places. None where one is
/// missing.
pub(super) fn by_place(
    outcomes: impl Iterator<Item = (String, Result<(), Said>)>,
    count: usize,
) -> Option<Vec<Result<(), Said>>> {
    let mut placed = vec![None; count];
    for (id, outcome) in outcomes {
        *placed.get_mut(id.parse::<usize>().ok()?)? = Some(outcome);
    }
    placed.into_iter().collect()
}
