//! [`Reporter`]: what a running instance says of itself for `walgate status`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::shared::Shared;
use crate::config::{self, Config};
use crate::delivery::{SinkProgress, Snapshot};
use crate::failure::Category;
use crate::journal::Journal;
use crate::lsn::Timestamp;

/// Writes the document of the contract's section 6, and counts rates between two of them.
pub(super) struct Reporter {
    slot: String,
    kinds: BTreeMap<String, &'static str>,
    /// Delivered and skipped by earlier runs.
    bases: BTreeMap<String, (u64, u64)>,
    /// Delivered at the last report.
    last: BTreeMap<String, u64>,
    last_at: Option<Instant>,
}

impl Reporter {
    pub(super) fn new(config: &Config, bases: BTreeMap<String, (u64, u64)>) -> Self {
        let kinds = config.sinks.iter().map(|sink| (sink.name.clone(), sink.kind.kind()));
        Self {
            slot: config.source.slot.clone(),
            kinds: kinds.collect(),
            bases,
            last: BTreeMap::new(),
            last_at: None,
        }
    }

    /// Returns what earlier runs delivered and skipped, by sink.
    pub(super) fn bases(&self) -> BTreeMap<String, (u64, u64)> {
        self.bases.clone()
    }

    /// Returns the document.
    pub(super) fn report(
        &mut self,
        shared: &Shared,
        journal: &Journal,
        _settings: &config::Journal,
    ) -> String {
        let seconds = self.last_at.map_or(0.0, |at| at.elapsed().as_secs_f64());
        self.last_at = Some(Instant::now());
        let end = shared.lock().end;
        let sinks: Vec<Value> = shared
            .sinks()
            .iter()
            .map(|sink| self.sink(sink, &sink.snapshot(), end, seconds))
            .collect();
        let kept = journal.status();
        let inner = shared.lock();
        let lag = inner
            .server_lsn
            .map(|server| server.max(inner.seen).0.saturating_sub(inner.confirmed.0));
        let heard = inner.heard_at.map(|at| at.elapsed().as_secs_f64());
        let reason = kept.paused.map(str::to_owned).or_else(|| inner.reason.clone());
        let document = json!({
            "source": {
                "state": inner.state.as_str(),
                "reason": reason,
                "slot": self.slot,
                "confirmed_lsn": inner.confirmed.to_string(),
                "server_lsn": inner.server_lsn.map(|lsn| lsn.max(inner.seen).to_string()),
                "lag_bytes": lag,
                "lag_seconds": heard,
                "retained_wal_bytes": inner.retained_wal,
                "wal_status": inner.wal_status,
            },
            "journal": {
                "bytes": kept.bytes,
                "oldest": kept.oldest.map(|time| time.to_string()),
                "newest": kept.newest.map(|time| time.to_string()),
            },
            "sinks": sinks,
        });
        document.to_string()
    }

    fn sink(
        &mut self,
        sink: &SinkProgress,
        snapshot: &Snapshot,
        end: crate::lsn::Position,
        seconds: f64,
    ) -> Value {
        let name = sink.name();
        let floor = snapshot.reached.floor;
        let (delivered_before, skipped_before) = self.bases.get(name).copied().unwrap_or_default();
        let counters = &snapshot.counters;
        let delivered = counters.delivered_total();
        let before = self.last.insert(name.to_owned(), delivered).unwrap_or(0);
        let rate =
            if seconds > 0.0 { rate(delivered.saturating_sub(before), seconds) } else { 0.0 };
        let now = Timestamp::from_unix_micros(jiff::Timestamp::now().as_microsecond());
        let age = |time: Timestamp| {
            std::time::Duration::from_micros((now.0 - time.0).max(0).unsigned_abs()).as_secs_f64()
        };
        let freshness = if floor >= end { Some(0.0) } else { snapshot.newest_done.map(age) };
        let mut dead = BTreeMap::new();
        for ((_, category), count) in &counters.dead {
            *dead.entry(Category::as_str(*category)).or_insert(0_u64) += count;
        }
        json!({
            "name": name,
            "kind": self.kinds.get(name),
            "state": snapshot.state.as_str(),
            "reason": snapshot.reason,
            "position": { "lsn": floor.commit_lsn.to_string(), "seq": floor.seq },
            "lag_events": snapshot.undone,
            "freshness_seconds": freshness,
            "delivered": delivered_before + delivered,
            "skipped": skipped_before + counters.skipped_total(),
            "dead_letters": dead,
            "events_per_second": rate,
        })
    }
}

/// Events a second, with one digit behind the point.
fn rate(events: u64, seconds: f64) -> f64 {
    let events = u32::try_from(events).map_or(f64::INFINITY, f64::from);
    (events / seconds * 10.0).round() / 10.0
}
