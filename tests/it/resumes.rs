//! A restart goes on where the last run ended: nothing is lost, and what comes again is bounded.

use std::time::{Duration, Instant};

use walgate::demo::cluster::Stop;

use super::support::load::Load;
use super::support::process::eventually;
use super::support::receiver::{Receiver, Reply};
use super::support::road::{PATIENCE, Road, http};

/// Four requests in flight, of up to ten events each.
const WIDE: &str = "concurrency = 4\nbatch = { max_events = 10 }";
const IN_FLIGHT_MAX: usize = 4 * 10;

#[test]
fn a_stopped_run_goes_on_without_a_repeat() {
    let receiver = Receiver::start();
    let mut road = Road::of_t(&http("far", &receiver.url("/"), WIDE));
    let load = Load::start(&road, Duration::ZERO);
    for _ in 0..4 {
        load.goes_on(200);
        road.stop();
        load.goes_on(200);
        road.start();
    }
    load.end();
    assert_eq!(road.arrived(&receiver).repeats(), 0);
}

#[test]
fn a_killed_run_repeats_but_never_skips() {
    let receiver = Receiver::start();
    let mut road = Road::of_t(&http("far", &receiver.url("/"), WIDE));
    let load = Load::start(&road, Duration::from_millis(1));
    let mut kills = Vec::new();
    for round in 0..10 {
        load.goes_on(fastrand::u64(50..300));
        kills.push(Instant::now());
        road.walgate.kill();
        if round % 3 == 1 {
            road.stop_server(Stop::Immediate, PATIENCE);
            road.start_server();
        }
        road.start();
    }
    load.end();
    let journal = road.arrived(&receiver);
    for killed in kills {
        let over = journal.repeats_over(killed);
        assert!(over <= IN_FLIGHT_MAX, "{over} events came again after one kill");
    }
}

#[test]
fn a_server_that_crashes_causes_no_repeat() {
    let receiver = Receiver::start();
    let mut road = Road::of_t(&http("far", &receiver.url("/"), WIDE));
    road.sql("CHECKPOINT");
    let load = Load::start(&road, Duration::from_millis(1));
    for _ in 0..3 {
        load.goes_on(200);
        let confirmed = road.confirmed();
        road.stop_server(Stop::Immediate, PATIENCE);
        // While walgate can't attach, the slot shows what the server remembers.
        road.walgate.signal("STOP");
        road.start_server();
        let back = format!("SELECT '{}'::pg_lsn < '{confirmed}'", road.confirmed());
        assert_eq!(road.value(&back), "t", "this test needs a server that forgets");
        road.walgate.signal("CONT");
        road.streams();
    }
    load.end();
    assert_eq!(road.arrived(&receiver).repeats(), 0);
}

#[test]
fn a_lost_answer_brings_the_same_event_again() {
    let receiver = Receiver::start();
    let road = Road::of_t(&http("far", &receiver.url("/"), "retry = { initial = \"10ms\" }"));
    receiver.next(Reply::lost());
    receiver.next(Reply::cut());
    road.sql("INSERT INTO t VALUES (1, 'a')");
    receiver.wait("three deliveries", PATIENCE, |journal| journal.events_processed == 3);
    let requests = receiver.journal().requests;
    for request in &requests[1..] {
        assert_eq!(request.body, requests[0].body);
        assert_eq!(request.header("idempotency-key"), requests[0].header("idempotency-key"));
    }
    road.arrived(&receiver);
}

#[test]
fn a_copy_of_one_lsn_arrives_whole_over_a_kill() {
    let receiver = Receiver::start();
    let mut road = Road::of_t(&http("far", &receiver.url("/"), WIDE));
    receiver.otherwise(Reply::ok().after(Duration::from_millis(5)));
    road.sql("COPY t (id) FROM PROGRAM 'seq 1 5000'");
    receiver.wait("a part of the rows", PATIENCE, |journal| journal.events_processed > 1000);
    let killed = Instant::now();
    road.walgate.kill();
    let before = receiver.journal().events_processed;
    assert!(before < 5000, "killed too late: {before} rows had come");
    receiver.behave();
    road.start();
    let journal = road.arrived(&receiver);
    assert_eq!(journal.events_processed - journal.repeats(), 5000);
    let over = journal.repeats_over(killed);
    assert!(over <= IN_FLIGHT_MAX, "{over} events came again");
    let first = &journal.events()[0].0["commit"]["lsn"];
    assert!(journal.events().iter().all(|event| event.0["commit"]["lsn"] == *first));
}

#[test]
fn a_second_instance_on_the_same_folder_or_slot_is_turned_away() {
    let receiver = Receiver::start();
    let road = Road::of_t(&http("far", &receiver.url("/"), ""));
    let output = road.walgate.call(&["run"]);
    assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    eventually("the first goes on", PATIENCE, || receiver.journal().events_processed == 1);
}
