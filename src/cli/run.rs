//! `walgate run`: the pipeline.

use std::time::Duration;

use super::failure::{Exit, Failure};
use super::{Global, duration, output};

/// What `run` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate run -c walgate.toml
  walgate run --until-caught-up --timeout 10m    # for cron: ends when all is delivered")]
pub(super) struct Args {
    /// End with 0 once all that was committed before the start is done at every sink
    #[arg(long)]
    pub(super) until_caught_up: bool,
    /// With --until-caught-up: give up after this long, with 1
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "until_caught_up")]
    pub(super) timeout: Option<Duration>,
    /// Wait for the slot for as long as another instance holds it
    #[arg(long)]
    pub(super) standby: bool,
    /// Take a slot that exists although the state folder is empty, at its confirmed position
    #[arg(long)]
    pub(super) adopt_slot: bool,
    /// Go on although changes were lost between what is stored and what the slot still has
    #[arg(long)]
    pub(super) accept_gap: bool,
}

pub(super) async fn run(_args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    output::warnings(&config);
    std::future::ready(Err(Failure::new(Exit::Failed, "run is not built yet"))).await
}
