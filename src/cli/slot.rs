//! `walgate slot show|drop`

use std::io::{self, BufRead, IsTerminal, Write};

use serde_json::Value;

use super::failure::{Exit, Failure};
use super::{Global, output};
use crate::source::Catalog;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate slot show
  walgate slot drop --yes    # the server forgets what walgate has not read")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Prints the slot's row of `pg_replication_slots` as JSON
    #[command(after_help = "Example:\n  walgate slot show | jq .confirmed_flush_lsn")]
    Show,
    /// Drops the slot: changes that were not read yet are lost to walgate
    #[command(after_help = "Example:\n  walgate slot drop --yes")]
    Drop {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    let name = &config.source.slot;
    let connected = Catalog::connect(config.source.url.expose()).await;
    let mut catalog = connected.map_err(|error| Failure::of_stage(Exit::Failed, &error))?;
    let found = catalog.slot(name).await;
    let Some(slot) = found.map_err(|error| Failure::of_stage(Exit::Failed, &error))? else {
        return Err(Failure::new(Exit::Failed, format!("there is no slot \"{name}\""))
            .help("`walgate run` makes it on its first start"));
    };
    match args.command {
        Command::Show => {
            output::json(&Value::Object(slot.row))?;
            Ok(Exit::Done)
        }
        Command::Drop { yes } => {
            if slot.is_active() {
                let pid = slot.active_pid().map(|pid| format!(" by process {pid}"));
                let message = format!("slot \"{name}\" is in use{}", pid.unwrap_or_default());
                return Err(Failure::new(Exit::InUse, message).help("stop walgate first"));
            }
            if !yes {
                confirm(name)?;
            }
            let dropped = catalog.drop_slot(name).await;
            dropped.map_err(|error| Failure::of_stage(Exit::Failed, &error))?;
            output::note(&format!("slot \"{name}\" is dropped"));
            Ok(Exit::Done)
        }
    }
}

/// Asks on a terminal; elsewhere there is nobody to ask.
fn confirm(name: &str) -> Result<(), Failure> {
    let refused = |message: &str| Failure::new(Exit::Usage, message).help("say --yes to drop it");
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(refused("dropping a slot has to be confirmed, and there is no terminal"));
    }
    let question = format!("drop slot \"{name}\"? what was not read yet is lost to walgate [y/N] ");
    let mut stderr = io::stderr().lock();
    let _gone = stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(refused("nothing was dropped")),
    }
}
