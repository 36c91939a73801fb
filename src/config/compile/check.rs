//! The `check` of a field.

use crate::config::problem::Notes;
use crate::config::tree::{Entry, Table, Value};
use crate::mapping::{Check, Decimal, Pattern};
use serde_json::Value as Json;

/// Reads what a field's value must be; the outer none when it is wrong.
pub(super) fn checks(table: &Table, notes: &mut Notes<'_>) -> Option<Vec<Check>> {
    let Some(entry) = table.entry("check") else { return Some(Vec::new()) };
    match &entry.value {
        Value::List(entries) => {
            if entries.is_empty() {
                notes.problem(&entry.span, "\"check\" is empty; list what to check, or drop it");
            }
            let read: Vec<_> = entries.iter().map(|entry| check(entry, notes)).collect();
            read.into_iter().collect()
        }
        _ => check(entry, notes).map(|check| vec![check]),
    }
}

fn check(entry: &Entry, notes: &mut Notes<'_>) -> Option<Check> {
    let Some(table) = entry.table() else { return Check::word(entry.text()?) };
    let given = |name: &str| table.given(name);
    let kinds = [given("max_length"), given("pattern"), given("one_of")];
    let count = kinds.into_iter().filter(|given| *given).count();
    let has_limits = given("min") || given("max");
    if table.refused {
        return None;
    }
    if count + usize::from(has_limits) != 1 {
        notes.problem(
            &entry.span,
            "a check is \"email\", \"url\", \"uuid\", \"nonempty\", or one of max_length, pattern, \
             one_of, min and max in a table; for several write a list",
        );
        return None;
    }
    if let Some(max) = table.integer("max_length") {
        return Some(Check::MaxLength(max));
    }
    if let Some(text) = table.text("pattern") {
        return match Pattern::parse(text) {
            Ok(pattern) => Some(Check::Pattern(pattern)),
            Err(error) => {
                let error = error.to_string();
                let error = error.trim().lines().last().unwrap_or_default();
                let error = error.strip_prefix("error: ").unwrap_or(error);
                let message = format!("\"pattern\" is no regular expression: {error}");
                notes.problem(&table.span("pattern"), message);
                None
            }
        };
    }
    if given("one_of") {
        return one_of(table.list("one_of"), notes).map(Check::OneOf);
    }
    Some(Check::Range { min: limit(table, "min", notes)?, max: limit(table, "max", notes)? })
}

fn one_of(entries: &[Entry], notes: &mut Notes<'_>) -> Option<Vec<String>> {
    let read: Vec<Option<String>> = entries
        .iter()
        .map(|entry| match &entry.value {
            Value::Any(Json::String(text)) => Some(text.clone()),
            Value::Any(json @ (Json::Number(_) | Json::Bool(_))) => Some(json.to_string()),
            _ => {
                notes.problem(&entry.span, "\"one_of\" lists texts, numbers, true and false");
                None
            }
        })
        .collect();
    read.into_iter().collect()
}

/// Reads a limit; the outer none when it is no number.
fn limit(table: &Table, name: &str, notes: &mut Notes<'_>) -> Option<Option<Decimal>> {
    let number = match table.any(name) {
        None => return Some(None),
        Some(Json::Number(number)) => Decimal::parse(&number.to_string()),
        Some(Json::String(text)) => Decimal::parse(text),
        Some(_) => None,
    };
    if number.is_none() {
        notes.problem(&table.span(name), format!("\"{name}\" must be a number"));
    }
    number.map(Some)
}
