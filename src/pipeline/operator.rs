//! [`Operator`]: does what commands ask of a running instance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::windows::Windows;
use super::{Error, insist};
use crate::config::Config;
use crate::delivery::{
    DeadLetterFilter, NotServed, Order, Orders, Replay, discard_selected_dead_letters,
};
use crate::failure::{Category, Classify, chain};
use crate::inspect::request::{Outcome, Request};
use crate::journal::Journal;
use crate::lsn::Timestamp;
use crate::progress::{known, load, store};
use crate::state::{self, State, request};

/// Between two looks at what is asked.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// See the module.
#[derive(Debug)]
pub(super) struct Operator {
    state: State,
    orders: BTreeMap<String, Orders>,
    /// As `orders`, of sinks whose receivers come and ask: of dead letters alone.
    shelves: BTreeMap<String, Orders>,
    /// The sink of each route.
    routes: BTreeMap<String, String>,
    sinks: Vec<String>,
    /// What makes a part of the journal's way to a sink again.
    windows: Windows,
}

impl Operator {
    pub(super) fn new(
        config: &Config,
        state: &State,
        journal: &Arc<Journal>,
        orders: BTreeMap<String, Orders>,
        shelves: BTreeMap<String, Orders>,
    ) -> Self {
        let routes = config.routes.iter().map(|route| (route.name.clone(), route.sink.clone()));
        let sinks = config.sinks.iter().map(|sink| sink.name.clone());
        Self {
            state: state.clone(),
            orders,
            shelves,
            routes: routes.collect(),
            sinks: sinks.collect(),
            windows: Windows::new(config, state, journal),
        }
    }

    /// Runs until `reading` ends. Once `keeping` does too, the sinks have finished: notes then how
    /// far that brought what is under way, so that nothing of it is done again.
    pub(super) async fn run(
        mut self,
        reading: CancellationToken,
        keeping: CancellationToken,
    ) -> Result<(), Error> {
        tokio::select! {
            ended = self.work() => return ended,
            () = reading.cancelled() => {}
        }
        keeping.cancelled().await;
        self.look_at_windows().await.map(drop)
    }

    async fn work(&mut self) -> Result<(), Error> {
        // What an earlier run had begun with is begun with again: each can be done twice.
        let mut taken = true;
        loop {
            match self.state.read(move |c| request::waiting(c, taken)).await {
                Ok(asked) => {
                    let mut waits = false;
                    for asked in asked {
                        waits |= !self.take(asked).await?;
                    }
                    taken = taken && waits;
                }
                Err(error) if error.category() == Category::Transient => {}
                Err(error) => return Err(Error::State(error)),
            }
            self.look_at_windows().await?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Takes what is asked; false when it has to wait for its turn.
    async fn take(&mut self, asked: request::Asked) -> Result<bool, Error> {
        let (id, progress) = (asked.id, asked.progress.clone());
        if self.windows.is_under_way(id) {
            return Ok(true);
        }
        let what = serde_json::from_str::<Request>(&asked.arguments);
        if let Ok(Request::Begin { sink, .. }) = &what
            && self.windows.is_busy(sink)
        {
            // Nobody stands there and waits for it.
            return Ok(false);
        }
        let noted = progress.clone();
        self.write(move |c| request::take(c, id, noted.as_deref())).await?;
        let outcome = match what {
            Ok(what) => {
                // Never what it names: a key is a row's value.
                tracing::info!(request = id, what = what.kind(), "doing what a command asks for");
                self.answer(id, what, progress.as_deref()).await
            }
            Err(error) => Err(format!("this walgate does not know the request: {error}")),
        };
        // It is under way: told of again and again, and settled at its end.
        let outcome = match outcome {
            Ok(None) => return Ok(true),
            Ok(Some(outcome)) => Ok(outcome),
            Err(reason) => Err(reason),
        };
        self.settle(id, outcome).await?;
        Ok(true)
    }

    /// Tells how far what is under way is.
    pub(super) async fn look_at_windows(&mut self) -> Result<bool, Error> {
        for (id, told) in self.windows.look() {
            let (progress, _) = told.now();
            if !progress.ended {
                let text = serde_json::to_string(&progress).unwrap_or_default();
                self.write(move |c| request::take(c, id, Some(&text))).await?;
                continue;
            }
            let outcome = match progress.failed.clone() {
                Some(reason) => Err(format!("{reason}; it came to {}", progress.at)),
                None => Ok(Outcome { window: Some(progress), ..Outcome::default() }),
            };
            self.windows.end(id);
            self.settle(id, outcome).await?;
        }
        Ok(self.windows.is_empty())
    }

    async fn settle(&self, id: i64, outcome: Result<Outcome, String>) -> Result<(), Error> {
        if let Err(reason) = &outcome {
            tracing::warn!(request = id, reason, "what a command asked for can't be done");
        }
        let settled = outcome.map(|outcome| serde_json::to_string(&outcome).unwrap_or_default());
        let now = Timestamp::now();
        self.write(move |c| request::settle(c, id, &settled, now)).await
    }

    /// Does what is asked and returns what came of it, or why it can't be done; none: it is under
    /// way. `progress` is how far an earlier run came.
    pub(super) async fn answer(
        &mut self,
        id: i64,
        what: Request,
        progress: Option<&str>,
    ) -> Result<Option<Outcome>, String> {
        let (Request::Replay { sink, .. } | Request::Begin { sink, .. }) = &what else {
            return self.act(id, what).await.map(Some);
        };
        let orders = self.orders.get(sink).ok_or(NotServed).map_err(not_served(sink))?;
        let (order, told) = self.windows.order(id, &what, progress).await?;
        let name = sink.clone();
        let begun = orders.give(|asked| Order::Window(Box::new(order), asked)).await;
        begun.map_err(not_served(&name))??;
        self.windows.begin(id, &name, told);
        Ok(None)
    }

    async fn act(&self, id: i64, what: Request) -> Result<Outcome, String> {
        match what {
            Request::Replay { .. } | Request::Begin { .. } => {
                Err("it is done elsewhere".to_owned())
            }
            Request::ReplayDead { filter, mapping, force } => {
                let what = Replay { request: id, filter, mapping, force };
                self.replay(&what).await
            }
            Request::Discard { filter, reason } => self.discard(&filter, &reason).await,
            Request::Load { wanted, routes } => {
                let now = Timestamp::now();
                let write = self.state.write(move |c| load::want(c, wanted.as_ref(), &routes, now));
                write.await.map(|()| Outcome::default()).map_err(|error| chain(&error))
            }
            Request::TurnLoads { ids, state } => {
                let now = Timestamp::now();
                let write = self.state.write(move |c| load::turn_all(c, &ids, state, now));
                write.await.map(|()| Outcome::default()).map_err(|error| chain(&error))
            }
            Request::Pause { sink, reason } => {
                self.pause(&sink, Some(store::paused(reason.as_deref()))).await
            }
            Request::Resume { sink } => self.pause(&sink, None).await,
            Request::Hold { route, reason } => {
                self.hold(&route, Some(reason.unwrap_or_default())).await
            }
            Request::Release { route } => self.hold(&route, None).await,
        }
    }

    async fn replay(&self, what: &Replay) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        let all = &what.filter.sink;
        let chosen = self.sinks.iter().filter(|name| all.as_ref().is_none_or(|sink| sink == *name));
        for name in chosen {
            let Some(orders) = self.orders.get(name).or_else(|| self.shelves.get(name)) else {
                match all {
                    Some(_) => return Err(not_served(name)(NotServed)),
                    None => continue,
                }
            };
            let begun = orders.give(|asked| Order::Replay(Box::new(what.clone()), asked)).await;
            outcome.add(begun.map_err(not_served(name))?);
        }
        Ok(outcome)
    }

    /// What belongs to a sink that is served goes through it; anything else is in the state only.
    async fn discard(&self, filter: &DeadLetterFilter, reason: &str) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        for (name, orders) in self.orders.iter().chain(&self.shelves) {
            if filter.sink.as_ref().is_some_and(|sink| sink != name) {
                continue;
            }
            let filter = DeadLetterFilter { sink: Some(name.clone()), ..filter.clone() };
            let given = orders
                .give(|asked| Order::Discard(Box::new(filter), reason.to_owned(), asked))
                .await;
            outcome.discarded += given.map_err(not_served(name))?;
        }
        let served = self.orders.keys().chain(self.shelves.keys()).cloned().collect();
        let (filter, reason) = (filter.clone(), reason.to_owned());
        let rest = self.state.write(move |c| discard_unserved(c, &served, &filter, &reason));
        outcome.discarded += rest.await.map_err(|error| chain(&error))?;
        Ok(outcome)
    }

    async fn pause(&self, sink: &str, why: Option<String>) -> Result<Outcome, String> {
        if !self.sinks.iter().any(|name| name == sink) {
            return Err(format!("there is no sink `{sink}` in the config of the running instance"));
        }
        let orders = self.orders.get(sink).ok_or(NotServed).map_err(not_served(sink))?;
        let (name, stored) = (sink.to_owned(), why.clone());
        // Stored first, so that it stays so over a restart.
        let write = self.state.write(move |c| store::set_halted(c, &name, stored.as_deref()));
        write.await.map_err(|error| chain(&error))?;
        orders.give(|asked| Order::Pause(why, asked)).await.map_err(not_served(sink))?;
        Ok(Outcome::default())
    }

    async fn hold(&self, route: &str, why: Option<String>) -> Result<Outcome, String> {
        let sink = self.routes.get(route).ok_or_else(|| {
            format!("there is no route `{route}` in the config of the running instance")
        })?;
        let orders = self.orders.get(sink);
        if orders.is_none() && why.is_some() {
            return Err(not_served(sink)(NotServed));
        }
        let (name, stored) = (route.to_owned(), why.clone());
        let write = self.state.write(move |c| known::hold(c, &name, stored.as_deref()));
        write.await.map_err(|error| chain(&error))?;
        if let Some(orders) = orders {
            let given = orders.give(|asked| Order::Hold(route.to_owned(), why.is_some(), asked));
            given.await.map_err(not_served(sink))?;
        }
        Ok(Outcome::default())
    }

    async fn write(
        &self,
        work: impl Fn(&rusqlite::Connection) -> rusqlite::Result<()> + Clone + Send + 'static,
    ) -> Result<(), Error> {
        insist::write(&self.state, "what a command asks for", work).await
    }
}

/// Discards what is of no sink that is served: what came to one of those meanwhile is its own.
fn discard_unserved(
    connection: &rusqlite::Connection,
    served: &BTreeSet<String>,
    filter: &DeadLetterFilter,
    reason: &str,
) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare("SELECT DISTINCT sink FROM dead_letters")?;
    let sinks = statement.query_map([], |row| row.get(0))?;
    let mut count = 0;
    for sink in sinks.collect::<rusqlite::Result<Vec<String>>>()? {
        if !served.contains(&sink) && filter.sink.as_ref().is_none_or(|only| *only == sink) {
            let filter = DeadLetterFilter { sink: Some(sink), ..filter.clone() };
            count += discard_selected_dead_letters(connection, &filter, reason)?.count;
        }
    }
    Ok(count)
}

fn not_served(sink: &str) -> impl Fn(NotServed) -> String {
    move |error| format!("sink `{sink}`: {error}")
}

/// Returns whether dead letters that a request has sent again are still under way. Those are not
/// that wait for the stream to bring again what is before them.
pub(super) async fn is_replaying(state: &State, request: i64) -> Result<bool, state::Error> {
    let read = state.read(move |connection| {
        let sql = "SELECT EXISTS (SELECT 1 FROM dead_letters JOIN progress USING (sink)
                   WHERE request = ?1 AND state = 'replaying'
                       AND (commit_lsn, seq) < (floor_lsn, floor_seq))";
        connection.prepare(sql)?.query_row([request], |row| row.get(0))
    });
    read.await
}
