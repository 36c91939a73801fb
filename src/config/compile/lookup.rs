//! The `lookup` of a field: a table in the config, or a file beside it.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value as Json;

use super::shelf::{Shelf, Words};
use crate::config::problem::Notes;
use crate::config::tree::{Entry, Table, Value};
use crate::config::walk::suggestion;
use crate::mapping::{Lookup, LookupEntry, Members};

/// The largest file that is read: all of it stays in memory.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads a table of values; none when it is wrong.
pub(super) fn lookup(entry: &Entry, shelf: &Shelf<'_>, notes: &mut Notes<'_>) -> Option<Lookup> {
    let table = entry.table().filter(|table| !table.refused)?;
    if names_a_file(table) {
        if let Some((entry, problem)) = unknown(table) {
            notes.problem(&entry.place, problem);
            return None;
        }
        return match file(table, shelf) {
            Ok(lookup) => Some(lookup),
            Err((name, problem)) => {
                notes.problem(&table.span(name), problem);
                None
            }
        };
    }
    if table.entries.is_empty() {
        let message = "\"lookup\" is empty; list its values, or name a file";
        notes.problem(&entry.span, message);
        return None;
    }
    let json = |entry: &Entry| match &entry.value {
        Value::Any(json) => Some((entry.name.clone(), json.to_string())),
        _ => None,
    };
    let entries: Vec<(String, String)> = table.entries.iter().filter_map(json).collect();
    Some(Lookup::inline(
        entries.iter().map(|(key, value)| (key.as_str(), LookupEntry::Json(value))),
    ))
}

/// The keys of a lookup that lies in a file.
const FILE_KEYS: [&str; 3] = ["file", "key", "value"];

/// A table with `file`, alone or beside `key` or `value`, names a file.
fn names_a_file(table: &Table) -> bool {
    let has = |name: &str| table.entries.iter().any(|entry| entry.name == name);
    has("file") && (table.entries.len() == 1 || has("key") || has("value"))
}

/// Returns a key that a lookup in a file does not have.
fn unknown(table: &Table) -> Option<(&Entry, String)> {
    let is_unknown = |entry: &&Entry| !FILE_KEYS.contains(&entry.name.as_str());
    let entry = table.entries.iter().find(is_unknown)?;
    let known = FILE_KEYS.into_iter().filter(|key| !table.entries.iter().any(|it| it.name == *key));
    let cure = suggestion(&entry.name, known).map_or_else(
        || "a lookup in a file has file, key and value".to_owned(),
        |meant| format!("did you mean \"{meant}\"?"),
    );
    Some((entry, format!("unknown key \"{}\"; {cure}", entry.name)))
}

/// The key of the config that is at fault, and why.
type Fault = (&'static str, String);

fn file(table: &Table, shelf: &Shelf<'_>) -> Result<Lookup, Fault> {
    let text = |name: &'static str| match table.any(name) {
        None => Ok(None),
        Some(Json::String(text)) if !text.is_empty() => Ok(Some(text.as_str())),
        Some(_) => Err((name, format!("\"{name}\" must be a string that is not empty"))),
    };
    let (name, key, value) = (text("file")?.unwrap_or_default(), text("key")?, text("value")?);
    let is = |extension: &str| {
        Path::new(name).extension().is_some_and(|own| own.eq_ignore_ascii_case(extension))
    };
    let columns = match (is("csv"), is("json"), key, value) {
        (true, _, Some(key), Some(value)) => Some((key, value)),
        (true, ..) => {
            let message = "a lookup in a CSV file needs \"key\" and \"value\": the names of the \
                           columns to look in and to take";
            return Err(("file", message.to_owned()));
        }
        (_, true, None, None) => None,
        (_, true, ..) => {
            let message = "a JSON file holds one object: \"key\" and \"value\" mean nothing; drop \
                           them";
            return Err((if key.is_some() { "key" } else { "value" }, message.to_owned()));
        }
        _ => {
            let message = "a lookup's \"file\" ends in .csv or .json";
            return Err(("file", message.to_owned()));
        }
    };
    let words =
        Words { file: name.to_owned(), key: key.map(Into::into), value: value.map(Into::into) };
    if let Some(lookup) = shelf.find(&words) {
        return Ok(lookup);
    }
    let Some(folder) = shelf.folder() else {
        let message = format!(
            "no file is read here, and the config in force has no lookup in \"{name}\" by these \
             words; list its values, or try it with `walgate map`"
        );
        return Err(("file", message));
    };
    let text = read(&folder.join(name))
        .map_err(|why| ("file", format!("cannot read the lookup's file \"{name}\": {why}")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lookup = match columns {
        Some((key, value)) => csv(name, text, key, value)?,
        None => json(name, text)?,
    };
    if lookup.is_empty() {
        return Err(("file", format!("the lookup's file \"{name}\" has no entries; add some")));
    }
    shelf.keep(words, &lookup);
    Ok(lookup)
}

fn read(path: &Path) -> Result<String, String> {
    let found = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if found.len() > FILE_BYTES_MAX {
        return Err(format!("it has more than {} MiB", FILE_BYTES_MAX >> 20));
    }
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => "it is not UTF-8; save it so".to_owned(),
        _ => error.to_string(),
    })
}

fn csv(file: &str, text: &str, key: &str, value: &str) -> Result<Lookup, Fault> {
    let wrong = |error: &::csv::Error| ("file", format!("\"{file}\" is no CSV: {error}"));
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|error| wrong(&error))?.clone();
    let column = |what: &'static str, name: &str| {
        let mut places = headers.iter().enumerate().filter(|(_, header)| *header == name);
        match (places.next(), places.next()) {
            (Some((index, _)), None) => Ok(index),
            (Some(_), Some(_)) => {
                Err((what, format!("\"{file}\" has two columns \"{name}\"; rename one")))
            }
            (None, _) => {
                let cure = suggestion(name, headers.iter()).map_or_else(
                    || format!("it has {}", headers.iter().collect::<Vec<_>>().join(", ")),
                    |meant| format!("did you mean \"{meant}\"?"),
                );
                Err((what, format!("\"{file}\" has no column \"{name}\"; {cure}")))
            }
        }
    };
    let (key, value) = (column("key", key)?, column("value", value)?);
    let mut lines: HashMap<String, u64> = HashMap::new();
    let mut entries = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| wrong(&error))?;
        let line = record.position().map_or(0, ::csv::Position::line);
        let (Some(key), Some(value)) = (record.get(key), record.get(value)) else { continue };
        if let Some(before) = lines.insert(key.to_owned(), line) {
            let message =
                format!("\"{file}\" has the key \"{key}\" in lines {before} and {line}; drop one");
            return Err(("file", message));
        }
        entries.push((key.to_owned(), value.to_owned()));
    }
    let entries = entries.iter().map(|(key, value)| (key.as_str(), LookupEntry::Text(value)));
    Ok(Lookup::file(entries))
}

fn json(file: &str, text: &str) -> Result<Lookup, Fault> {
    let Members(members) = serde_json::from_str(text).map_err(|error| {
        (
            "file",
            format!("\"{file}\" is no JSON object of values, each under a key of its own: {error}"),
        )
    })?;
    let entries = members.iter().map(|(key, raw)| (key.as_str(), LookupEntry::Json(raw.get())));
    Ok(Lookup::file(entries))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fields, problems};
    use crate::mapping::Mapping;

    const FILES: &[(&str, &str)] = &[
        ("countries.csv", "\u{feff}code,name,code2\nde,Germany,d\nfr,\"France, the\",f\n"),
        ("twice.csv", "code,name,name\nde,a,b\nde,c,d\n"),
        ("empty.csv", "code,name\n"),
        ("ragged.csv", "code,name\nde\n"),
        ("plans.json", "{\"g\": \"gold\", \"n\": 9007199254740993.10, \"x\": null}"),
        ("twice.json", "{\"g\": 1, \"g\": 2}"),
        ("list.json", "[1]"),
    ];

    /// The canonical form of a lookup.
    #[track_caller]
    fn check(lookup: &str, expected: &str) {
        let mapping: Mapping =
            fields(&format!("a = {{ column = \"a\", lookup = {lookup} }}"), FILES);
        let body = mapping.canonical();
        let start = body.find("\"lookup\":").unwrap() + 9;
        assert_eq!(&body[start..body.len() - 3], expected);
    }

    #[track_caller]
    fn wrong(lookup: &str, expected: &str) {
        let found = problems(&format!("a = {{ column = \"a\", lookup = {lookup} }}"), FILES);
        assert!(found.len() == 1 && found[0].contains(expected), "{lookup}: {found:?}");
    }

    #[test]
    fn a_table_stands_in_the_config_or_in_a_file() {
        check("{ g = \"gold\", 1 = 2.5 }", r#"{"texts":{"g":"gold"},"values":{"1":"2.5"}}"#);
        check(
            r#"{ file = "countries.csv", key = "code", value = "name" }"#,
            r#"{"texts":{"de":"Germany","fr":"France, the"}}"#,
        );
        check(
            r#"{ file = "plans.json" }"#,
            r#"{"texts":{"g":"gold"},"values":{"n":"9007199254740993.10","x":"null"}}"#,
        );
        // Without `key` or `value` beside it `file` is an entry like all.
        check(r#"{ file = "a", more = "d" }"#, r#"{"texts":{"file":"a","more":"d"}}"#);
        check(r#"{ key = "b", value = "c" }"#, r#"{"texts":{"key":"b","value":"c"}}"#);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_the_cure() {
        wrong(
            r#"{ file = "countries.csv", key = "code", values = "name" }"#,
            "walgate.toml:7:70: unknown key \"values\"; did you mean \"value\"?",
        );
        wrong("{}", "\"lookup\" is empty; list its values, or name a file");
        wrong(r#"{ file = "gone.json" }"#, "cannot read the lookup's file \"gone.json\"");
        wrong(r#"{ file = "x.txt", key = "a", value = "b" }"#, "ends in .csv or .json");
        wrong(r#"{ file = "countries.csv", key = "code" }"#, "needs \"key\" and \"value\"");
        wrong(
            r#"{ file = "countries.csv", key = "cod", value = "name" }"#,
            "walgate.toml:7:62: \"countries.csv\" has no column \"cod\"; did you mean \"code\"?",
        );
        wrong(
            r#"{ file = "countries.csv", key = "code", value = "x" }"#,
            "has no column \"x\"; it has code, name, code2",
        );
        wrong(r#"{ file = "twice.csv", key = "code", value = "name" }"#, "two columns \"name\"");
        wrong(
            r#"{ file = "twice.csv", key = "name", value = "code" }"#,
            "two columns \"name\"; rename one",
        );
        wrong(r#"{ file = "empty.csv", key = "code", value = "name" }"#, "has no entries");
        wrong(r#"{ file = "ragged.csv", key = "code", value = "name" }"#, "is no CSV");
        wrong(r#"{ file = "twice.json" }"#, "the key \"g\" stands twice");
        wrong(r#"{ file = "list.json" }"#, "is no JSON object");
        wrong(r#"{ file = "plans.json", key = "g" }"#, "mean nothing; drop them");
        wrong(r#"{ file = 1 }"#, "\"file\" must be a string");
        let twice = &[("twice.csv", "code,name\nde,a\nfr,b\nde,c\n")];
        let found = problems(
            r#"a = { column = "a", lookup = { file = "twice.csv", key = "code", value = "name" } }"#,
            twice,
        );
        assert!(found[0].contains("has the key \"de\" in lines 2 and 4; drop one"), "{found:?}");
    }
}
