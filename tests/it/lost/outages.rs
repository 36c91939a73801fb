//! A sink that is slow, hung or gone costs disk and time of its own, and nothing else.

use std::time::{Duration, Instant};

use super::*;
use crate::support::load::Load;
use crate::support::receiver::Reply;

/// The most memory that walgate may ever hold.
const MEMORY_BYTES_MAX: u64 = 150 << 20;

/// Rows piled up in memory behind a receiver that never answered, until the process was killed;
/// and nobody else got a row meanwhile.
#[test]
fn rows_behind_a_hung_and_a_slow_receiver_pile_up_on_disk_alone() {
    const ROWS: usize = 200_000;
    let [hung, slow, near] = [Receiver::start(), Receiver::start(), Receiver::start()];
    hung.otherwise(Reply::hang());
    slow.otherwise(Reply::ok().drip(Duration::from_millis(20)));
    let batch = "batch = { max_events = 500 }\n";
    let patient = format!("{batch}timeout = \"3s\"\n{BRISK}");
    let road = road(
        15,
        &[sink("hung", &hung, &patient), sink("slow", &slow, &patient), sink("near", &near, batch)],
    );
    for part in 0..2 {
        road.sql(&format!(
            "INSERT INTO t SELECT g, repeat(md5(g::text), 4)
             FROM generate_series({part} * 100000 + 1, ({part} + 1) * 100000) g"
        ));
    }
    near.wait("all rows", PATIENCE, |journal| journal.events_processed >= ROWS);
    assert_eq!(hung.journal().events_processed, 0);
    assert!(slow.journal().events_processed < ROWS / 10);
    let peak = road.walgate.peak_memory_bytes();
    assert!(peak < MEMORY_BYTES_MAX, "{} MiB", peak >> 20);
    hung.behave();
    slow.behave();
    for receiver in [&hung, &slow] {
        receiver.wait("all rows", PATIENCE, |journal| journal.events_processed >= ROWS);
    }
    road.confirms(&road.wal_end());
    let peak = road.walgate.peak_memory_bytes();
    assert!(peak < MEMORY_BYTES_MAX, "{} MiB while catching up", peak >> 20);
    for receiver in [&hung, &slow, &near] {
        let journal = receiver.journal();
        assert_eq!((journal.events_processed, journal.repeats()), (ROWS, 0));
    }
}

/// A sink that was down used up the attempts of its rows and made dead letters of them, or held
/// up its neighbours.
#[test]
fn a_dead_sink_is_waited_for_and_its_neighbour_is_not_delayed() {
    let (far, near) = (Receiver::start(), Receiver::start());
    let retry = "retry = { initial = \"20ms\", max = \"100ms\", max_attempts = 3 }\n\
                 breaker = { cooldown = \"1s\" }\nconcurrency = 4";
    let road = road(15, &[sink("far", &far, retry), sink("near", &near, "concurrency = 4")]);
    let load = Load::start(&road, Duration::from_millis(2));
    load.goes_on(100);
    far.refuse();
    eventually("the breaker opens", PATIENCE, || sink_state(&road.walgate, "far") == "open");
    load.goes_on(200);
    let marker = road.value("INSERT INTO t VALUES (1000000, 'now') RETURNING id");
    near.wait("what is new", Duration::from_secs(5), |journal| {
        journal.events().iter().any(|event| id(event).to_string() == marker)
    });
    assert_eq!(sink_state(&road.walgate, "near"), "ok");
    assert_eq!(
        rows_of(&road.walgate, "SELECT id FROM dead_letters WHERE state <> 'delivered'"),
        Vec::<String>::new()
    );
    far.listen();
    load.end();
    assert_eq!(road.arrived(&near).repeats(), 0);
    road.arrived(&far);
    eventually("it is well again", PATIENCE, || sink_state(&road.walgate, "far") == "ok");
}

/// A stop that was not obeyed while something was in flight, or that did not say what may
/// repeat.
#[test]
fn a_stop_says_how_much_was_unanswered() {
    let receiver = Receiver::start();
    let mut road = road(15, &[sink("far", &receiver, "concurrency = 4")]);
    // Until it is known to bear four at a time.
    road.sql("INSERT INTO t SELECT g, 'row' FROM generate_series(1, 20) g");
    receiver.wait("twenty rows", PATIENCE, |journal| journal.events_processed == 20);
    receiver.otherwise(Reply::hang());
    road.sql("INSERT INTO t SELECT g, 'row' FROM generate_series(21, 120) g");
    receiver.wait("four requests", PATIENCE, |journal| journal.requests.len() == 24);
    road.stop();
    let said = road.walgate.log();
    assert!(said.contains("4 events were unanswered and may be sent again"), "{said}");
    receiver.behave();
    road.start();
    let journal = road.arrived(&receiver);
    assert_eq!((journal.events_processed, journal.repeats()), (120, 0));
}

/// A second signal was not heard while the first was being obeyed.
#[test]
fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    let receiver = Receiver::start();
    let mut road = Road::bare(Cluster::builder().major(15), SCHEMA);
    road.configure_as("shutdown_grace = \"10m\"", "", &sink("far", &receiver, "concurrency = 4"));
    road.start();
    let load = Load::start(&road, Duration::ZERO);
    load.goes_on(100);
    receiver.otherwise(Reply::hang());
    receiver.wait("a request that hangs", PATIENCE, |j| {
        j.requests.last().is_some_and(|r| !r.processed)
    });
    road.walgate.signal("TERM");
    eventually("it says so", PATIENCE, || road.walgate.log().contains("stopping"));
    assert!(road.walgate.is_running());
    let asked = Instant::now();
    road.walgate.signal("INT");
    assert_eq!(road.walgate.exit_code(Duration::from_secs(5)), 0);
    receiver.behave();
    road.start();
    load.end();
    let over = road.arrived(&receiver).repeats_over(asked);
    assert!(over <= 4, "{over} events came again");
}
