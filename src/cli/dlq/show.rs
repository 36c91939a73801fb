//! `walgate dlq show|export`: one with all that is kept of it.

use serde::Serialize;
use serde_json::value::RawValue;

use super::hidden::Hidden;
use super::original::Originals;
use super::{PAGE, named};
use crate::cli::failure::{Exit, Failure};
use crate::cli::{asking, output};
use crate::config::Config;
use crate::delivery::{
    self, DeadLetter, DeadLetterFilter, DeadLetterShown, list_dead_letters, show_dead_letter,
};
use crate::lsn::Timestamp;
use crate::state::Reader;

/// A line of `dlq list --json`.
#[derive(Serialize)]
struct Listed<'a> {
    id: i64,
    event_id: &'a str,
    sink: &'a str,
    route: &'a str,
    table: Option<&'a str>,
    key: Option<Box<RawValue>>,
    op: &'a str,
    state: &'a str,
    category: Option<&'a str>,
    message: Option<&'a str>,
    attempts: u32,
    first_failed: Option<String>,
    last_failed: Option<String>,
    mapping: Option<MappingLabel<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct MappingLabel<'a> {
    name: &'a str,
    version: u32,
}

/// The document of `dlq show --json`.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    listed: Listed<'a>,
    original: Option<Box<RawValue>>,
    payload: Option<Box<RawValue>>,
    tries: Vec<Try<'a>>,
}

#[derive(Serialize)]
struct Try<'a> {
    time: String,
    category: Option<&'a str>,
    status: Option<u16>,
    answer: Option<&'a str>,
}

/// Returns one as `dlq list --json` has it.
pub(super) fn listed(letter: &DeadLetter) -> String {
    text(&listed_of(letter))
}

fn listed_of(letter: &DeadLetter) -> Listed<'_> {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    let mapping = letter.mapping.as_ref();
    Listed {
        id: letter.id,
        event_id: &letter.event_id,
        sink: &letter.sink,
        route: &letter.route,
        table: letter.table.as_deref(),
        key: letter.key.as_ref().map(|key| json(key.as_bytes())),
        op: &letter.op,
        state: &letter.state,
        category: letter.category.as_deref(),
        message: letter.message.as_deref(),
        attempts: letter.attempts,
        first_failed: time(letter.first_failed),
        last_failed: time(letter.last_failed),
        mapping: mapping.map(|(name, version)| MappingLabel { name, version: *version }),
        reason: letter.reason.as_deref(),
    }
}

/// Shows one.
pub(super) fn run(
    config: &Config,
    id: i64,
    as_json: bool,
    unmasked: bool,
) -> Result<Exit, Failure> {
    let reader = asking::reader(config)?;
    let Some(letter) = asking::read(&reader, |connection| show_dead_letter(connection, id))? else {
        let message = format!("there is no dead letter {id}");
        return Err(Failure::new(Exit::Usage, message).help("`walgate dlq list` has the numbers"));
    };
    let row = Originals::new(config, &reader).row(&letter);
    let document = document(&letter, row, &hidden(&letter, config, &reader, unmasked)?);
    if as_json {
        let document =
            serde_json::to_string_pretty(&document).map_err(|e| Failure::of(Exit::Failed, &e))?;
        output::data(&format!("{document}\n"))?;
    } else {
        output::data(&render(&letter.listed, &document))?;
    }
    Ok(Exit::Done)
}

/// Writes all that fit as JSON lines.
pub(super) fn export(
    config: &Config,
    filter: &DeadLetterFilter,
    unmasked: bool,
) -> Result<Exit, Failure> {
    let reader = asking::reader(config)?;
    named::check(config, &reader, filter)?;
    let mut originals = Originals::new(config, &reader);
    let mut after = 0;
    loop {
        let page = asking::read(&reader, |c| list_dead_letters(c, filter, after, PAGE))?;
        let Some(last) = page.last() else { return Ok(Exit::Done) };
        after = last.id;
        for listed in &page {
            let id = listed.id;
            let letter = asking::read(&reader, |connection| show_dead_letter(connection, id))?;
            if let Some(letter) = letter {
                let hidden = hidden(&letter, config, &reader, unmasked)?;
                let row = originals.row(&letter);
                output::data(&format!("{}\n", text(&document(&letter, row, &hidden))))?;
            }
        }
    }
}

fn hidden(
    letter: &DeadLetterShown,
    config: &Config,
    reader: &Reader,
    unmasked: bool,
) -> Result<Hidden, Failure> {
    if unmasked { Ok(Hidden::nothing()) } else { Hidden::of(&letter.listed, config, reader) }
}

fn document<'l>(
    letter: &'l DeadLetterShown,
    row: Option<Box<RawValue>>,
    hidden: &Hidden,
) -> Document<'l> {
    Document {
        listed: listed_of(&letter.listed),
        original: row.map(|row| hidden.cover(row)),
        payload: letter.payload.as_deref().filter(|payload| !payload.is_empty()).map(json),
        tries: letter.tries.iter().map(attempt).collect(),
    }
}

fn attempt(attempt: &delivery::Try) -> Try<'_> {
    Try {
        time: attempt.time.to_string(),
        category: attempt.category.as_deref(),
        status: attempt.status,
        answer: attempt.answer.as_deref(),
    }
}

/// Takes bytes as the JSON they are; what is none becomes a string.
pub(super) fn json(bytes: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8_lossy(bytes);
    match serde_json::from_str(&text) {
        Ok(raw) => raw,
        Err(_) => serde_json::value::to_raw_value(&text).unwrap_or_default(),
    }
}

fn text(value: &impl Serialize) -> String {
    // Strings, numbers and what was parsed before: that can't fail.
    serde_json::to_string(value).unwrap_or_default()
}

fn render(letter: &DeadLetter, document: &Document<'_>) -> String {
    let none = || "-".to_owned();
    let raw = |raw: &Option<Box<RawValue>>| raw.as_ref().map_or_else(none, ToString::to_string);
    let time = |time: Option<Timestamp>| time.map_or_else(none, |time| time.to_string());
    let mapping = letter.mapping.as_ref();
    let mapping = mapping.map_or_else(none, |(name, version)| format!("{name} version {version}"));
    let mut lines = vec![
        ("event", letter.event_id.clone()),
        ("state", letter.state.clone()),
        ("sink", format!("{}, route {}", letter.sink, letter.route)),
        ("change", format!("{} {}", letter.op, letter.table.as_deref().unwrap_or("message"))),
        ("key", letter.key.clone().unwrap_or_else(none)),
        ("mapping", mapping),
        ("category", letter.category.clone().unwrap_or_else(none)),
        ("message", letter.message.clone().unwrap_or_else(none)),
        ("failed", format!("{} … {}", time(letter.first_failed), time(letter.last_failed))),
        ("original", raw(&document.original)),
        ("payload", raw(&document.payload)),
    ];
    if let Some(reason) = &letter.reason {
        lines.push(("reason", reason.clone()));
    }
    let mut out: String = lines.iter().map(|(name, text)| format!("{name:<9} {text}\n")).collect();
    for attempt in &document.tries {
        let category = attempt.category.unwrap_or("accepted");
        let status = attempt.status.map(|status| format!(" {status}")).unwrap_or_default();
        let answer = attempt.answer.map(|answer| format!(" {answer}")).unwrap_or_default();
        out.push_str(&format!("try       {} {category}{status}{answer}\n", attempt.time));
    }
    out
}
