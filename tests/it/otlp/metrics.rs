//! Metrics: those of `/metrics`, once more.

use std::collections::BTreeMap;

use serde_json::json;
use walgate::demo::cluster::Cluster;

use super::{otlp, read, to};
use crate::support::receiver::{Event, Receiver, Reply};
use crate::support::road::{PATIENCE, Road, T, http, route};

/// The samples of `/metrics`.
fn page(road: &Road) -> BTreeMap<String, f64> {
    let text = road.walgate.get("/metrics").body;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

#[test]
fn a_collector_gets_what_the_page_says_in_the_forms_of_the_protocol() {
    let (receiver, collector) = (Receiver::start(), Receiver::start());
    receiver.when(|event: &Event| event.0["data"]["id"] == 3, Reply::status(422));
    let keys = "interval = \"200ms\"\nheaders = { api-key = \"k3y-of-the-collector\" }\n\
                resource = { \"deployment.environment.name\" = \"test\", shard = 7 }";
    let sinks =
        [http("far", &receiver.url("/"), ""), route("t", "far"), otlp(&collector, keys)].concat();
    let mut road = Road::new(Cluster::builder(), T, &sinks);
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'); DELETE FROM t WHERE id = 2");
    road.confirms(&road.wal_end());

    // Between two pages that say the same of something, an export says the same too.
    let before = page(&road);
    let seen = to(&collector.journal(), "/v1/metrics").len();
    collector
        .wait("an export later", PATIENCE, |journal| to(journal, "/v1/metrics").len() >= seen + 2);
    let journal = collector.journal();
    let after = page(&road);
    road.stop();
    let read = read(&journal);
    let exports = read["metrics"].as_array().unwrap();
    let export = exports.last().unwrap();
    let samples = export["samples"].as_object().unwrap();
    let mut alike = 0;
    for (name, value) in &before {
        if after.get(name) == Some(value) {
            assert_eq!(samples[name].as_f64(), Some(*value), "{name}");
            alike += 1;
        }
    }
    assert!(alike > 60, "{alike} of {} samples were at rest: {before:?}", before.len());
    let counted = [
        "walgate_sink_events_total{sink=\"far\",route=\"t-to-far\",result=\"delivered\"}",
        "walgate_sink_request_seconds_count{sink=\"far\"}",
        "walgate_dead_letters{sink=\"far\",category=\"rejected\"}",
    ];
    for name in counted {
        assert!(before[name] > 0.0 && before[name] == after[name], "{name}");
    }
    // Nothing of the page is missing, and nothing else is there.
    let names = |all: &mut dyn Iterator<Item = &String>| all.cloned().collect::<Vec<_>>();
    let mut samples = names(&mut samples.keys());
    samples.sort();
    assert_eq!(samples, names(&mut after.keys()));

    for (name, kind, unit) in [
        ("walgate_source_lag_bytes", "gauge", "By"),
        ("walgate_sink_freshness_seconds", "gauge", "s"),
        ("walgate_sink_events_total", "sum", ""),
        ("walgate_delivery_latency_seconds", "histogram", "s"),
    ] {
        assert_eq!(export["kinds"][name], json!([kind, unit]), "{name}");
    }
    let resource = &export["resource"];
    assert_eq!(resource["service.name"], "walgate");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert!(resource["service.instance.id"].as_str().unwrap().starts_with("walgate@"));
    assert_eq!(resource["deployment.environment.name"], "test");
    assert_eq!(resource["shard"], 7);
    // Counted since one moment, which lies before each export.
    let starts: Vec<_> = exports.iter().flat_map(|it| it["starts"].as_array().unwrap()).collect();
    assert!(starts.windows(2).all(|two| two[0] == two[1]), "{starts:?}");
    let times: Vec<_> = exports.iter().map(|it| it["time"].as_u64().unwrap()).collect();
    assert!(times.is_sorted() && starts[0].as_u64().unwrap() <= times[0], "{times:?}");
    let is_known = |request: &&crate::support::receiver::Request| {
        request.header("api-key") == Some("k3y-of-the-collector")
    };
    assert!(to(&journal, "/v1/metrics").iter().all(is_known));
    // Nobody asked for traces.
    assert_eq!(to(&journal, "/v1/traces").len(), 0);
    let requests = receiver.journal().requests;
    assert!(requests.iter().all(|request| request.header("traceparent").is_none()));
}

#[test]
fn what_was_counted_last_is_told_at_the_end() {
    let (receiver, collector) = (Receiver::start(), Receiver::start());
    let keys = "interval = \"1h\"";
    let sinks =
        [http("far", &receiver.url("/"), ""), route("t", "far"), otlp(&collector, keys)].concat();
    let mut road = Road::new(Cluster::builder(), T, &sinks);
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    road.arrived(&receiver);
    assert_eq!(collector.journal().requests.len(), 0);
    road.stop();
    let read = read(&collector.journal());
    let exports = read["metrics"].as_array().unwrap();
    let name = "walgate_sink_events_total{sink=\"far\",route=\"t-to-far\",result=\"delivered\"}";
    assert_eq!((exports.len(), &exports[0]["samples"][name]), (1, &json!(2)));
}
