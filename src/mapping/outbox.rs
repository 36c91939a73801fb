//! [`Outbox`]: rows and messages that hold an event's payload, and what is to be sent with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::convert;
use super::field::As;
use super::text::write_name;
use super::verdict::{Reason, Verdict};
use crate::change::{Cell, Change};
use crate::pgoutput::value::{is_json_null, write_json};
use crate::relation::{Kind, Relation};

/// Under which names a table's columns, or the members of a message's JSON, hold what makes up an
/// event. Unquoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// The event's identity to its writer.
    pub id: String,
    /// What kind of thing it is about.
    pub aggregate_type: String,
    /// Which one: the key.
    pub aggregate_id: String,
    /// What happened.
    pub kind: String,
    /// What is sent.
    pub payload: String,
    /// An object of headers for the sink; none: `headers`, where there is one.
    pub headers: Option<String>,
}

impl Default for Outbox {
    fn default() -> Self {
        let name = str::to_owned;
        Self {
            id: name("id"),
            aggregate_type: name("aggregate_type"),
            aggregate_id: name("aggregate_id"),
            kind: name("type"),
            payload: name("payload"),
            headers: None,
        }
    }
}

/// One of what an outbox holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxName<'a> {
    /// The word that the config and the event have for it.
    pub word: &'static str,
    /// The column, or the member of the message's JSON.
    pub name: &'a str,
    /// Without it there is no event.
    pub required: bool,
}

impl Outbox {
    /// Returns all that it holds.
    #[must_use]
    pub fn names(&self) -> [OutboxName<'_>; 6] {
        let Each { id, kind, aggregate_type, aggregate_id, payload, headers } = self.each();
        [id, kind, aggregate_type, aggregate_id, payload, headers]
    }

    fn each(&self) -> Each<OutboxName<'_>> {
        const fn needs<'a>(word: &'static str, name: &'a str) -> OutboxName<'a> {
            OutboxName { word, name, required: true }
        }
        let headers = self.headers.as_deref();
        Each {
            id: needs("id", &self.id),
            kind: needs("type", &self.kind),
            aggregate_type: needs("aggregate_type", &self.aggregate_type),
            aggregate_id: needs("aggregate_id", &self.aggregate_id),
            payload: needs("payload", &self.payload),
            headers: OutboxName {
                word: "headers",
                name: headers.unwrap_or("headers"),
                required: headers.is_some(),
            },
        }
    }

    /// Reads the content of a logical message.
    pub(super) fn message<'a>(&self, content: &'a [u8]) -> Result<Parts<'a>, Verdict> {
        let members: BTreeMap<String, &'a RawValue> = serde_json::from_slice(content)
            .map_err(|_| Verdict::reject(&"message".into(), Reason::NotObject))?;
        self.each().try_map(|wanted| match members.get(wanted.name) {
            Some(value) if value.get() == "null" => Ok(Part::Null),
            Some(value) => Ok(Part::Json(value.get().as_bytes())),
            None if wanted.required => {
                let reason = Reason::NoMember(wanted.name.into());
                Err(Verdict::reject(&field(wanted.word), reason))
            }
            None => Ok(Part::Null),
        })
    }
}

/// As rejections name it.
fn field(word: &str) -> Arc<str> {
    format!("outbox.{word}").into()
}

/// Something for each of what an outbox holds.
#[derive(Debug)]
pub(super) struct Each<T> {
    id: T,
    kind: T,
    aggregate_type: T,
    aggregate_id: T,
    payload: T,
    headers: T,
}

impl<T> Each<T> {
    fn try_map<U, E>(self, mut map: impl FnMut(T) -> Result<U, E>) -> Result<Each<U>, E> {
        Ok(Each {
            id: map(self.id)?,
            kind: map(self.kind)?,
            aggregate_type: map(self.aggregate_type)?,
            aggregate_id: map(self.aggregate_id)?,
            payload: map(self.payload)?,
            headers: map(self.headers)?,
        })
    }

    const fn as_ref(&self) -> Each<&T> {
        let Self { id, kind, aggregate_type, aggregate_id, payload, headers } = self;
        Each { id, kind, aggregate_type, aggregate_id, payload, headers }
    }
}

/// Where a table has its columns, or what its lack of one means for every row.
#[derive(Debug)]
pub(super) struct OutboxPlan(Result<Each<Place>, Verdict>);

#[derive(Debug)]
struct Place {
    word: &'static str,
    /// None: there is none, and there need not be.
    column: Option<(usize, Kind)>,
}

impl OutboxPlan {
    /// Finds the columns in one version of a table.
    pub(super) fn compile(outbox: &Outbox, relation: &Relation) -> Self {
        Self(outbox.each().try_map(|OutboxName { word, name, required }| {
            let found = relation
                .column(name)
                .and_then(|index| Some((index, relation.columns.get(index)?.kind.clone())));
            if found.is_none() && required {
                return Err(Verdict::reject(&field(word), Reason::NoColumn(name.into())));
            }
            Ok(Place { word, column: found })
        }))
    }

    /// Takes what makes up the event out of a row.
    pub(super) fn row<'a>(&'a self, change: &Change<'a>) -> Result<Parts<'a>, Verdict> {
        self.0.as_ref().map_err(Verdict::clone)?.as_ref().try_map(|place| {
            let Some((index, kind)) = &place.column else { return Ok(Part::Null) };
            match change.new_cell(*index) {
                Cell::Value(text) => Ok(Part::Cell(kind, text)),
                Cell::Null => Ok(Part::Null),
                Cell::Unchanged | Cell::Absent => {
                    Err(Verdict::reject(&field(place.word), Reason::Unchanged))
                }
            }
        })
    }
}

/// What makes up one event, still in its frame.
pub(super) type Parts<'a> = Each<Part<'a>>;

#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    Null,
    /// A column's text.
    Cell(&'a Kind, &'a [u8]),
    /// A member of a message.
    Json(&'a [u8]),
}

impl Part<'_> {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Cell(kind, text) => write_json(kind, text, out),
            Self::Json(json) => write_json(&Kind::Json, json, out),
        }
    }

    /// Writes what names something: never null, an object or a list.
    fn write_scalar(self, word: &str, out: &mut Vec<u8>) -> Result<(), Verdict> {
        if let Self::Null = self {
            return Err(Verdict::reject(&field(word), Reason::Null));
        }
        let start = out.len();
        self.write(out);
        match out.get(start) {
            Some(b'{' | b'[') => Err(Verdict::reject(&field(word), Reason::NotScalar)),
            // The JSON value null of a json column.
            Some(b'n') => Err(Verdict::reject(&field(word), Reason::Null)),
            _ => Ok(()),
        }
    }
}

impl<'a> Parts<'a> {
    /// Returns what names the event and its aggregate, by its word.
    pub(super) const fn named(&self) -> [(&'static str, Part<'a>); 4] {
        [
            ("id", self.id),
            ("type", self.kind),
            ("aggregate_type", self.aggregate_type),
            ("aggregate_id", self.aggregate_id),
        ]
    }

    /// Appends the event's key.
    pub(super) fn write_key(&self, out: &mut Vec<u8>) -> Result<(), Verdict> {
        out.extend_from_slice(b"{\"aggregate_id\":");
        self.aggregate_id.write_scalar("aggregate_id", out)?;
        out.push(b'}');
        Ok(())
    }

    /// Appends the event's data.
    pub(super) fn write_payload(&self, out: &mut Vec<u8>) {
        self.payload.write(out);
    }

    /// Whether the payload is the JSON value null, as against SQL's.
    pub(super) fn payload_is_json_null(&self) -> bool {
        matches!(self.payload, Part::Cell(kind, text) if is_json_null(kind, text))
    }

    /// Appends the event's `outbox`.
    pub(super) fn write_outbox(&self, out: &mut Vec<u8>) -> Result<(), Verdict> {
        let mut mark = b'{';
        for (word, part) in self.named() {
            out.push(mark);
            mark = b',';
            write_name(word, out);
            let start = out.len();
            part.write_scalar(word, out)?;
            // Destinations are named by it.
            if word == "aggregate_type" && out.get(start..) == Some(b"\"\"") {
                return Err(Verdict::reject(&field(word), Reason::Empty));
            }
        }
        out.push(mark);
        write_name("headers", out);
        self.write_headers(out)?;
        out.push(b'}');
        Ok(())
    }

    /// Appends the headers: an object or null.
    pub(super) fn write_headers(&self, out: &mut Vec<u8>) -> Result<(), Verdict> {
        let start = out.len();
        let written = match self.headers {
            Part::Cell(kind, text) => convert::write(As::Json, kind, text, out),
            part => {
                part.write(out);
                true
            }
        };
        match out.get(start) {
            Some(b'{' | b'n') if written => Ok(()),
            _ => Err(Verdict::reject(&field("headers"), Reason::NotObject)),
        }
    }
}
