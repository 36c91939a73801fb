//! A test made of a real event, as TOML.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::disguise::disguise;
use super::event::Found;
use crate::change::{Cell, Change, Images};
use crate::chunk::Operation;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output;
use crate::config::Config;
use crate::inspect::dead_letter::Hidden;
use crate::mapping::{Case, Expected, Given, Json, Mapping, Outcome, Rest};
use crate::pgoutput;
use crate::pgoutput::value::write_json;
use crate::relation::{Column, Kind, Relation};

/// Prints a test for each mapping that takes the event.
pub(super) fn print(config: &Config, found: &Found) -> Result<Exit, Failure> {
    let undecodable = |error: pgoutput::Error| Failure::of_stage(Exit::Failed, &error);
    let Found { chunk, entry, mappings, hidden } = found;
    let entry = chunk.entries.get(*entry as usize).ok_or(pgoutput::Error::Index);
    let entry = entry.map_err(undecodable)?;
    let mut images = Images::default();
    let change = pgoutput::change(chunk, entry, &mut images).map_err(undecodable)?;
    let is_row = !matches!(change.operation, Operation::Truncate | Operation::Message);
    let Some(relation) = change.relation.filter(|_| is_row) else {
        let message = format!("a {} has no row", change.operation.as_str());
        return Err(Failure::new(Exit::Usage, message).help("tests are of rows"));
    };
    let id = chunk.event_id(entry);
    for mapping in mappings {
        let name = format!("{} {id}", change.operation.as_str());
        let is_taken = |name: &str| {
            config.tests.iter().any(|test| test.mapping == mapping.name && test.name == name)
        };
        let again = (2..).map(|count| format!("{name}, {count}"));
        let name = std::iter::once(name.clone()).chain(again).find(|name| !is_taken(name));
        let block = Block { mapping, hidden, relation, change: &change };
        output::data(&block.text(&name.unwrap_or_default())?)?;
    }
    Ok(Exit::Done)
}

/// What a test is made of.
struct Block<'a> {
    mapping: &'a Arc<Mapping>,
    hidden: &'a Hidden,
    relation: &'a Relation,
    change: &'a Change<'a>,
}

/// One row image: its values, and the columns that are NULL or were not sent.
#[derive(Default)]
struct Image {
    row: Vec<(String, Given)>,
    /// NULL, of columns that only `rest = "include"` takes: they have to be named to be there.
    null: Vec<String>,
    unchanged: Vec<String>,
    /// Columns whose values must not be shown.
    hidden: Vec<String>,
}

impl Block<'_> {
    fn text(&self, name: &str) -> Result<String, Failure> {
        let change = self.change;
        let (operation, images) = (change.operation, change.images);
        let new = self.image(|index| images.new.cell(change.frame, index), |_| false);
        let old = self.image(
            |index| change.old_cell(index),
            |column| operation == Operation::Delete && column.in_identity,
        );
        let has_old = images.old.present && !(old.row.is_empty() && operation != Operation::Delete);
        let mut case = Case {
            mapping: self.mapping.name.clone(),
            name: name.to_owned(),
            operation,
            table: Some(self.relation.table_name()),
            row: if operation == Operation::Delete { Vec::new() } else { new.row },
            before: has_old.then_some(old.row),
            is_full: images.old_is_full && has_old,
            unchanged: if operation == Operation::Update { new.unchanged } else { Vec::new() },
            missing: self.missing(),
            kinds: new.null.into_iter().chain(old.null).map(|name| (name, Kind::Text)).collect(),
            expected: Expected::Skipped { field: None },
        };
        let mut hidden = new.hidden;
        hidden.extend(old.hidden);
        hidden.sort();
        hidden.dedup();
        let turn = RandomState::new().hash_one(());
        let unlike = disguise(&mut case, self.mapping, &hidden, turn);
        let unlike = unlike.map_err(|error| Failure::of_stage(Exit::Failed, &error))?;
        let mut remarks: Vec<String> = hidden
            .iter()
            .map(|name| format!("# {} is made up: a field masks it", name.escape_default()))
            .collect();
        remarks.extend(unlike.map(|unlike| {
            format!("# with the real values another fate is met: {}", one_line(&unlike))
        }));
        self.write(case, remarks)
    }

    /// Takes the columns that the mapping reads, and those that `also` names.
    fn image<'c>(&self, cell: impl Fn(usize) -> Cell<'c>, also: impl Fn(&Column) -> bool) -> Image {
        let read = self.mapping.columns();
        let mut image = Image::default();
        for (index, column) in self.relation.columns.iter().enumerate() {
            let name = column.name.as_str();
            if self.mapping.rest == Rest::Omit && !read.contains(&name) && !also(column) {
                continue;
            }
            match cell(index) {
                Cell::Value(text) => {
                    let text = String::from_utf8_lossy(text).into_owned();
                    if self.mapping.is_masked(name) || self.hidden.hides(name) {
                        image.hidden.push(name.to_owned());
                    }
                    image.row.push((name.to_owned(), plain(&column.kind, text)));
                }
                Cell::Unchanged => image.unchanged.push(name.to_owned()),
                Cell::Null if !read.contains(&name) && !also(column) => {
                    image.null.push(name.to_owned());
                }
                Cell::Null | Cell::Absent => {}
            }
        }
        image
    }

    /// The columns that the mapping reads and the table does not have.
    fn missing(&self) -> Vec<String> {
        let columns = self.mapping.columns().into_iter();
        columns.filter(|name| self.relation.column(name).is_none()).map(str::to_owned).collect()
    }

    fn write(&self, mut case: Case, remarks: Vec<String>) -> Result<String, Failure> {
        let mut types: BTreeMap<String, &str> =
            case.kinds.keys().map(|name| (name.clone(), "text")).collect();
        let mut row = |given: &[(String, Given)]| {
            let members = given.iter().map(|(name, given)| {
                let (literal, word) = literal(given);
                if let Some(word) = word {
                    types.insert(name.clone(), word);
                }
                (name.clone(), literal)
            });
            inline(members.collect())
        };
        let (after, before) = (row(&case.row), case.before.as_deref().map(&mut row));
        // As the types of the test's columns will be when it is read.
        case.kinds.extend(kinds(&case));
        let outcome = case.outcome(self.mapping);
        let outcome = outcome.map_err(|error| Failure::of_stage(Exit::Failed, &error))?;
        let mut lines = vec![
            format!("[[mapping.{}.test]]", key(&case.mapping)),
            format!("name = {}", text(&case.name)),
            format!("op = \"{}\"", case.operation.as_str()),
            format!("table = {}", text(&self.relation.quoted_name())),
        ];
        lines.extend(remarks);
        if case.operation != Operation::Delete {
            lines.push(format!("row = {after}"));
        }
        if let Some(before) = before {
            lines.push(format!("before = {before}"));
        }
        if case.is_full {
            lines.push("identity = \"full\"".to_owned());
        }
        for (word, columns) in [("unchanged", &case.unchanged), ("missing", &case.missing)] {
            if !columns.is_empty() {
                lines.push(format!("{word} = {}", list(columns)));
            }
        }
        if !types.is_empty() {
            let types = types.into_iter().map(|(name, word)| (name, text(word)));
            lines.push(format!("types = {}", inline(types.collect())));
        }
        lines.extend(expectation(&outcome));
        Ok(format!("\n{}\n", lines.join("\n")))
    }
}

/// Returns a text that ends no comment.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// The kinds of the columns that have a value.
pub(super) fn kinds(case: &Case) -> BTreeMap<String, Kind> {
    let given = case.row.iter().chain(case.before.iter().flatten());
    given.map(|(name, given)| (name.clone(), given.kind.clone())).collect()
}

/// Takes a value for the JSON that it becomes where TOML has no such type.
fn plain(kind: &Kind, text: String) -> Given {
    match kind {
        Kind::Array { .. } | Kind::Composite { .. } | Kind::Hstore => {
            let mut out = Vec::new();
            write_json(kind, text.as_bytes(), &mut out);
            Given { kind: Kind::Json, text: String::from_utf8_lossy(&out).into_owned() }
        }
        _ => Given { kind: kind.clone(), text },
    }
}

/// Returns a value in TOML, and its type where that does not say it.
fn literal(given: &Given) -> (String, Option<&'static str>) {
    let quoted = || text(&given.text);
    match &given.kind {
        Kind::Integer if given.text.parse::<i64>().is_ok() => (given.text.clone(), None),
        Kind::Integer => (quoted(), Some("bigint")),
        Kind::Numeric if is_float(&given.text) => (given.text.clone(), None),
        Kind::Numeric => (quoted(), Some("numeric")),
        Kind::Float if is_float(&given.text) => (given.text.clone(), Some("double precision")),
        Kind::Float => (quoted(), Some("double precision")),
        Kind::Boolean => ((given.text == "t").to_string(), None),
        Kind::Date if is_date(&given.text) => (given.text.clone(), None),
        Kind::Date => (quoted(), Some("date")),
        Kind::Timestamp => match moment(&given.text, "") {
            Some(moment) => (moment, None),
            None => (quoted(), Some("timestamp")),
        },
        Kind::TimestampTz => match given.text.strip_suffix("+00").and_then(|t| moment(t, "Z")) {
            Some(moment) => (moment, None),
            None => (quoted(), Some("timestamptz")),
        },
        Kind::Bytea => (quoted(), Some("bytea")),
        Kind::Json | Kind::Array { .. } | Kind::Composite { .. } | Kind::Hstore => {
            (quoted(), Some("jsonb"))
        }
        Kind::Text => (quoted(), None),
    }
}

/// Whether TOML reads the same number with the same digits.
fn is_float(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.split_once('.').is_some_and(|(whole, fraction)| is_plain(whole) && is_plain(fraction))
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// Returns `2026-01-02 03:04:05.5` as TOML has it; none for what TOML has not.
fn moment(text: &str, zone: &str) -> Option<String> {
    let (date, time) = text.split_once(' ')?;
    let is_time = time.len() >= 8 && time.parse::<jiff::civil::Time>().is_ok();
    (is_date(date) && is_time).then(|| format!("{date}T{time}{zone}"))
}

/// Returns the lines that say what became of the row.
fn expectation(outcome: &Outcome) -> Vec<String> {
    let body = match outcome {
        Outcome::Rejected { field, .. } => return vec![format!("reject = {}", text(field))],
        Outcome::Skipped { field: Some(field), .. } => {
            return vec![format!("skip = {}", text(field))];
        }
        Outcome::Skipped { field: None, .. } => return vec!["skip = true".to_owned()],
        Outcome::Sent(body) => Json::read(body),
    };
    let (mut members, mut null, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for (field, value) in body.leaves() {
        match toml(value) {
            Some(value) => members.push((field, value)),
            None if value.is_null() => null.push(field),
            None => lines.push(format!(
                "# {} is left out: TOML has no null in a list",
                field.escape_default()
            )),
        }
    }
    lines.push(format!("expect = {}", inline(members)));
    if !null.is_empty() {
        lines.push(format!("null = {}", list(&null)));
    }
    lines
}

/// Returns JSON as TOML; none where there is a null in it.
fn toml(value: &Json) -> Option<String> {
    match value {
        Json::Number(digits) => Some(digits.clone()),
        Json::Scalar(scalar) => match serde_json::from_str::<serde_json::Value>(scalar).ok()? {
            serde_json::Value::String(string) => Some(text(&string)),
            serde_json::Value::Bool(boolean) => Some(boolean.to_string()),
            _ => None,
        },
        Json::List(items) => {
            let items: Option<Vec<String>> = items.iter().map(toml).collect();
            Some(format!("[{}]", items?.join(", ")))
        }
        Json::Object(members) => {
            let members = members.iter().map(|(name, value)| Some((name.clone(), toml(value)?)));
            Some(inline(members.collect::<Option<Vec<_>>>()?))
        }
    }
}

fn inline(members: Vec<(String, String)>) -> String {
    if members.is_empty() {
        return "{}".to_owned();
    }
    let members: Vec<String> =
        members.into_iter().map(|(name, value)| format!("{} = {value}", key(&name))).collect();
    format!("{{ {} }}", members.join(", "))
}

fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| text(name)).collect();
    format!("[{}]", names.join(", "))
}

fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { quoted(name) }
}

/// Returns a string that stays as it is: nothing in it is replaced.
fn text(text: &str) -> String {
    quoted(&text.replace("${", "$${"))
}

fn quoted(text: &str) -> String {
    let is_control = |c: char| c.is_control();
    if text.contains(['"', '\\']) && !text.contains('\'') && !text.contains(is_control) {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for sign in text.chars() {
        match sign {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            _ if sign.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(sign))),
            _ => out.push(sign),
        }
    }
    out.push('"');
    out
}
