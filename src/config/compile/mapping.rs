//! `[mapping.NAME]`

use std::sync::Arc;

use crate::config::problem::Notes;
use crate::config::tree::{Entry, Span, Table, Value};
use crate::mapping::{As, Field, From, Mapping, OnUnchanged, Policy, Rest, parse_column};

pub(super) fn all(tree: &Table, notes: &mut Notes<'_>) -> Option<Vec<Arc<Mapping>>> {
    let entries = tree.named("mapping");
    let one = |entry: &Entry, notes: &mut Notes<'_>| {
        let table = entry.table()?;
        super::check_name("mapping", &entry.name, &entry.place, notes);
        mapping(&entry.name, table, &entry.place, notes)
    };
    let mappings: Vec<_> =
        entries.iter().filter_map(|entry| one(entry, notes).map(Arc::new)).collect();
    (mappings.len() == entries.len()).then_some(mappings)
}

/// Returns the next versions of mappings that have one: `[mapping.NAME.next]`.
pub(super) fn nexts(tree: &Table, notes: &mut Notes<'_>) -> Option<Vec<Arc<Mapping>>> {
    let mut all = Some(Vec::new());
    let keeps = tree.table("journal").and_then(|journal| journal.size("max_size")) != Some(0);
    for entry in tree.named("mapping") {
        let Some(now) = entry.table() else { continue };
        let Some(next) = now.table("next") else { continue };
        if !keeps {
            let message = "\"next\" needs a journal; raise journal.max_size or leave it out";
            notes.problem(&next.place, message);
        }
        match (now.integer("version"), next.integer("version")) {
            (Some(version), Some(of_next)) if of_next <= version => {
                let message = format!("the next version must be above {version}");
                notes.problem(&next.span("version"), message);
            }
            _ => {}
        }
        match (mapping(&entry.name, next, &next.place, notes), &mut all) {
            (Some(mapping), Some(nexts)) => nexts.push(Arc::new(mapping)),
            _ => all = None,
        }
    }
    all
}

/// Reads what a mapping and its next version have alike.
fn mapping(name: &str, table: &Table, place: &Span, notes: &mut Notes<'_>) -> Option<Mapping> {
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
        Mapping { name: name.to_owned(), version: table.integer("version")?, fields, rest };
    for problem in mapping.problems() {
        let field = entries.iter().find(|entry| entry.name == problem.field);
        let place = field.map_or(place, |field| &field.place);
        notes.problem(place, problem.message.replace('`', "\""));
    }
    all.then_some(mapping)
}

fn field(entry: &Entry, notes: &mut Notes<'_>) -> Option<Field> {
    let table = entry.table()?;
    let from = match (table.text("column"), table.any("value")) {
        (Some(column), None) => match parse_column(column) {
            Ok(column) => From::Column(column),
            Err(error) => {
                notes.problem(&table.span("column"), error.to_string());
                return None;
            }
        },
        (None, Some(value)) => From::Value(value.clone()),
        (Some(_), Some(_)) => {
            let message = "a field has \"column\" or \"value\", not both; drop one";
            notes.problem(&table.span("value"), message);
            return None;
        }
        (None, None) => {
            // A source that is there but wrong has been noted already.
            if !table.refused {
                let name = &entry.name;
                let message = format!("field \"{name}\" has no source; add column = \"…\"");
                notes.problem(&entry.place, message);
            }
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
