//! [`Reporter`]: what a running instance says of itself for `walgate status`.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::shared::Shared;
use super::{Ending, Error};
use crate::config::Config;
use crate::delivery::{SinkProgress, Snapshot};
use crate::failure::{Classify, chain};
use crate::inspect::status::{self, JournalStatus, SinkStatus, SourceState, SourceStatus, Status};
use crate::journal::Journal;
use crate::lsn::Timestamp;
use crate::progress::store;
use crate::state::State;

/// What earlier runs did at a sink.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Base {
    pub(super) delivered: u64,
    pub(super) skipped: u64,
    pub(super) newest_done: Option<Timestamp>,
}

impl Base {
    pub(super) const fn of(stored: &store::Stored) -> Self {
        let store::Stored { delivered, skipped, newest_done, .. } = *stored;
        Self { delivered, skipped, newest_done }
    }
}

/// Writes the status, and counts rates between two of them.
pub(super) struct Reporter {
    slot: String,
    kinds: BTreeMap<String, &'static str>,
    bases: BTreeMap<String, Base>,
    /// Delivered at the last report.
    last: BTreeMap<String, u64>,
    last_at: Option<Instant>,
}

impl Reporter {
    pub(super) fn new(config: &Config, bases: BTreeMap<String, Base>) -> Self {
        let kinds = config.sinks.iter().map(|sink| (sink.name.clone(), sink.kind.kind()));
        Self {
            slot: config.source.slot.clone(),
            kinds: kinds.collect(),
            bases,
            last: BTreeMap::new(),
            last_at: None,
        }
    }

    /// Returns what earlier runs did, by sink.
    pub(super) fn bases(&self) -> BTreeMap<String, Base> {
        self.bases.clone()
    }

    /// Returns the status as it is now.
    pub(super) fn report(&mut self, shared: &Shared, journal: &Journal, now: Timestamp) -> Status {
        let elapsed = self.last_at.map_or(0.0, |at| at.elapsed().as_secs_f64());
        self.last_at = Some(Instant::now());
        let kept = journal.status();
        let snapshots: Vec<Snapshot> = shared.sinks().iter().map(SinkProgress::snapshot).collect();
        let mut fresh = Vec::new();
        let source = {
            let mut inner = shared.lock();
            let server = inner.server_lsn.map(|lsn| lsn.max(inner.seen));
            for (sink, snapshot) in shared.sinks().iter().zip(&snapshots) {
                fresh.push(inner.freshness(sink.name(), snapshot, now));
            }
            inner.forget_ages(&snapshots);
            SourceStatus {
                state: match inner.state {
                    SourceState::Streaming if inner.loading.is_open => SourceState::Loading,
                    state => state,
                },
                reason: kept.paused.map(str::to_owned).or_else(|| inner.reason.clone()).or_else(
                    || {
                        let waiting = &inner.loading.waiting;
                        (!waiting.is_empty())
                            .then(|| format!("waiting to load {}", waiting.join("; ")))
                    },
                ),
                slot: self.slot.clone(),
                confirmed_lsn: Some(inner.confirmed.to_string()),
                server_lsn: server.map(|lsn| lsn.to_string()),
                lag_bytes: server.map(|server| server.0.saturating_sub(inner.confirmed.0)),
                lag_seconds: inner.lag.seconds(now),
                retained_wal_bytes: inner.retained_wal,
                wal_status: inner.wal_status.clone(),
                safe_wal_bytes: inner.wal.safe,
                wal_bytes_per_second: inner.wal.per_second,
                wal_seconds_left: inner.wal.seconds_left,
                held_by: inner.wal.held_by.clone(),
                warnings: inner.wal.warnings.clone(),
            }
        };
        let sinks = shared.sinks().iter().zip(&snapshots).zip(fresh);
        let sinks =
            sinks.map(|((sink, snapshot), fresh)| self.sink(sink, snapshot, fresh, elapsed));
        let journal = JournalStatus {
            bytes: kept.bytes,
            oldest: kept.oldest.map(|time| time.to_string()),
            newest: kept.newest.map(|time| time.to_string()),
        };
        Status { sinks: sinks.collect(), source, journal }
    }

    /// The status of a sink, `elapsed` seconds after the last report.
    fn sink(
        &mut self,
        sink: &SinkProgress,
        snapshot: &Snapshot,
        fresh: f64,
        elapsed: f64,
    ) -> SinkStatus {
        let name = sink.name();
        let floor = snapshot.reached.floor;
        let base = self.bases.get(name).copied().unwrap_or_default();
        let counters = &snapshot.counters;
        let delivered = counters.delivered_total();
        let before = self.last.insert(name.to_owned(), delivered).unwrap_or(0);
        SinkStatus {
            name: name.to_owned(),
            kind: self.kinds.get(name).map(|kind| (*kind).to_owned()),
            state: snapshot.state,
            reason: snapshot.reason.clone(),
            next: snapshot.next.map(|next| next.to_string()),
            since: snapshot.since.map(|since| since.to_string()),
            position: floor.into(),
            lag_events: (!snapshot.detached).then_some(snapshot.undone + snapshot.waiting),
            freshness_seconds: Some(fresh),
            delivered: base.delivered + delivered,
            skipped: base.skipped + counters.skipped_total(),
            dead_letters: BTreeMap::new(),
            events_per_second: rate(delivered.saturating_sub(before), elapsed),
        }
    }
}

/// Returns up to when all was known to be done at each sink, as the last run said.
pub(super) fn known_fresh(stored: &status::Stored) -> BTreeMap<String, Timestamp> {
    let sinks = stored.status.sinks.iter();
    sinks.filter_map(|sink| Some((sink.name.clone(), stored.fresh(&sink.name)?))).collect()
}
/// Notes for whoever asks later that a run ended with an error that a person has to act on.
pub(super) async fn ended(state: &State, slot: &str, error: Option<&Error>) {
    let Some(error) = error.filter(|error| error.ending() == Ending::Halted) else { return };
    let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
    let reason = format!("{}{help}", chain(error));
    let slot = slot.to_owned();
    let write = state.write(move |connection| {
        let last = status::stored(connection)?;
        let (time, mut status) = last
            .map_or_else(|| (Timestamp::now(), Status::default()), |last| (last.time, last.status));
        let source = &mut status.source;
        (source.state, source.reason, source.slot) =
            (SourceState::Halted, Some(reason.clone()), slot.clone());
        status::store(connection, time, &status)
    });
    if let Err(error) = write.await {
        tracing::debug!(error = chain(&error), "why it ended can't be noted");
    }
}

/// Events a second, with one digit behind the point.
fn rate(events: u64, elapsed: f64) -> f64 {
    let events = u32::try_from(events).map_or(f64::INFINITY, f64::from);
    let rate = (events / elapsed * 10.0).round() / 10.0;
    if rate.is_finite() { rate } else { 0.0 }
}
