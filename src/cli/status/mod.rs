//! `walgate status`: how source, journal and sinks are, with or without a running instance.

pub(super) mod text;

use std::io::{IsTerminal, stdout};

use super::failure::{Exit, Failure};
use super::{Global, output};
use crate::alert::store::{self as alerts, Filter};
use crate::config::Config;
use crate::inspect;
use crate::state::State;

/// So much of what is firing is named.
const FIRING_MAX: u32 = 50;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate status
  walgate status --json | jq '.sinks[] | {name, state, lag_events}'

Only reads. Without a running instance it says what is stored, and asks the server about the slot.")]
pub(super) struct Args {
    /// One JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    let status = inspect::status::now(&config).await?;
    if args.json {
        let document = serde_json::to_value(&status);
        output::json(&document.map_err(|error| Failure::of(Exit::Failed, &error))?)?;
    } else {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = stdout().is_terminal() && !no_color;
        let text = text::render(&status, colour) + &firing(&config, colour);
        output::data(&text)?;
    }
    Ok(Exit::Done)
}

/// What is firing of the alerts, and who can't be told; nothing where that can't be read.
fn firing(config: &Config, colour: bool) -> String {
    let Ok(reader) = State::open_reader(&config.state) else { return String::new() };
    let open = Filter { open: true, ..Filter::default() };
    let read = reader.read(|c| Ok((alerts::list(c, &open, FIRING_MAX)?, alerts::failing(c)?)));
    read.map(|(open, failing)| text::firing(&open, &failing, colour)).unwrap_or_default()
}
