//! `walgate schema`: the JSON Schema of the config.

use super::failure::{Exit, Failure};
use super::output;
use crate::config;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate schema > walgate.schema.json    # then, atop walgate.toml: #:schema ./walgate.schema.json")]
pub(super) struct Args {}

pub(super) fn run() -> Result<Exit, Failure> {
    output::json(&config::schema())?;
    Ok(Exit::Done)
}
