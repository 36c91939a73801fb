//! `walgate top`: `status` that refreshes in the terminal.

mod draw;
mod keys;
mod model;
mod screen;
mod spark;

use std::future::pending;
use std::io::{IsTerminal, stdin, stdout};
use std::pin::Pin;
use std::time::Duration;

use crossterm::event::EventStream;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until};

use self::keys::Step;
use self::model::{Act, Model};
use self::screen::Screen;
use super::failure::{Exit, Failure};
use super::maintain::{self, Turn};
use super::{Global, duration, run};
use crate::config::Config;
use crate::inspect::status::{self, SourceState, Status};
use crate::lsn::Timestamp;
use crate::telemetry::Verbosity;

/// What is logged meanwhile: the rest would stand in the midst of what is drawn.
pub(super) const SILENT: Verbosity = Verbosity { verbose: 0, quiet: 2 };

/// The shortest time between two looks.
const EVERY_MIN: Duration = Duration::from_millis(100);

/// Where no instance runs, each look asks the server over a new connection.
const EVERY_STOPPED_MIN: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate top
  walgate top --every 5s

The numbers of `walgate status`, with or without a running instance. Keys: arrows or j and k select
a sink, Tab the next one that is not ok, p pauses it, r resumes it, ? says more, q ends.")]
pub(super) struct Args {
    /// Between two looks
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1s")]
    every: Duration,
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    if !(stdin().is_terminal() && stdout().is_terminal()) {
        let message = "top draws on a terminal, and there is none";
        let help = "`walgate status` says the same once, and `walgate status --json` for programs";
        return Err(Failure::new(Exit::Usage, message).help(help));
    }
    let config = global.load()?;
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let file = global.config.display().to_string();
    let file = (file != "walgate.toml").then_some(file);
    let mut model = Model::new(colour, file);
    let mut screen = Screen::open()?;
    watch(&config, args.every.max(EVERY_MIN), &mut model, &mut screen).await
}

type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + 'a>>;

/// What can happen.
enum Happened {
    Event(Option<std::io::Result<crossterm::event::Event>>),
    Looked(Result<Box<Status>, Failure>),
    Acted(Result<String, Failure>),
    Due,
    Signalled,
}

/// Draws and does as the keys say until they say that it is enough.
async fn watch(
    config: &Config,
    every: Duration,
    model: &mut Model,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let mut events = EventStream::new();
    let mut signalled = Box::pin(run::signalled());
    let mut looking: Option<Asking<'_, Status>> = Some(Box::pin(look(config)));
    let mut acting: Option<Asking<'_, String>> = None;
    let mut due = Instant::now();
    loop {
        screen.draw(model)?;
        let happened = tokio::select! {
            () = &mut signalled => Happened::Signalled,
            event = events.next() => Happened::Event(event),
            acted = done(&mut acting) => Happened::Acted(acted),
            looked = done(&mut looking) => Happened::Looked(looked.map(Box::new)),
            () = sleep_until(due), if looking.is_none() => Happened::Due,
        };
        match happened {
            Happened::Signalled | Happened::Event(None) => return Ok(Exit::Done),
            Happened::Event(Some(event)) => {
                let event = event.map_err(|error| screen::broken(&error))?;
                match keys::press(model, &event) {
                    Step::Stay => {}
                    Step::End => return Ok(Exit::Done),
                    Step::Do(act, sink) => {
                        acting.get_or_insert_with(|| Box::pin(turn(config, act, sink)));
                    }
                }
            }
            Happened::Due => looking = Some(Box::pin(look(config))),
            Happened::Looked(looked) => {
                looking = None;
                let wait = if is_stopped(&looked) { every.max(EVERY_STOPPED_MIN) } else { every };
                due = Instant::now() + wait;
                match looked {
                    Ok(status) => model.look(*status, Timestamp::now()),
                    Err(failure) => model.problem = Some(failure.message),
                }
            }
            Happened::Acted(acted) => {
                acting = None;
                due = Instant::now();
                model.said = Some(acted.unwrap_or_else(|failure| failure.message));
            }
        }
    }
}

/// Looks how everything is.
async fn look(config: &Config) -> Result<Status, Failure> {
    Ok(status::now(config).await?)
}

/// Waits for what was begun; for ever where nothing was.
async fn done<T>(asking: &mut Option<Asking<'_, T>>) -> Result<T, Failure> {
    match asking {
        Some(asking) => asking.await,
        None => pending().await,
    }
}

fn is_stopped(looked: &Result<Box<Status>, Failure>) -> bool {
    let state = looked.as_ref().ok().map(|status| status.source.state);
    matches!(state, Some(SourceState::Stopped | SourceState::Halted))
}

/// Does what its twin of the command line does.
async fn turn(config: &Config, act: Act, sink: String) -> Result<String, Failure> {
    let turn = match act {
        Act::Pause => Turn::Wait(None),
        Act::Resume => Turn::GoOn,
    };
    maintain::turn_sink(config, &sink, turn).await
}
