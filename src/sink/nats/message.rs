//! The message of an event: its headers, by which the stream knows a repeat.

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::message::PublishMessage;
use async_nats::{HeaderMap, HeaderName, HeaderValue};

use super::{Config, Error};
use crate::envelope::Envelope;
use crate::sink::{Common, Form, outbox};

const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
const REPLAY: &str = "walgate-replay";
const CONTENT_TYPE: &str = "content-type";

/// What an event's own headers may not begin with: what the server makes something of.
const SERVERS_OWN: &str = "nats-";

/// The longest value of an event's header, in bytes.
const HEADER_VALUE_BYTES_MAX: usize = 8 * 1024;

/// Makes the messages of a sink.
#[derive(Debug)]
pub(super) struct Writer {
    stream: Option<HeaderValue>,
    id_prefix: String,
    content_type: &'static str,
}

impl Writer {
    pub(super) fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        if config.id_prefix.chars().any(char::is_control) {
            return Err(Error::IdPrefix);
        }
        let stream = match &config.stream {
            Some(name) if is_stream_name(name) => Some(name.parse().map_err(|_| Error::Stream)?),
            Some(_) => return Err(Error::Stream),
            None => None,
        };
        let content_type = match common.form {
            Form::CloudEvents => "application/cloudevents+json",
            Form::Walgate | Form::Mapped | Form::Debezium => "application/json",
        };
        Ok(Self { stream, id_prefix: config.id_prefix.clone(), content_type })
    }

    /// Makes the message of an event, or says what of it stands in the way, without a value.
    pub(super) fn write(&self, event: &Envelope, replay: u32) -> Result<PublishMessage, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, self.content_type);
        if let Some(outbox) = &event.outbox {
            add_outbox(outbox, &mut headers)?;
        }
        let id: HeaderValue = self.message_id(event, replay).parse().map_err(no_header)?;
        headers.insert(NATS_MESSAGE_ID, id);
        if let Some(stream) = &self.stream {
            headers.insert(EXPECTED_STREAM, stream.clone());
        }
        if replay > 0 {
            headers.insert(REPLAY, "true");
        }
        Ok(PublishMessage::build().payload(event.body.clone()).headers(headers))
    }

    /// Returns what the stream knows a repeat by: the event's id and its mapping's version, and
    /// how often an operator has sent it again.
    fn message_id(&self, event: &Envelope, replay: u32) -> String {
        format!("{}{}", self.id_prefix, event.repeat_id(replay))
    }
}

fn no_header<E>(_: E) -> String {
    "its id is no header's value".to_owned()
}

/// Adds the headers of an outbox, or says which of them stands in the way. What is said holds no
/// value, and a name only where it can be one.
fn add_outbox(outbox: &[u8], headers: &mut HeaderMap) -> Result<(), String> {
    let mut seen: Vec<String> = Vec::new();
    for (text, value) in outbox::headers(outbox)? {
        let name: HeaderName =
            text.parse().map_err(|_| "outbox.headers: a name that no header has".to_owned())?;
        if text.is_empty() {
            return Err("outbox.headers: a name that no header has".to_owned());
        }
        let lower = text.to_ascii_lowercase();
        if lower.starts_with(SERVERS_OWN) || lower == REPLAY {
            return Err(format!("header {text}: an event can't set it"));
        }
        if seen.contains(&lower) {
            return Err(format!("header {text}: given twice"));
        }
        let value = value.and_then(|value| {
            if value.len() > HEADER_VALUE_BYTES_MAX {
                return Err("too long");
            }
            if value.chars().any(char::is_control) {
                return Err("a line end or control character in its value");
            }
            value.parse::<HeaderValue>().map_err(|_| "not a header's value")
        });
        let value = value.map_err(|problem| format!("header {text}: {problem}"))?;
        if lower == CONTENT_TYPE {
            headers.insert(CONTENT_TYPE, value);
        } else {
            headers.insert(name, value);
        }
        seen.push(lower);
    }
    Ok(())
}

fn is_stream_name(name: &str) -> bool {
    let wrong = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '.' | '*' | '>');
    !name.is_empty() && !name.contains(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::nats::tests::{COMMON, envelope};

    fn writer(config: &Config) -> Writer {
        Writer::new(config, &COMMON).unwrap()
    }

    /// The headers as they are sent.
    fn headers(writer: &Writer, event: &Envelope, replay: u32) -> Vec<(String, String)> {
        let message = writer.write(event, replay).unwrap().outbound_message("s");
        let mut headers: Vec<_> = message
            .headers
            .unwrap()
            .iter()
            .map(|(name, values)| (name.to_string(), values[0].to_string()))
            .collect();
        headers.sort_unstable();
        headers
    }

    fn outbox(headers: &str) -> Envelope {
        let text = format!(r#"{{"headers":{headers}}}"#);
        Envelope { outbox: Some(Box::new(text.into())), ..envelope(7, "{}") }
    }

    #[track_caller]
    fn check(found: &[(String, String)], expected: &[(&str, &str)]) {
        let found: Vec<_> =
            found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_id_is_the_events_with_its_mapping_and_replay() {
        let event = envelope(7, "{}");
        let id = "00000001-00000000017C8338-00000007-v3";
        check(
            &headers(&writer(&Config::default()), &event, 0),
            &[("Nats-Msg-Id", id), ("content-type", "application/json")],
        );
        let config =
            Config { stream: Some("CDC".into()), id_prefix: "shop-".into(), ..Config::default() };
        check(
            &headers(&writer(&config), &event, 2),
            &[
                ("Nats-Expected-Stream", "CDC"),
                ("Nats-Msg-Id", &format!("shop-{id}-r2")),
                ("content-type", "application/json"),
                ("walgate-replay", "true"),
            ],
        );
    }

    #[test]
    fn an_outbox_brings_its_headers() {
        let event = outbox(r#"{"trace":"a-1","n":3,"none":null,"Content-Type":"text/plain"}"#);
        let found = headers(&writer(&Config::default()), &event, 0);
        let expected = [("content-type", "text/plain"), ("n", "3"), ("trace", "a-1")];
        check(&found[1..], &expected);
    }

    #[test]
    fn a_header_that_cannot_be_sent_refuses_the_event() {
        let writer = writer(&Config::default());
        for (headers, why) in [
            (r#"{"a b":"1"}"#, "outbox.headers: a name that no header has"),
            (r#"{"":"1"}"#, "outbox.headers: a name that no header has"),
            (r#"{"x:y":"1"}"#, "outbox.headers: a name that no header has"),
            (r#"{"x":"1\r\ny: 2"}"#, "header x: a line end or control character in its value"),
            (r#"{"x":[]}"#, "header x: an object or a list"),
            (r#"{"nats-msg-id":"1"}"#, "header nats-msg-id: an event can't set it"),
            (r#"{"x":"1","X":"2"}"#, "header x: given twice"),
        ] {
            assert_eq!(writer.write(&outbox(headers), 0).unwrap_err(), why, "{headers}");
        }
    }

    #[test]
    fn settings_that_make_no_header_are_refused() {
        let stream = |name: &str| Config { stream: Some(name.into()), ..Config::default() };
        for name in ["", "a b", "a.b", "a*", ">"] {
            assert!(matches!(Writer::new(&stream(name), &COMMON), Err(Error::Stream)), "{name}");
        }
        let prefix = Config { id_prefix: "a\r\n".into(), ..Config::default() };
        assert!(matches!(Writer::new(&prefix, &COMMON), Err(Error::IdPrefix)));
    }
}
