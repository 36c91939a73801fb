//! What a person is shown: documents read from the state and the journal.
//!
//! Beside a running instance or without one: how everything is ([`status`]), what was set aside
//! ([`dead_letter`]), the life of a row ([`trace`]), loads ([`load`]), figures over time
//! ([`history`]); and what a person asks for ([`request`]).
//!
//! Knows no screen: commands print these documents, the admin listener answers with them. So both
//! say the same.

pub mod check;
pub mod dead_letter;
mod error;
pub mod fake;
pub mod history;
pub mod load;
pub mod made;
pub mod newest;
pub mod playground;
pub mod proof;
pub mod request;
pub mod status;
pub mod trace;
pub mod words;

pub use error::Error;

use serde_json::value::RawValue;

use crate::mapping::{SourceLabel, TablePattern};
use crate::source;
use crate::state::{Reader, meta};

/// Reads the name of one table, as SQL would quote it.
///
/// # Errors
/// [`Error::Asked`] for what is none, or many.
pub fn table(text: &str) -> Result<TablePattern, Error> {
    let wrong = |message: String| Error::asked(format!("table {text}: {message}"));
    let pattern = TablePattern::parse(text).map_err(|error| wrong(error.to_string()))?;
    match pattern.literal() {
        Some(_) => Ok(pattern),
        None => Err(wrong("one table is wanted, without a glob".to_owned())),
    }
}

/// Returns what events say of their source; empty before the first run.
///
/// # Errors
/// When the state can't be read.
pub fn label(reader: &Reader) -> Result<SourceLabel, Error> {
    let label = |identity: meta::Identity| SourceLabel {
        system: identity.system_id,
        database: identity.database,
        slot: identity.slot,
    };
    Ok(reader.read(meta::load)?.identity.map(label).unwrap_or_default())
}

/// Returns what the state knows as the source compares it.
#[must_use]
pub fn identity(known: &meta::Identity) -> source::Identity {
    let meta::Identity { system_id, timeline, began, started, database, slot } = known.clone();
    source::Identity { system_id, timeline, began, started, database, slot }
}

/// Takes bytes as the JSON they are; what is none becomes a string.
#[must_use]
pub fn json(bytes: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8_lossy(bytes);
    match serde_json::from_str(&text) {
        Ok(raw) => raw,
        Err(_) => serde_json::value::to_raw_value(&text).unwrap_or_default(),
    }
}

/// Takes a count as a float. Above 2^53 it loses the last digits, which say nothing there.
#[expect(clippy::cast_precision_loss, reason = "see above")]
#[must_use]
pub const fn float(count: u64) -> f64 {
    count as f64
}
