//! `[mapping.NAME]`

use std::sync::Arc;

use crate::config::problem::Notes;
use crate::config::tree::{Entry, Table, Value};
use crate::mapping::{As, Field, From, Mapping, OnUnchanged, Policy, Rest, parse_column};

pub(super) fn all(tree: &Table, notes: &mut Notes<'_>) -> Option<Vec<Arc<Mapping>>> {
    let entries = tree.named("mapping");
    let mappings: Vec<_> =
        entries.iter().filter_map(|entry| mapping(entry, notes).map(Arc::new)).collect();
    (mappings.len() == entries.len()).then_some(mappings)
}

fn mapping(entry: &Entry, notes: &mut Notes<'_>) -> Option<Mapping> {
    let table = entry.table()?;
    super::check_name("mapping", &entry.name, &entry.place, notes);
    let entries = table.named("fields");
    if table.given("fields") && entries.is_empty() {
        notes.problem(&table.span("fields"), "a mapping needs at least one field");
    }
    let fields: Vec<Field> = entries.iter().filter_map(|entry| field(entry, notes)).collect();
    let all = fields.len() == entries.len();
    let rest = match table.text("rest")? {
        "include" => Rest::Include,
        _ => Rest::Omit,
    };
    let mapping =
        Mapping { name: entry.name.clone(), version: table.integer("version")?, fields, rest };
    for problem in mapping.problems() {
        let field = entries.iter().find(|entry| entry.name == problem.field);
        let place = field.map_or(&entry.place, |field| &field.place);
        notes.problem(place, problem.message.replace('`', "\""));
    }
    all.then_some(mapping)
}

fn field(entry: &Entry, notes: &mut Notes<'_>) -> Option<Field> {
    let table = entry.table()?;
    let from = match (table.text("column"), table.text("expr"), table.any("value")) {
        (Some(column), None, None) => match parse_column(column) {
            Ok(column) => From::Column(column),
            Err(error) => {
                notes.problem(&table.span("column"), error.to_string());
                return None;
            }
        },
        (None, Some(_), None) => From::Expr(super::expression::read(table, "expr", notes)?),
        (None, None, Some(value)) => From::Value(value.clone()),
        (None, None, None) => {
            // A source that is there but wrong has been noted already.
            if !table.refused {
                let name = &entry.name;
                let message = format!("field \"{name}\" has no source; add column = \"…\"");
                notes.problem(&entry.place, message);
            }
            return None;
        }
        _ => {
            let message = "a field has one of \"column\", \"expr\" and \"value\"; drop the others";
            notes.problem(&entry.place, message);
            return None;
        }
    };
    Some(Field {
        convert: table.text("as").and_then(convert),
        required: table.boolean("required")?,
        on_null: policy(table, "on_null"),
        on_missing: policy(table, "on_missing"),
        on_invalid: policy(table, "on_invalid"),
        on_unchanged: match table.text("on_unchanged")? {
            "reject" => OnUnchanged::Reject,
            _ => OnUnchanged::Omit,
        },
        ..Field::new(entry.name.clone(), from)
    })
}

fn convert(word: &str) -> Option<As> {
    As::ALL.into_iter().find(|convert| convert.as_str() == word)
}

/// Returns a policy that stands in the file; the defaults are the mapping's own.
fn policy(table: &Table, name: &str) -> Option<Policy> {
    let entry = table.entry(name).filter(|entry| entry.given)?;
    match &entry.value {
        Value::Table(table) => table.any("default").cloned().map(Policy::Default),
        _ => match entry.text()? {
            "null" => Some(Policy::Null),
            "omit" => Some(Policy::Omit),
            "skip" => Some(Policy::Skip),
            _ => Some(Policy::Reject),
        },
    }
}
