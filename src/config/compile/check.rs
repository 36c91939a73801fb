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

#[cfg(test)]
mod tests {
    use super::super::tests::{fields, problems};

    #[track_caller]
    fn check(keys: &str, expected: &str) {
        let mapping = fields(&format!("a = {{ column = \"a\", {keys} }}"), &[]);
        let body = mapping.canonical();
        let expected = format!("{{\"fields\":[{{\"target\":\"a\",\"column\":\"a\",{expected}}}]}}");
        assert_eq!(body, expected);
    }

    #[track_caller]
    fn wrong(keys: &str, expected: &str) {
        let found = problems(&format!("a = {{ column = \"a\", {keys} }}"), &[]);
        assert!(found.len() == 1 && found[0].contains(expected), "{keys}: {found:?}");
    }

    #[test]
    fn checks_are_words_tables_and_lists_of_them() {
        check(r#"check = "email""#, r#""check":["email"]"#);
        check("check = { max_length = 3 }", r#""check":[{"max_length":3}]"#);
        check(
            r#"check = ["nonempty", { pattern = "^a" }, { one_of = ["a", 1, true, 1.50] }]"#,
            r#""check":["nonempty",{"pattern":"^a"},{"one_of":["a","1","true","1.5"]}]"#,
        );
        check("check = { min = 0, max = 1.5 }", r#""check":[{"min":"0","max":"1.5"}]"#);
        check(
            r#"check = { max = "123456789012345678901234567890.5" }"#,
            r#""check":[{"max":"123456789012345678901234567890.5"}]"#,
        );
    }

    #[test]
    fn a_check_that_is_none_is_told_with_the_cure() {
        wrong(r#"check = "mail""#, "did you mean \"email\"?");
        wrong("check = []", "\"check\" is empty");
        wrong("check = {}", "a check is \"email\"");
        wrong(r#"check = { max_length = 3, pattern = "a" }"#, "for several write a list");
        wrong("check = { max_length = 0 }", "whole number from 1");
        wrong(
            r#"check = { pattern = "(" }"#,
            "\"pattern\" is no regular expression: unclosed group",
        );
        wrong("check = { one_of = [[1]] }", "lists texts, numbers, true and false");
        wrong("check = { one_of = [] }", "\"one_of\" is empty");
        wrong("check = { min = true }", "\"min\" must be a number");
        wrong(r#"check = { min = "1,5" }"#, "\"min\" must be a number");
        wrong("check = { min = 2, max = 1 }", "\"min\" 2 is above \"max\" 1; swap them");
        wrong("check = { minimum = 2 }", "unknown key \"minimum\"");
        wrong("on_miss = \"null\"", "\"on_miss\" needs \"lookup\"");
        wrong("on_invalid = \"null\"", "\"on_invalid\" needs \"as\" or \"check\"");
    }

    #[test]
    fn a_number_that_cannot_be_held_exactly_is_refused() {
        for number in [
            "9223372036854775808",
            "0.12345678901234567890",
            "9007199254740993.0",
            "1e400",
            "123456789012345678901234567890.5",
        ] {
            wrong(&format!("on_null = {{ default = {number} }}"), "write it as a string");
            wrong(&format!("check = {{ min = {number} }}"), "write it as a string");
            wrong(&format!("check = {{ one_of = [{number}] }}"), "write it as a string");
            wrong(&format!("lookup = {{ a = {number} }}"), "write it as a string");
        }
        for number in ["nan", "-inf"] {
            wrong(&format!("on_null = {{ default = {number} }}"), "a number that JSON knows");
        }
        for number in ["1.50", "+1.5", "1e3", "0.1", "-0.0", "9223372036854775807", "1_000.5"] {
            fields(&format!("a = {{ value = {number} }}"), &[]);
        }
    }

    #[test]
    fn a_mask_needs_its_key_and_says_when_it_has_none_to_use() {
        wrong(
            r#"mask = "hash""#,
            "\"mask = \"hash\"\" needs a key; give the mapping a \"mask_key\"",
        );
        wrong(r#"mask = "last5""#, "did you mean \"last4\"?");
        let config = super::super::tests::config(
            "a = { column = \"a\", mask = \"redact\" }",
            "mask_key = \"short\"",
            &[],
        );
        let warnings: Vec<String> =
            config.unwrap().warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings.iter().any(|warning| warning.contains("is short")), "{warnings:?}");
        assert!(warnings.iter().any(|warning| warning.contains("is not used")), "{warnings:?}");
        let empty = super::super::tests::config(
            "a = { column = \"a\", mask = \"hash\" }",
            "mask_key = \"\"",
            &[],
        );
        assert!(empty.unwrap_err()[0].contains("\"mask_key\" is empty"));
    }
}
