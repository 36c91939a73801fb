//! What the evaluator is shown: what the others count, at one moment.

use super::super::shared::{Inner, Shared};
use crate::alert::{Seen, SinkSeen, SourceSeen};
use crate::delivery::{SinkProgress, SinkState, Snapshot};
use crate::failure::Category;
use crate::inspect::status::SourceState;
use crate::lsn::{Position, Timestamp};
use crate::progress::store::PAUSED;

/// So long a gap in the stream is news, in microseconds: whether somebody has loaded what was lost
/// nobody can tell.
const GAP_MICROS: i64 = 3600 * 1_000_000;

pub(super) fn seen(shared: &Shared, now: Timestamp) -> Seen {
    let sinks = shared.sinks();
    let snapshots: Vec<Snapshot> = sinks.iter().map(SinkProgress::snapshot).collect();
    let mut inner = shared.lock();
    let each = sinks.iter().zip(&snapshots);
    let sinks = each.map(|(sink, snapshot)| {
        let freshness = inner.freshness(sink.name(), snapshot, now);
        of_sink(sink.name(), snapshot, freshness)
    });
    let sinks = sinks.collect();
    Seen { source: source(&inner, now), sinks }
}

fn source(inner: &Inner, now: Timestamp) -> SourceSeen {
    let server = inner.server_lsn.map(|lsn| lsn.max(inner.seen));
    let gap = inner.gap.as_ref().filter(|(_, at)| now.0.saturating_sub(at.0) < GAP_MICROS);
    SourceSeen {
        is_attached: inner.state == SourceState::Streaming,
        reason: inner.reason.clone(),
        lag_bytes: server.map(|server| server.0.saturating_sub(inner.confirmed.0)),
        lag_seconds: inner.lag.seconds(now),
        retained_wal_bytes: inner.retained_wal.and_then(|bytes| u64::try_from(bytes).ok()),
        wal_seconds_left: inner.wal.seconds_left,
        is_looked_at: inner.server_lsn.is_some(),
        gap: gap.map(|(gap, _)| gap.clone()),
    }
}

fn of_sink(name: &str, snapshot: &Snapshot, freshness: f64) -> SinkSeen {
    let counters = &snapshot.counters;
    let attempts = counters.attempts.iter();
    let attempts = attempts.filter(|(category, _)| **category != Some(Category::Throttled));
    let (acknowledged, failures) = attempts.fold((0, 0), |(good, bad), (category, count)| {
        if category.is_none() { (good + count, bad) } else { (good, bad + count) }
    });
    let is_restored = snapshot.pinned_from != Some(Position::ZERO);
    // One that has just started is well until its first request; that says nothing.
    let has_nothing = is_restored && snapshot.undone == 0 && snapshot.waiting == 0;
    let is_well = (acknowledged > 0 || has_nothing).then_some(false);
    let is_paused = || snapshot.reason.as_deref().is_some_and(|it| it.starts_with(PAUSED));
    let (is_halted, is_open) = match snapshot.state {
        // Who has paused it knows.
        SinkState::Halted if is_paused() => (Some(false), Some(false)),
        SinkState::Halted => (Some(true), Some(false)),
        SinkState::Open | SinkState::HalfOpen => (Some(false), Some(true)),
        SinkState::Ok | SinkState::Retrying => (is_well, is_well),
    };
    SinkSeen {
        name: name.to_owned(),
        freshness_seconds: Some(freshness),
        is_halted,
        is_open,
        reason: snapshot.reason.clone(),
        has_gap: snapshot.detached,
        dead: is_restored.then_some(snapshot.dead),
        unaccounted: snapshot.unaccounted,
        attempts: acknowledged + failures,
        failures,
        delivered: counters.latency.iter().sum(),
        latency_sum_us: counters.latency_sum_us,
    }
}
