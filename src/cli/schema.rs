//! `walgate schema`: the JSON Schema of the config.

use super::failure::{Exit, Failure};
use super::output;
use crate::config;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate schema > walgate.schema.json    # then, atop walgate.toml: #:schema ./walgate.schema.json")]
pub(super) struct Args {
    /// A page for people instead, with every key
    #[arg(long)]
    markdown: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    if args.markdown {
        output::data(&config::reference())?;
    } else {
        output::json(&config::schema())?;
    }
    Ok(Exit::Done)
}
