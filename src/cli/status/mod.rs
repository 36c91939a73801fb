//! `walgate status`

use super::Global;
use super::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate status
  walgate status --json | jq '.sinks[] | {name, state, lag_events}'")]
pub(super) struct Args {
    /// One JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let _config = global.load()?;
    let _ = args.json;
    std::future::ready(Err(Failure::new(Exit::Failed, "status is not built yet"))).await
}
