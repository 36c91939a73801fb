//! Amazon SNS, topics of both kinds: forms there, XML back. Source:
//! <https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html>.

use url::form_urlencoded::Serializer;

use super::code::Said;
use super::message;
use super::place::short;
use super::service::{Entry, Limits, Request, Service};
use super::sqs::by_place;
use super::{Error, xml};
use crate::sink::template::{Event, Template};

const VERSION: &str = "2010-03-31";

/// A topic.
#[derive(Debug)]
pub(super) struct Sns {
    topic_arn: String,
    is_fifo: bool,
    group: Option<Template>,
}

impl Sns {
    pub(super) fn new(topic_arn: &str, group: Option<&str>) -> Result<Self, Error> {
        let is_fifo = topic_arn.ends_with(".fifo");
        let group = group.map(|text| message::template("group", text)).transpose()?;
        Ok(Self { topic_arn: topic_arn.to_owned(), is_fifo, group })
    }

    fn request_of(&self, action: &'static str, call: &str, rest: &str) -> Request {
        let mut body = Serializer::new(String::new())
            .append_pair("Action", call)
            .append_pair("Version", VERSION)
            .append_pair("TopicArn", &self.topic_arn)
            .finish();
        body.push_str(rest);
        Request {
            action,
            content_type: "application/x-www-form-urlencoded",
            target: None,
            body: body.into(),
        }
    }
}

/// Returns `NAME=VALUE` as a form has it.
fn field(name: &str, value: &str) -> String {
    Serializer::new(String::new()).append_pair(name, value).finish()
}

impl Service for Sns {
    /// What a topic takes unless its own settings say otherwise.
    fn limits(&self) -> Limits {
        Limits { entries: 10, bytes: 256 * 1024 }
    }

    fn entry(&self, event: &Event<'_>, replay: u32) -> Result<Entry, String> {
        let body = message::text(&event.envelope.body)?;
        let attributes = message::attributes(event.envelope, replay)?;
        let size = |(name, value): &(String, String)| name.len() + value.len() + "String".len();
        let bytes = body.len() + attributes.iter().map(size).sum::<usize>();
        let mut parts = vec![field("Message", &body)];
        for (place, (name, value)) in attributes.iter().enumerate() {
            let entry = format!("MessageAttributes.entry.{}", place + 1);
            parts.push(field(&format!("{entry}.Name"), name));
            parts.push(field(&format!("{entry}.Value.DataType"), "String"));
            parts.push(field(&format!("{entry}.Value.StringValue"), value));
        }
        let mut alone = None;
        if self.is_fifo || self.group.is_some() {
            let group = message::id(message::group(self.group.as_ref(), event)?);
            parts.push(field("MessageGroupId", &group));
            alone = self.is_fifo.then_some(group);
        }
        if self.is_fifo {
            let id = message::id(event.envelope.repeat_id(replay));
            parts.push(field("MessageDeduplicationId", &id));
        }
        Ok(Entry { parts, bytes, group: alone })
    }

    fn request(&self, entries: &[&Entry]) -> Request {
        let mut rest = String::new();
        for (place, entry) in entries.iter().enumerate() {
            let id = field("Id", &place.to_string());
            for part in std::iter::once(&id).chain(&entry.parts) {
                rest.push_str(&format!("&PublishBatchRequestEntries.member.{}.{part}", place + 1));
            }
        }
        self.request_of("sns:Publish", "PublishBatch", &rest)
    }

    fn outcomes(&self, body: &[u8], count: usize) -> Option<Vec<Result<(), Said>>> {
        let text = str::from_utf8(body).ok()?;
        let result = xml::element(text, "PublishBatchResult")?;
        let members = |name| {
            let list = xml::element(result, name).unwrap_or_default();
            xml::elements(list, "member")
        };
        let id = |member| xml::element(member, "Id").unwrap_or_default().to_owned();
        let value = |member, name| xml::element(member, name).unwrap_or_default().to_owned();
        let taken = members("Successful").map(|member| (id(member), Ok(())));
        let failed = members("Failed").map(|member| {
            let is_senders = xml::element(member, "SenderFault").map(|fault| fault == "true");
            let (code, message) = (value(member, "Code"), value(member, "Message"));
            (id(member), Err(Said { code, message, is_senders }))
        });
        by_place(taken.chain(failed), count)
    }

    fn look(&self) -> Request {
        self.request_of("sns:GetTopicAttributes", "GetTopicAttributes", "")
    }

    fn seen(&self, _body: &[u8]) -> String {
        let kind = if self.is_fifo { "FIFO topic" } else { "topic" };
        format!("{kind} {} is there", short(&self.topic_arn))
    }
}
