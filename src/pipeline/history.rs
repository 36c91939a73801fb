//! [`Recorder`]: takes the figures for charts from what a run says of itself (pure).

use std::collections::BTreeMap;

use super::shared::Shared;
use crate::delivery::Counters;
use crate::inspect::float;
use crate::inspect::history::{Grain, Sample};
use crate::inspect::status::Status;
use crate::lsn::Timestamp;

/// What rises with each event, at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    done: u64,
    failed: u64,
    latency_us: u64,
    latencies: u64,
}

/// Figures since the last sample of a grain.
#[derive(Debug)]
struct Since {
    grain: Grain,
    /// The sample that is due next, by number; none before the first.
    number: Option<i64>,
    at: Timestamp,
    /// By sink; the source has an empty name.
    sums: BTreeMap<String, Sums>,
    /// The highest that was seen, by figure and sink.
    peaks: BTreeMap<(&'static str, String), f64>,
}

/// Samples that are due.
pub(super) type Due = Vec<(Grain, Vec<Sample>)>;

/// See the module.
#[derive(Debug)]
pub(super) struct Recorder {
    grains: Vec<Since>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        let since = |grain| Since {
            grain,
            number: None,
            at: Timestamp(0),
            sums: BTreeMap::new(),
            peaks: BTreeMap::new(),
        };
        Self { grains: Grain::ALL.into_iter().map(since).collect() }
    }

    /// Looks at how everything is, about once a second; returns the samples that are due.
    pub(super) fn look(&mut self, status: &Status, shared: &Shared, now: Timestamp) -> Due {
        let sums = sums(shared);
        let levels = levels(status);
        self.grains.iter_mut().filter_map(|since| since.look(&sums, &levels, now)).collect()
    }
}

impl Since {
    fn look(
        &mut self,
        sums: &BTreeMap<String, Sums>,
        levels: &[Sample],
        now: Timestamp,
    ) -> Option<(Grain, Vec<Sample>)> {
        for level in levels {
            let peak = self.peaks.entry((level.name, level.sink.clone())).or_insert(level.value);
            *peak = peak.max(level.value);
        }
        let number = now.unix_micros().div_euclid(self.grain.step() * 1_000_000);
        if self.number == Some(number) {
            return None;
        }
        let is_first = self.number.replace(number).is_none();
        let micros = now.0.saturating_sub(self.at.0).max(1).unsigned_abs();
        let elapsed = float(micros) / 1e6;
        let before = std::mem::replace(&mut self.sums, sums.clone());
        self.at = now;
        let peaks = std::mem::take(&mut self.peaks);
        if is_first {
            return None;
        }
        let mut samples: Vec<Sample> =
            peaks.into_iter().map(|((name, sink), value)| Sample { name, sink, value }).collect();
        for (sink, sums) in sums {
            let before = before.get(sink).copied().unwrap_or_default();
            samples.extend(rates(sink, sums, before, elapsed));
        }
        Some((self.grain, samples))
    }
}

/// What happened between two moments, a second.
fn rates(sink: &str, now: &Sums, before: Sums, elapsed: f64) -> Vec<Sample> {
    let sample = |name, value| Sample { name, sink: sink.to_owned(), value };
    let rate = |now: u64, before: u64| float(now.saturating_sub(before)) / elapsed;
    if sink.is_empty() {
        return vec![sample("read_per_second", rate(now.done, before.done))];
    }
    let mut samples = vec![
        sample("delivered_per_second", rate(now.done, before.done)),
        sample("failed_per_second", rate(now.failed, before.failed)),
    ];
    let count = now.latencies.saturating_sub(before.latencies);
    if count > 0 {
        let micros = now.latency_us.saturating_sub(before.latency_us);
        samples.push(sample("latency_seconds", float(micros) / 1e6 / float(count)));
    }
    samples
}

/// What is as high as it is at one moment.
fn levels(status: &Status) -> Vec<Sample> {
    let source = &status.source;
    let signed = |value: Option<i64>| value.map(|value| float(value.max(0).unsigned_abs()));
    let of_source = [
        ("lag_bytes", source.lag_bytes.map(float)),
        ("lag_seconds", source.lag_seconds),
        ("retained_wal_bytes", signed(source.retained_wal_bytes)),
        ("wal_seconds_left", source.wal_seconds_left.map(float)),
        ("journal_bytes", Some(float(status.journal.bytes))),
    ];
    let level = |name, sink: &str, value: Option<f64>| {
        Some(Sample { name, sink: sink.to_owned(), value: value? })
    };
    let of_sinks = status.sinks.iter().flat_map(|sink| {
        [
            level("waiting", &sink.name, sink.lag_events.map(float)),
            level("freshness_seconds", &sink.name, sink.freshness_seconds),
            level("breaker", &sink.name, Some(float(u64::from(sink.state.breaker())))),
        ]
    });
    let of_source = of_source.into_iter().map(|(name, value)| level(name, "", value));
    of_source.chain(of_sinks).flatten().collect()
}

fn sums(shared: &Shared) -> BTreeMap<String, Sums> {
    let read: u64 = shared.lock().tally.counts().map(|(_, _, count)| count).sum();
    let mut sums = BTreeMap::from([(String::new(), Sums { done: read, ..Sums::default() })]);
    for sink in shared.sinks() {
        sums.insert(sink.name().to_owned(), of_sink(&sink.snapshot().counters));
    }
    sums
}

fn of_sink(counters: &Counters) -> Sums {
    let failed = counters.attempts.iter().filter(|(category, _)| category.is_some());
    Sums {
        done: counters.delivered_total(),
        failed: failed.map(|(_, count)| count).sum(),
        latency_us: counters.latency_sum_us,
        latencies: counters.latency.iter().sum(),
    }
}
