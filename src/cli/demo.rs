//! `walgate demo`: the whole thing at once.

use std::time::Duration;

use super::failure::{Exit, Failure};
use super::{Global, duration};

/// What `demo` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate demo --for 30s --faults")]
pub(super) struct Args {
    /// How long changes are made; until interrupted unless given
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(super) duration: Option<Duration>,
    /// The endpoint misbehaves: refuses, hangs, asks for time, rejects
    #[arg(long)]
    pub(super) faults: bool,
}

pub(super) async fn run(_args: &Args, _global: &Global) -> Result<Exit, Failure> {
    std::future::ready(Err(Failure::new(Exit::Failed, "demo is not built yet"))).await
}
