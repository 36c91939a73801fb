//! The admin listener of a running instance: who may ask, health, and the metrics.

use std::time::Duration;

use serde_json::{Value, json};
use walgate::demo::cluster::{Cluster, Stop};

use crate::support::loopback;
use crate::support::process::eventually;
use crate::support::receiver::{Event, Receiver, Reply};
use crate::support::road::{PATIENCE, Road, T, file, http, route};
use crate::support::web::{Answer, get};

/// A sample of `/metrics`: a name with its labels as they are printed.
#[track_caller]
fn sample(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

fn metrics(road: &Road) -> String {
    let answer = road.walgate.get("/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// Waits until a sample has a value.
#[track_caller]
fn until(road: &Road, name: &str, value: f64) {
    let mut seen = None;
    eventually(&format!("{name} is {value}"), PATIENCE, || {
        seen = sample(&metrics(road), name);
        seen == Some(value)
    });
}

#[test]
fn every_metric_counts_what_happened() {
    let receiver = Receiver::start();
    receiver.when(|event: &Event| event.0["data"]["id"] == 3, Reply::status(422));
    let mut route = route("t", "far");
    route.push_str("on_delete = \"ignore\"\n");
    let road =
        Road::new(Cluster::builder().major(15), T, &(http("far", &receiver.url("/"), "") + &route));
    road.sql(
        "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'); UPDATE t SET v = 'd' WHERE id = 1",
    );
    road.sql("DELETE FROM t WHERE id = 2");
    road.confirms(&road.wal_end());
    let of = |result: &str| {
        format!("walgate_sink_events_total{{sink=\"far\",route=\"t-to-far\",result=\"{result}\"}}")
    };
    until(&road, &of("delivered"), 3.0);
    until(&road, &of("skipped"), 1.0);
    until(&road, &of("dead"), 1.0);
    until(&road, "walgate_dead_letters{sink=\"far\",category=\"rejected\"}", 1.0);
    until(&road, "walgate_dead_letters{sink=\"far\",category=\"exhausted\"}", 0.0);
    let text = metrics(&road);
    let value = |name: &str| sample(&text, name).unwrap_or_else(|| panic!("no {name} in {text}"));
    for (op, count) in [("insert", 3.0), ("update", 1.0), ("delete", 1.0)] {
        let name = format!("walgate_source_events_total{{table=\"public.t\",op=\"{op}\"}}");
        assert!((value(&name) - count).abs() < 0.1, "{name}");
    }
    let attempts = |category: &str| {
        value(&format!("walgate_sink_attempts_total{{sink=\"far\",category=\"{category}\"}}"))
    };
    assert!(attempts("acknowledged") >= 3.0 && attempts("rejected") >= 1.0);
    for histogram in ["walgate_sink_request_seconds", "walgate_delivery_latency_seconds"] {
        let count = value(&format!("{histogram}_count{{sink=\"far\"}}"));
        assert!(count >= 3.0);
        assert!((value(&format!("{histogram}_bucket{{sink=\"far\",le=\"+Inf\"}}")) - count) < 0.1);
        assert!(value(&format!("{histogram}_sum{{sink=\"far\"}}")) > 0.0);
    }
    assert!(value("walgate_journal_bytes") > 0.0);
    assert!(value("walgate_sink_breaker_state{sink=\"far\"}") < 0.1);
    assert!(value("walgate_source_lag_bytes") >= 0.0);
    assert!(value("walgate_source_lag_seconds") < 60.0);
    assert!(value("walgate_sink_freshness_seconds{sink=\"far\"}") < 60.0);
    assert!(value("walgate_unaccounted_events{sink=\"far\"}").abs() < 0.1);
    let checkpoint = value("walgate_checkpoint_lsn{sink=\"far\"}");
    let begin =
        road.value("SELECT '0/0'::pg_lsn + 1 <= confirmed_flush_lsn FROM pg_replication_slots");
    assert!(checkpoint > 0.0 && begin == "t");
    let version = env!("CARGO_PKG_VERSION");
    assert!(value(&format!("walgate_build_info{{version=\"{version}\"}}")) > 0.9);
    until_retained(&road);
}

/// The server is asked for it every few seconds.
fn until_retained(road: &Road) {
    eventually("retained WAL is known", PATIENCE, || {
        sample(&metrics(road), "walgate_source_retained_wal_bytes").is_some()
    });
}

#[track_caller]
fn reasons(answer: &Answer, status: u16) -> Vec<String> {
    assert_eq!(answer.status, status, "{answer:?}");
    let document = answer.json();
    assert_eq!(document["ok"], status == 200, "{document}");
    let reasons = document["reasons"].as_array().unwrap();
    reasons.iter().map(|reason| reason.as_str().unwrap().to_owned()).collect()
}

#[test]
fn readiness_says_whether_the_source_is_attached_and_the_sinks_take_events() {
    let receiver = Receiver::start();
    let halts = http("far", &receiver.url("/"), "halt_probe = \"100ms\"");
    let mut road = Road::of_t(&halts);
    eventually("all is well", PATIENCE, || road.walgate.get("/readyz").status == 200);
    receiver.otherwise(Reply::status(401));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    eventually("a halted sink", PATIENCE, || road.walgate.get("/readyz").status == 503);
    let why = reasons(&road.walgate.get("/readyz"), 503);
    assert!(why[0].starts_with("sink far is halted: "), "{why:?}");
    assert_eq!(reasons(&road.walgate.get("/healthz"), 200), Vec::<String>::new());
    until(&road, "walgate_sink_breaker_state{sink=\"far\"}", 3.0);
    receiver.behave();
    eventually("it goes on", PATIENCE, || road.walgate.get("/readyz").status == 200);
    assert_eq!(reasons(&road.walgate.get("/readyz"), 200), Vec::<String>::new());

    road.stop_server(Stop::Immediate, PATIENCE);
    eventually("no source", PATIENCE, || road.walgate.get("/readyz").status == 503);
    let why = reasons(&road.walgate.get("/readyz"), 503);
    assert!(why[0].starts_with("the source is not attached: "), "{why:?}");
    assert_eq!(road.walgate.get("/healthz").status, 200);
    road.start_server();
    eventually("it is back", PATIENCE, || road.walgate.get("/readyz").status == 200);
}

#[test]
fn a_source_that_was_never_there_is_told_and_is_no_illness() {
    let (address, listener) = loopback();
    drop(listener);
    let mut road = Road::bare(Cluster::builder().major(15), T);
    let url = format!("postgres://postgres@{address}/postgres");
    road.configure_at(&url, "", "", &(file("far") + &route("t", "far")));
    road.walgate.start(&[]);
    let why = reasons(&road.walgate.get("/readyz"), 503);
    assert_eq!(why, ["the source is not attached: the run is starting"]);
    assert_eq!(reasons(&road.walgate.get("/healthz"), 200), Vec::<String>::new());
    assert!(metrics(&road).contains("walgate_build_info{"));
    assert!(road.walgate.is_running());
}

#[test]
fn a_state_that_takes_nothing_is_an_illness() {
    let road = Road::of_t(&file("far"));
    // One that is starting is healthy too, and ends when it finds its state locked.
    eventually("all is well", PATIENCE, || road.walgate.get("/readyz").status == 200);
    let path = road.walgate.folder().join("walgate-state/walgate.db");
    let lock = rusqlite::Connection::open(path).unwrap();
    lock.busy_timeout(PATIENCE).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    road.sql("INSERT INTO t VALUES (1, 'a')");
    eventually("it is ill", PATIENCE, || road.walgate.get("/healthz").status == 503);
    let why = reasons(&road.walgate.get("/healthz"), 503);
    assert!(why[0].starts_with("progress can't be stored: "), "{why:?}");
    drop(lock);
    eventually("it is well again", PATIENCE, || road.walgate.get("/healthz").status == 200);
}

#[test]
fn who_has_no_token_or_another_host_in_mind_is_refused() {
    let mut road = Road::bare(Cluster::builder().major(15), T);
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    let url = road.cluster.url("postgres", "postgres");
    let sinks = file("far") + &route("t", "far");
    let configure = |road: &Road, admin: &str| {
        road.walgate.configure(&format!("[admin]\n{admin}\n[source]\nurl = \"{url}\"\n{sinks}"));
    };
    configure(&road, "listen = \"127.0.0.1:0\"\ntoken = \"s3cret\"");
    road.start();
    let address = road.walgate.admin();
    let ask = |path: &str, headers: &[(&str, &str)]| get(address, path, headers);
    assert_eq!(ask("/metrics", &[]).status, 401);
    assert_eq!(ask("/metrics", &[("authorization", "Bearer wrong")]).status, 401);
    assert_eq!(ask("/metrics", &[("authorization", "Bearer s3cret")]).status, 200);
    assert_eq!(ask("/nowhere", &[]).status, 401);
    assert_eq!(ask("/nowhere", &[("authorization", "Bearer s3cret")]).status, 404);
    eventually("all is well", PATIENCE, || ask("/readyz", &[]).status == 200);
    assert_eq!(ask("/healthz", &[]).status, 200);
    let elsewhere = ("host", "evil.example:7717");
    assert_eq!(ask("/healthz", &[elsewhere]).status, 403);
    let refused = ask("/metrics", &[elsewhere, ("authorization", "Bearer s3cret")]);
    assert_eq!((refused.status, refused.json()["error"].is_string()), (403, true));
    assert!(!road.walgate.log().contains("s3cret"));
    road.stop();

    configure(&road, "listen = \"0.0.0.0:0\"");
    let refused = road.walgate.call(&["run"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("needs \"token\""));
}

#[test]
fn a_port_that_is_taken_ends_nothing_and_is_taken_over_once_free() {
    let (address, listener) = loopback();
    let mut road = Road::bare(Cluster::builder().major(15), T);
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    let url = road.cluster.url("postgres", "postgres");
    let sinks = file("far") + &route("t", "far");
    road.walgate
        .configure(&format!("[admin]\nlisten = \"{address}\"\n[source]\nurl = \"{url}\"\n{sinks}"));
    road.start();
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.confirms(&road.wal_end());
    let log = road.walgate.log();
    let line = log.lines().find(|line| line.contains("can't listen")).unwrap();
    assert!(line.contains(&address.to_string()) && line.contains("127.0.0.1:0"), "{line}");
    drop(listener);
    assert_eq!(road.walgate.admin(), address);
    assert_eq!(road.walgate.get("/healthz").json(), json!({ "ok": true, "reasons": [] }));
    road.stop();
    let rows = std::fs::read_to_string(road.walgate.folder().join("far.ndjson")).unwrap();
    let row: Value = serde_json::from_str(rows.trim()).unwrap();
    assert_eq!(row["data"]["id"], 1);
}

#[test]
fn a_caller_that_hangs_holds_up_neither_others_nor_the_stop() {
    let mut road = Road::of_t(&file("far"));
    let address = road.walgate.admin();
    let hanging: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    eventually("all is well", PATIENCE, || road.walgate.get("/readyz").status == 200);
    let stopping = std::time::Instant::now();
    road.stop();
    assert!(stopping.elapsed() < Duration::from_secs(8));
    drop(hanging);
}
