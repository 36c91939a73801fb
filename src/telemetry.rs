//! Logs: one line an occurrence on stderr, as text or as JSON. Knows nothing of the line.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;

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
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Whoever comes first (a test harness, an embedding program) keeps its subscriber.
    let set = match format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.with_ansi(colour).with_target(false).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if set.is_ok() {
        std::panic::set_hook(Box::new(tell_panic));
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
