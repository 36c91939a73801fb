//! `walgate sink pause|resume`, `walgate route hold|release`: beside a running instance, or in the
//! state for the next one.

use rusqlite::Connection;

use super::failure::{Exit, Failure};
use super::{asking, output};
use crate::config::{Config, Sink};
use crate::inspect::request::Request;
use crate::progress::known;
use crate::progress::store::{self, Stored};
use crate::state::State;

/// What is to become of a sink or a route.
#[derive(Debug)]
pub(super) enum Turn {
    /// It waits; why, where that was said.
    Wait(Option<String>),
    /// It goes on.
    GoOn,
}

/// Pauses a sink or lets it go on.
pub(super) async fn sink(config: &Config, name: &str, turn: Turn) -> Result<Exit, Failure> {
    output::note(&turn_sink(config, name, turn).await?);
    Ok(Exit::Done)
}

/// Pauses a sink or lets it go on; returns what came of it.
pub(super) async fn turn_sink(config: &Config, name: &str, turn: Turn) -> Result<String, Failure> {
    let names = config.sinks.iter().map(|sink| sink.name.as_str());
    asking::has("sink", name, names.collect())?;
    if matches!(turn, Turn::Wait(_)) {
        is_sent(config, name)?;
    }
    let reader = asking::reader(config)?;
    let stored = asking::read(&reader, store::load_all)?.remove(name);
    // An instance that is about to begin with it does what it is asked then.
    let begins = stored.is_none() && asking::is_running(config);
    let Some(stored) = stored.or_else(|| begins.then(Stored::default)) else {
        let message = format!("sink \"{name}\" has never run");
        return Err(Failure::new(Exit::Usage, message).help("`walgate run` begins with it"));
    };
    if let Some(gap) = stored.gap() {
        let message = format!("sink \"{name}\" was let go: {gap}");
        return Err(Failure::new(Exit::Halted, message));
    }
    let sink = name.to_owned();
    let (what, why) = match turn {
        Turn::GoOn if stored.paused().is_none() => {
            return Ok(format!("sink \"{name}\" is not paused"));
        }
        Turn::GoOn => (Request::Resume { sink }, None),
        Turn::Wait(reason) => {
            let why = store::paused(reason.as_deref());
            (Request::Pause { sink, reason }, Some(why))
        }
    };
    let note = match why {
        Some(_) => format!("is paused; its changes wait until `walgate sink resume {name}`"),
        None => "goes on".to_owned(),
    };
    let stored = name.to_owned();
    ask_or_store(config, &what, move |c| store::set_halted(c, &stored, why.as_deref())).await?;
    Ok(format!("sink \"{name}\" {note}"))
}

/// Holds a route or lets it go.
pub(super) async fn route(config: &Config, name: &str, turn: Turn) -> Result<Exit, Failure> {
    let names = config.routes.iter().map(|route| route.name.as_str());
    asking::has("route", name, names.collect())?;
    if matches!(turn, Turn::Wait(_)) {
        asking::needs_journal(config)?;
        let route = config.routes.iter().find(|route| route.name == name);
        route.map_or(Ok(()), |route| is_sent(config, &route.sink))?;
    }
    let reader = asking::reader(config)?;
    let held = asking::read(&reader, known::held)?;
    let route = name.to_owned();
    let (what, why) = match turn {
        Turn::GoOn if !held.iter().any(|held| held == name) => {
            output::note(&format!("route \"{name}\" is not held"));
            return Ok(Exit::Done);
        }
        Turn::GoOn => (Request::Release { route }, None),
        Turn::Wait(reason) => {
            let why = reason.clone().unwrap_or_default();
            (Request::Hold { route, reason }, Some(why))
        }
    };
    let note = match why {
        Some(_) => format!("is held; its changes wait until `walgate route release {name}`"),
        None => "goes on".to_owned(),
    };
    let stored = name.to_owned();
    ask_or_store(config, &what, move |c| known::hold(c, &stored, why.as_deref())).await?;
    output::note(&format!("route \"{name}\" {note}"));
    Ok(Exit::Done)
}

/// Refuses a sink whose receiver comes and asks: nothing is sent that could wait.
fn is_sent(config: &Config, name: &str) -> Result<(), Failure> {
    let is_polled = |sink: &Sink| sink.name == name && sink.kind.is_polled();
    if !config.sinks.iter().any(is_polled) {
        return Ok(());
    }
    let message = format!("nothing is sent to sink \"{name}\": its receiver comes and asks");
    Err(Failure::new(Exit::Usage, message).help("what it does not ask for waits by itself"))
}

/// Asks the running instance; where none runs, stores what the next one goes by.
pub(super) async fn ask_or_store(
    config: &Config,
    what: &Request,
    store: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
) -> Result<(), Failure> {
    if asking::is_running(config) {
        return asking::ask(config, what).await.map(drop);
    }
    let state = State::open(&config.state).map_err(|error| asking::failed(&error))?;
    state.write(store).await.map_err(|error| asking::failed(&error))
}
