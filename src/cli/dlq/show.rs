//! `walgate dlq show|export`: one with all that is kept of it.

use serde_json::value::RawValue;

use super::{PAGE, named};
use crate::cli::failure::{Exit, Failure};
use crate::cli::{asking, output};
use crate::config::Config;
use crate::delivery::{
    DeadLetter, DeadLetterFilter, DeadLetterShown, list_dead_letters, show_dead_letter,
};
use crate::inspect::dead_letter::{self, Document, Hidden, Originals};
use crate::lsn::Timestamp;
use crate::state::Reader;

/// Shows one.
pub(super) fn run(
    config: &Config,
    id: i64,
    as_json: bool,
    unmasked: bool,
) -> Result<Exit, Failure> {
    let reader = asking::reader(config)?;
    let letter = dead_letter::find(&reader, id)?;
    let mut originals = Originals::new(config, &reader);
    let row = originals.row(&letter);
    say_broken(&originals);
    let document = Document::of(&letter, row, &hidden(&letter, config, &reader, unmasked)?);
    if as_json {
        output::json(&document)?;
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
        let Some(last) = page.last() else {
            say_broken(&originals);
            return Ok(Exit::Done);
        };
        after = last.id;
        for listed in &page {
            let id = listed.id;
            let letter = asking::read(&reader, |connection| show_dead_letter(connection, id))?;
            if let Some(letter) = letter {
                let hidden = hidden(&letter, config, &reader, unmasked)?;
                let row = originals.row(&letter);
                output::line(&Document::of(&letter, row, &hidden))?;
            }
        }
    }
}

fn say_broken(originals: &Originals<'_>) {
    if let Some(error) = originals.broken() {
        output::note(&format!("originals that only the journal has are left out: {error}"));
    }
}

fn hidden(
    letter: &DeadLetterShown,
    config: &Config,
    reader: &Reader,
    unmasked: bool,
) -> Result<Hidden, Failure> {
    if unmasked {
        return Ok(Hidden::nothing());
    }
    Ok(Hidden::of(&letter.listed, config, reader)?)
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
