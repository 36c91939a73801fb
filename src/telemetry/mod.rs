//! Logs: one line an occurrence on stderr, as text or as JSON, and of many alike a few and how many
//! they were. Knows nothing of the line.

mod repeats;
mod sieve;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use self::sieve::Sieve;

/// What the process's lines go through.
static SIEVE: OnceLock<Sieve> = OnceLock::new();

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verbosity {
    /// How often `-v` was given.
    pub verbose: u8,
    /// How often `-q` was given.
    pub quiet: u8,
}

impl Verbosity {
    /// Returns the filter of the level asked for; `info` when nothing was.
    const fn filter(self) -> &'static str {
        match (self.verbose, self.quiet) {
            (0, 0) => "walgate=info,warn",
            (0, 1) => "warn",
            (0, _) => "error",
            (1, _) => "walgate=debug,info",
            (_, _) => "walgate=trace,debug",
        }
    }
}

/// Sends log lines to stderr for the rest of the process.
///
/// `WALGATE_LOG` overrides the level with a filter of its own (`walgate::source=debug`). Colour
/// only on a terminal and without `NO_COLOR`. A second call changes nothing.
pub fn init(format: LogFormat, verbosity: Verbosity) {
    let filter = EnvFilter::try_from_env("WALGATE_LOG")
        .unwrap_or_else(|_| EnvFilter::new(verbosity.filter()));
    let filter = without_libraries(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.with_ansi(colour).with_target(false).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let sieve = SIEVE.get_or_init(Sieve::new).clone();
    // Whoever comes first (a test harness, an embedding program) keeps its subscriber.
    let set = tracing_subscriber::registry().with(lines).with(filter).with(sieve).try_init();
    if set.is_ok() {
        std::panic::set_hook(Box::new(tell_panic));
    }
}

/// Says how many lines were left out because they repeat, of the minutes that are over. Without it
/// nobody would hear of the last of them.
pub fn tell_left_out() {
    if let Some(sieve) = SIEVE.get() {
        sieve.tell();
    }
}

/// Says how many lines were left out because they repeat: nothing comes any more.
pub fn tell_all_left_out() {
    if let Some(sieve) = SIEVE.get() {
        sieve.tell_all();
    }
}

/// Leaves out what libraries log with the values of rows in it: lapin writes out each message that
/// comes back, the client of NATS subjects. Their sinks tell what matters of it.
fn without_libraries(filter: EnvFilter) -> EnvFilter {
    ["async_nats=off", "lapin=off"]
        .into_iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive)
}

/// Says where a panic is, and not what it says: that of a library may quote the value of a row.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        BacktraceStatus::Captured => backtrace.to_string(),
        _ => "set RUST_BACKTRACE=1 to have one".to_owned(),
    };
    tracing::error!(place, backtrace, "a fault of walgate or of a library: please report it");
}
