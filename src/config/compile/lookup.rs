//! The `lookup` of a field: a table in the config, or a file beside it.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::config::problem::Notes;
use crate::config::tree::{Entry, Table, Value};
use crate::config::walk::suggestion;
use crate::mapping::{Lookup, LookupEntry};

/// The largest file that is read: all of it stays in memory.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads a table of values; none when it is wrong.
pub(super) fn lookup(entry: &Entry, folder: &Path, notes: &mut Notes<'_>) -> Option<Lookup> {
    let table = entry.table()?;
    if names_a_file(table) {
        return match file(table, folder) {
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

/// A table with `file`, and nothing but `key` and `value` beside it, names a file.
fn names_a_file(table: &Table) -> bool {
    let known = |entry: &Entry| ["file", "key", "value"].contains(&entry.name.as_str());
    table.entries.iter().any(|entry| entry.name == "file") && table.entries.iter().all(known)
}

/// The key of the config that is at fault, and why.
type Fault = (&'static str, String);

fn file(table: &Table, folder: &Path) -> Result<Lookup, Fault> {
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

/// An object with its values as they are written: their digits are kept. No key stands twice.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let (mut members, mut seen) = (Vec::new(), std::collections::HashSet::new());
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom(format!("the key \"{key}\" stands twice")));
                    }
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
