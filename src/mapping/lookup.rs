//! `lookup`: a table of values, by the text of what a column holds.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::mask::hex;
use crate::pgoutput::value::{write_json, write_text_json};
use crate::relation::Kind;

/// A file's entries are stored with the mapping up to this many bytes of JSON; of more only their
/// hash is.
const STORED_BYTES_MAX: usize = 64 * 1024;

/// A table of values. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lookup {
    entries: Arc<HashMap<String, Looked>>,
    /// The SHA-256 of the entries, where they are too many to be stored.
    hash: Option<Arc<str>>,
}

/// What a table has for a text: a value as Postgres would write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Looked {
    /// None: null.
    pub(super) kind: Option<Kind>,
    pub(super) text: Vec<u8>,
}

impl Looked {
    /// Takes a text, or any other JSON as it is written; none: that is none.
    fn read(value: Entry<'_>) -> Option<Self> {
        let json = match value {
            Entry::Text(text) => {
                return Some(Self { kind: Some(Kind::Text), text: text.as_bytes().to_vec() });
            }
            Entry::Json(json) => json.trim(),
        };
        serde_json::from_str::<IgnoredAny>(json).ok()?;
        let (kind, text) = match json.as_bytes() {
            b"null" => (None, Vec::new()),
            b"true" => (Some(Kind::Boolean), b"t".to_vec()),
            b"false" => (Some(Kind::Boolean), b"f".to_vec()),
            [b'"', ..] => {
                let text: String = serde_json::from_str(json).ok()?;
                (Some(Kind::Text), text.into_bytes())
            }
            [b'{' | b'[', ..] => (Some(Kind::Json), json.as_bytes().to_vec()),
            number => (Some(Kind::Numeric), number.to_vec()),
        };
        Some(Self { kind, text })
    }

    /// None: null.
    fn value(&self) -> Option<(&Kind, &[u8])> {
        Some((self.kind.as_ref()?, self.text.as_slice()))
    }

    fn write(&self, out: &mut Vec<u8>) {
        match &self.kind {
            None => out.extend_from_slice(b"null"),
            Some(kind) => write_json(kind, &self.text, out),
        }
    }
}

/// The value of an entry while a table is put together.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// A text.
    Text(&'a str),
    /// JSON as it is written, its digits kept.
    Json(&'a str),
}

impl Lookup {
    /// Takes the entries that stand in the config. Of one key the last counts, and what is no
    /// JSON is left out.
    pub fn inline<'a>(entries: impl IntoIterator<Item = (&'a str, Entry<'a>)>) -> Self {
        let entries = entries.into_iter();
        let read = |(key, value): (&str, _)| Some((key.to_owned(), Looked::read(value)?));
        Self { entries: Arc::new(entries.filter_map(read).collect()), hash: None }
    }

    /// Takes the entries of a file: of many only the hash is stored with the mapping.
    pub fn file<'a>(entries: impl IntoIterator<Item = (&'a str, Entry<'a>)>) -> Self {
        let lookup = Self::inline(entries);
        let json = lookup.json();
        if json.len() <= STORED_BYTES_MAX {
            return lookup;
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, &json);
        Self { hash: Some(hex(digest.as_ref()).into()), ..lookup }
    }

    /// How many entries it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the texts that it has something for, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Returns the values that are not null.
    pub(super) fn values(&self) -> impl Iterator<Item = (&Kind, &[u8])> {
        self.entries.values().filter_map(Looked::value)
    }

    pub(super) fn find(&self, text: &str) -> Option<&Looked> {
        self.entries.get(text)
    }

    /// The hash that stands for the entries in the canonical form; none: they stand there.
    pub(super) fn hash(&self) -> Option<&str> {
        self.hash.as_deref()
    }

    /// Returns its part of a mapping's canonical form: texts as they are, other values as the
    /// JSON that they are, in a string, as that keeps their digits.
    pub(super) fn canonical(&self) -> Value {
        let mut out = Map::new();
        if let Some(hash) = &self.hash {
            out.insert("sha256".to_owned(), Value::from(&**hash));
            return Value::Object(out);
        }
        let (mut texts, mut values) = (Map::new(), Map::new());
        for (key, looked) in self.in_order() {
            if looked.kind == Some(Kind::Text) {
                let text = String::from_utf8_lossy(&looked.text).into_owned();
                texts.insert(key.to_owned(), text.into());
            } else {
                let mut json = Vec::new();
                looked.write(&mut json);
                let json = String::from_utf8_lossy(&json).into_owned();
                values.insert(key.to_owned(), json.into());
            }
        }
        for (name, entries) in [("texts", texts), ("values", values)] {
            if !entries.is_empty() {
                out.insert(name.to_owned(), Value::Object(entries));
            }
        }
        Value::Object(out)
    }

    /// Reads what [`Lookup::canonical`] wrote; none: it is something else. Where only the hash
    /// was stored the entries are those of `today`, if they are the same.
    pub(super) fn from_canonical(value: &Value, today: &[&Self]) -> Option<Result<Self, Lost>> {
        let members = value.as_object()?;
        if let Some(hash) = members.get("sha256") {
            let hash = hash.as_str().filter(|_| members.len() == 1)?;
            let same = today.iter().find(|lookup| lookup.hash() == Some(hash));
            return Some(same.map(|lookup| Self::clone(lookup)).ok_or(Lost));
        }
        let mut entries = Vec::new();
        for (name, list) in members {
            let is_text = match name.as_str() {
                "texts" => true,
                "values" => false,
                _ => return None,
            };
            for (key, value) in list.as_object()? {
                let value = value.as_str()?;
                let entry = if is_text { Entry::Text(value) } else { Entry::Json(value) };
                entries.push((key.as_str(), entry));
            }
        }
        let count = entries.len();
        Some(Ok(Self::inline(entries))).filter(|read| matches!(read, Ok(it) if it.len() == count))
    }

    fn in_order(&self) -> BTreeMap<&str, &Looked> {
        self.entries.iter().map(|(key, looked)| (key.as_str(), looked)).collect()
    }

    fn json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, looked) in self.in_order() {
            out.push(if out.is_empty() { b'{' } else { b',' });
            write_text_json(key.as_bytes(), &mut out);
            out.push(b':');
            looked.write(&mut out);
        }
        out.push(b'}');
        out
    }
}

/// The entries of a file were not stored, and it has others now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost;

/// Two tables are the same when they say the same.
impl PartialEq for Lookup {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.entries, &other.entries) || self.entries == other.entries
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(lookup: &Lookup, today: &[&Lookup]) -> Result<Lookup, Lost> {
        Lookup::from_canonical(&lookup.canonical(), today).unwrap()
    }

    #[test]
    fn a_small_table_is_stored_whole_and_in_one_order() {
        let entries = [("b", Entry::Text("x")), ("a", Entry::Json("9007199254740993.10"))];
        let lookup = Lookup::file(entries);
        assert_eq!(
            lookup.canonical().to_string(),
            r#"{"texts":{"b":"x"},"values":{"a":"9007199254740993.10"}}"#
        );
        assert_eq!(stored(&lookup, &[]), Ok(lookup.clone()));
        let turned = Lookup::inline(entries.into_iter().rev());
        assert_eq!(turned.canonical(), lookup.canonical());
    }

    #[test]
    fn of_a_large_file_only_the_hash_is_stored() {
        let keys: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        let entries = || keys.iter().map(|key| (key.as_str(), Entry::Text("some value")));
        let lookup = Lookup::file(entries());
        let canonical = lookup.canonical();
        assert!(canonical.to_string().len() < 100, "{canonical}");
        assert_eq!(stored(&lookup, &[]), Err(Lost));
        assert_eq!(stored(&lookup, &[&Lookup::inline([]), &lookup]), Ok(lookup.clone()));
        let other = Lookup::file(entries().chain([("more", Entry::Text("x"))]));
        assert_eq!(stored(&lookup, &[&other]), Err(Lost));
        assert!(Lookup::inline(entries()).canonical().to_string().len() > STORED_BYTES_MAX);
    }

    #[test]
    fn what_is_no_table_is_not_read() {
        for value in [
            json!([]),
            json!({ "texts": 1 }),
            json!({ "values": { "a": "{" } }),
            json!({ "values": { "a": 1 } }),
            json!({ "other": { "a": "1" } }),
            json!({ "sha256": "00", "texts": {} }),
        ] {
            assert_eq!(Lookup::from_canonical(&value, &[]), None, "{value}");
        }
    }
}
