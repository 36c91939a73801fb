//! [`Stage`]: what the admin listener is told of a run.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::shared::Shared;
use crate::admin::{Figures, Shown, SinkFigures, SourceFigures};
use crate::config::Config;
use crate::delivery::{Polled, SinkProgress, SinkState, Snapshot, dead_letter_counts};
use crate::failure::chain;
use crate::inspect::status::SourceState;
use crate::journal::Journal;
use crate::lsn::{Lsn, Timestamp};
use crate::otlp::Losses;
use crate::progress::store::{self, Stored};
use crate::state::State;

/// A keeper that is silent for longer is stuck: it ticks ten times a second, and an fsync that
/// takes so long is no disk to rely on.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What is there to be shown. The listener answers from the first moment on; what it is asked for
/// is there once all is open.
#[derive(Debug)]
pub(super) struct Stage {
    config: Arc<Config>,
    running: OnceLock<Running>,
    losses: Losses,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    state: State,
    journal: Arc<Journal>,
    polled: BTreeMap<String, Polled>,
}

/// Of each sink: how far it is, and its dead letters by category.
type InState = (BTreeMap<String, Stored>, BTreeMap<String, BTreeMap<String, u64>>);

impl Stage {
    pub(super) fn new(config: &Config) -> Self {
        let config = Arc::new(config.clone());
        Self { config, running: OnceLock::new(), losses: Losses::default() }
    }

    /// Where the exporter counts what was lost.
    pub(super) const fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Shows a run that is open.
    pub(super) fn open(
        &self,
        shared: &Arc<Shared>,
        state: &State,
        journal: &Arc<Journal>,
        polled: BTreeMap<String, Polled>,
    ) {
        let running = Running {
            shared: Arc::clone(shared),
            state: state.clone(),
            journal: Arc::clone(journal),
            polled,
        };
        // A run opens once.
        let _again = self.running.set(running);
    }
}

impl Shown for Stage {
    fn config(&self) -> &Arc<Config> {
        &self.config
    }

    fn ailments(&self) -> Vec<String> {
        let Some(running) = self.running.get() else { return Vec::new() };
        let inner = running.shared.lock();
        let failing = inner.storing_fails.as_ref();
        let failing = failing.map(|error| format!("progress can't be stored: {error}"));
        let silent = inner.kept_at.map(|at| at.elapsed()).filter(|since| *since > SILENCE_MAX);
        let silent =
            silent.map(|since| format!("progress was not looked at for {} s", since.as_secs()));
        failing.into_iter().chain(silent).collect()
    }

    fn hindrances(&self) -> Vec<String> {
        let Some(running) = self.running.get() else {
            return vec!["the source is not attached: the run is starting".to_owned()];
        };
        let mut reasons = Vec::new();
        {
            let inner = running.shared.lock();
            if inner.state != SourceState::Streaming {
                let why = inner.reason.as_deref().unwrap_or("the run is starting");
                reasons.push(format!("the source is not attached: {why}"));
            }
        }
        for sink in running.shared.sinks() {
            let snapshot = sink.snapshot();
            if snapshot.state == SinkState::Halted {
                let why = snapshot.reason.unwrap_or_default();
                reasons.push(format!("sink {} is halted: {why}", sink.name()));
            }
        }
        reasons
    }

    fn figures(&self) -> BoxFuture<'_, Figures> {
        Box::pin(async {
            let figures = match self.running.get() {
                Some(running) => running.figures().await,
                None => Figures::default(),
            };
            let otlp_dropped = self.config.otlp.as_ref().map(|_| self.losses.by_signal());
            Figures { otlp_dropped: otlp_dropped.unwrap_or_default(), ..figures }
        })
    }

    fn is_open(&self) -> bool {
        self.running.get().is_some()
    }

    fn polled(&self, sink: &str) -> Option<Polled> {
        self.running.get()?.polled.get(sink).cloned()
    }

    fn server_end(&self) -> Option<Lsn> {
        let inner = self.running.get()?.shared.lock();
        inner.server_lsn.map(|lsn| lsn.max(inner.seen))
    }
}

impl Running {
    async fn figures(&self) -> Figures {
        let read = self
            .state
            .read(|connection| Ok((store::load_all(connection)?, dead_letter_counts(connection)?)));
        let stored = read.await.inspect_err(|error| {
            tracing::debug!(error = chain(error), "the state can't be read for /metrics");
        });
        let mut stored: Option<InState> = stored.ok();
        let now = Timestamp::now();
        let sinks = self.shared.sinks();
        let snapshots: Vec<Snapshot> = sinks.iter().map(SinkProgress::snapshot).collect();
        let mut fresh = Vec::new();
        let alerts;
        let source = {
            let mut inner = self.shared.lock();
            let server = inner.server_lsn.map(|lsn| lsn.max(inner.seen));
            for (sink, snapshot) in sinks.iter().zip(&snapshots) {
                fresh.push(inner.freshness(sink.name(), snapshot, now));
            }
            alerts = inner.alerts.clone().into_iter().collect();
            let events = inner.tally.counts();
            SourceFigures {
                lag_bytes: server.map(|server| server.0.saturating_sub(inner.confirmed.0)),
                lag_seconds: inner.lag.seconds(now),
                retained_wal_bytes: inner.retained_wal,
                safe_wal_bytes: inner.wal.safe,
                wal_bytes_per_second: inner.wal.per_second,
                wal_seconds_left: inner.wal.seconds_left,
                oldest_transaction_seconds: inner.wal.held_by.first().map(|held| held.seconds),
                warnings: inner.wal.warnings.len(),
                events: events.map(|(table, op, n)| (table.to_owned(), op, n)).collect(),
            }
        };
        let sinks = sinks.iter().zip(snapshots).zip(fresh);
        let sinks = sinks
            .map(|((sink, snapshot), fresh)| of_sink(sink.name(), snapshot, fresh, &mut stored));
        let journal_bytes = Some(self.journal.status().bytes);
        let otlp_dropped = Vec::new();
        Figures { sinks: sinks.collect(), source, journal_bytes, alerts, otlp_dropped }
    }
}

fn of_sink(
    name: &str,
    snapshot: Snapshot,
    fresh: f64,
    stored: &mut Option<InState>,
) -> SinkFigures {
    let (progress, dead_letters) = match stored {
        Some((progress, letters)) => {
            (progress.remove(name), Some(letters.remove(name).unwrap_or_default()))
        }
        None => (None, None),
    };
    SinkFigures {
        name: name.to_owned(),
        freshness_seconds: Some(fresh),
        checkpoint: progress.map(|stored| stored.reached.floor.commit_lsn),
        dead_letters,
        snapshot,
    }
}
