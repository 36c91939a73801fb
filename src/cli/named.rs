//! `walgate sink|route`: what the state knows and the config no longer has, and maintenance.

use rusqlite::Connection;

use super::failure::{Exit, Failure};
use super::maintain::{self, Turn};
use super::{Global, output};
use crate::config::{Config, suggestion};
use crate::delivery::{
    DeadLettersOf, discard_dead_letters, rename_dead_letters, rename_route_of_batches,
};
use crate::journal;
use crate::lsn::Position;
use crate::progress::known::{self, Kind};
use crate::progress::store;
use crate::state::{self, State};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate sink pause crm --reason \"their maintenance until 22:00\"
  walgate sink resume crm
  walgate sink forget crm             # says what is abandoned
  walgate sink rename crm contacts    # all goes on under the new name

pause and resume work beside a running instance and without one; forget and rename refuse (exit
code 6) while one runs.")]
pub(super) struct SinkArgs {
    #[command(subcommand)]
    command: SinkCommand,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate route hold customers-to-crm    # its changes wait in the journal, others flow
  walgate route release customers-to-crm
  walgate route forget customers-to-crm
  walgate route rename customers-to-crm customers

hold and release work beside a running instance and without one; forget and rename refuse (exit
code 6) while one runs.")]
pub(super) struct RouteArgs {
    #[command(subcommand)]
    command: RouteCommand,
}

#[derive(Debug, clap::Subcommand)]
enum SinkCommand {
    /// Sends nothing more to it until it is resumed, over restarts too; its changes wait
    #[command(after_help = "Example:\n  walgate sink pause crm --reason maintenance")]
    Pause {
        /// As the config calls it
        name: String,
        /// Why; `status` shows it
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Lets a paused one go on
    #[command(after_help = "Example:\n  walgate sink resume crm")]
    Resume {
        /// As the config calls it
        name: String,
    },
    #[command(flatten)]
    Named(Command),
}

#[derive(Debug, clap::Subcommand)]
enum RouteCommand {
    /// Keeps its changes in the journal until it is released, over restarts too; others flow
    #[command(after_help = "Example:\n  walgate route hold customers-to-crm")]
    Hold {
        /// As the config calls it
        name: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Sends what waited, in order, and what comes
    #[command(after_help = "Example:\n  walgate route release customers-to-crm")]
    Release {
        /// As the config calls it
        name: String,
    },
    #[command(flatten)]
    Named(Command),
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lets it go: what it had not done is abandoned, its dead letters are discarded
    #[command(after_help = "Example:\n  walgate sink forget crm")]
    Forget {
        /// As the config called it
        name: String,
    },
    /// Says what it is called now: position and dead letters go on under the new name
    #[command(after_help = "Example:\n  walgate sink rename crm contacts")]
    Rename {
        /// As the config called it
        old: String,
        /// As the config calls it now
        new: String,
    },
}

pub(super) async fn sink(args: &SinkArgs, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    match &args.command {
        SinkCommand::Pause { name, reason } => {
            maintain::sink(&config, name, Turn::Wait(reason.clone())).await
        }
        SinkCommand::Resume { name } => maintain::sink(&config, name, Turn::GoOn).await,
        SinkCommand::Named(command) => run(Kind::Sink, command, &config).await,
    }
}

pub(super) async fn route(args: &RouteArgs, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    match &args.command {
        RouteCommand::Hold { name, reason } => {
            maintain::route(&config, name, Turn::Wait(reason.clone())).await
        }
        RouteCommand::Release { name } => maintain::route(&config, name, Turn::GoOn).await,
        RouteCommand::Named(command) => run(Kind::Route, command, &config).await,
    }
}

async fn run(kind: Kind, command: &Command, config: &Config) -> Result<Exit, Failure> {
    // It opens what is there and makes nothing.
    let failed = |error: state::Error| {
        let locked = matches!(error, state::Error::Locked { .. });
        Failure::of_stage(if locked { Exit::InUse } else { Exit::Failed }, &error)
    };
    let known = State::open_reader(&config.state).and_then(|reader| reader.read(known::load));
    let known = known.map_err(failed)?;
    let names: Vec<&str> =
        known.iter().filter(|(it, ..)| *it == kind).map(|(_, name, _)| name.as_str()).collect();
    let (Command::Forget { name } | Command::Rename { old: name, .. }) = command;
    if !names.contains(&name.as_str()) {
        return Err(unknown(kind, name, &names));
    }
    if let Command::Rename { new, .. } = command
        && names.contains(&new.as_str())
    {
        let word = kind.as_str();
        let message = format!("the state knows a {word} \"{new}\" already");
        return Err(Failure::new(Exit::Usage, message)
            .help(format!("`walgate {word} forget {new}` lets that one go")));
    }
    let state = State::open(&config.state).map_err(failed)?;
    match command {
        Command::Forget { name } => forget(kind, name, config, &state).await.map_err(failed)?,
        Command::Rename { old, new } => {
            rename(kind, old, new, config, &state).await.map_err(failed)?;
        }
    }
    Ok(Exit::Done)
}

fn unknown(kind: Kind, name: &str, names: &[&str]) -> Failure {
    let word = kind.as_str();
    let message = format!("the state knows no {word} \"{name}\"");
    let failure = Failure::new(Exit::Usage, message);
    match suggestion(name, names.iter().copied()) {
        Some(meant) => failure.help(format!("did you mean \"{meant}\"?")),
        None if names.is_empty() => failure.help(format!("it knows no {word} at all")),
        None => failure.help(format!("it knows {}", names.join(", "))),
    }
}

/// What a sink leaves behind.
struct Left {
    floor: Position,
    undone_bytes: u64,
    delivered: u64,
}

async fn forget(
    kind: Kind,
    name: &str,
    config: &Config,
    state: &State,
) -> Result<(), state::Error> {
    let word = kind.as_str();
    let (owned, reason) = (name.to_owned(), format!("the {word} was forgotten"));
    let forget = move |connection: &Connection| {
        let stored = store::load_all(connection)?.remove(&owned).filter(|_| kind == Kind::Sink);
        let left = match stored {
            Some(stored) => {
                let floor = stored.reached.floor;
                let undone_bytes = journal::stored_bytes_behind(connection, floor)?;
                Some(Left { floor, undone_bytes, delivered: stored.delivered })
            }
            None => None,
        };
        let discarded = discard_dead_letters(connection, of(kind, &owned), &reason)?;
        known::forget(connection, kind, &owned)?;
        Ok((left, discarded))
    };
    let (left, discarded) = state.write(forget).await?;
    let mut said = format!("{word} \"{name}\" is forgotten");
    if let Some(Left { floor, undone_bytes, delivered }) = left {
        said.push_str(&format!(
            "; it stood at {floor}, {delivered} events were delivered; abandoned is what it had \
             not done of {} of the journal",
            crate::inspect::words::bytes(undone_bytes)
        ));
    }
    said.push_str(&format!("; {discarded} dead letters were discarded"));
    output::note(&said);
    if has(kind, name, config) {
        output::note("the config still has it: it begins anew with the next run");
    }
    Ok(())
}

async fn rename(
    kind: Kind,
    old: &str,
    new: &str,
    config: &Config,
    state: &State,
) -> Result<(), state::Error> {
    let word = kind.as_str();
    let (from, to) = (old.to_owned(), new.to_owned());
    let rename = move |connection: &Connection| {
        rename_dead_letters(connection, of(kind, &from), &to)?;
        if kind == Kind::Route {
            rename_route_of_batches(connection, &from, &to)?;
        }
        known::rename(connection, kind, &from, &to)
    };
    state.write(rename).await?;
    output::note(&format!("{word} \"{old}\" is called \"{new}\" from now on"));
    if !has(kind, new, config) {
        output::note(&format!("the config has no {word} \"{new}\" yet"));
    }
    Ok(())
}

const fn of(kind: Kind, name: &str) -> DeadLettersOf<'_> {
    match kind {
        Kind::Sink => DeadLettersOf::Sink(name),
        Kind::Route => DeadLettersOf::Route(name),
    }
}

fn has(kind: Kind, name: &str, config: &Config) -> bool {
    match kind {
        Kind::Sink => config.sinks.iter().any(|sink| sink.name == name),
        Kind::Route => config.routes.iter().any(|route| route.name == name),
    }
}
