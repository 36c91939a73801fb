//! `walgate sink pause|resume`, `walgate route hold|release`: beside a running instance, or in the
//! state for the next one.

use super::failure::{Exit, Failure};
use super::{asking, output};
use crate::config::Config;
use crate::pipeline::Request;
use crate::progress::{known, store};
use crate::state::State;

/// Pauses a sink or lets it go on.
pub(super) async fn sink(config: &Config, what: Request) -> Result<Exit, Failure> {
    let (Request::Pause { sink: name, .. } | Request::Resume { sink: name }) = &what else {
        return Ok(Exit::Done);
    };
    let name = name.clone();
    let names = config.sinks.iter().map(|sink| sink.name.as_str());
    asking::has("sink", &name, names.collect())?;
    let pauses = matches!(what, Request::Pause { .. });
    let reader = asking::reader(config)?;
    let stored = asking::read(&reader, store::load_all)?.remove(&name);
    let Some(stored) = stored else {
        let message = format!("sink \"{name}\" has never run");
        return Err(Failure::new(Exit::Usage, message).help("`walgate run` begins with it"));
    };
    if let Some(gap) = stored.gap() {
        let message = format!("sink \"{name}\" was let go: {gap}");
        return Err(Failure::new(Exit::Halted, message));
    }
    if !pauses && stored.paused().is_none() {
        output::note(&format!("sink \"{name}\" is not paused"));
        return Ok(Exit::Done);
    }
    if asking::is_running(config) {
        asking::ask(config, &what).await?;
    } else {
        let state = State::open(&config.state).map_err(|error| asking::failed(&error))?;
        let why = match &what {
            Request::Pause { reason, .. } => Some(store::paused(reason.as_deref())),
            _ => None,
        };
        let stored = name.clone();
        let write = state.write(move |c| store::set_halted(c, &stored, why.as_deref()));
        write.await.map_err(|error| asking::failed(&error))?;
    }
    output::note(&if pauses {
        format!("sink \"{name}\" is paused; its changes wait until `walgate sink resume {name}`")
    } else {
        format!("sink \"{name}\" goes on")
    });
    Ok(Exit::Done)
}

/// Holds a route or lets it go.
pub(super) async fn route(config: &Config, what: Request) -> Result<Exit, Failure> {
    let (Request::Hold { route: name, .. } | Request::Release { route: name }) = &what else {
        return Ok(Exit::Done);
    };
    let name = name.clone();
    let names = config.routes.iter().map(|route| route.name.as_str());
    asking::has("route", &name, names.collect())?;
    let holds = matches!(what, Request::Hold { .. });
    if holds {
        asking::needs_journal(config)?;
    }
    let reader = asking::reader(config)?;
    let held = asking::read(&reader, known::held)?;
    if !holds && !held.contains(&name) {
        output::note(&format!("route \"{name}\" is not held"));
        return Ok(Exit::Done);
    }
    if asking::is_running(config) {
        asking::ask(config, &what).await?;
    } else {
        let state = State::open(&config.state).map_err(|error| asking::failed(&error))?;
        let why = match &what {
            Request::Hold { reason, .. } => Some(reason.clone().unwrap_or_default()),
            _ => None,
        };
        let held = name.clone();
        let write = state.write(move |c| known::hold(c, &held, why.as_deref()));
        write.await.map_err(|error| asking::failed(&error))?;
    }
    output::note(&if holds {
        format!("route \"{name}\" is held; its changes wait until `walgate route release {name}`")
    } else {
        format!("route \"{name}\" goes on")
    });
    Ok(Exit::Done)
}
