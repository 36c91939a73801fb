//! Data to stdout, everything else to stderr.

use std::io::{self, Write};

use serde::Serialize;

use super::failure::{Exit, Failure};
use crate::config::Config;

/// Writes data to stdout. A reader that has gone away ends nothing with an error.
pub(super) fn data(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("stdout can't be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes one JSON document to stdout.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Failure::of(Exit::Failed, &error))?;
    data(&format!("{text}\n"))
}

/// Writes one JSON object as a line to stdout.
pub(super) fn line(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value);
    data(&format!("{}\n", text.map_err(|error| Failure::of(Exit::Failed, &error))?))
}

/// Writes a note for people to stderr.
pub(super) fn note(text: &str) {
    // Where stderr is gone there is nobody to tell.
    let _gone = writeln!(io::stderr().lock(), "{text}");
}

/// Writes a failure to stderr, once.
pub(super) fn error(failure: &Failure) {
    if failure.bare {
        note(&failure.message);
    } else {
        note(&format!("error: {}", failure.message));
    }
    if let Some(help) = &failure.help {
        note(&format!("help: {help}"));
    }
}

/// Writes a config's warnings to stderr.
pub(super) fn warnings(config: &Config) {
    for warning in &config.warnings {
        note(&format!("warning: {warning}"));
    }
}
