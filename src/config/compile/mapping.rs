//! `[mapping.NAME]`

use std::sync::Arc;

use super::shelf::Shelf;
use crate::config::problem::Notes;
use crate::config::tree::{Entry, Span, Table, Value};
use crate::mapping::{As, Field, From, Mapping, Mask, OnUnchanged, Policy, Rest, parse_column};
use crate::secret::Secret;

/// A shorter key can be found by trying all that there are.
const KEY_BYTES_MIN: usize = 16;

pub(super) fn all(
    tree: &Table,
    shelf: &Shelf<'_>,
    notes: &mut Notes<'_>,
) -> Option<Vec<Arc<Mapping>>> {
    let entries = tree.named("mapping");
    let one = |entry: &Entry, notes: &mut Notes<'_>| {
        let table = entry.table()?;
        super::check_name("mapping", &entry.name, &entry.place, notes);
        mapping(&entry.name, table, &entry.place, None, shelf, notes)
    };
    let mappings: Vec<_> =
        entries.iter().filter_map(|entry| one(entry, notes).map(Arc::new)).collect();
    (mappings.len() == entries.len()).then_some(mappings)
}

/// Returns the next versions of mappings that have one: `[mapping.NAME.next]`.
pub(super) fn nexts(
    tree: &Table,
    shelf: &Shelf<'_>,
    notes: &mut Notes<'_>,
) -> Option<Vec<Arc<Mapping>>> {
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
        // What it hides, it hides with the key of the present version unless it has its own.
        let key = now.secret("mask_key");
        let read = mapping(&entry.name, next, &next.place, key, shelf, notes);
        match (read, &mut all) {
            (Some(next), Some(nexts)) => nexts.push(Arc::new(next)),
            _ => all = None,
        }
    }
    all
}

/// Reads what a mapping and its next version have alike; `lent`: the key that it has without one
/// of its own.
fn mapping(
    name: &str,
    table: &Table,
    place: &Span,
    lent: Option<&Secret>,
    shelf: &Shelf<'_>,
    notes: &mut Notes<'_>,
) -> Option<Mapping> {
    let entries = table.named("fields");
    if table.given("fields") && entries.is_empty() {
        notes.problem(&table.span("fields"), "a mapping needs at least one field");
    }
    let fields = entries.iter().filter_map(|entry| field(entry, shelf, notes));
    let fields: Vec<Field> = fields.collect();
    let all = fields.len() == entries.len();
    let rest = match table.text("rest")? {
        "include" => Rest::Include,
        _ => Rest::Omit,
    };
    let own = Mapping::new(name, table.integer("version")?, fields);
    let key = mask_key(table, own.hashes(), all, notes);
    let key = key.or_else(|| lent.filter(|_| own.hashes()).cloned());
    let mapping = Mapping { rest, mask_key: key, ..own };
    for problem in mapping.problems() {
        let field = entries.iter().find(|entry| entry.name == problem.field);
        let place = field.map_or(place, |field| &field.place);
        notes.problem(place, problem.message.replace('`', "\""));
    }
    all.then_some(mapping)
}

fn field(entry: &Entry, shelf: &Shelf<'_>, notes: &mut Notes<'_>) -> Option<Field> {
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
        lookup: match table.entry("lookup") {
            Some(entry) => Some(super::lookup::lookup(entry, shelf, notes)?),
            None => None,
        },
        on_miss: policy(table, "on_miss"),
        checks: super::check::checks(table, notes)?,
        mask: table.text("mask").and_then(mask),
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

/// Reads the key that hashes are made with; `all`: every field could be read.
fn mask_key(table: &Table, hashes: bool, all: bool, notes: &mut Notes<'_>) -> Option<Secret> {
    let key = table.secret("mask_key")?;
    let place = table.span("mask_key");
    if key.expose().is_empty() {
        notes.problem(&place, "\"mask_key\" is empty; give it a long random text");
    } else if key.expose().len() < KEY_BYTES_MIN {
        let message = format!(
            "\"mask_key\" is short: who tries all such keys can tell what was hidden; give it \
             {KEY_BYTES_MIN} bytes or more"
        );
        notes.warning(&place, message);
    }
    if all && !hashes {
        let message = "no field has mask = \"hash\": \"mask_key\" is not used; leave it out";
        notes.warning(&place, message);
    }
    Some(key.clone())
}

fn mask(word: &str) -> Option<Mask> {
    Mask::ALL.into_iter().find(|mask| mask.as_str() == word)
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
