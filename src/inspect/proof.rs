//! Tests of mappings, run: what `walgate test` says of each, and the playground.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::Config;
use crate::mapping::{Case, Error, Mapping, Mismatch, Selector};
use crate::relation::TableName;

/// Runs one test. Its table is that of the mapping's first route unless it says another.
///
/// # Errors
/// Only where the row has more columns, or longer values, than Postgres could send.
pub fn mismatches(
    config: &Config,
    case: &Case,
    mapping: &Arc<Mapping>,
) -> Result<Vec<Mismatch>, Error> {
    let mut case = case.clone();
    case.table = case.table.or_else(|| table_of(config, mapping));
    Ok(case.mismatches(&case.outcome(mapping)?))
}

/// Returns the table of a mapping's first route that names one.
#[must_use]
pub fn table_of(config: &Config, mapping: &Mapping) -> Option<TableName> {
    let is_it = |own: &Arc<Mapping>| own.name == mapping.name;
    let mut routes = config.routes.iter().filter(|route| route.mapping.as_ref().is_some_and(is_it));
    routes.find_map(|route| match &route.selector {
        Selector::Table(table) => table.literal().map(|(namespace, name)| TableName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }),
        Selector::Message(_) => None,
    })
}

/// What `walgate test --json` says of a test.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// The mapping's name.
    pub mapping: String,
    /// The test's own name.
    pub name: String,
    /// Whether what became of the row is what was expected.
    pub ok: bool,
    /// In what it is not.
    pub diff: Vec<Difference>,
}

impl Told {
    /// Tells of a test.
    #[must_use]
    pub fn of(case: &Case, mismatches: Vec<Mismatch>) -> Self {
        Self {
            mapping: case.mapping.clone(),
            name: case.name.clone(),
            ok: mismatches.is_empty(),
            diff: mismatches.into_iter().map(Difference::of).collect(),
        }
    }
}

/// A field that has, or should have, no value lacks that member. Numbers keep their digits.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The field; none: it is about what becomes of the row.
    pub field: Option<String>,
    /// What should be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Box<RawValue>>,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Box<RawValue>>,
    /// The same in words.
    #[serde(skip)]
    pub text: String,
}

impl Difference {
    fn of(mismatch: Mismatch) -> Self {
        let text = mismatch.to_string();
        match mismatch {
            Mismatch::Field { field, expected, found } => {
                let (expected, found) = (expected.map(raw), found.map(raw));
                Self { field: Some(field), expected, found, text }
            }
            Mismatch::Fate { expected, found } => {
                let json = |text: String| Some(raw(Value::from(text).to_string()));
                Self { field: None, expected: json(expected), found: json(found), text }
            }
        }
    }
}

/// Takes JSON as it is written; what is none is a text of it.
fn raw(json: String) -> Box<RawValue> {
    let as_text = Value::from(json.as_str()).to_string();
    RawValue::from_string(json)
        .or_else(|_| RawValue::from_string(as_text))
        .unwrap_or_else(|_| RawValue::NULL.to_owned())
}
