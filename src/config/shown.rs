//! The config as it is in force, for people: every key that holds, defaults too, no secret.
//!
//! It is written from what was read, not from the file: comments may hold a secret as well.

use std::fmt::Write;
use std::time::Duration;

use serde_json::value::RawValue;

use super::keys::{Section, Shape};
use super::tree::{Entry, Table, Value};
use crate::mapping::{Given, Members};
use crate::relation::Kind;

/// What stands in place of a secret.
pub(super) const SECRET: &str = "***";

/// Behind what stands in the config only by default.
const DEFAULT: &str = "    # unless set";

/// Writes the whole config as TOML.
pub(super) fn text(section: &Section, table: &Table) -> String {
    let mut out = String::new();
    write(section, table, "", &mut out);
    out.trim_start().to_owned()
}

/// Writes a table: its own keys first, then the tables in it.
fn write(section: &Section, table: &Table, path: &str, out: &mut String) {
    let mut inner = Vec::new();
    for entry in &table.entries {
        let Some(key) = section.key(&entry.name) else { continue };
        match (&key.shape, &entry.value) {
            (Shape::Table(of), Value::Table(found)) => inner.push((entry, *of, found, false)),
            (Shape::Named(of), Value::Table(found)) => inner.push((entry, *of, found, true)),
            (Shape::List(Shape::Table(of)), Value::List(list)) => {
                for item in list {
                    if let Value::Table(found) = &item.value {
                        inner.push((entry, *of, found, false));
                    }
                }
            }
            (shape, found) => {
                let note = if entry.given { "" } else { DEFAULT };
                let _fits = writeln!(out, "{} = {}{note}", name(&entry.name), value(shape, found));
            }
        }
    }
    for (entry, of, found, is_named) in inner {
        let path = match path {
            "" => name(&entry.name),
            path => format!("{path}.{}", name(&entry.name)),
        };
        if !is_named {
            let is_list = matches!(entry.value, Value::List(_));
            let header = if is_list { format!("[[{path}]]") } else { format!("[{path}]") };
            let _fits = writeln!(out, "\n{header}");
            write(of, found, &path, out);
            continue;
        }
        // Fields of a mapping: many small ones, which read best in a line each.
        if path.contains('.') {
            let _fits = writeln!(out, "\n[{path}]");
            for named in &found.entries {
                let value = value(&Shape::Table(of), &named.value);
                let _fits = writeln!(out, "{} = {value}", name(&named.name));
            }
            continue;
        }
        for named in &found.entries {
            let path = format!("{path}.{}", name(&named.name));
            if let Value::Table(found) = &named.value {
                let _fits = writeln!(out, "\n[{path}]");
                write(of, found, &path, out);
            }
        }
    }
}

/// Whether what has this shape may be a secret.
fn is_secret(shape: &Shape) -> bool {
    match shape {
        Shape::Secret | Shape::Secrets => true,
        Shape::List(of) => is_secret(of),
        Shape::Either(shapes) => shapes.iter().any(is_secret),
        _ => false,
    }
}

fn value(shape: &Shape, found: &Value) -> String {
    match found {
        // Names of headers are none.
        Value::Table(table) => {
            let of = |entry: &Entry| format!("{} = {}", name(&entry.name), inside(shape, entry));
            // What holds by default in one says little, and may hold only beside something else.
            let given = table.entries.iter().filter(|entry| entry.given);
            let entries: Vec<String> = given.map(of).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::List(list) => {
            let items: Vec<String> = list.iter().map(|item| inside(shape, item)).collect();
            format!("[{}]", items.join(", "))
        }
        _ if is_secret(shape) => quoted(SECRET),
        Value::Text(text) => written(text.expose()),
        Value::Path(path) => written(&path.display().to_string()),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Duration(time) => quoted(&duration(*time)),
        Value::Size(bytes) => quoted(&size(*bytes)),
        Value::Rate(rate) => quoted(&format!("{}/{}", rate.count, per(rate.per))),
        Value::Any(json) => toml_of(json),
        Value::Cell(given) => cell(given),
    }
}

/// A value within a list or a table that stands in one line.
fn inside(shape: &Shape, entry: &Entry) -> String {
    let section = match shape {
        Shape::Table(section) | Shape::List(Shape::Table(section)) => Some(*section),
        Shape::Either(shapes) => shapes.iter().find_map(|shape| match shape {
            Shape::Table(section) | Shape::List(Shape::Table(section)) => Some(*section),
            _ => None,
        }),
        _ => None,
    };
    match section.and_then(|section| section.key(&entry.name)) {
        Some(key) => value(&key.shape, &entry.value),
        None => value(shape, &entry.value),
    }
}

/// Returns a key as TOML has it.
fn name(name: &str) -> String {
    let is_bare = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if is_bare { name.to_owned() } else { quoted(name) }
}

/// TOML's basic strings have JSON's escapes, and one more.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// A value in which nothing is to be replaced when it is read again.
fn written(text: &str) -> String {
    quoted(&text.replace("${", "$${"))
}

/// A value of a row, so that it is read as the same type again.
fn cell(given: &Given) -> String {
    let text = given.text.as_str();
    match given.kind {
        Kind::Integer => text.to_owned(),
        Kind::Numeric => match text {
            "Infinity" => "inf".to_owned(),
            "-Infinity" => "-inf".to_owned(),
            "NaN" => "nan".to_owned(),
            digits => digits.to_owned(),
        },
        Kind::Boolean => (text == "t").to_string(),
        Kind::Date | Kind::Timestamp => text.to_owned(),
        Kind::TimestampTz => text.replace("+00", "Z"),
        Kind::Json => raw(text),
        _ => written(text),
    }
}

/// JSON as TOML, its numbers with the digits that they have.
fn raw(json: &str) -> String {
    let json = json.trim_ascii();
    if json.starts_with('{')
        && let Ok(members) = serde_json::from_str::<Members>(json)
    {
        let of = |(key, value): &(String, Box<RawValue>)| {
            format!("{} = {}", name(key), raw(value.get()))
        };
        let members: Vec<String> = members.0.iter().map(of).collect();
        return format!("{{ {} }}", members.join(", "));
    }
    if json.starts_with('[')
        && let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json)
    {
        let items: Vec<String> = items.into_iter().map(|item| raw(item.get())).collect();
        return format!("[{}]", items.join(", "));
    }
    match serde_json::from_str::<String>(json) {
        Ok(text) => written(&text),
        Err(_) => json.to_owned(),
    }
}

/// Returns what a text of [`text`] has of one mapping, without what holds by default.
pub(super) fn mapping(text: &str, mapping: &str) -> String {
    let own = format!("mapping.{}", name(mapping));
    let mut is_own = false;
    let mut out = String::new();
    for line in text.lines() {
        if line.starts_with('[') {
            let path = line.trim_start_matches('[').trim_end_matches(']');
            let behind = path.strip_prefix(&own);
            is_own = behind.is_some_and(|behind| behind.is_empty() || behind.starts_with('.'));
        }
        if is_own && !line.ends_with(DEFAULT) {
            out.push_str(line);
            out.push('\n');
        }
    }
    let end = out.trim_end().len();
    out.truncate(end);
    out.push('\n');
    out
}

fn toml_of(json: &serde_json::Value) -> String {
    match json {
        serde_json::Value::String(text) => written(text),
        serde_json::Value::Object(members) => {
            let of = |(key, value): (&String, &serde_json::Value)| {
                format!("{} = {}", name(key), toml_of(value))
            };
            let members: Vec<String> = members.iter().map(of).collect();
            format!("{{ {} }}", members.join(", "))
        }
        serde_json::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml_of).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

fn duration(time: Duration) -> String {
    let millis = time.as_millis();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis >= length && millis.is_multiple_of(length) {
            return format!("{}{unit}", millis / length);
        }
    }
    if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") }
}

fn size(bytes: u64) -> String {
    for (unit, length) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= length && bytes.is_multiple_of(length) {
            return format!("{}{unit}", bytes / length);
        }
    }
    if bytes == 0 { "0".to_owned() } else { format!("{bytes}B") }
}

fn per(time: Duration) -> &'static str {
    match time.as_secs() {
        3_600 => "h",
        60 => "m",
        _ => "s",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Environment, parse};

    const FILE: &str = r#"
# password = "in-a-comment"
[source]
url = "postgres://u:s3cret@db/shop"
[admin]
token = "s3cret"
[mapping.contact]
version = 3
mask_key = "s3cret"
[mapping.contact.fields]
"address.city" = { column = "city", on_null = { default = "x" } }
tier = { column = "plan", lookup = { g = "gold" }, on_miss = "reject", check = ["nonempty", { max_length = 3 }] }
phone = { column = "phone", mask = "hash" }
[sink.crm]
batch = { max_events = 1, max_bytes = "64KiB", max_wait = "90s" }
rate_limit = { requests = "50/s", burst = 10 }
[sink.crm.http]
url = "https://crm/v1?key=s3cret"
headers = { x-key = "s3cret" }
signing_secret = ["whsec_czNjcmV0LXMzY3JldC1zM2NyZXQtczNjcmV0"]
auth = { basic = { user = "s3cret", password = "s3cret" } }
[sink.crm.http.on.delete]
url = "https://crm/s3cret"
[[route]]
name = "r"
table = "public.t"
on = ["insert", "delete"]
mapping = "contact"
sink = "crm"
"#;

    fn environment() -> Environment<'static> {
        Environment { variable: &|_| None, folder: Path::new("/etc/walgate") }
    }

    #[test]
    fn secrets_are_not_shown_and_what_holds_by_default_is() {
        let text = parse("walgate.toml", FILE, &environment()).unwrap().text;
        assert!(!text.contains("s3cret") && !text.contains("czNj"), "{text}");
        assert!(!text.contains("in-a-comment"), "{text}");
        for line in [
            "[source]",
            "url = \"***\"",
            "slot = \"walgate\"    # unless set",
            "[sink.crm.http]",
            "headers = { x-key = \"***\" }",
            "signing_secret = [\"***\"]",
            "token = \"***\"",
            "[mapping.contact]",
            "version = 3",
            "phone = { column = \"phone\", mask = \"hash\" }",
            "on = [\"insert\", \"delete\"]",
            "[[route]]",
        ] {
            assert!(text.lines().any(|have| have == line), "no line {line} in\n{text}");
        }
        assert!(text.contains("max_wait = \"90s\""), "{text}");
        assert!(text.contains("\"50/s\""), "{text}");
    }

    #[test]
    fn what_is_shown_is_the_same_config() {
        let file = FILE.lines().filter(|line| !line.contains("s3cret") || line.contains("url"));
        let file = file.filter(|line| !line.starts_with("[admin]") && !line.contains("secret ="));
        let file: Vec<&str> = file.filter(|line| !line.contains("\"hash\"")).collect();
        let text = parse("walgate.toml", &file.join("\n"), &environment()).unwrap().text;
        // The URLs are secrets: they come in the order of the file.
        let mut urls =
            ["postgres://u:s3cret@db/shop", "https://crm/v1?key=s3cret", "https://crm/s3cret"]
                .into_iter();
        let line = |line: &str| match line {
            "url = \"***\"" => format!("url = \"{}\"\n", urls.next().unwrap()),
            line => format!("{}\n", line.trim_end_matches("    # unless set")),
        };
        let whole: String = text.lines().map(line).collect();
        let again = parse("shown.toml", &whole, &environment()).unwrap().text;
        let plain = |text: &str| text.replace("    # unless set", "");
        assert_eq!(plain(&again), plain(&text));
    }
}
