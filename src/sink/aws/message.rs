//! What the services share in what they take of an event: names, groups, attributes, and text that
//! XML can have.

use std::fmt::Write as _;

use super::Error;
use super::sign::sha256;
use crate::envelope::Envelope;
use crate::sink::outbox;
use crate::sink::template::{Event, Template};

/// What every attribute of walgate's own begins with.
const PREFIX: &str = "walgate-";

/// A message of SQS or SNS has so many attributes at most.
const ATTRIBUTES_MAX: usize = 10;

/// An attribute's name is no longer.
const NAME_CHARS_MAX: usize = 256;

/// A deduplication id and a message group are no longer.
pub(super) const ID_CHARS_MAX: usize = 128;

/// Reads a template that the setting `key` holds.
pub(super) fn template(key: &'static str, text: &str) -> Result<Template, Error> {
    Template::parse(text).map_err(|source| Error::Template { key, source })
}

/// Returns what the event's order goes by: the template's text, or its key's JSON; where it has
/// none, its table, whose events are in order with each other.
pub(super) fn group(template: Option<&Template>, event: &Event<'_>) -> Result<String, String> {
    let envelope = event.envelope;
    if let Some(template) = template {
        return template.render(event).map_err(|problem| problem.to_string());
    }
    let key = str::from_utf8(&envelope.key).unwrap_or_default();
    Ok(match key {
        "" | "null" => envelope.table().unwrap_or_else(|| "walgate".to_owned()),
        key => key.to_owned(),
    })
}

/// Returns the text, or its hash where it is too long or has other signs than letters, digits and
/// punctuation.
pub(super) fn id(text: String) -> String {
    let fits = text.len() <= ID_CHARS_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits && !text.is_empty() { text } else { sha256(text.as_bytes()) }
}

/// Returns the attributes of a message: walgate's own, and the headers of an outbox; or says which
/// of those stands in the way. What is said holds no value.
pub(super) fn attributes(
    envelope: &Envelope,
    replay: u32,
) -> Result<Vec<(String, String)>, String> {
    let own = |name: &str, value: String| (format!("{PREFIX}{name}"), value);
    let mut attributes =
        vec![own("id", envelope.id.to_string()), own("op", envelope.operation.as_str().to_owned())];
    attributes.extend(envelope.table().map(|table| own("table", table)));
    if let Some((name, version)) = &envelope.route.mapping {
        attributes.push(own("mapping", format!("{name}-v{version}")));
    }
    if replay > 0 {
        attributes.push(own("replay", "true".to_owned()));
    }
    let headers = match &envelope.outbox {
        Some(outbox) => outbox::headers(outbox)?,
        None => Vec::new(),
    };
    for (name, value) in headers {
        if !is_name(&name) {
            return Err("outbox.headers: a name that no attribute has".to_owned());
        }
        let value = value.and_then(|value| match value.as_str() {
            "" => Err("empty, which no attribute is"),
            text if text.chars().all(is_of_xml) => Ok(value),
            _ => Err("a character that no attribute has"),
        });
        let value = value.map_err(|problem| format!("outbox.headers.{name}: {problem}"))?;
        if name.to_ascii_lowercase().starts_with(PREFIX) {
            return Err(format!("outbox.headers.{name}: an event can't set it"));
        }
        attributes.push((name, value));
    }
    if attributes.len() > ATTRIBUTES_MAX {
        let room = ATTRIBUTES_MAX.saturating_sub(attributes.len().saturating_sub(ATTRIBUTES_MAX));
        return Err(format!(
            "outbox.headers: more than fit beside walgate's own into {ATTRIBUTES_MAX} attributes \
             ({room} do)"
        ));
    }
    Ok(attributes)
}

/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let lower = name.to_ascii_lowercase();
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(fits)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && !lower.starts_with("aws.")
        && !lower.starts_with("amazon.")
}

/// Whether XML 1.0 can have the character.
const fn is_of_xml(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// Returns a body as text; characters that XML can't have, which stand inside strings, are written
/// as JSON also writes them.
pub(super) fn text(body: &[u8]) -> Result<String, String> {
    let body = str::from_utf8(body).map_err(|_| "the body is no text".to_owned())?;
    if body.chars().all(is_of_xml) {
        return Ok(body.to_owned());
    }
    Ok(body.chars().fold(String::with_capacity(body.len() + 16), |mut text, letter| {
        if is_of_xml(letter) {
            text.push(letter);
        } else {
            let _ = write!(text, "\\u{:04x}", u32::from(letter));
        }
        text
    }))
}

/// Returns the text as JSON writes it.
pub(super) fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_can_not_have_is_escaped_as_json_does() {
        assert_eq!(text("{\"a\":\"ä 🙂\u{7f}\"}".as_bytes()).unwrap(), "{\"a\":\"ä 🙂\u{7f}\"}");
        let odd = text("{\"a\":\"x\u{fffe}\u{ffff}y\u{b}\"}".as_bytes()).unwrap();
        assert_eq!(odd, r#"{"a":"x\ufffe\uffffy\u000b"}"#);
        let read: serde_json::Value = serde_json::from_str(&odd).unwrap();
        assert_eq!(read["a"], "x\u{fffe}\u{ffff}y\u{b}");
    }

    #[test]
    fn an_id_that_is_too_long_or_odd_is_hashed() {
        assert_eq!(id(r#"{"id":42}"#.to_owned()), r#"{"id":42}"#);
        for odd in ["", "a b", "ä", &"x".repeat(129)] {
            assert_eq!(id(odd.to_owned()), sha256(odd.as_bytes()), "{odd}");
        }
        assert_eq!(id("x".repeat(128)), "x".repeat(128));
    }

    #[test]
    fn only_an_attributes_name_is_one() {
        for name in ["a", "trace-id", "x.y_z", &"n".repeat(256)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".a", "a.", "a..b", "a b", "ä", "AWS.x", "amazon.x", &"n".repeat(257)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
