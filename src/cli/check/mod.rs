//! `walgate check`: lint, then preflight of source, state and sinks.

mod fix;

use super::failure::{Exit, Failure};
use super::{Global, output};
use crate::inspect::check::examine;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate check
  walgate check --offline                      # the config alone, for CI
  walgate check --fix                          # shows what it can mend by itself, and asks
  walgate check --json | jq '.checks[] | select(.status != \"ok\")'

Warnings alone: exit code 0. Something fails: 3. The config has problems: 2.")]
pub(super) struct Args {
    /// The config alone: connect to nothing
    #[arg(long)]
    offline: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
    /// Mend what needs no heavy lock and loses nothing, as the role of source.url
    #[arg(long, conflicts_with = "offline")]
    fix: bool,
    /// With --fix: do not ask
    #[arg(long, requires = "fix")]
    yes: bool,
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    let mut report = examine(&config, args.offline).await;
    if args.fix && fix::run(&config, &report.repairs(), args.yes).await? {
        report = examine(&config, args.offline).await;
    }
    if args.json {
        output::json(&report.json())?;
    } else {
        output::data(&report.text())?;
    }
    Ok(if report.is_ok() { Exit::Done } else { Exit::Preflight })
}
