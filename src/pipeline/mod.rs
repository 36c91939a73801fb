//! Joins the stages; owns every task, every channel and the order of shutdown.
//!
//! ```text
//! intake ──append──▶ journal ──cursor──▶ one runner a sink
//!    ▲                                         │
//!    └── confirmer ◀────── keeper ◀── snapshots┘
//! ```
//!
//! The admin listener is told of all of it.
//! Knows how the stages fit, not what any of them does.

mod ages;
mod alarm;
mod error;
mod export;
mod freshness;
mod full;
mod growth;
mod history;
mod insist;
mod intake;
mod keeper;
mod lag;
mod load;
mod marks;
#[cfg(test)]
mod model;
mod names;
mod operate;
mod operator;
mod report;
mod rewrites;
mod setup;
mod shadow;
mod shared;
mod shown;
mod tables;
mod tally;
mod wanted;
mod watch;
mod windows;
mod withheld;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use error::{Ending, Error};
pub use operate::operate;
pub use shadow::{
    Figures as ShadowFigures, Sample as ShadowSample, SampleField as ShadowField,
    Sides as ShadowSides, Stored as StoredShadow, stored as stored_shadows,
};

use crate::admin;
use crate::config::Config;
use crate::delivery::{SinkState, Snapshot};
use crate::inspect::status::waiting_events;
use crate::state::State;
use operator::Operator;
use shared::Shared;

/// Between two looks at what is done. What a sink acknowledged since the last one may repeat
/// after a crash.
const TICK: Duration = Duration::from_millis(100);

/// How long the server is given to take the last word.
const FAREWELL: Duration = Duration::from_secs(3);

/// How a run goes on and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// End once all that was committed before the start is done at every sink.
    pub until_caught_up: bool,
    /// With `until_caught_up`: give up after this long, from the start of it all on.
    pub timeout: Option<Duration>,
    /// Wait for the slot and the state folder for as long as another holds them.
    pub standby: bool,
    /// Take a slot that exists though the state is empty.
    pub adopt_slot: bool,
    /// Go on behind a gap.
    pub accept_gap: bool,
    /// Read neither the source nor the journal, and do only what is asked for; see [`operate`].
    pub only_asked: bool,
}

/// How a run ended that nothing kept from ending well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to stop.
    Stopped {
        /// Events that were unanswered at the end of the grace: they may be sent again.
        unanswered: u64,
    },
    /// All is done at every sink.
    CaughtUp {
        /// Events that became dead letters in this run.
        dead: u64,
    },
    /// All is done but at these sinks, which are halted or have routes that are held, or but for
    /// loads that wait for a person.
    Halted {
        /// Name and reason.
        sinks: Vec<String>,
    },
    /// Not all was done within the time given.
    TimedOut,
}

/// Runs the pipeline until `stop` is cancelled, all is caught up where that was asked for, or
/// something happens at the source that waiting does not mend.
///
/// Cancel safety: dropping it is as good as a kill: nothing is lost, what was in flight repeats.
///
/// # Errors
/// [`Error::ending`] tells how the process ends with it.
pub async fn run(
    config: Config,
    options: Options,
    stop: CancellationToken,
) -> Result<Outcome, Error> {
    let deadline = options.timeout.map(|timeout| Instant::now() + timeout);
    let stage = Arc::new(shown::Stage::new(&config));
    let showing = CancellationToken::new();
    let mut listeners = JoinSet::new();
    listeners.spawn(admin::serve(config.admin.clone(), Arc::clone(&stage) as _, showing.clone()));
    let export = export::Export::start(&config, &stage, &showing);
    let opened = tokio::select! {
        opened = setup::open(&config, options) => opened?,
        () = stop.cancelled() => return Ok(Outcome::Stopped { unanswered: 0 }),
        () = passed(deadline) => return Ok(Outcome::TimedOut),
    };
    let setup::Opened { shared, state, journal, splice, intake, .. } = opened;
    let setup::Opened { runners, pollers, bases, orders, shelves, shadows, .. } = opened;
    let polled = pollers.iter().map(|poller| (poller.name().to_owned(), poller.polled()));
    stage.open(&shared, &state, &journal, polled.collect());

    // Two stops, in order: first nothing new is read, then the last progress is stored.
    let reading = CancellationToken::new();
    let keeping = CancellationToken::new();
    let mut sources = JoinSet::new();
    sources.spawn(intake.run(reading.clone()));
    let mut sinks = JoinSet::new();
    for runner in runners {
        sinks.spawn(runner.traced(export.tracing()).run(reading.clone(), config.shutdown_grace));
    }
    for poller in pollers {
        sinks.spawn(poller.run(reading.clone()));
    }
    let mut keepers = JoinSet::new();
    let keeper = keeper::Keeper::new(&config, &shared, &state, &journal, bases);
    keepers.spawn(keeper.run(keeping.clone()));
    let mut operators = JoinSet::new();
    let operator = Operator::new(&config, &state, &journal, orders, shelves);
    operators.spawn(operator.run(reading.clone(), keeping.clone()));
    let mut loaders = JoinSet::new();
    loaders.spawn(load::Loads::new(&config, &state, &shared, &journal, &splice).run());
    listeners.spawn(alarm::Alarm::new(&config, &state, &shared).run(keeping.clone()));
    let mut watchers = JoinSet::new();
    let mut beside = shadow::spawned(shadows, &reading);
    watchers.spawn(watch::Watch::new(&config, &state, &shared, options).run());

    let ended = tokio::select! {
        () = stop.cancelled() => Ok(None),
        outcome = caught_up(&shared, options) => Ok(Some(outcome)),
        () = passed(deadline) => Ok(Some(Outcome::TimedOut)),
        Some(ended) = sources.join_next() => failed(ended),
        Some(ended) = sinks.join_next() => failed(ended.map(|ended| ended.map_err(Error::Delivery))),
        Some(ended) = keepers.join_next() => failed(ended),
        Some(ended) = operators.join_next() => failed(ended),
        Some(ended) = loaders.join_next() => failed(ended),
        // It ends by itself only when it breaks down.
        Some(Err(_)) = listeners.join_next() => Err(Error::Panicked),
    };
    watchers.abort_all();
    loaders.abort_all();
    reading.cancel();
    let mut unanswered = 0;
    while let Some(done) = sinks.join_next().await {
        unanswered += done.map_err(|_| Error::Panicked)?.map_err(Error::Delivery)?;
    }
    // It ends within a bound of its own, and nothing waits for what it finds.
    while beside.join_next().await.is_some() {}
    keeping.cancel();
    all_ended(&mut keepers).await?;
    all_ended(&mut operators).await?;
    showing.cancel();
    all_told(listeners, export).await;
    shared.say_farewell();
    // A server that does not answer any more is left; what it did not hear it will be told again.
    if tokio::time::timeout(FAREWELL, sources.join_next()).await.is_err() {
        tracing::debug!("the server did not take the last word in time");
    }
    tell_end(&config, &state, ended.as_ref().err()).await;
    Ok(ended?.unwrap_or(Outcome::Stopped { unanswered }))
}

/// Notes why a run has ended where a person has to act, and tells who asked for it.
async fn tell_end(config: &Config, state: &State, error: Option<&Error>) {
    report::ended(state, &config.source.slot, error).await;
    alarm::ended(config, state, error).await;
}

/// Ends at the deadline; never without one.
async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits until who tells others of the run has told the last, or has given up.
async fn all_told(mut listeners: JoinSet<()>, export: export::Export) {
    while listeners.join_next().await.is_some() {}
    export.ended().await;
}

/// Waits until each of these tasks has ended.
async fn all_ended(tasks: &mut JoinSet<Result<(), Error>>) -> Result<(), Error> {
    while let Some(done) = tasks.join_next().await {
        done.map_err(|_| Error::Panicked)??;
    }
    Ok(())
}

/// A task that should go on has ended.
fn failed<T>(
    ended: Result<Result<T, Error>, tokio::task::JoinError>,
) -> Result<Option<Outcome>, Error> {
    ended.map_err(|_| Error::Panicked)??;
    Ok(None)
}

/// Ends when all that was committed before the start is done, or can't be; never where that was
/// not asked for.
async fn caught_up(shared: &Shared, options: Options) -> Outcome {
    if !options.until_caught_up {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(TICK / 4).await;
        let Some(target) = shared.target() else {
            if let Some(loads) = shared.stuck_loads() {
                return Outcome::Halted { sinks: loads };
            }
            continue;
        };
        let waiting: Vec<_> =
            shared.sinks().iter().filter(|sink| !sink.is_caught_up(target)).collect();
        if waiting.is_empty() {
            let dead = shared.sinks().iter().map(|s| s.snapshot().counters.dead_total()).sum();
            return Outcome::CaughtUp { dead };
        }
        let snapshots: Vec<_> = waiting.iter().map(|sink| (sink.name(), sink.snapshot())).collect();
        let is_stuck = |snapshot: &Snapshot| {
            snapshot.state == SinkState::Halted || snapshot.is_held_back(target)
        };
        if snapshots.iter().all(|(_, snapshot)| is_stuck(snapshot)) {
            let say = |(name, snapshot): &(&str, Snapshot)| stuck(name, snapshot);
            return Outcome::Halted { sinks: snapshots.iter().map(say).collect() };
        }
    }
}

/// Names a sink that does not go on without a person, with what keeps it.
fn stuck(name: &str, snapshot: &Snapshot) -> String {
    let halted = snapshot.reason.clone().filter(|_| snapshot.state == SinkState::Halted);
    let held = snapshot.held.iter().map(|(route, waiting)| {
        format!(
            "route {route} is held, {}: `walgate route release {route}`",
            waiting_events(*waiting)
        )
    });
    let why: Vec<String> = halted.into_iter().chain(held).collect();
    if why.is_empty() { name.to_owned() } else { format!("{name} ({})", why.join("; ")) }
}
