//! Loads: rows that were there before, put into the stream beside what happens meanwhile.
//!
//! [`Loads`] runs those that the state has; a [`task`] each reads its table piece by piece
//! ([`crate::source::load`]), and [`Splice`] puts each piece into the stream where its second
//! watermark comes back. What is in the stream is durable before its first row is sent.

mod splice;
mod sweep;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::task::{Means, Task};
use super::shared::{Loading, Shared};
use super::{Error, insist};
use crate::chunk::Operation;
use crate::config::Config;
use crate::failure::{Category, Classify, chain};
use crate::inspect::status::SourceState;
use crate::journal::Journal;
use crate::lsn::{Timestamp, Xid};
use crate::mapping::{Route, Selector};
use crate::progress::load::{self, Load, LoadState, Wanted};
use crate::relation::quote_identifier;
use crate::source::Settings;
use crate::source::load::Loader;
use crate::state::State;

pub(super) use self::splice::Splice;

/// Tables that are read at the same time.
const TABLES_MAX: usize = 4;

/// Loads that are under way, those included that wait.
const LOADS_MAX: usize = 1024;

/// Between two looks at what is wanted.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Between two attempts to find out which tables a new route takes.
const PLAN_RETRY: Duration = Duration::from_secs(2);

/// Runs the loads that the state has.
pub(super) struct Loads {
    means: Means,
    routes: Vec<Arc<Route>>,
    /// What an earlier run may have read is known.
    is_ready: bool,
    under_way: BTreeSet<i64>,
    tasks: JoinSet<(i64, Result<(), Error>)>,
}

impl Loads {
    pub(super) fn new(
        config: &Config,
        state: &State,
        shared: &Arc<Shared>,
        journal: &Arc<Journal>,
        splice: &Arc<Splice>,
    ) -> Self {
        let sinks = config.routes.iter().map(|route| (route.name.clone(), route.sink.clone()));
        let means = Means {
            settings: config.source.settings(),
            state: state.clone(),
            shared: Arc::clone(shared),
            journal: Arc::clone(journal),
            splice: Arc::clone(splice),
            sinks: Arc::new(sinks.collect()),
            places: Arc::new(Semaphore::new(TABLES_MAX)),
        };
        let routes = config.routes.clone();
        Self { means, routes, is_ready: false, under_way: BTreeSet::new(), tasks: JoinSet::new() }
    }

    /// Runs until dropped.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        loop {
            // A watermark comes back only where somebody reads.
            if self.means.shared.lock().state == SourceState::Streaming {
                self.plan().await?;
                self.begin().await?;
            }
            tokio::select! {
                Some(ended) = self.tasks.join_next() => {
                    let (id, ended) = ended.map_err(|_| Error::Panicked)?;
                    self.under_way.remove(&id);
                    ended?;
                }
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Finds the tables of routes that are new and begin with the rows that are there.
    async fn plan(&self) -> Result<(), Error> {
        let Means { state, settings, .. } = &self.means;
        let names = match state.read(load::planned).await {
            Err(error) if error.category() == Category::Transient => return Ok(()),
            names => names.map_err(Error::State)?,
        };
        if names.is_empty() {
            return Ok(());
        }
        let found = match published(settings).await {
            Ok(tables) => tables,
            Err(error) => {
                tracing::warn!(error = chain(&error), "the publication's tables can't be listed");
                sleep(PLAN_RETRY).await;
                return Ok(());
            }
        };
        let routes = self.routes.iter().filter(|route| names.contains(&route.name));
        let wanted = wanted(&routes.cloned().collect::<Vec<_>>(), &found);
        for load in &wanted {
            let routes = load.routes.join(", ");
            tracing::info!(table = load.table, routes, "loading the rows that are there");
        }
        let now = Timestamp::now();
        let begin = move |c: &rusqlite::Connection| load::begin(c, &names, &wanted, now);
        insist::write(state, "what is to be loaded", begin).await
    }

    /// Begins with what may go on, and tells how much there is to do.
    async fn begin(&mut self) -> Result<(), Error> {
        let read = self.means.state.read(|c| Ok((load::all(c, true)?, load::planned(c)?)));
        let (open, planned) = match read.await {
            Ok(read) => read,
            Err(error) if error.category() == Category::Transient => return Ok(()),
            Err(error) => return Err(Error::State(error)),
        };
        let running = open.iter().filter(|load| load.state == LoadState::Running);
        for load in running {
            if !self.is_ready {
                let suspects = suspects(&self.means.settings).await;
                let Ok(suspects) = suspects else { break };
                self.means.splice.suspect(suspects);
                self.is_ready = true;
            }
            if self.under_way.len() >= LOADS_MAX {
                break;
            }
            if self.under_way.insert(load.id) {
                let (id, task) = (load.id, Task::new(self.means.clone(), load.id));
                self.tasks.spawn(async move { (id, Box::pin(task.run()).await) });
            }
        }
        let reason = |load: &Load| match load.state {
            LoadState::Paused => Some("paused".to_owned()),
            _ => load.reason.clone(),
        };
        let waits = open.iter().filter_map(|load| Some((&load.table, reason(load)?)));
        let waiting = waits.map(|(table, reason)| format!("{table} ({reason})")).collect();
        let is_open = !open.is_empty() || !planned.is_empty();
        let paused = open.iter().filter(|load| load.state == LoadState::Paused);
        let paused: Vec<i64> = paused.map(|load| load.id).collect();
        // A load is over in the state before its last piece is appended.
        let placed = self.means.splice.placed();
        let mut inner = self.means.shared.lock();
        let end = inner.end.max(placed);
        let before = std::mem::take(&mut inner.loading);
        // What the last of them brought lies below.
        let end = if before.is_open && !is_open { end } else { before.end };
        let mut stuck = before.stuck;
        stuck.retain(|id| open.iter().any(|load| load.id == *id));
        stuck.extend(paused);
        let open = open.len() + planned.len();
        inner.loading = Loading { is_known: true, is_open, open, waiting, stuck, end };
        Ok(())
    }
}

async fn suspects(settings: &Settings) -> Result<Vec<Xid>, crate::source::Error> {
    Loader::connect(settings).await?.suspects().await
}

async fn published(settings: &Settings) -> Result<Vec<(String, String)>, crate::source::Error> {
    Loader::connect(settings).await?.tables().await
}

/// Returns a load a table, for all of the routes that want its rows.
fn wanted(routes: &[Arc<Route>], tables: &[(String, String)]) -> Vec<Wanted> {
    let mut loads = BTreeMap::new();
    for (namespace, name) in tables {
        let takers = routes.iter().filter(|route| takes(route, namespace, name));
        let takers: Vec<String> = takers.map(|route| route.name.clone()).collect();
        if !takers.is_empty() {
            let table = format!("{}.{}", quote_identifier(namespace), quote_identifier(name));
            loads.insert(table, takers);
        }
    }
    let wanted = |(table, routes)| Wanted { table, sink: None, routes, filter: None, sweep: false };
    loads.into_iter().map(wanted).collect()
}

/// Whether a route takes the rows of a table that were there before.
pub(super) fn takes(route: &Route, namespace: &str, name: &str) -> bool {
    let Selector::Table(pattern) = &route.selector else { return false };
    route.on.contains(Operation::Read) && pattern.matches_names(namespace, name)
}
