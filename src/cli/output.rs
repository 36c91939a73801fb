//! Data to stdout, everything else to stderr.

use std::io::{self, Write};

use indicatif::{ProgressState, ProgressStyle};
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

/// Returns a style for how far something is; what is written of the rate has no fractions.
pub(super) fn progress(template: &str) -> ProgressStyle {
    // Templates are constants; were one wrong, the library's own would do.
    let style = ProgressStyle::with_template(template);
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _closed = write!(out, "{:.0}/s", state.per_sec());
    };
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("rate", rate)
}
