//! [`Telling`]: how far a replay is, on a terminal; and, anywhere, what it waits for.

use std::cell::Cell;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget};

use crate::cli::asking::{self, LOOK_EVERY};
use crate::cli::dlq::say_why;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::delivery::WindowProgress;
use crate::state::{Reader, request};

/// After so long without a step it is said what is waited for.
const SAY_AFTER: Duration = Duration::from_secs(10);

/// Tells; gone, the terminal is as it was.
pub(super) struct Telling<'a> {
    reader: &'a Reader,
    sink: &'a str,
    line: ProgressBar,
    /// The newest step, and when it was made.
    step: WindowProgress,
    moved_at: Instant,
}

impl<'a> Telling<'a> {
    pub(super) fn new(reader: &'a Reader, sink: &'a str) -> Self {
        let shown = stderr().is_terminal();
        let line = if shown { line() } else { ProgressBar::hidden() };
        Self { reader, sink, line, step: WindowProgress::default(), moved_at: Instant::now() }
    }

    /// Takes how far it is, as JSON; none: nothing was told yet.
    pub(super) fn progress(&mut self, text: Option<&str>) -> Result<(), Failure> {
        let step = text.and_then(|text| serde_json::from_str::<WindowProgress>(text).ok());
        if let Some(step) = step.filter(|step| *step != self.step) {
            self.line.set_position(step.delivered);
            self.line.set_message(words(&step));
            self.step = step;
            self.moved_at = Instant::now();
        }
        self.line.tick();
        if self.moved_at.elapsed() > SAY_AFTER {
            self.moved_at = Instant::now();
            return self.line.suspend(|| say_why(self.reader, self.sink));
        }
        Ok(())
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.line.finish_and_clear();
    }
}

/// Tells how far the sending is that this process does itself; ends only where that can't be read.
pub(super) async fn follow(
    reader: &Reader,
    sink: &str,
    id: &Cell<Option<i64>>,
) -> Result<(), Failure> {
    let mut told = Telling::new(reader, sink);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(id) = id.get() else { continue };
        match asking::read(reader, |connection| request::answer(connection, id))? {
            Some(request::Answer::Taken(progress)) => told.progress(progress.as_deref())?,
            _ => told.progress(None)?,
        }
    }
}

fn line() -> ProgressBar {
    let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    line.with_style(output::progress("{spinner} {human_pos} delivered, {rate}{msg}"))
}

/// What there is to say beside what was delivered.
fn words(step: &WindowProgress) -> String {
    let mut words = format!(", {} sent", step.sent);
    for (count, what) in [(step.set_aside, "set aside"), (step.refused, "refused")] {
        if count > 0 {
            words.push_str(&format!(", {count} {what}"));
        }
    }
    if !step.at.is_empty() {
        words.push_str(&format!(", at {}", step.at));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_there_is_is_told() {
        let step = WindowProgress { sent: 5, at: "0/1A".to_owned(), ..WindowProgress::default() };
        assert_eq!(words(&step), ", 5 sent, at 0/1A");
        let step = WindowProgress { set_aside: 2, refused: 1, at: String::new(), ..step };
        assert_eq!(words(&step), ", 5 sent, 2 set aside, 1 refused");
    }
}
