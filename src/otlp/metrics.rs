//! `ExportMetricsServiceRequest`: the figures of `/metrics` as OTLP has them (pure).

use serde_json::{Map, Value, json};

use super::json::{attribute, nanos, scope};
use crate::admin::{Family, FamilyKind, Sample, SampleValue};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: since the start.
const CUMULATIVE: u8 = 2;

/// From when on was counted, and when that was looked at, in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    pub(super) start_us: i64,
    pub(super) now_us: i64,
}

/// Returns the request, and how many data points it has.
pub(super) fn request(families: &[Family], resource: &Value, since: Since) -> (Value, u64) {
    let known = families.iter().filter(|family| !family.samples.is_empty());
    let metrics: Vec<Value> = known.map(|family| metric(family, since)).collect();
    let points = families.iter().map(|family| family.samples.len() as u64).sum();
    let request = json!({ "resourceMetrics": [{
        "resource": resource,
        "scopeMetrics": [{ "scope": scope(), "metrics": metrics }],
    }] });
    (request, points)
}

fn metric(family: &Family, since: Since) -> Value {
    let points: Vec<Value> =
        family.samples.iter().map(|sample| point(sample, family.kind, since)).collect();
    let (kind, data) = match family.kind {
        FamilyKind::Gauge => ("gauge", json!({ "dataPoints": points })),
        FamilyKind::Counter => (
            "sum",
            json!({
                "dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": true,
            }),
        ),
        FamilyKind::Histogram => {
            ("histogram", json!({ "dataPoints": points, "aggregationTemporality": CUMULATIVE }))
        }
    };
    let mut metric = Map::new();
    metric.insert("name".to_owned(), json!(family.name));
    metric.insert("description".to_owned(), json!(family.help));
    if let Some(unit) = unit(family.name) {
        metric.insert("unit".to_owned(), json!(unit));
    }
    metric.insert(kind.to_owned(), data);
    Value::Object(metric)
}

fn point(sample: &Sample, kind: FamilyKind, since: Since) -> Value {
    let labels = sample.labels.iter();
    let attributes: Vec<Value> =
        labels.map(|(name, value)| attribute(name, &json!(value))).collect();
    let mut point = Map::new();
    point.insert("attributes".to_owned(), json!(attributes));
    if kind != FamilyKind::Gauge {
        point.insert("startTimeUnixNano".to_owned(), json!(nanos(since.start_us)));
    }
    point.insert("timeUnixNano".to_owned(), json!(nanos(since.now_us)));
    match &sample.value {
        SampleValue::Integer(number) => match i64::try_from(*number) {
            Ok(number) => point.insert("asInt".to_owned(), json!(number.to_string())),
            // More than it can say exactly.
            Err(_) => {
                point.insert("asDouble".to_owned(), json!(number.to_string().parse::<f64>().ok()))
            }
        },
        SampleValue::Float(number) => point.insert("asDouble".to_owned(), json!(number)),
        SampleValue::Histogram { bounds, counts, sum } => {
            let text = |count: &u64| count.to_string();
            point.insert("count".to_owned(), json!(text(&counts.iter().sum())));
            point.insert("sum".to_owned(), json!(sum));
            let counts: Vec<String> = counts.iter().map(text).collect();
            point.insert("bucketCounts".to_owned(), json!(counts));
            point.insert("explicitBounds".to_owned(), json!(bounds))
        }
    };
    Value::Object(point)
}

/// Returns the unit that a name ends with, as UCUM has it; none: it is a number of things.
fn unit(name: &str) -> Option<&'static str> {
    let units = [
        ("_bytes_per_second", "By/s"),
        ("_bytes", "By"),
        ("_seconds_left", "s"),
        ("_seconds", "s"),
    ];
    units.into_iter().find_map(|(end, unit)| name.ends_with(end).then_some(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: Since = Since { start_us: 1_000_000, now_us: 3_000_000 };

    #[track_caller]
    fn check(name: &'static str, kind: FamilyKind, value: SampleValue, expected: Value) {
        let samples = vec![Sample { labels: vec![("sink", "crm".to_owned())], value }];
        let family = Family { name, help: "What it is.", kind, samples };
        let empty = Family { samples: Vec::new(), ..family.clone() };
        let (request, points) = request(&[family, empty], &json!({ "attributes": [] }), SINCE);
        let scope = json!({ "name": "walgate", "version": env!("CARGO_PKG_VERSION") });
        assert_eq!(points, 1);
        assert_eq!(
            request,
            json!({ "resourceMetrics": [{
                "resource": { "attributes": [] },
                "scopeMetrics": [{ "scope": scope, "metrics": [expected] }],
            }] })
        );
    }

    fn labels() -> Value {
        json!([{ "key": "sink", "value": { "stringValue": "crm" } }])
    }

    #[test]
    fn a_counter_is_a_monotonic_sum_since_the_start() {
        check(
            "walgate_sink_events_total",
            FamilyKind::Counter,
            SampleValue::Integer(7),
            json!({
                "name": "walgate_sink_events_total",
                "description": "What it is.",
                "sum": {
                    "dataPoints": [{
                        "attributes": labels(),
                        "startTimeUnixNano": "1000000000",
                        "timeUnixNano": "3000000000",
                        "asInt": "7",
                    }],
                    "aggregationTemporality": 2,
                    "isMonotonic": true,
                },
            }),
        );
    }

    #[test]
    fn a_gauge_is_what_is_now_with_its_unit() {
        let gauge = |name: &str, unit: &str, point: Value| {
            json!({
                "name": name, "description": "What it is.", "unit": unit,
                "gauge": { "dataPoints": [point] },
            })
        };
        let (name, lag) = ("walgate_source_lag_seconds", SampleValue::Float(1.5));
        let point =
            json!({ "attributes": labels(), "timeUnixNano": "3000000000", "asDouble": 1.5 });
        check(name, FamilyKind::Gauge, lag, gauge(name, "s", point));
        let (name, rate) = ("walgate_source_wal_bytes_per_second", SampleValue::Integer(-5));
        let point = json!({ "attributes": labels(), "timeUnixNano": "3000000000", "asInt": "-5" });
        check(name, FamilyKind::Gauge, rate, gauge(name, "By/s", point));
        let (name, large) = ("walgate_journal_bytes", SampleValue::Integer(1 << 63));
        let point = json!({
            "attributes": labels(), "timeUnixNano": "3000000000", "asDouble": 9_223_372_036_854_775_808.0_f64,
        });
        check(name, FamilyKind::Gauge, large, gauge(name, "By", point));
    }

    #[test]
    fn a_histogram_has_a_count_a_bucket_and_bounds() {
        let value =
            SampleValue::Histogram { bounds: vec![0.001, 0.5], counts: vec![2, 0, 3], sum: 4.25 };
        check(
            "walgate_sink_request_seconds",
            FamilyKind::Histogram,
            value,
            json!({
                "name": "walgate_sink_request_seconds",
                "description": "What it is.",
                "unit": "s",
                "histogram": {
                    "dataPoints": [{
                        "attributes": labels(),
                        "startTimeUnixNano": "1000000000",
                        "timeUnixNano": "3000000000",
                        "count": "5",
                        "sum": 4.25,
                        "bucketCounts": ["2", "0", "3"],
                        "explicitBounds": [0.001, 0.5],
                    }],
                    "aggregationTemporality": 2,
                },
            }),
        );
    }
}
