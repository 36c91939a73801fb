//! `walgate demo`: the whole thing at once.

use std::time::Duration;

use super::failure::{Exit, Failure};
use super::{Global, duration, output};
use crate::demo;

/// What `demo` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate demo --for 30s --faults")]
pub(super) struct Args {
    /// How long changes are made; 20s unless given
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(super) duration: Option<Duration>,
    /// The endpoint misbehaves (refuses, hangs, asks for time, rejects) and walgate is killed
    #[arg(long)]
    pub(super) faults: bool,
}

pub(super) async fn run(args: &Args, _global: &Global) -> Result<Exit, Failure> {
    let mut options = demo::Options { with_faults: args.faults, ..demo::Options::default() };
    if let Some(duration) = args.duration {
        options.duration = duration;
    }
    let summary = demo::run(options).await.map_err(|error| Failure::of(Exit::Failed, &error))?;
    output::data(&summary.to_string())?;
    Ok(if summary.is_whole() { Exit::Done } else { Exit::Failed })
}
