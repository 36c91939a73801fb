//! A collector that is away, silent or says no: nothing waits for it, and nothing of it is a secret
//! in the log. And the log itself, which tells of many alike a few.

use std::time::{Duration, Instant};

use walgate::demo::cluster::Cluster;

use super::{otlp, to};
use crate::support::process::eventually;
use crate::support::receiver::{Event, Receiver, Reply};
use crate::support::road::{PATIENCE, Road, T, http, route};
use crate::support::state;

const TOLD: &str = "a collector does not take telemetry";

/// How many lines of the log have this.
fn lines(road: &Road, text: &str) -> usize {
    road.walgate.log().lines().filter(|line| line.contains(text)).count()
}

fn lost(road: &Road, signal: &str) -> f64 {
    let page = road.walgate.get("/metrics").body;
    let name = format!("walgate_otlp_dropped_total{{signal=\"{signal}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

fn road(receiver: &Receiver, collector: &Receiver, keys: &str) -> Road {
    let sinks =
        [http("far", &receiver.url("/"), ""), route("t", "far"), otlp(collector, keys)].concat();
    Road::new(Cluster::builder(), T, &sinks)
}

#[test]
fn a_collector_that_is_away_disturbs_nothing_and_is_told_again_once_it_is_back() {
    let (receiver, collector) = (Receiver::start(), Receiver::start());
    collector.refuse();
    let mut road = road(&receiver, &collector, "interval = \"50ms\"\ntraces = true");
    road.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    road.arrived(&receiver);
    eventually("both are told of", PATIENCE, || lines(&road, TOLD) == 2);
    // Before it was open there was one point to tell.
    eventually("it is tried again", PATIENCE, || lost(&road, "metrics") > 2.0);
    assert_eq!((lines(&road, TOLD), lost(&road, "traces")), (2, 0.0));
    collector.listen();
    // The spans that waited come as well.
    collector.wait("both arrive", PATIENCE, |journal| {
        !to(journal, "/v1/metrics").is_empty() && !to(journal, "/v1/traces").is_empty()
    });
    eventually("that is told", PATIENCE, || lines(&road, "takes telemetry again") == 2);
    // One that never answers holds up neither what is sent nor the end.
    collector.otherwise(Reply::hang());
    road.sql("INSERT INTO t VALUES (3, 'c')");
    road.arrived(&receiver);
    let asked = Instant::now();
    road.stop();
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(lines(&road, TOLD), 2);
}

#[test]
fn what_a_collector_refuses_is_counted_and_no_secret_of_it_is_logged() {
    let (receiver, collector) = (Receiver::start(), Receiver::start());
    let secret = "s3cret-of-the-collector";
    collector.at("/v1/metrics", Reply::status(401).body(format!("you sent {secret}")));
    let refused = format!(
        r#"{{"partialSuccess":{{"rejectedSpans":"1","errorMessage":"no room, {secret}"}}}}"#
    );
    collector.at("/v1/traces", Reply::ok().body(refused));
    let keys = format!(
        "interval = \"50ms\"\ntraces = true\nheaders = {{ authorization = \"Bearer {secret}\" }}"
    );
    let mut road = road(&receiver, &collector, &keys);
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.arrived(&receiver);
    eventually("both are counted", PATIENCE, || {
        lost(&road, "metrics") > 0.0 && lost(&road, "traces") > 0.0
    });
    let asked = to(&collector.journal(), "/v1/traces").len();
    assert_eq!((asked, lost(&road, "traces")), (1, 1.0), "what was refused is not sent again");
    eventually("both are told of", PATIENCE, || lines(&road, TOLD) == 2);
    road.stop();
    let log = road.walgate.log();
    assert!(log.contains("answered 401") && log.contains("refused 1: no room, ***"), "{log}");
    assert!(!log.contains(secret), "{log}");
    let bearer = format!("Bearer {secret}");
    let requests = collector.journal().requests;
    let is_known = |request: &crate::support::receiver::Request| {
        request.header("authorization") == Some(&bearer)
    };
    assert!(requests.iter().all(is_known));
}

#[test]
fn of_many_lines_that_are_alike_a_few_are_told_and_then_how_many_there_were() {
    let receiver = Receiver::start();
    receiver.when(|event: &Event| event.0["data"]["id"].as_i64() > Some(100), Reply::status(500));
    let keys = "retry = { initial = \"10ms\", max = \"20ms\", max_attempts = 100000 }\n\
                breaker = { failures = 1000 }\nbatch = { max_events = 1 }";
    let sinks = http("far", &receiver.url("/"), keys) + &route("t", "far");
    let mut road = Road::new(Cluster::builder(), T, &sinks);
    let failing = 25;
    road.sql(&format!(
        "INSERT INTO t SELECT g % 2 * 100 + g, 'x' FROM generate_series(1, {}) g",
        2 * failing
    ));
    let waiting = "SELECT count(*) FROM dead_letters WHERE state = 'retrying'";
    eventually("all of them are set aside", PATIENCE, || {
        state::number(&road.walgate, waiting) == failing
    });
    road.stop();
    let line = "an event keeps failing while others are accepted";
    let log = road.walgate.log();
    let (summed, told): (Vec<&str>, Vec<&str>) = log
        .lines()
        .filter(|it| it.contains(line))
        .partition(|it| it.contains("lines like this were left out"));
    assert_eq!((told.len(), summed.len()), (10, 1), "{log}");
    assert!(summed[0].contains("lines=15 ") && summed[0].contains("route=t-to-far"), "{summed:?}");
}
