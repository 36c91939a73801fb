//! `walgate slot show|drop`

use super::Global;
use super::failure::{Exit, Failure};

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
    #[command(after_help = "Example:\n  walgate slot show")]
    Show,
    /// Drops the slot: what was not read is lost to walgate
    #[command(after_help = "Example:\n  walgate slot drop --yes")]
    Drop {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let _config = global.load()?;
    let _ = &args.command;
    std::future::ready(Err(Failure::new(Exit::Failed, "slot is not built yet"))).await
}
