//! Sinks keep to the pace that the far side asks for.

use std::time::{Duration, Instant};

use walgate::demo::cluster::Cluster;

use crate::support::receiver::{Journal, Receiver, Reply};
use crate::support::road::{PATIENCE, Road, T, http, route};

/// When the row came to this path.
fn came(journal: &Journal, path: &str, row: u64) -> Option<Instant> {
    let has = |id: &serde_json::Value| id.as_u64() == Some(row);
    let requests = journal.requests.iter().filter(|request| request.target == path);
    let mut requests =
        requests.filter(|request| request.events().iter().any(|e| has(&e.0["data"]["id"])));
    requests.next().map(|request| request.at)
}

#[test]
fn what_a_host_tells_one_sink_goes_for_all_of_that_host_and_for_no_other() {
    let (host, other) = (Receiver::start(), Receiver::start());
    let sinks = [
        http("told", &host.url("/told"), ""),
        http("near", &host.url("/near"), ""),
        http("far", &other.url("/far"), ""),
        route("t", "told"),
        route("t", "near"),
        route("t", "far"),
    ];
    let road = Road::new(Cluster::builder().major(15), T, &sinks.concat());
    host.at("/told", Reply::status(429).retry_after("6"));
    road.sql("INSERT INTO t VALUES (1)");
    host.wait("the 429", PATIENCE, |journal| came(journal, "/told", 1).is_some());
    let told = came(&host.journal(), "/told", 1).unwrap();
    // By the time that this has gone another way, the 429 has been heard.
    road.sql("INSERT INTO t VALUES (2)");
    other.wait("the second row", PATIENCE, |journal| came(journal, "/far", 2).is_some());
    host.behave();
    road.sql("INSERT INTO t VALUES (3)");
    other.wait("the third row", PATIENCE, |journal| came(journal, "/far", 3).is_some());
    host.wait("all rows", PATIENCE, |journal| {
        came(journal, "/near", 3).is_some() && came(journal, "/told", 3).is_some()
    });
    let wait = Duration::from_secs(6);
    let near = came(&host.journal(), "/near", 3).unwrap().duration_since(told);
    let far = came(&other.journal(), "/far", 3).unwrap().duration_since(told);
    assert!(near >= wait && far < wait, "after {near:?} at the same host, {far:?} at another");
}

#[test]
fn a_limit_that_an_acknowledgement_says_is_used_up_is_waited_for() {
    let receiver = Receiver::start();
    let road = Road::of_t(&http("far", &receiver.url("/"), ""));
    let wait = Duration::from_secs(4);
    receiver
        .next(Reply::ok().header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", "4"));
    receiver.next(Reply::status(429).header("ratelimit", "limit=9, remaining=0, reset=4"));
    road.sql("INSERT INTO t VALUES (1)");
    road.sql("INSERT INTO t VALUES (2)");
    let journal = road.arrived(&receiver);
    let at: Vec<Instant> = journal.requests.iter().map(|request| request.at).collect();
    assert_eq!(at.len(), 3);
    for (before, after) in at.iter().zip(&at[1..]) {
        let waited = after.duration_since(*before);
        assert!(waited >= wait, "{waited:?}");
    }
}
