//! The message of an event: its routing key, properties and headers.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::{Config, Error};
use crate::envelope::Envelope;
use crate::sink::template::{Event, Template};
use crate::sink::{Form, outbox};

/// Messages that outlive a restart of the server, and others.
const PERSISTENT: u8 = 2;
const TRANSIENT: u8 = 1;

/// What headers of walgate's own begin with.
const PREFIX: &str = "walgate-";

/// What a frame has beside properties and headers, with room to spare, in bytes.
const FRAME_REST_BYTES: usize = 1024;

/// What a header takes beside its name and value: their lengths and the value's kind, in bytes.
const HEADER_REST_BYTES: usize = 6;

/// Makes the messages of a sink.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) exchange: ShortString,
    routing_key: Template,
    form: Form,
    delivery_mode: u8,
}

/// What an event is sent with, beside its body.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
}

impl Writer {
    pub(super) fn new(config: &Config, form: Form) -> Result<Self, Error> {
        let long = |key| move |_| Error::Long { key };
        let exchange = ShortString::try_new(config.exchange.as_str()).map_err(long("exchange"))?;
        let routing_key = Template::parse(&config.routing_key).map_err(Error::Template)?;
        if let Some(fixed) = routing_key.fixed() {
            ShortString::try_new(fixed).map_err(long("routing_key"))?;
        }
        let delivery_mode = if config.persistent { PERSISTENT } else { TRANSIENT };
        Ok(Self { exchange, routing_key, form, delivery_mode })
    }

    /// Returns the routing key where it is the same for all events.
    pub(super) fn fixed_key(&self) -> Option<&str> {
        self.routing_key.fixed()
    }

    /// Makes the message of an event, or says what of it stands in the way, without a value.
    /// Properties and headers have to fit into a frame.
    pub(super) fn write(
        &self,
        event: &Envelope,
        replay: u32,
        frame_bytes_max: usize,
    ) -> Result<Message, String> {
        let routing_key = self
            .routing_key
            .render(&Event { envelope: event, form: self.form })
            .map_err(|error| format!("routing_key: {error}"))?;
        let routing_key = ShortString::try_new(routing_key)
            .map_err(|_| "routing_key: longer than 255 bytes".to_owned())?;
        let mut headers = Headers::default();
        if let Some(outbox) = &event.outbox {
            headers.add_outbox(outbox)?;
        }
        headers.add_own(event, replay);
        if headers.bytes.saturating_add(FRAME_REST_BYTES) > frame_bytes_max {
            return Err("headers: more than fits into a frame".to_owned());
        }
        let own = |text: String| ShortString::try_new(text).map_err(|error| error.to_string());
        let mut properties = BasicProperties::default()
            .with_content_type(self.content_type().into())
            .with_delivery_mode(self.delivery_mode)
            .with_message_id(own(event.repeat_id(replay))?)
            .with_type(event.operation.as_str().into())
            .with_app_id("walgate".into())
            .with_headers(headers.table);
        if let Some(time) = event.commit_time {
            let seconds = time.unix_micros().div_euclid(1_000_000);
            properties = properties.with_timestamp(u64::try_from(seconds).unwrap_or_default());
        }
        Ok(Message { routing_key, properties })
    }

    const fn content_type(&self) -> &'static str {
        match self.form {
            Form::CloudEvents => "application/cloudevents+json",
            Form::Walgate | Form::Mapped | Form::Debezium => "application/json",
        }
    }
}

/// Headers, and how much room they take.
#[derive(Default)]
struct Headers {
    table: FieldTable,
    bytes: usize,
}

impl Headers {
    fn add(&mut self, name: ShortString, value: String) {
        let bytes = name.as_str().len().saturating_add(value.len());
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(HEADER_REST_BYTES);
        self.table.insert(name, AMQPValue::LongString(value.into()));
    }

    fn add_own(&mut self, event: &Envelope, replay: u32) {
        let mut own =
            vec![("walgate-id", event.id.to_string()), ("walgate-route", event.route.name.clone())];
        own.extend(event.table().map(|table| ("walgate-table", table)));
        if let Some((name, version)) = &event.route.mapping {
            own.push(("walgate-mapping", name.clone()));
            own.push(("walgate-mapping-version", version.to_string()));
        }
        if replay > 0 {
            own.push(("walgate-replay", "true".to_owned()));
        }
        for (name, value) in own {
            self.add(name.into(), value);
        }
    }

    /// Adds the headers of an outbox, or says which of them stands in the way. What is said holds
    /// no value, and a name only where it can be one.
    fn add_outbox(&mut self, outbox: &[u8]) -> Result<(), String> {
        for (name, value) in outbox::headers(outbox)? {
            let short = ShortString::try_new(name.as_str());
            let Some(short) = short.ok().filter(|name| !name.as_str().is_empty()) else {
                return Err("outbox.headers: a name that no header has".to_owned());
            };
            if name.to_ascii_lowercase().starts_with(PREFIX) {
                return Err(format!("header {name}: an event can't set it"));
            }
            let value = value.map_err(|problem| format!("header {name}: {problem}"))?;
            self.add(short, value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Timestamp;
    use crate::sink::amqp::tests::{config, envelope, writer};

    const FRAME: usize = 128 * 1024;

    fn outbox(headers: &str) -> Envelope {
        let text = format!(r#"{{"headers":{headers}}}"#);
        Envelope { outbox: Some(Box::new(text.into())), ..envelope(7) }
    }

    fn headers(event: &Envelope, replay: u32) -> Vec<(String, String)> {
        let message = writer(&config("k")).write(event, replay, FRAME).unwrap();
        let table = message.properties.headers().clone().unwrap();
        let text = |value: &AMQPValue| match value {
            AMQPValue::LongString(text) => text.to_string(),
            other => format!("{other:?}"),
        };
        let table = table.inner().iter();
        table.map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    #[test]
    fn a_message_says_what_it_is_and_by_what_a_repeat_is_known() {
        let event = Envelope {
            commit_time: Some(Timestamp::from_unix_micros(1_700_000_000_999_999)),
            ..envelope(7)
        };
        let Message { routing_key, properties } =
            writer(&config("cdc.{{ key.id }}.{{ data.v }}")).write(&event, 2, FRAME).unwrap();
        assert_eq!(routing_key.as_str(), "cdc.7.x");
        let text = |value: &Option<ShortString>| value.clone().unwrap().to_string();
        let id = "00000001-00000000017C8338-00000007";
        assert_eq!(text(properties.message_id()), format!("{id}-v3-r2"));
        assert_eq!(text(properties.content_type()), "application/json");
        assert_eq!(text(properties.kind()), "insert");
        assert_eq!(text(properties.app_id()), "walgate");
        assert_eq!(*properties.delivery_mode(), Some(2));
        assert_eq!(*properties.timestamp(), Some(1_700_000_000));
        let expected = [
            ("walgate-id", id),
            ("walgate-mapping", "m"),
            ("walgate-mapping-version", "3"),
            ("walgate-replay", "true"),
            ("walgate-route", "r"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers(&event, 2), expected);
    }

    #[test]
    fn an_outbox_brings_its_headers() {
        let found = headers(&outbox(r#"{"trace":"a-1","n":3,"none":null}"#), 0);
        let expected = [("n", "3"), ("trace", "a-1")];
        assert_eq!(&found[..2], expected.map(|(name, value)| (name.into(), value.into())));
    }

    #[test]
    fn what_makes_no_message_refuses_the_event() {
        #[track_caller]
        fn check(routing_key: &str, event: &Envelope, frame: usize, expected: &str) {
            let said = writer(&config(routing_key)).write(event, 0, frame).unwrap_err();
            assert_eq!(said, expected);
        }
        check("{{ data.w }}", &envelope(1), FRAME, "routing_key: the event has no `data.w`");
        let long = "{{ data.v }}".repeat(256);
        check(&long, &envelope(1), FRAME, "routing_key: longer than 255 bytes");
        let name = "outbox.headers: a name that no header has";
        check("k", &outbox(r#"{"":"1"}"#), FRAME, name);
        check("k", &outbox(&format!(r#"{{"{}":"1"}}"#, "x".repeat(256))), FRAME, name);
        let own = "header Walgate-Id: an event can't set it";
        check("k", &outbox(r#"{"Walgate-Id":"1"}"#), FRAME, own);
        check("k", &outbox(r#"{"x":[]}"#), FRAME, "header x: an object or a list");
        let large = outbox(&format!(r#"{{"x":"{}"}}"#, "y".repeat(4096)));
        check("k", &large, 4096, "headers: more than fits into a frame");
        assert!(writer(&config("k")).write(&large, 0, FRAME).is_ok());
    }
}
