//! [`Sieve`]: keeps lines that repeat from the log, and says later how many there were.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::repeats::{LeftOut, Likeness, Repeats};

/// Fields that say what a line is about.
const ABOUT: [&str; 9] =
    ["sink", "route", "table", "destination", "alert", "subject", "slot", "signal", "mapping"];

/// Whose lines are never left out: the start and the end of the process, and what it says of the
/// log itself.
const ALWAYS: [&str; 2] = ["walgate::cli", "walgate::telemetry"];

/// See the module. A copy is the same sieve.
#[derive(Clone, Debug)]
pub(super) struct Sieve {
    started: Instant,
    repeats: Arc<Mutex<Repeats>>,
}

impl Sieve {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), repeats: Arc::default() }
    }

    /// Says what was left out, of the minutes that are over.
    pub(super) fn tell(&self) {
        let left_out = self.repeats().over(self.started.elapsed());
        left_out.iter().for_each(tell);
    }

    /// Says all that was left out.
    pub(super) fn tell_all(&self) {
        let left_out = self.repeats().all();
        left_out.iter().for_each(tell);
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats> {
        // Counts are whole whatever became of who counted.
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Sieve {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let (level, target) = (*metadata.level(), metadata.target());
        // Who asks for these wants to see each.
        if level > Level::INFO || ALWAYS.iter().any(|always| target.starts_with(always)) {
            return true;
        }
        let mut seen = Seen::default();
        event.record(&mut seen);
        let Seen { message, about } = seen;
        let like = Likeness { level, target, message, about };
        self.repeats().tells(like, self.started.elapsed())
    }
}

/// A line, as far as it says what it is.
#[derive(Debug, Default)]
struct Seen {
    message: String,
    about: String,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let name = field.name();
        // A string takes whatever it is given.
        let _always_fine = if name == "message" {
            write!(self.message, "{value:?}")
        } else if ABOUT.contains(&name) {
            let space = if self.about.is_empty() { "" } else { " " };
            write!(self.about, "{space}{name}={value:?}")
        } else {
            Ok(())
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

fn tell(left_out: &LeftOut) {
    let LeftOut { like: Likeness { level, message: like, about, .. }, lines } = left_out;
    match *level {
        Level::ERROR => tracing::error!(lines, like, about, "lines like this were left out"),
        Level::WARN => tracing::warn!(lines, like, about, "lines like this were left out"),
        _ => tracing::info!(lines, like, about, "lines like this were left out"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// What is logged with a sieve in front.
    fn logged(what: impl Fn(&Sieve)) -> String {
        let (lines, sieve) = (Lines::default(), Sieve::new());
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true);
        let layer = layer.with_writer(lines.clone());
        let subscriber = tracing_subscriber::registry().with(layer).with(sieve.clone());
        tracing::subscriber::with_default(subscriber, || what(&sieve));
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn repeats_are_left_out_and_counted_by_what_they_are_about() {
        let log = logged(|sieve| {
            for number in 0..30 {
                // What differs beside what it is about makes no other line of it.
                tracing::warn!(target: "walgate::delivery", sink = "a", number, "it is down");
            }
            for _ in 0..3 {
                tracing::warn!(target: "walgate::delivery", sink = %"b", "it is down");
            }
            sieve.tell();
            sieve.tell_all();
        });
        let of = |text: &str| log.lines().filter(|line| line.contains(text)).count();
        assert_eq!(of("\"sink\":\"a\""), 10, "{log}");
        assert_eq!(of("\"sink\":\"b\""), 3, "{log}");
        let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert_eq!(log.lines().count(), 14, "{log}");
        for (field, value) in [
            ("level", "WARN".into()),
            ("message", "lines like this were left out".into()),
            ("lines", serde_json::json!(20)),
            ("like", "it is down".into()),
            ("about", "sink=a".into()),
        ] {
            assert_eq!(last[field], value, "{field} in {last}");
        }
    }

    #[test]
    fn what_says_how_the_process_ends_and_what_was_asked_for_is_told_each_time() {
        let log = logged(|_| {
            for _ in 0..30 {
                tracing::info!(target: "walgate::cli::run", "stopping");
                tracing::debug!(target: "walgate::delivery", "a look");
            }
        });
        assert_eq!(log.lines().count(), 60, "{log}");
    }
}
