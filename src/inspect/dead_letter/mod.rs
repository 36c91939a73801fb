//! What was set aside: lines of a list, and one with all that is kept of it.

mod hidden;
mod original;
mod today;

use serde::Serialize;
use serde_json::value::RawValue;

pub use hidden::Hidden;
pub use original::Originals;
pub use today::{Today, today};

use super::{Error, json};
use crate::delivery::{self, DeadLetter, DeadLetterShown, show_dead_letter};
use crate::lsn::Timestamp;
use crate::state::Reader;

/// A line of `dlq list --json`.
#[derive(Debug, Serialize)]
pub struct Listed<'a> {
    /// Its number.
    pub id: i64,
    /// The event's id.
    pub event_id: &'a str,
    /// The sink.
    pub sink: &'a str,
    /// The route.
    pub route: &'a str,
    /// As SQL would quote it; none of a logical message.
    pub table: Option<&'a str>,
    /// As JSON.
    pub key: Option<Box<RawValue>>,
    /// The operation.
    pub op: &'a str,
    /// `retrying`, `blocked`, `dead`, `replaying`, `discarded` or `delivered`.
    pub state: &'a str,
    /// Of the last failure.
    pub category: Option<&'a str>,
    /// Of the last failure.
    pub message: Option<&'a str>,
    /// How often it was tried.
    pub attempts: u32,
    /// RFC 3339.
    pub first_failed: Option<String>,
    /// RFC 3339.
    pub last_failed: Option<String>,
    /// What made what was sent.
    pub mapping: Option<MappingLabel<'a>>,
    /// Why it was discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
}

/// A version of a mapping.
#[derive(Debug, Serialize)]
pub struct MappingLabel<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: u32,
}

/// The document of `dlq show --json`.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    /// What a list says of it.
    #[serde(flatten)]
    pub listed: Listed<'a>,
    /// The row as Postgres sent it, by column; none where nobody has it any more.
    pub original: Option<Box<RawValue>>,
    /// What was sent.
    pub payload: Option<Box<RawValue>>,
    /// Every try, oldest first.
    pub tries: Vec<Try<'a>>,
}

/// A try.
#[derive(Debug, Serialize)]
pub struct Try<'a> {
    /// When it ended; RFC 3339.
    pub time: String,
    /// What it meant; none: it was accepted.
    pub category: Option<&'a str>,
    /// The status or the protocol's own code.
    pub status: Option<u16>,
    /// The first of what was answered.
    pub answer: Option<&'a str>,
}

impl<'a> Listed<'a> {
    /// Returns what a list says of one.
    #[must_use]
    pub fn of(letter: &'a DeadLetter) -> Self {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let mapping = letter.mapping.as_ref();
        Self {
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
}

impl<'a> Document<'a> {
    /// Returns all that is kept of one, with what is hidden of its row covered.
    #[must_use]
    pub fn of(letter: &'a DeadLetterShown, row: Option<Box<RawValue>>, hidden: &Hidden) -> Self {
        Self {
            listed: Listed::of(&letter.listed),
            original: row.map(|row| hidden.cover(row)),
            payload: letter.payload.as_deref().filter(|payload| !payload.is_empty()).map(json),
            tries: letter.tries.iter().map(Try::of).collect(),
        }
    }
}

impl<'a> Try<'a> {
    fn of(attempt: &'a delivery::Try) -> Self {
        Self {
            time: attempt.time.to_string(),
            category: attempt.category.as_deref(),
            status: attempt.status,
            answer: attempt.answer.as_deref(),
        }
    }
}

/// Reads one.
///
/// # Errors
/// [`Error::Asked`] where there is none of this number; when the state can't be read.
pub fn find(reader: &Reader, id: i64) -> Result<DeadLetterShown, Error> {
    let found = reader.read(|connection| show_dead_letter(connection, id))?;
    found.ok_or_else(|| Error::Missing {
        message: format!("there is no dead letter {id}"),
        help: "`walgate dlq list` has the numbers".to_owned(),
    })
}
