//! `{{ }}`: text with places for values of the event, in URLs, headers, topics, subjects.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::chunk::Operation;
use crate::envelope::Envelope;
use crate::relation::quote_identifier;
use crate::sink::Form;

/// A text with places, checked when the config is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink) struct Template {
    /// Literals and places as they stand.
    pub(in crate::sink) parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink) enum Part {
    /// Goes as it is.
    Literal(String),
    /// Is filled from the event.
    Place(Path),
}

/// The way to a value: `data.address.city`, names with other signs in quotes: `key."order id"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink) struct Path {
    /// As written, for messages.
    text: String,
    segments: Vec<String>,
}

/// A template that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("`{{{{` is not closed by `}}}}`")]
    Open,
    /// Not a path.
    #[error("`{{{{ {0} }}}}` is not a path such as `key.id` or `data.\"order id\"`")]
    Path(String),
}

/// An event without the value that a template needs. Holds the path, never the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::sink) enum ValueError {
    #[error("the event has no `{0}`")]
    Missing(String),
    #[error("`{0}` is null")]
    Null(String),
    #[error("`{0}` is an object or a list")]
    NotScalar(String),
}

impl Template {
    /// Reads the text.
    pub(in crate::sink) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) = after.split_once("}}").ok_or(TemplateError::Open)?;
            if !before.is_empty() {
                parts.push(Part::Literal(before.to_owned()));
            }
            parts.push(Part::Place(Path::parse(inside.trim())?));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// Returns the text when there is nothing to fill in.
    pub(in crate::sink) fn fixed(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Fills the places with the values as they are.
    pub(in crate::sink) fn render(&self, event: &Event<'_>) -> Result<String, ValueError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Place(path) => text.push_str(&event.value(path)?),
            }
        }
        Ok(text)
    }
}

impl Path {
    /// Whether it is this one.
    pub(in crate::sink) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    fn parse(text: &str) -> Result<Self, TemplateError> {
        let wrong = || TemplateError::Path(text.to_owned());
        let mut segments = Vec::new();
        let mut rest = text;
        loop {
            let (segment, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or_else(wrong)?,
                None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
            };
            let bare = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
            if segment.is_empty() || !(rest.starts_with('"') || segment.chars().all(bare)) {
                return Err(wrong());
            }
            segments.push(segment.to_owned());
            match after.strip_prefix('.') {
                Some(next) => rest = next,
                None if after.is_empty() => return Ok(Self { text: text.to_owned(), segments }),
                None => return Err(wrong()),
            }
        }
    }
}

/// What templates see of an event: what the contract calls its members, whatever the format.
/// `id op table key outbox route mapping commit` come from the envelope, the rest from the body,
/// whose format says what `data` is called.
#[derive(Clone, Copy, Debug)]
pub(in crate::sink) struct Event<'a> {
    /// The event.
    pub(in crate::sink) envelope: &'a Envelope,
    /// What its body is.
    pub(in crate::sink) form: Form,
}

impl<'a> Event<'a> {
    /// Returns the value at `path` as text: a string's content, a number as it is written.
    pub(in crate::sink) fn value(&self, path: &Path) -> Result<Cow<'a, str>, ValueError> {
        let Self { envelope, .. } = self;
        let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        let missing = || ValueError::Missing(path.text.clone());
        let position = envelope.id.position;
        Ok(match segments.as_slice() {
            ["id"] => envelope.id.to_string().into(),
            ["op"] => envelope.operation.as_str().into(),
            ["table"] => envelope.table().ok_or_else(missing)?.into(),
            ["table", part] => {
                let entry = envelope.chunk.entries.get(envelope.entry as usize);
                let relation = entry.and_then(|entry| envelope.chunk.relation(entry));
                let relation = relation.ok_or_else(missing)?;
                match *part {
                    "schema" => quote_identifier(&relation.namespace).into(),
                    "name" => quote_identifier(&relation.name).into(),
                    _ => return Err(missing()),
                }
            }
            ["route"] => envelope.route.name.as_str().into(),
            ["mapping", member] => {
                let (name, version) = envelope.route.mapping.as_ref().ok_or_else(missing)?;
                match *member {
                    "name" => name.as_str().into(),
                    "version" => version.to_string().into(),
                    _ => return Err(missing()),
                }
            }
            ["commit", "lsn"] => position.commit_lsn.to_string().into(),
            ["commit", "seq"] => position.seq.to_string().into(),
            ["outbox", rest @ ..] => {
                Self::find(envelope.outbox.as_ref().ok_or_else(missing)?, rest, path)?
            }
            ["key", rest @ ..] => Self::find(&envelope.key, rest, path)?,
            ["data", rest @ ..] => match self.data_member() {
                Some(member) => {
                    let way = [&[member], rest].concat();
                    Self::find(&envelope.body, &way, path)?
                }
                None => Self::find(&envelope.body, rest, path)?,
            },
            ["before", rest @ ..] if self.form == Form::CloudEvents => {
                let json = Self::find(&envelope.body, &["before"], path)?;
                Event::find(json.as_bytes(), rest, path)?.into_owned().into()
            }
            all => Self::find(&envelope.body, all, path)?,
        })
    }

    /// Returns what the body calls the data; none: it is the data.
    const fn data_member(&self) -> Option<&'static str> {
        match (self.form, self.envelope.operation) {
            (Form::Walgate | Form::CloudEvents, _) => Some("data"),
            (Form::Mapped, _) => None,
            (Form::Debezium, Operation::Delete) => Some("before"),
            (Form::Debezium, _) => Some("after"),
        }
    }

    /// Walks down from a JSON document. Numbers keep their digits, since nothing is parsed that
    /// is not on the way.
    fn find(json: &'a [u8], way: &[&str], path: &Path) -> Result<Cow<'a, str>, ValueError> {
        let missing = || ValueError::Missing(path.text.clone());
        let mut value: &'a RawValue = serde_json::from_slice(json).map_err(|_| missing())?;
        for segment in way {
            let raw = value.get();
            value = if raw.starts_with('[') {
                let items: Vec<&'a RawValue> = serde_json::from_str(raw).map_err(|_| missing())?;
                let index: usize = segment.parse().map_err(|_| missing())?;
                items.get(index).copied().ok_or_else(missing)?
            } else {
                let mut members: BTreeMap<String, &'a RawValue> =
                    serde_json::from_str(raw).map_err(|_| missing())?;
                members.remove(*segment).ok_or_else(missing)?
            };
        }
        let raw = value.get();
        match raw.as_bytes().first() {
            Some(b'"') => {
                serde_json::from_str::<String>(raw).map(Cow::Owned).map_err(|_| missing())
            }
            Some(b'n') => Err(ValueError::Null(path.text.clone())),
            Some(b'{' | b'[') => Err(ValueError::NotScalar(path.text.clone())),
            _ => Ok(Cow::Borrowed(raw)),
        }
    }
}
