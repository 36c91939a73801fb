//! `walgate status`: how source, journal and sinks are, with or without a running instance.

mod asked;
mod known;
mod text;

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use self::known::Known;
use super::failure::{Exit, Failure};
use super::{Global, output};
use crate::alert::store::{self as alerts, Filter};
use crate::config::Config;
use crate::lsn::Timestamp;
use crate::pipeline::{SourceState, Status};
use crate::state::{self, State};

/// A running instance reports once a second; what is older than this is not how it is now.
const STALE: Duration = Duration::from_secs(10);

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
    let status = status(&config).await?;
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

/// Returns how everything is now.
async fn status(config: &Config) -> Result<Status, Failure> {
    let known = match State::open_reader(&config.state) {
        Ok(reader) => reader.read(|connection| known::read(connection, &config.state)).map(Some),
        Err(state::Error::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    };
    let mut known = known.map_err(|error| Failure::of_stage(Exit::Failed, &error))?;
    // After what is stored was read: what is fresh and held by somebody is that somebody's.
    let is_running = State::is_in_use(&config.state);
    let now = Timestamp::now();
    if let Some(known) = known.as_mut().filter(|_| is_running)
        && let Some(status) = known.take_current(now, STALE)
    {
        return Ok(status);
    }
    let asked = asked::ask(config).await;
    let state = if is_running { SourceState::Connecting } else { SourceState::Stopped };
    Ok(known::build(config, known.as_ref().unwrap_or(&Known::default()), &asked, state, now))
}
