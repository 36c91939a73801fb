//! `walgate check`: lint, then preflight of source, state and sinks.

mod alerts;
mod binary;
mod mappings;
mod fix;
mod report;
mod resume;
mod server;
mod sinks;
mod source;
mod state;
mod tables;

use self::report::Report;
use super::failure::{Exit, Failure};
use super::{Global, output};
use crate::config::Config;

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

async fn examine(config: &Config, offline: bool) -> Report {
    let mut report = Report::default();
    lint(config, &mut report);
    alerts::check(config, &mut report);
    if !offline {
        state::check(config, &mut report);
        source::check(config, &mut report).await;
        sinks::check(config, &mut report).await;
    }
    report
}

/// The config itself is fine, or we were not here; its warnings are told.
fn lint(config: &Config, report: &mut Report) {
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    };
    let (routes, sinks) = (config.routes.len(), config.sinks.len());
    report.ok("config", "config", format!("{}, {}", count(routes, "route"), count(sinks, "sink")));
    for warning in &config.warnings {
        let (seen, fix) = match warning.message.split_once("; ") {
            Some((seen, fix)) => (seen, fix),
            None => (warning.message.as_str(), ""),
        };
        let place = format!("{}:{}:{}", warning.file, warning.line, warning.column);
        report.warn("config.warning", &place, seen, fix);
    }
}
