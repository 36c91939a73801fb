//! An event as a message: topic, ordering key, attributes, data.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use super::topic::{Name, Topic};
use super::{Config, Error, cloudevents};
use crate::envelope::Envelope;
use crate::sink::template::{Event, Template};
use crate::sink::{Common, Form, outbox};

/// What every attribute of walgate's own begins with.
const PREFIX: &str = "walgate-";
pub(super) const CONTENT_TYPE: &str = "content-type";

// Source of the limits: <https://cloud.google.com/pubsub/quotas#resource_limits>.

/// A message has so many attributes at most.
const ATTRIBUTES_MAX: usize = 100;
/// An attribute's name is no longer, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// An attribute's value is no longer, in bytes.
const VALUE_BYTES_MAX: usize = 1024;
/// An ordering key is no longer, in bytes.
const ORDERING_KEY_BYTES_MAX: usize = 1024;
/// A message is no larger, in bytes: data, attributes and ordering key together.
const MESSAGE_BYTES_MAX: usize = 10_000_000;

/// What is sent of an event. Made once from the settings.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) topic: Topic,
    ordering: Ordering,
    attributes: Vec<(String, Template)>,
    binary: bool,
    form: Form,
}

/// What the order of messages goes by.
#[derive(Debug)]
enum Ordering {
    /// There is none.
    Off,
    /// The event's key.
    Key,
    /// What the settings say.
    By(Template),
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: Name,
    /// Messages of one are in order; none: in order with no other.
    pub(super) ordering_key: Option<String>,
    /// As a request has it.
    pub(super) json: String,
}

impl Shape {
    /// Checks the settings.
    pub(super) fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        if config.binary && common.form != Form::CloudEvents {
            return Err(Error::NoCloudEvents);
        }
        let template = |key: &str, text: &str| {
            Template::parse(text).map_err(|source| Error::Template { key: key.to_owned(), source })
        };
        let ordering = match (config.ordering, &config.ordering_key) {
            (false, None) => Ordering::Off,
            (false, Some(_)) => return Err(Error::NoOrdering),
            (true, None) => Ordering::Key,
            (true, Some(text)) => Ordering::By(template("ordering_key", text)?),
        };
        let mut attributes = Vec::with_capacity(config.attributes.len());
        for (name, value) in &config.attributes {
            let key = format!("attributes.{name}");
            if let Err(why) = fits(name) {
                return Err(Error::Attribute { key, why });
            }
            let value = template(&key, value.expose())?;
            attributes.push((name.clone(), value));
        }
        let topic = Topic::parse(&config.topic)?;
        Ok(Self { topic, ordering, attributes, binary: config.binary, form: common.form })
    }

    /// Returns the message of an event, or what stands in the way; that holds no value. `replay`:
    /// an operator sends it again.
    pub(super) fn message(&self, envelope: &Envelope, replay: bool) -> Result<Message, String> {
        let event = Event { envelope, form: self.form };
        let topic = self.topic.of(&event)?;
        let ordering_key = self.ordering_key(&event)?;
        let mut attributes = Attributes::of(envelope, replay);
        let data = if self.binary {
            cloudevents::binary(&envelope.body, &mut attributes)?
        } else {
            let kind = match self.form {
                Form::CloudEvents => "application/cloudevents+json",
                Form::Walgate | Form::Mapped | Form::Debezium => "application/json",
            };
            attributes.add(CONTENT_TYPE.to_owned(), kind.to_owned())?;
            &envelope.body
        };
        for (name, value) in &self.attributes {
            let value = value.render(&event);
            let value = value.map_err(|problem| format!("attributes.{name}: {problem}"))?;
            attributes.add(name.clone(), value)?;
        }
        if let Some(outbox) = &envelope.outbox {
            attributes.add_headers(outbox)?;
        }
        let key_bytes = ordering_key.as_ref().map_or(0, String::len);
        let bytes = data.len() + attributes.bytes() + key_bytes;
        if bytes > MESSAGE_BYTES_MAX {
            return Err(format!("a message of {bytes} bytes; the most is {MESSAGE_BYTES_MAX}"));
        }
        let json = json(data, &attributes, ordering_key.as_deref());
        Ok(Message { topic, ordering_key, json })
    }

    /// Returns what the event's order goes by: its key's JSON, or of a table without one its name.
    fn ordering_key(&self, event: &Event<'_>) -> Result<Option<String>, String> {
        let key = match &self.ordering {
            Ordering::Off => return Ok(None),
            Ordering::By(template) => {
                template.render(event).map_err(|problem| format!("ordering_key: {problem}"))?
            }
            Ordering::Key => match str::from_utf8(&event.envelope.key).unwrap_or_default() {
                "" | "null" => event.envelope.table().unwrap_or_else(|| "walgate".to_owned()),
                key => key.to_owned(),
            },
        };
        let fits = (1..=ORDERING_KEY_BYTES_MAX).contains(&key.len());
        Ok(Some(if fits { key } else { sha256(key.as_bytes()) }))
    }
}

/// The attributes of a message.
///
/// Invariant: each name is there once; all are such as Pub/Sub takes.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<(String, String)>);

impl Attributes {
    /// Begins with walgate's own.
    fn of(envelope: &Envelope, replay: bool) -> Self {
        let own = |name: &str, value: String| (format!("{PREFIX}{name}"), value);
        let mut attributes = vec![
            own("id", envelope.id.to_string()),
            own("op", envelope.operation.as_str().to_owned()),
        ];
        attributes.extend(envelope.table().map(|table| own("table", table)));
        if let Some((name, version)) = &envelope.route.mapping {
            attributes.push(own("mapping", format!("{name}-v{version}")));
        }
        if replay {
            attributes.push(own("replay", "true".to_owned()));
        }
        Self(attributes)
    }

    /// Adds one; says what is wrong with it, without its value.
    pub(super) fn add(&mut self, name: String, value: String) -> Result<(), String> {
        if self.0.iter().any(|(known, _)| *known == name) {
            return Err(format!("attribute {name}: an event can't set it"));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(format!("attribute {name}: longer than {VALUE_BYTES_MAX} bytes"));
        }
        if self.0.len() >= ATTRIBUTES_MAX {
            return Err(format!("more than {ATTRIBUTES_MAX} attributes"));
        }
        self.0.push((name, value));
        Ok(())
    }

    /// Adds what an event of an outbox brings.
    fn add_headers(&mut self, outbox: &[u8]) -> Result<(), String> {
        for (name, value) in outbox::headers(outbox)? {
            // A name from a row is shown only where it can be no more than a name.
            let shown = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if name.len() > NAME_BYTES_MAX || !name.bytes().all(shown) {
                return Err("outbox.headers: a name with other signs than letters, digits, `-`, \
                            `_` and `.`, or too long"
                    .to_owned());
            }
            fits(&name).map_err(|why| format!("outbox.headers.{name} {why}"))?;
            let value = value.map_err(|problem| format!("outbox.headers.{name}: {problem}"))?;
            self.add(name, value)?;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// Whether an attribute beside walgate's own may have the name.
fn fits(name: &str) -> Result<(), &'static str> {
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
        return Err("is a name that no attribute has: it is empty, or longer than 256 bytes");
    }
    if name.starts_with("goog") {
        return Err("begins with `goog`, which is Google's own");
    }
    if name.starts_with(PREFIX) || name.starts_with(cloudevents::PREFIX) || name == CONTENT_TYPE {
        return Err("is an attribute that walgate sets itself");
    }
    Ok(())
}

/// Source: <https://cloud.google.com/pubsub/docs/reference/rest/v1/PubsubMessage>.
fn json(data: &[u8], attributes: &Attributes, ordering_key: Option<&str>) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let mut json = String::with_capacity(data.len() * 4 / 3 + attributes.bytes() + 256);
    json.push_str("{\"data\":\"");
    STANDARD.encode_string(data, &mut json);
    json.push_str("\",\"attributes\":{");
    for (place, (name, value)) in attributes.0.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let _ = write!(json, "{comma}{}:{}", text(name), text(value));
    }
    json.push('}');
    if let Some(key) = ordering_key {
        let _ = write!(json, ",\"orderingKey\":{}", text(key));
    }
    json.push('}');
    json
}

fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
