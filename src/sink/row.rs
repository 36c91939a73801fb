//! [`Change`]: an event in the walgate format as a sink reads it that keeps rows.
//!
//! Values are the JSON as it is written: no digit is parsed.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::chunk::Operation;
use crate::envelope::Envelope;

/// What an event tells of a row.
#[derive(Debug)]
pub(in crate::sink) struct Change<'a> {
    pub(in crate::sink) operation: Operation,
    /// The key, where the route has one.
    pub(in crate::sink) key: Option<Key<'a>>,
    /// The old key, where an update changed it.
    pub(in crate::sink) before_key: Option<Key<'a>>,
    /// What was sent. Of a delete the key's columns or the old row, of a TRUNCATE nothing.
    pub(in crate::sink) data: Vec<Field<'a>>,
    /// Names of the fields that were not sent since they did not change.
    pub(in crate::sink) unchanged: Vec<Text<'a>>,
}

/// A row's key: told apart from others by its bytes.
#[derive(Clone, Debug)]
pub(in crate::sink) struct Key<'a> {
    /// The JSON object as the event has it: the same key always has the same.
    pub(in crate::sink) raw: &'a str,
    /// Its members.
    pub(in crate::sink) fields: Vec<Field<'a>>,
}

/// A member of `data` or of a key.
#[derive(Clone, Debug)]
pub(in crate::sink) struct Field<'a> {
    pub(in crate::sink) name: Text<'a>,
    pub(in crate::sink) value: &'a RawValue,
    /// It is the JSON value null, as against SQL NULL.
    pub(in crate::sink) is_json_null: bool,
}

impl Field<'_> {
    /// Whether it is NULL. Not of the JSON value null.
    pub(in crate::sink) fn is_null(&self) -> bool {
        self.value.get() == "null" && !self.is_json_null
    }
}

/// The identity of the stream that an event comes from (`source`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize)]
pub(in crate::sink) struct Origin {
    pub(in crate::sink) system: String,
    pub(in crate::sink) database: String,
    pub(in crate::sink) slot: String,
}

/// An event that is no change of a row. Holds no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::sink) enum Unfit {
    #[error("a logical message is no row")]
    Message,
    #[error("the event's data is no object with a name for each value")]
    Data,
    #[error("the event is not in the walgate format")]
    Body,
}

impl<'a> Change<'a> {
    /// Reads an event's body.
    pub(in crate::sink) fn read(envelope: &'a Envelope) -> Result<Self, Unfit> {
        if envelope.operation == Operation::Message {
            return Err(Unfit::Message);
        }
        let body: Body<'a> = serde_json::from_slice(&envelope.body).map_err(|_| Unfit::Body)?;
        let key = |raw: &'a RawValue| -> Result<Key<'a>, Unfit> {
            let Fields(fields) = serde_json::from_str(raw.get()).map_err(|_| Unfit::Body)?;
            Ok(Key { raw: raw.get(), fields })
        };
        let mut data = match body.data {
            None => Vec::new(),
            Some(raw) => serde_json::from_str::<Fields<'_>>(raw.get()).map_err(|_| Unfit::Data)?.0,
        };
        if !body.json_nulls.is_empty() {
            for field in &mut data {
                field.is_json_null = body.json_nulls.contains(&field.name);
            }
        }
        Ok(Self {
            operation: envelope.operation,
            key: body.key.map(key).transpose()?,
            before_key: body.before_key.map(key).transpose()?,
            data,
            unchanged: body.unchanged,
        })
    }
}

impl Origin {
    /// Reads where an event comes from.
    pub(in crate::sink) fn read(envelope: &Envelope) -> Result<Self, Unfit> {
        #[derive(serde::Deserialize)]
        struct Body {
            source: Origin,
        }
        let body: Body = serde_json::from_slice(&envelope.body).map_err(|_| Unfit::Body)?;
        Ok(body.source)
    }
}

#[derive(serde::Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    before_key: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    unchanged: Vec<Text<'a>>,
    #[serde(borrow, default)]
    json_nulls: Vec<Text<'a>>,
}

/// Text that is copied only where it was escaped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(transparent)]
pub(in crate::sink) struct Text<'a>(#[serde(borrow)] pub(in crate::sink) Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The members of an object in their order.
#[derive(Debug)]
pub(in crate::sink) struct Fields<'a>(pub(in crate::sink) Vec<Field<'a>>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    fields.push(Field { name, value, is_json_null: false });
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}
