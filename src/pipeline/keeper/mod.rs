//! [`Keeper`]: what is done becomes durable, and only then is the slot told.

mod delivered;
mod retention;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::delivered::Deliveries;
use super::full::Full;
use super::history::{Due, Recorder};
use super::report::{Base, Reporter};
use super::shared::Shared;
use super::withheld::Withheld;
use super::{Error, TICK};
use crate::config::{self, Config, Confirm};
use crate::delivery::{SinkProgress, Snapshot};
use crate::failure::{Category, Classify, chain};
use crate::inspect::history;
use crate::inspect::status::{self, Status};
use crate::journal::{self, Journal, Run};
use crate::lsn::{Lsn, Position, Timestamp};
use crate::progress::ledger::Reached;
use crate::progress::store::{self, Stored};
use crate::state::{self, State, meta};

/// Between two reports for `status`.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Between two reports that say the same: an idle instance leaves the disk alone.
const REPORT_SAME_EVERY: Duration = Duration::from_secs(5);

/// Makes progress durable.
///
/// Invariant, in every tick: sinks' positions are taken, the journal is fsynced, both are stored
/// in one transaction together with the LSN, and only then is exactly that LSN confirmed.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    state: State,
    journal: Arc<Journal>,
    settings: config::Journal,
    reporter: Reporter,
    recorder: Recorder,
    /// Figures for charts that are not stored yet.
    due: Due,
    /// Index rows that could not be stored yet.
    runs: BTreeMap<(u32, u64), Run>,
    /// What was delivered and is not stored yet.
    deliveries: Deliveries,
    /// What lies below was pruned.
    pruned: Position,
    /// The highest LSN that is safe, stored or not.
    safe: Lsn,
    /// Of how many changes of timeline that knows.
    timelines_left: u64,
    /// What was stored last.
    stored: Option<Moment>,
    retained_at: Option<Instant>,
    reported_at: Option<Instant>,
    /// The report that was stored last, and when.
    told: Option<(Instant, Status)>,
    withheld: Withheld,
    full: Full,
    /// How long each sink keeps its dead letters, where that has an end.
    dead_retain: Vec<(String, Duration)>,
    expired_at: Option<Instant>,
    started: Instant,
    failing: bool,
}

/// What makes a tick worth its fsync.
#[derive(Clone, Debug, PartialEq)]
struct Moment {
    end: Position,
    /// How far each sink is, and what it has delivered and skipped: either may move alone.
    reached: Vec<(Reached, u64, u64)>,
    generations: Vec<u64>,
    safe: Lsn,
    detached: usize,
}

impl Keeper {
    pub(super) fn new(
        config: &Config,
        shared: &Arc<Shared>,
        state: &State,
        journal: &Arc<Journal>,
        bases: BTreeMap<String, Base>,
    ) -> Self {
        let sinks = config.sinks.iter();
        let dead_retain =
            sinks.filter_map(|sink| Some((sink.name.clone(), sink.delivery.dead_retain?)));
        Self {
            shared: Arc::clone(shared),
            state: state.clone(),
            journal: Arc::clone(journal),
            settings: config.journal,
            reporter: Reporter::new(config, bases),
            recorder: Recorder::new(),
            due: Due::new(),
            runs: BTreeMap::new(),
            deliveries: Deliveries::default(),
            pruned: Position::ZERO,
            safe: Lsn::ZERO,
            timelines_left: 0,
            stored: None,
            retained_at: None,
            reported_at: None,
            told: None,
            withheld: Withheld::default(),
            full: Full::default(),
            dead_retain: dead_retain.collect(),
            expired_at: None,
            started: Instant::now(),
            failing: false,
        }
    }

    /// Runs until `stop`, and once more then.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let last = tokio::select! {
                _ = ticks.tick() => false,
                () = stop.cancelled() => true,
            };
            self.tick(last).await?;
            self.shared.lock().kept_at = Some(Instant::now());
            if last {
                return Ok(());
            }
        }
    }

    async fn tick(&mut self, last: bool) -> Result<(), Error> {
        self.follow_timeline();
        let snapshots: Vec<(SinkProgress, Snapshot)> = self.take();
        let mut moment = self.moment(&snapshots);
        // What was let go holds back nothing; with nobody left, what is journaled is all there is.
        let attached = snapshots.iter().filter(|(_, snapshot)| !snapshot.detached);
        let floor = attached.map(|(_, s)| s.reached.floor).min().unwrap_or(moment.end);
        let report = self.report(last);
        let pass = self.pass(floor);
        if self.stored.as_ref() != Some(&moment) || pass > self.safe {
            let durable = self.journal.sync().await.map_err(Error::Journal)?;
            self.runs.extend(durable.runs.into_iter().map(|run| (run.place(), run)));
            let through = durable.through.unwrap_or(floor);
            let below = match self.settings.confirm {
                Confirm::Journaled if durable.through.is_some() => through,
                Confirm::Delivered if self.withheld.is_over() && durable.through.is_some() => {
                    through
                }
                Confirm::Journaled | Confirm::Delivered => floor.min(through),
            };
            self.follow_timeline();
            if let Some(lsn) = self.shared.lock().marks.pass(below) {
                self.safe = self.safe.max(lsn);
            }
            moment.safe = self.safe;
            let received = match durable.through {
                Some(_) => durable.received,
                // Without a journal nothing is here but what is done: a journal that is turned on
                // later begins there.
                None => Some(self.safe.min(floor.commit_lsn)),
            };
            if self.store(snapshots.clone(), received, report).await? {
                self.stored = Some(moment);
            }
        } else if report.is_some() {
            self.store(Vec::new(), None, report).await?;
        }
        self.retain(floor, &snapshots).await?;
        self.expire().await
    }

    /// Takes back what was safe of a timeline that the server has left.
    fn follow_timeline(&mut self) {
        let inner = self.shared.lock();
        if self.timelines_left != inner.timelines_left {
            self.timelines_left = inner.timelines_left;
            self.safe = self.safe.min(inner.confirmed);
        }
    }

    /// How every sink is, and, kept until it is stored, what was delivered since.
    fn take(&mut self) -> Vec<(SinkProgress, Snapshot)> {
        let sinks = self.shared.sinks().iter();
        sinks
            .map(|sink| {
                let (snapshot, records) = sink.take();
                self.deliveries.add(sink.name(), records);
                (sink.clone(), snapshot)
            })
            .collect()
    }

    fn moment(&self, snapshots: &[(SinkProgress, Snapshot)]) -> Moment {
        let reached = |(_, snapshot): &(SinkProgress, Snapshot)| {
            let counters = &snapshot.counters;
            (snapshot.reached.clone(), counters.delivered_total(), counters.skipped_total())
        };
        Moment {
            end: self.journal.end(),
            reached: snapshots.iter().map(reached).collect(),
            generations: snapshots.iter().map(|(_, snapshot)| snapshot.generation).collect(),
            safe: self.safe,
            detached: snapshots.iter().filter(|(_, snapshot)| snapshot.detached).count(),
        }
    }

    /// What could be confirmed if all that is written were durable.
    fn pass(&mut self, floor: Position) -> Lsn {
        let journaled = self.settings.confirm == Confirm::Journaled || self.withheld.is_over();
        let below = match self.journal.is_on() {
            true if journaled => self.journal.written(),
            // On a full disk it would be asked for again and again, and never come.
            true => floor.min(self.journal.written()),
            false => floor,
        };
        self.shared.lock().marks.peek(below).unwrap_or_default()
    }

    /// Returns what is to be said for `status`, where something is.
    fn report(&mut self, last: bool) -> Option<Status> {
        if !last && self.reported_at.is_some_and(|at| at.elapsed() < REPORT_EVERY) {
            return None;
        }
        self.reported_at = Some(Instant::now());
        let now = Timestamp::now();
        let report = self.reporter.report(&self.shared, &self.journal, now);
        self.due.extend(self.recorder.look(&report, &self.shared, now));
        let is_told =
            |(at, told): &(Instant, Status)| at.elapsed() < REPORT_SAME_EVERY && *told == report;
        if !last && self.due.is_empty() && self.told.as_ref().is_some_and(is_told) {
            return None;
        }
        self.told = Some((Instant::now(), report.clone()));
        Some(report)
    }

    /// Stores all of it in one transaction, then confirms; false when it has to be tried again.
    async fn store(
        &mut self,
        snapshots: Vec<(SinkProgress, Snapshot)>,
        received: Option<Lsn>,
        report: Option<Status>,
    ) -> Result<bool, Error> {
        let now = Timestamp::now();
        let runs: Vec<Run> = self.runs.values().cloned().collect();
        let deliveries = self.deliveries.clone();
        let due = std::mem::take(&mut self.due);
        let safe = self.safe;
        let bases = self.reporter.bases();
        let (shared, timelines_left) = (Arc::clone(&self.shared), self.timelines_left);
        let written = self.state.write(move |connection| {
            let mut all_current = true;
            let mut settled = Vec::new();
            for (sink, snapshot) in &snapshots {
                // Taken back since: its position would lie behind events that are not done.
                if !sink.is_current(snapshot) {
                    all_current = false;
                    continue;
                }
                let base = bases.get(sink.name()).copied().unwrap_or_default();
                let stored = Stored {
                    reached: snapshot.reached.clone(),
                    delivered: base.delivered + snapshot.counters.delivered_total(),
                    skipped: base.skipped + snapshot.counters.skipped_total(),
                    newest_done: snapshot.newest_done.max(base.newest_done),
                    // It is not the keeper's to change.
                    halted: None,
                };
                if sink.is_newest(snapshot) {
                    store::save(connection, sink.name(), &stored, now)?;
                    settled.push((sink.clone(), snapshot.reached.floor));
                } else {
                    store::save_counts(connection, sink.name(), &stored, now)?;
                }
            }
            journal::store(connection, &runs)?;
            deliveries.store(connection)?;
            if let Some(received) = received {
                meta::set_received(connection, received)?;
            }
            // Else it is no position of the timeline that the server is on by now.
            if all_current && shared.lock().timelines_left == timelines_left {
                meta::set_confirmed(connection, safe)?;
            }
            if let Some(report) = report {
                status::store(connection, now, &report)?;
            }
            for (grain, samples) in &due {
                history::store(connection, *grain, now, samples)?;
            }
            Ok((all_current, settled))
        });
        match written.await {
            Ok((all_current, settled)) => {
                settled.iter().for_each(|(sink, floor)| sink.settle(*floor));
                self.runs.clear();
                self.deliveries.stored();
                self.wrote();
                if all_current {
                    self.confirm();
                }
                Ok(all_current)
            }
            Err(error) if error.category() == Category::Transient => {
                self.told = None;
                self.could_not_write(&error);
                Ok(false)
            }
            Err(error) => Err(Error::State(error)),
        }
    }

    /// Tells the slot exactly what was stored.
    fn confirm(&self) {
        let mut inner = self.shared.lock();
        if self.safe > inner.confirmed && self.timelines_left == inner.timelines_left {
            inner.confirmed = self.safe;
            if let Some(confirmer) = &inner.confirmer {
                confirmer.confirm(self.safe);
            }
        }
    }

    fn could_not_write(&mut self, error: &state::Error) {
        if !self.failing {
            tracing::error!(
                error = chain(error),
                "progress can't be stored: nothing more is confirmed"
            );
        }
        self.failing = true;
        self.shared.lock().storing_fails = Some(chain(error));
    }

    fn wrote(&mut self) {
        if self.failing {
            tracing::info!("progress is stored again");
        }
        self.failing = false;
        self.shared.lock().storing_fails = None;
    }
}
