//! `/metrics`: the figures with the names of the contract, and as Prometheus's text (pure).
//!
//! The text format is written here: libraries for it keep the figures themselves, and the one for
//! collected figures writes label values as they are, where a table's name may hold a quote.
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use super::family::{Families, Family, FamilyKind, SampleValue};
use super::figures::{Figures, SinkFigures};
use crate::chunk::Operation;
use crate::delivery::{Counters, LATENCY_BOUNDS_US};
use crate::failure::Category;
use crate::inspect::float;

/// What Prometheus is told that it gets.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Microseconds of a second.
const SECOND_US: f64 = 1e6;

/// Returns the figures by name, in the order of the docs.
#[must_use]
pub fn families(figures: &Figures) -> Vec<Family> {
    let mut page = Families::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauge("walgate_build_info", "Which walgate this is.");
    page.sample(&version, 1);
    source(figures, &mut page);
    events(&figures.sinks, &mut page);
    attempts(&figures.sinks, &mut page);
    let help = "From sending a request to its answer.";
    histogram("walgate_sink_request_seconds", help, &figures.sinks, &mut page, |counters| {
        (&counters.request, counters.request_sum_us)
    });
    let help = "From the commit of an event to its acknowledgement.";
    histogram("walgate_delivery_latency_seconds", help, &figures.sinks, &mut page, |counters| {
        (&counters.latency, counters.latency_sum_us)
    });
    standing(&figures.sinks, &mut page);
    dead_letters(&figures.sinks, &mut page);
    page.gauge("walgate_alerts_firing", "How much is firing, by alert.");
    for (alert, count) in &figures.alerts {
        page.sample(&[("alert", alert)], *count);
    }
    page.counter("walgate_otlp_dropped_total", "Spans and data points that no collector took.");
    for (signal, count) in &figures.otlp_dropped {
        page.sample(&[("signal", signal)], *count);
    }
    page.0
}

/// Writes the figures.
pub(super) fn text(figures: &Figures) -> String {
    let mut text = Text::default();
    families(figures).iter().for_each(|family| text.family(family));
    text.out
}

fn source(figures: &Figures, page: &mut Families) {
    let source = &figures.source;
    page.gauge(
        "walgate_source_lag_bytes",
        "From what the slot was told to where the server's log ends.",
    );
    page.known(&[], source.lag_bytes);
    page.gauge(
        "walgate_source_lag_seconds",
        "How old the newest commit is that was read; 0 when there is no newer one.",
    );
    page.known(&[], source.lag_seconds);
    page.gauge("walgate_source_retained_wal_bytes", "WAL that the server keeps for the slot.");
    page.known(&[], source.retained_wal_bytes);
    page.gauge("walgate_source_safe_wal_bytes", "WAL until the slot may be lost.");
    page.known(&[], source.safe_wal_bytes);
    page.gauge("walgate_source_wal_bytes_per_second", "How fast the server's log grows.");
    page.known(&[], source.wal_bytes_per_second);
    page.gauge("walgate_source_wal_seconds_left", "Until the slot may be lost at this rate.");
    page.known(&[], source.wal_seconds_left);
    page.gauge(
        "walgate_source_oldest_transaction_seconds",
        "Age of the oldest open transaction that holds the slot's WAL back.",
    );
    page.known(&[], source.oldest_transaction_seconds);
    page.gauge("walgate_source_warnings", "What is wrong at the source and ends nothing.");
    // Of a run that is not open nothing is known.
    page.known(&[], figures.journal_bytes.map(|_| source.warnings));
    page.counter("walgate_source_events_total", "Changes that were received.");
    for (table, operation, count) in &source.events {
        page.sample(&[("table", table), ("op", operation.as_str())], *count);
    }
    page.counter("walgate_backfill_rows_total", "Rows that were there before and were loaded.");
    for (table, _, count) in source.events.iter().filter(|(_, op, _)| *op == Operation::Read) {
        page.sample(&[("table", table)], *count);
    }
    page.gauge("walgate_journal_bytes", "Bytes of the journal on disk.");
    page.known(&[], figures.journal_bytes);
}

fn events(sinks: &[SinkFigures], page: &mut Families) {
    page.counter("walgate_sink_events_total", "Events by what became of them.");
    for sink in sinks {
        for ((route, result), count) in by_result(&sink.snapshot.counters) {
            page.sample(&[("sink", &sink.name), ("route", route), ("result", result)], count);
        }
    }
}

fn attempts(sinks: &[SinkFigures], page: &mut Families) {
    page.counter("walgate_sink_attempts_total", "Requests by how they ended.");
    for sink in sinks {
        for (category, count) in &sink.snapshot.counters.attempts {
            let category = category.map_or("acknowledged", Category::as_str);
            page.sample(&[("sink", &sink.name), ("category", category)], *count);
        }
    }
}

/// How far each sink is and how it stands.
fn standing(sinks: &[SinkFigures], page: &mut Families) {
    page.gauge(
        "walgate_sink_freshness_seconds",
        "How old the newest commit is up to which all is known to be done.",
    );
    for sink in sinks {
        page.known(&[("sink", &sink.name)], sink.freshness_seconds);
    }
    page.gauge("walgate_sink_breaker_state", "0 closed, 1 half-open, 2 open, 3 halted.");
    for sink in sinks {
        page.sample(&[("sink", &sink.name)], sink.snapshot.state.breaker());
    }
    page.gauge(
        "walgate_unaccounted_events",
        "Changes that came and are neither done nor in hand: always 0.",
    );
    for sink in sinks {
        page.sample(&[("sink", &sink.name)], sink.snapshot.unaccounted);
    }
    page.gauge(
        "walgate_checkpoint_lsn",
        "Everything that commits before this LSN is done and stored as such.",
    );
    for sink in sinks {
        page.known(&[("sink", &sink.name)], sink.checkpoint.map(|lsn| lsn.0));
    }
}

fn dead_letters(sinks: &[SinkFigures], page: &mut Families) {
    page.gauge(
        "walgate_dead_letters",
        "Events that are set aside: dead, being replayed or still retrying.",
    );
    for sink in sinks {
        let Some(counts) = &sink.dead_letters else { continue };
        // One that is there from the start can be watched before the first comes.
        for category in [Category::Rejected, Category::Exhausted].map(Category::as_str) {
            if !counts.contains_key(category) {
                page.sample(&[("sink", &sink.name), ("category", category)], 0);
            }
        }
        for (category, count) in counts {
            page.sample(&[("sink", &sink.name), ("category", category)], *count);
        }
    }
}

fn histogram(
    name: &'static str,
    help: &'static str,
    sinks: &[SinkFigures],
    page: &mut Families,
    of: impl Fn(&Counters) -> (&[u64; LATENCY_BOUNDS_US.len() + 1], u64),
) {
    page.family(name, help, FamilyKind::Histogram);
    for sink in sinks {
        let (counts, sum_us) = of(&sink.snapshot.counters);
        let value = SampleValue::Histogram {
            bounds: LATENCY_BOUNDS_US.map(|bound| float(bound) / SECOND_US).to_vec(),
            counts: counts.to_vec(),
            sum: float(sum_us) / SECOND_US,
        };
        page.sample(&[("sink", &sink.name)], value);
    }
}

/// The text as it is written, family after family.
#[derive(Debug, Default)]
struct Text {
    out: String,
}

impl Text {
    fn family(&mut self, family: &Family) {
        let Family { name, help, kind, samples } = family;
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
        for sample in samples {
            let labels: Vec<_> =
                sample.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            match &sample.value {
                SampleValue::Histogram { bounds, counts, sum } => {
                    self.histogram(name, &labels, (bounds, counts, *sum));
                }
                value => self.sample(name, &labels, value),
            }
        }
    }

    fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        (bounds, counts, sum): (&[f64], &[u64], f64),
    ) {
        let bounds = bounds.iter().map(ToString::to_string);
        let mut total = 0;
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(counts) {
            total += count;
            let labels = [labels, &[("le", bound.as_str())]].concat();
            self.sample(&format!("{name}_bucket"), &labels, total);
        }
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, total);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.line(format_args!("{name}"));
        for (index, (name, value)) in labels.iter().enumerate() {
            let mark = if index == 0 { '{' } else { ',' };
            self.line(format_args!("{mark}{name}=\"{}\"", escaped(value)));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.line(format_args!("{end} {value}\n"));
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // A string takes whatever it is given.
        let _always_fine = self.out.write_fmt(text);
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Sums what was counted by route and result.
fn by_result(counters: &Counters) -> BTreeMap<(&str, &'static str), u64> {
    let delivered = counters.delivered.iter().map(|(route, n)| (route, "delivered", n));
    let replayed = counters.replayed.iter().map(|(route, n)| (route, "replayed", n));
    let skipped = counters.skipped.iter().map(|((route, _), n)| (route, "skipped", n));
    let dead = counters.dead.iter().map(|((route, _), n)| (route, "dead", n));
    let mut sums = BTreeMap::new();
    for (route, result, count) in delivered.chain(replayed).chain(skipped).chain(dead) {
        *sums.entry((route.as_str(), result)).or_default() += *count;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::SourceFigures;
    use crate::chunk::Operation;
    use crate::delivery::{SinkState, Snapshot};
    use crate::lsn::Lsn;

    fn figures() -> Figures {
        let mut counters = Counters::default();
        counters.delivered.insert("r".into(), 7);
        counters.skipped.insert(("r".into(), "on_delete".into()), 2);
        counters.skipped.insert(("r".into(), "field `a`: NULL".into()), 1);
        counters.dead.insert(("r".into(), Category::Rejected), 4);
        counters.attempts.insert(None, 5);
        counters.attempts.insert(Some(Category::Transient), 3);
        counters.latency[0] = 2;
        counters.latency[LATENCY_BOUNDS_US.len()] = 1;
        counters.latency_sum_us = 1_500_000;
        let snapshot = Snapshot { state: SinkState::Open, counters, ..Snapshot::default() };
        let sink = SinkFigures {
            name: "crm".into(),
            snapshot,
            freshness_seconds: Some(0.25),
            checkpoint: Some(Lsn(0x17C_8338)),
            dead_letters: Some([("rejected".to_owned(), 4)].into()),
        };
        let source = SourceFigures {
            lag_bytes: Some(12),
            lag_seconds: Some(1.5),
            retained_wal_bytes: Some(99),
            safe_wal_bytes: Some(7),
            wal_bytes_per_second: Some(5),
            wal_seconds_left: Some(3),
            oldest_transaction_seconds: Some(61),
            warnings: 2,
            events: vec![("sales.\"Order \\ Items\"".into(), Operation::Update, 11)],
        };
        let alerts = vec![("halted".to_owned(), 2)];
        let otlp_dropped = vec![("traces", 9)];
        Figures { source, journal_bytes: Some(1 << 20), sinks: vec![sink], alerts, otlp_dropped }
    }

    #[test]
    fn names_labels_and_units_are_those_of_the_contract() {
        let text = text(&figures());
        for line in [
            concat!("walgate_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "walgate_source_lag_bytes 12",
            "walgate_source_lag_seconds 1.5",
            "walgate_source_retained_wal_bytes 99",
            "walgate_source_safe_wal_bytes 7",
            "walgate_source_wal_bytes_per_second 5",
            "walgate_source_wal_seconds_left 3",
            "walgate_source_oldest_transaction_seconds 61",
            "walgate_source_warnings 2",
            "walgate_source_events_total{table=\"sales.\\\"Order \\\\ Items\\\"\",op=\"update\"} 11",
            "walgate_journal_bytes 1048576",
            "walgate_sink_events_total{sink=\"crm\",route=\"r\",result=\"delivered\"} 7",
            "walgate_sink_events_total{sink=\"crm\",route=\"r\",result=\"skipped\"} 3",
            "walgate_sink_events_total{sink=\"crm\",route=\"r\",result=\"dead\"} 4",
            "walgate_sink_attempts_total{sink=\"crm\",category=\"acknowledged\"} 5",
            "walgate_sink_attempts_total{sink=\"crm\",category=\"transient\"} 3",
            "walgate_delivery_latency_seconds_sum{sink=\"crm\"} 1.5",
            "walgate_delivery_latency_seconds_count{sink=\"crm\"} 3",
            "walgate_delivery_latency_seconds_bucket{sink=\"crm\",le=\"0.001\"} 2",
            "walgate_delivery_latency_seconds_bucket{sink=\"crm\",le=\"600\"} 2",
            "walgate_delivery_latency_seconds_bucket{sink=\"crm\",le=\"+Inf\"} 3",
            "walgate_sink_request_seconds_count{sink=\"crm\"} 0",
            "walgate_sink_freshness_seconds{sink=\"crm\"} 0.25",
            "walgate_sink_breaker_state{sink=\"crm\"} 2",
            "walgate_unaccounted_events{sink=\"crm\"} 0",
            "walgate_checkpoint_lsn{sink=\"crm\"} 24937272",
            "walgate_dead_letters{sink=\"crm\",category=\"rejected\"} 4",
            "walgate_dead_letters{sink=\"crm\",category=\"exhausted\"} 0",
            "walgate_alerts_firing{alert=\"halted\"} 2",
            "walgate_otlp_dropped_total{signal=\"traces\"} 9",
        ] {
            assert!(text.lines().any(|have| have == line), "no line {line} in\n{text}");
        }
        let mut families: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let count = families.len();
        families.dedup();
        assert_eq!(families.len(), count, "a family stands in two places");
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let text = text(&Figures::default());
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples.len(), 1, "{text}");
    }
}
