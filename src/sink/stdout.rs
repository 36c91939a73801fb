//! The `stdout` sink: an event a line, flushed before it is acknowledged.

use std::io::{self, Write};

use super::blocking::Blocking;
use super::{Answer, Batch, BoxFuture, Failure, Sink};
use crate::failure::Category;

/// The kind's word.
pub const KIND: &str = "stdout";

/// `[sink.NAME.stdout]`: nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {}

/// Writes events to the process's standard output.
#[derive(Debug)]
pub struct Stdout {
    blocking: Blocking,
}

impl Stdout {
    /// Makes the sink.
    #[must_use]
    pub fn new(_config: &Config) -> Self {
        Self { blocking: Blocking::new(1) }
    }
}

impl Sink for Stdout {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        let lines = super::file::lines(batch);
        // A pipe may block for as long as its reader likes.
        let write = move || write(&lines).map_err(|error| failure(&error));
        Box::pin(self.blocking.write(batch, write))
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(async { Ok("stdout: a line an event".to_owned()) })
    }
}

/// Writes whole lines under the lock of standard output, so that no other line gets between.
fn write(lines: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(lines)?;
    stdout.flush()
}

/// A reader that has gone does not come back: that is for a person to see, not for a retry.
fn failure(error: &io::Error) -> Failure {
    let category = match error.kind() {
        io::ErrorKind::BrokenPipe => Category::Setup,
        _ => Category::Transient,
    };
    Failure::new(category, format!("stdout: {error}"))
}
