//! The commands: arguments in, exit code out. One file a command.

mod asking;
mod backfill;
mod check;
mod completions;
mod demo;
mod dlq;
mod failure;
mod init;
mod maintain;
mod map;
mod mappings;
mod named;
mod output;
mod replay;
mod run;
mod schema;
mod sinks;
mod slot;
mod status;
mod tap;
mod test;
mod top;
mod trace;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

pub use self::failure::{Exit, Failure};
use crate::config::{self, Config};
use crate::telemetry::{self, LogFormat, Verbosity};

/// Change data capture from PostgreSQL that does not lose a record.
#[derive(Debug, Parser)]
#[command(
    name = "walgate",
    version,
    propagate_version = true,
    after_help = "\
Example:
  walgate init --url \"$DATABASE_URL\" --tables public.customers --apply
  walgate check && walgate run

Exit codes: 0 done, 1 failed while running, 2 wrong usage or config, 3 preflight failed,
4 halted: a person must act, 5 finished with dead letters or a rejection, 6 in use by another."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// The config file
    #[arg(short, long, global = true, value_name = "FILE", default_value = "walgate.toml")]
    pub config: PathBuf,
    /// How log lines on stderr are written
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormatArg,
    /// Log more (twice: everything)
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Log warnings and errors only (twice: errors)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub quiet: u8,
}

/// The words of `--log-format`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormatArg {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl Global {
    /// Reads the config file.
    ///
    /// # Errors
    /// Everything that is wrong with it, as one failure.
    pub fn load(&self) -> Result<Config, Failure> {
        config::load(&self.config).map_err(|problems| Failure::config(&problems))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole thing at once, on a throw-away PostgreSQL
    Demo(demo::Args),
    /// Looks at the database and writes a config for it
    Init(init::Args),
    /// Lints the config and looks whether source, state and sinks are ready
    Check(check::Args),
    /// Streams changes to the sinks
    Run(run::Args),
    /// Shows what a route would send for one row, and why
    Map(map::Args),
    /// Lists the versions of mappings, says in what they differ, and what the next would do
    Mappings(mappings::Args),
    /// Shows changes as they commit, as JSON lines, and moves nothing
    Tap(tap::Args),
    /// Runs the mapping tests of the config, or makes one of a real event
    Test(test::Args),
    /// Shows lag, slot, sinks and dead letters, with or without a running instance
    Status(status::Args),
    /// Shows `status` in the terminal, each second anew
    Top(top::Args),
    /// Tells the life of one row: each change, and what became of it at each sink
    Trace(trace::Args),
    /// Sends a part of the journal to a sink again
    Replay(replay::Args),
    /// Sends rows that are there, beside the stream
    Backfill(backfill::Args),
    /// Lists, shows, sends again and discards what was set aside
    Dlq(dlq::Args),
    /// Pauses a sink, lets go of one that the config no longer has, or says what it is called now
    Sink(named::SinkArgs),
    /// Holds a route, lets go of one that the config no longer has, or says what it is called now
    Route(named::RouteArgs),
    /// Shows or drops the replication slot
    Slot(slot::Args),
    /// Lists the kinds of sinks that this build has
    Sinks(sinks::Args),
    /// Prints the JSON Schema of the config
    Schema(schema::Args),
    /// Prints a shell's completion script
    Completions(completions::Args),
}

/// What still blocks in a thread at the end (a reader of stdout that never reads) is left to itself
/// after this.
const LINGER: std::time::Duration = std::time::Duration::from_millis(100);

/// Does what the process's arguments ask for. Ends the process itself only for `--help`,
/// `--version` and wrong usage (exit code 2).
#[must_use]
pub fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let format = match global.log_format {
        LogFormatArg::Text => LogFormat::Text,
        LogFormatArg::Json => LogFormat::Json,
    };
    // What is logged would stand in the midst of what is drawn.
    let draws = matches!(command, Command::Top(_)) && std::io::stderr().is_terminal();
    let said = Verbosity { verbose: global.verbose, quiet: global.quiet };
    telemetry::init(format, if draws { top::SILENT } else { said });
    let done = dispatch(&command, &global);
    telemetry::tell_all_left_out();
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::error(&failure);
            failure.exit.into()
        }
    }
}

fn dispatch(command: &Command, global: &Global) -> Result<Exit, Failure> {
    match command {
        Command::Sinks(args) => return sinks::run(args),
        Command::Schema(args) => return schema::run(args),
        Command::Completions(args) => return completions::run(args),
        // Files alone: it waits for nobody.
        Command::Trace(args) => return trace::run(args, global),
        Command::Test(args) => return test::run(args, global),
        Command::Mappings(args) => return mappings::run(args, global),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::of(Exit::Failed, &error))?;
    let done = runtime.block_on(async {
        match command {
            Command::Demo(args) => Box::pin(demo::run(args, global)).await,
            Command::Init(args) => Box::pin(init::run(args, global)).await,
            Command::Check(args) => Box::pin(check::run(args, global)).await,
            Command::Run(args) => Box::pin(run::run(args, global)).await,
            Command::Map(args) => Box::pin(map::run(args, global)).await,
            Command::Status(args) => Box::pin(status::run(args, global)).await,
            Command::Top(args) => Box::pin(top::run(args, global)).await,
            Command::Tap(args) => Box::pin(tap::run(args, global)).await,
            Command::Replay(args) => Box::pin(replay::run(args, global)).await,
            Command::Backfill(args) => Box::pin(backfill::run(args, global)).await,
            Command::Dlq(args) => Box::pin(dlq::run(args, global)).await,
            Command::Sink(args) => Box::pin(named::sink(args, global)).await,
            Command::Route(args) => Box::pin(named::route(args, global)).await,
            Command::Slot(args) => Box::pin(slot::run(args, global)).await,
            Command::Sinks(_)
            | Command::Schema(_)
            | Command::Completions(_)
            | Command::Trace(_)
            | Command::Test(_)
            | Command::Mappings(_) => Ok(Exit::Done),
        }
    });
    runtime.shutdown_timeout(LINGER);
    done
}

/// Reads a duration of the command line as the config has it: `30s`, `5m`.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    config::unit::duration(text)
        .ok_or_else(|| "a duration such as 250ms, 1s, 5m or 7d is needed".to_owned())
}
