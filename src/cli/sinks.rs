//! `walgate sinks`: the kinds of sinks that this build has.

use serde_json::json;

use super::failure::{Exit, Failure};
use super::output;
use crate::config;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate sinks            # then [sink.NAME.KIND] in the config; docs/sinks.md has a page each")]
pub(super) struct Args {
    /// One JSON object a line: { \"kind\", \"built\", \"what\" }
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    for config::Kind { name, what, built } in config::kinds() {
        let line = if args.json {
            json!({ "kind": name, "built": built, "what": what }).to_string()
        } else {
            let built = if built { "" } else { " (not in this build)" };
            format!("{name:<14} {what}{built}")
        };
        output::data(&format!("{line}\n"))?;
    }
    Ok(Exit::Done)
}
