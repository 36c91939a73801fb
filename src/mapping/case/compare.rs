//! Holds what became of a row against what should have.

use std::fmt;

use super::json::Json;
use super::{Expected, Given, Outcome};
use crate::pgoutput::value::write_json;

/// In what an outcome is not the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// A field is another one. One of the two is there.
    Field {
        /// Its name; a dot leads into an object.
        field: String,
        /// JSON of the value that it should have; none: it should not be there.
        expected: Option<String>,
        /// JSON of the value that it has; none: it is not there.
        found: Option<String>,
    },
    /// The row is sent, rejected or dropped, and should not be, or by another field.
    Fate {
        /// What should have become of it.
        expected: String,
        /// What became of it.
        found: String,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field { field, expected: Some(expected), found: Some(found) } => {
                write!(f, "{field}: expected {expected}, found {found}")
            }
            Self::Field { field, expected: Some(expected), found: None } => {
                write!(f, "{field}: missing, expected {expected}")
            }
            Self::Field { field, expected: None, found } => {
                write!(f, "{field}: unexpected, found {}", found.as_deref().unwrap_or_default())
            }
            Self::Fate { expected, found } => write!(f, "expected {expected}, but it is {found}"),
        }
    }
}

/// Returns every mismatch, in the order of what was expected.
pub(super) fn compare(expected: &Expected, outcome: &Outcome) -> Vec<Mismatch> {
    let is_it = match (expected, outcome) {
        (Expected::Sent { fields, null, absent, is_exact }, Outcome::Sent(body)) => {
            let mut sheet = Sheet { found: Json::read(body), mismatches: Vec::new() };
            sheet.hold(fields, null, absent);
            if *is_exact {
                let named: Vec<&str> =
                    fields.iter().map(|(name, _)| name).chain(null).map(String::as_str).collect();
                sheet.hold_rest(&named);
            }
            return sheet.mismatches;
        }
        (Expected::Rejected { field, reason }, Outcome::Rejected { field: at, reason: why }) => {
            field == at && reason.as_ref().is_none_or(|reason| why.contains(reason))
        }
        (Expected::Skipped { field }, Outcome::Skipped { field: at, .. }) => {
            field.is_none() || field == at
        }
        _ => false,
    };
    if is_it {
        return Vec::new();
    }
    vec![Mismatch::Fate { expected: wanted(expected), found: became(outcome) }]
}

fn wanted(expected: &Expected) -> String {
    match expected {
        Expected::Sent { .. } => "an event".to_owned(),
        Expected::Rejected { field, reason: None } => {
            format!("a rejection that names field \"{field}\"")
        }
        Expected::Rejected { field, reason: Some(reason) } => {
            format!("a rejection that names field \"{field}\" and says \"{reason}\"")
        }
        Expected::Skipped { field: None } => "a row that is skipped".to_owned(),
        Expected::Skipped { field: Some(field) } => {
            format!("a row that is skipped by field \"{field}\"")
        }
    }
}

fn became(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Sent(body) => format!("sent: {body}"),
        Outcome::Rejected { field, reason } => format!("rejected: field \"{field}\": {reason}"),
        Outcome::Skipped { field: Some(field), reason } => {
            format!("skipped: field \"{field}\": {reason}")
        }
        Outcome::Skipped { field: None, reason } => format!("skipped: {reason}"),
    }
}

/// The output at hand.
struct Sheet {
    found: Json,
    mismatches: Vec<Mismatch>,
}

impl Sheet {
    /// Looks at the fields that are named.
    fn hold(&mut self, fields: &[(String, Given)], null: &[String], absent: &[String]) {
        for (field, given) in fields {
            self.hold_one(field, Some(&json(given)));
        }
        for field in null {
            self.hold_one(field, Some(&Json::read("null")));
        }
        for field in absent {
            self.hold_one(field, None);
        }
    }

    fn hold_one(&mut self, field: &str, expected: Option<&Json>) {
        let found = find(&self.found, field).cloned();
        differ(field, expected, found.as_ref(), &mut self.mismatches);
    }

    /// Notes what is there and not named.
    fn hold_rest(&mut self, named: &[&str]) {
        for (field, value) in self.found.leaves() {
            let is_below = |name: &str| {
                field
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            if !named.iter().any(|name| is_below(name)) {
                differ(&field, None, Some(value), &mut self.mismatches);
            }
        }
    }
}

/// Holds one value against another. Of an object only the members are looked at that are expected.
fn differ(
    field: &str,
    expected: Option<&Json>,
    found: Option<&Json>,
    mismatches: &mut Vec<Mismatch>,
) {
    if let (Some(Json::Object(expected)), Some(Json::Object(found))) = (expected, found) {
        for (name, value) in expected {
            differ(&format!("{field}.{name}"), Some(value), found.get(name), mismatches);
        }
        return;
    }
    if expected != found {
        mismatches.push(Mismatch::Field {
            field: field.to_owned(),
            expected: expected.map(ToString::to_string),
            found: found.map(ToString::to_string),
        });
    }
}

/// Finds a field: a column's own name may have a dot in it.
fn find<'j>(json: &'j Json, field: &str) -> Option<&'j Json> {
    let Json::Object(members) = json else { return None };
    if let Some(found) = members.get(field) {
        return Some(found);
    }
    field.match_indices('.').find_map(|(at, _)| {
        let (name, rest) = field.split_at(at);
        find(members.get(name)?, rest.get(1..)?)
    })
}

/// Returns a value as an event would have it.
fn json(given: &Given) -> Json {
    let mut out = Vec::new();
    write_json(&given.kind, given.text.as_bytes(), &mut out);
    Json::read(&String::from_utf8_lossy(&out))
}
