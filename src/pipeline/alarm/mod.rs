//! [`Alarm`]: looks at everything once a second, keeps incidents, and tells who asked for it.
//!
//! Nothing of the road waits for it: it reads what the others count, and each destination has a
//! [`Courier`] of its own, which may hang for as long as it likes.

mod courier;
mod ended;
mod look;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::courier::Courier;
pub(super) use self::ended::ended;
use super::shared::Shared;
use crate::alert::{Change, Evaluator, Happening, Instance, Notice, in_force, store};
use crate::config::Config;
use crate::failure::chain;
use crate::lsn::Timestamp;
use crate::state::{self, State, meta};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long what was told last may take to arrive when the run ends; the rest goes with the next.
const FAREWELL: Duration = Duration::from_secs(2);
/// Happenings that wait for a state that takes nothing; past it the oldest are given up.
const UNSTORED_MAX: usize = 1000;
/// Notices on their way to a courier; past it they wait in the state for the next start.
const QUEUE_MAX: usize = 1024;

/// See the module.
pub(super) struct Alarm {
    config: Config,
    state: State,
    shared: Arc<Shared>,
    evaluator: Evaluator,
    couriers: BTreeMap<String, mpsc::Sender<Notice>>,
    /// What the state has not taken yet.
    unstored: VecDeque<Happening>,
    is_failing: bool,
}

impl Alarm {
    pub(super) fn new(config: &Config, state: &State, shared: &Arc<Shared>) -> Self {
        let sinks = names(config);
        Self {
            config: config.clone(),
            state: state.clone(),
            shared: Arc::clone(shared),
            evaluator: Evaluator::new(in_force(&config.alerts, &sinks), &sinks),
            couriers: BTreeMap::new(),
            unstored: VecDeque::new(),
            is_failing: false,
        }
    }

    /// Runs until `stop`, then looks once more, and ends within a bound of its own.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        let instance = instance(&self.config, &self.state).await;
        for (to, courier) in couriers(&self.config, &self.state, &instance) {
            let (sender, incoming) = mpsc::channel(QUEUE_MAX);
            self.couriers.insert(to, sender);
            tasks.spawn(courier.run(incoming));
        }
        if let Err(error) = self.restore().await {
            tracing::warn!(error = chain(&error), "what was firing can't be read");
        }
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                _ = ticks.tick() => false,
                () = stop.cancelled() => true,
            };
            self.look().await;
            if is_last {
                break;
            }
        }
        self.couriers.clear();
        let farewell = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::debug!("not every notice has arrived; the next start sends them");
        }
    }

    /// Goes on with what was firing, and with what was not told yet.
    async fn restore(&mut self) -> Result<(), state::Error> {
        let read = self.state.read(|c| Ok((store::standing(c)?, store::owed(c)?)));
        let (standing, owed) = read.await?;
        for (id, standing) in standing {
            if !self.evaluator.restore(&standing) {
                let alert = standing.alert;
                tracing::info!(alert, "what was firing is watched by nobody any more");
                self.state.write(move |c| store::forget(c, id, Timestamp::now())).await?;
            }
        }
        for (to, notice) in owed {
            if !self.give(&to, notice.clone()) {
                let settle = move |c: &rusqlite::Connection| {
                    store::settled(c, &to, &[(notice.incident, notice.number)])
                };
                self.state.write(settle).await?;
            }
        }
        Ok(())
    }

    async fn look(&mut self) {
        let now = Timestamp::now();
        let seen = look::seen(&self.shared, now);
        let happenings = self.evaluator.look(&seen, now);
        self.shared.lock().alerts = self.evaluator.firing();
        for happening in happenings {
            tell(&happening);
            if self.unstored.len() >= UNSTORED_MAX {
                self.unstored.pop_front();
            }
            self.unstored.push_back(happening);
        }
        if self.unstored.is_empty() {
            return;
        }
        match self.keep(self.unstored.iter().cloned().collect()).await {
            Ok(notices) => {
                self.is_failing = false;
                let stored = std::mem::take(&mut self.unstored);
                for (happening, notice) in stored.iter().zip(notices) {
                    let Some(notice) = notice else { continue };
                    for to in &happening.rule.to {
                        self.give(&to.sink, notice.clone());
                    }
                }
            }
            // It is tried again at the next look.
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(error = chain(&error), "an incident can't be stored");
                }
            }
        }
    }

    /// Stores what has happened, all of it or nothing. Returns what destinations are to be told of
    /// each.
    async fn keep(&self, happenings: Vec<Happening>) -> Result<Vec<Option<Notice>>, state::Error> {
        let now = Timestamp::now();
        let store = move |connection: &rusqlite::Connection| {
            let store = |happening: &Happening| match happening.change {
                Change::Fired => store::begin(connection, happening, now),
                Change::Repeated => store::repeat(connection, happening, now),
                Change::Resolved => store::end(connection, happening, now),
            };
            happenings.iter().map(store).collect()
        };
        self.state.write(store).await
    }

    /// Gives a notice to a courier; false where nobody goes there.
    fn give(&self, to: &str, notice: Notice) -> bool {
        let Some(courier) = self.couriers.get(to) else { return false };
        if courier.try_send(notice).is_err() {
            tracing::warn!(
                destination = to,
                "too many notices wait; this one goes with the next start"
            );
        }
        true
    }
}

fn tell(happening: &Happening) {
    let (alert, next) = (&happening.rule.name, happening.next());
    // A field called `message` would take the place of the text.
    let (subject, seen) = (&happening.subject, &happening.message);
    match happening.change {
        Change::Fired => tracing::warn!(alert, %subject, seen, next, "an alert fires"),
        Change::Repeated => tracing::warn!(alert, %subject, seen, next, "an alert goes on"),
        Change::Resolved => tracing::info!(alert, %subject, seen, "an alert is over"),
    }
}

fn names(config: &Config) -> Vec<String> {
    // One that only notices go to takes no changes that could be late.
    let is_routed = |name: &String| config.routes.iter().any(|route| route.sink == *name);
    config.sinks.iter().map(|sink| sink.name.clone()).filter(is_routed).collect()
}

/// Makes who goes to each destination that an alert names.
fn couriers(config: &Config, state: &State, instance: &Instance) -> BTreeMap<String, Courier> {
    let mut couriers = BTreeMap::new();
    for to in config.alerts.iter().flat_map(|alert| &alert.to) {
        let Some(sink) = config.sinks.iter().find(|sink| sink.name == to.sink) else { continue };
        match Courier::new(sink, to.slack, instance, state) {
            Ok(courier) => {
                couriers.insert(to.sink.clone(), courier);
            }
            Err(error) => {
                tracing::error!(destination = to.sink, error = chain(&error), "nobody is told");
            }
        }
    }
    couriers
}

/// Which walgate this is.
async fn instance(config: &Config, state: &State) -> Instance {
    let identity = state.read(meta::load).await.ok().and_then(|known| known.identity);
    let slot = config.source.slot.clone();
    Instance { database: identity.map(|it| it.database).unwrap_or_default(), slot }
}
