//! [`Json`]: a JSON value whose numbers keep all their digits.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

use super::super::decimal::{Decimal, is_same_number};

/// What lies deeper is compared as it stands: it would be walked by recursion.
const DEPTH_MAX: u32 = 64;

/// A JSON value, compared by what it says: `12.50` and `12.5` are one number.
#[derive(Clone, Debug)]
pub enum Json {
    /// Null, true, false, or a string, as serde writes it.
    Scalar(String),
    /// As it stands.
    Number(String),
    /// Its items.
    List(Vec<Self>),
    /// Its members, by name.
    Object(BTreeMap<String, Self>),
}

impl Json {
    /// Reads a JSON text. What is none (which nobody writes) is a string of it.
    #[must_use]
    pub fn read(text: &str) -> Self {
        Self::read_within(text, DEPTH_MAX)
    }

    fn read_within(text: &str, depth: u32) -> Self {
        let text = text.trim_ascii();
        let Some(depth) = depth.checked_sub(1) else { return Self::Scalar(text.to_owned()) };
        match text.bytes().next() {
            Some(b'{') => match serde_json::from_str::<BTreeMap<String, &RawValue>>(text) {
                Ok(members) => {
                    let members = members.into_iter();
                    Self::Object(
                        members
                            .map(|(name, raw)| (name, Self::read_within(raw.get(), depth)))
                            .collect(),
                    )
                }
                Err(_) => Self::string(text),
            },
            Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(text) {
                Ok(items) => Self::List(
                    items.into_iter().map(|raw| Self::read_within(raw.get(), depth)).collect(),
                ),
                Err(_) => Self::string(text),
            },
            Some(b'-' | b'0'..=b'9') if Decimal::parse(text).is_some() => {
                Self::Number(text.to_owned())
            }
            _ => match serde_json::from_str::<serde_json::Value>(text) {
                Ok(scalar) => Self::Scalar(scalar.to_string()),
                Err(_) => Self::string(text),
            },
        }
    }

    fn string(text: &str) -> Self {
        Self::Scalar(serde_json::Value::from(text).to_string())
    }

    /// Whether it is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Scalar(text) if text == "null")
    }

    /// Returns what is no object, each with the names that lead there, parted by dots.
    #[must_use]
    pub fn leaves(&self) -> Vec<(String, &Self)> {
        let mut leaves = Vec::new();
        self.add_leaves(&mut Vec::new(), &mut leaves);
        leaves
    }

    fn add_leaves<'j>(&'j self, path: &mut Vec<&'j str>, leaves: &mut Vec<(String, &'j Self)>) {
        match self {
            Self::Object(members) if !members.is_empty() || path.is_empty() => {
                for (name, value) in members {
                    path.push(name);
                    value.add_leaves(path, leaves);
                    path.pop();
                }
            }
            _ => leaves.push((path.join("."), self)),
        }
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a == b || is_same_number(a, b),
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(text) | Self::Number(text) => f.write_str(text),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        f.write_str(",")?;
                    }
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                f.write_str("{")?;
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        f.write_str(",")?;
                    }
                    write!(f, "{}:{value}", serde_json::Value::from(name.as_str()))?;
                }
                f.write_str("}")
            }
        }
    }
}
