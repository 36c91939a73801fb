//! Order per key around what a person does: to events that are under way, and to those that a
//! restart makes the stream bring again.

use std::time::Duration;

use super::support::process::{eventually, pause};
use super::support::receiver::{Event, Journal, Receiver, Reply};
use super::support::road::{PATIENCE, Road, http};
use super::support::state;

const BRISK: &str = "retry = { initial = \"20ms\", max = \"100ms\", max_attempts = 100000 }\n\
                     concurrency = 4";

fn road(receiver: &Receiver, keys: &str) -> Road {
    Road::of_t(&http("far", &receiver.url("/"), &format!("{BRISK}\n{keys}")))
}

fn is(value: &'static str) -> impl Fn(&Event) -> bool + Send + 'static {
    move |event| event.0["data"]["v"] == value
}

/// What arrived of row 1, in order.
fn of_row_1(journal: &Journal) -> Vec<String> {
    let events = journal.events();
    let of_1 = events.iter().filter(|event| event.0["key"]["id"] == 1);
    of_1.map(|event| event.0["data"]["v"].as_str().unwrap().to_owned()).collect()
}

/// Row 1 is there and was made bad, which is refused; the position stays before it, and a crash has
/// forgotten what of that was done.
fn forgotten(receiver: &Receiver) -> Road {
    let road = road(receiver, "timeout = \"60s\"");
    road.sql("INSERT INTO t VALUES (100, 'first')");
    road.confirms(&road.wal_end());
    receiver.when(is("held"), Reply::hang());
    receiver.when(is("bad"), Reply::status(422));
    road.sql("INSERT INTO t VALUES (0, 'held')");
    road.sql("INSERT INTO t SELECT g, 'good' FROM generate_series(1, 8) g");
    road.sql("UPDATE t SET v = 'bad' WHERE id > 0 AND id < 9");
    // But for those of its lane.
    eventually("row 1 is dead", PATIENCE, || {
        let dead = road.dead_letters(&["--state", "dead"]);
        dead.iter().any(|letter| letter["key"]["id"] == 1)
    });
    road
}

fn forget(road: &mut Road, receiver: &Receiver) {
    road.walgate.kill();
    state::change(&road.walgate, "UPDATE progress SET ranges = x''");
    receiver.behave();
}

/// The next of its key went beside the request that was still open.
#[test]
fn what_is_behind_a_discarded_event_waits_for_the_request_that_is_under_way() {
    let receiver = Receiver::start();
    receiver.when(is("bad"), Reply::status(500));
    let mut road = road(&receiver, "timeout = \"10s\"");
    road.sql("INSERT INTO t VALUES (1, 'bad')");
    let others = "INSERT INTO t SELECT g, 'other' FROM generate_series(
        (SELECT 1 + max(id) FROM t), (SELECT 20 + max(id) FROM t)) g";
    eventually("it is set aside", PATIENCE, || {
        road.sql(others);
        road.dead_letters(&["--state", "retrying"]).len() == 1
    });
    road.sql("UPDATE t SET v = 'next' WHERE id = 1");
    eventually("one waits", PATIENCE, || road.dead_letters(&["--state", "blocked"]).len() == 1);
    receiver.when(is("bad"), Reply::hang());
    receiver.wait("it is under way", PATIENCE, |journal| journal.in_flight == 1);
    let (code, _, said) = road.dlq(&["discard", "--state", "retrying", "--reason", "a test"]);
    assert_eq!(code, 0, "{said}");
    road.sql(others);
    let all: usize = road.value("SELECT count(*) FROM t WHERE v = 'other'").parse().unwrap();
    let count_of =
        |journal: &Journal, value| journal.events().iter().filter(|event| is(value)(event)).count();
    receiver.wait("the others", PATIENCE, |journal| count_of(journal, "other") == all);
    let journal = receiver.journal();
    assert!(journal.in_flight > 0, "it is still under way");
    assert_eq!(count_of(&journal, "next"), 0);
    drop(journal);
    receiver.wait("the next", PATIENCE, |journal| count_of(journal, "next") == 1);
    eventually("only the discarded is left", PATIENCE, || {
        let letters = road.dead_letters(&[]);
        letters.len() == 1 && letters[0]["state"] == "discarded"
    });
    road.stop();
}

/// A dead letter was sent at once, and what is before it of its key came again after it.
#[test]
fn a_letter_waits_for_what_the_stream_brings_again_before_it() {
    let receiver = Receiver::start();
    let mut road = forgotten(&receiver);
    forget(&mut road, &receiver);
    let slow = Reply::ok().after(Duration::from_secs(2));
    receiver.when(|event| event.key() == "public.t{\"id\":1}" && is("good")(event), slow);
    road.start();
    let of_row_1s = ["replay", "--key", "{\"id\": 1}", "--no-wait"];
    let (code, _, said) = road.dlq(&of_row_1s);
    assert_eq!(code, 0, "{said}");
    comes_last(&road, &receiver, "bad");
}

/// As above; nobody reads the stream.
#[test]
fn without_an_instance_a_letter_waits_for_the_next_run_where_the_stream_comes_again() {
    let receiver = Receiver::start();
    let mut road = forgotten(&receiver);
    forget(&mut road, &receiver);
    let before = receiver.journal().events().len();
    let (code, outcomes, said) = road.dlq(&["replay", "--state", "dead"]);
    assert_eq!((code, outcomes), (1, Vec::new()), "{said}");
    assert!(said.contains("the rest goes on with the next run"), "{said}");
    assert_eq!(receiver.journal().events().len(), before);
    road.start();
    comes_last(&road, &receiver, "bad");
}

#[track_caller]
fn comes_last(road: &Road, receiver: &Receiver, value: &str) {
    receiver.wait("it", PATIENCE, |journal| of_row_1(journal).iter().any(|came| came == value));
    let all = road.wal_end();
    road.confirms(&all);
    let of_1 = of_row_1(&receiver.journal());
    assert_eq!(of_1.last().map(String::as_str), Some(value), "{of_1:?}");
}

/// What a person had discarded was sent when the stream brought it again.
#[test]
fn what_was_discarded_stays_so_when_the_stream_brings_it_again() {
    let receiver = Receiver::start();
    let mut road = forgotten(&receiver);
    let row_1 = ["discard", "--state", "dead", "--key", "{\"id\": 1}", "--reason", "a test"];
    let (code, _, said) = road.dlq(&row_1);
    assert_eq!(code, 0, "{said}");
    road.sql("UPDATE t SET v = 'later' WHERE id = 1");
    forget(&mut road, &receiver);
    road.start();
    receiver.wait("what is behind it", PATIENCE, |journal| {
        of_row_1(journal).last().is_some_and(|value| value == "later")
    });
    let of_1 = of_row_1(&receiver.journal());
    assert!(!of_1.contains(&"bad".to_owned()), "{of_1:?}");
    let discarded = road.dead_letters(&["--state", "discarded"]);
    assert_eq!(discarded[0]["reason"], "a test");
    road.stop();
}

/// What counts as done only once it is noted was counted before, and then not stored: nothing else
/// had moved.
#[test]
fn what_was_noted_late_does_not_come_again() {
    let receiver = Receiver::start();
    let mut road = forgotten(&receiver);
    let lock = state::locked(&road.walgate);
    road.sql("UPDATE t SET v = 'later' WHERE id = 1");
    receiver.wait("it", PATIENCE, |journal| journal.events().iter().any(is("later")));
    // The keeper looks meanwhile how far the sink is.
    pause(Duration::from_secs(1));
    drop(lock);
    pause(Duration::from_secs(1));
    road.walgate.kill();
    receiver.behave();
    road.start();
    receiver.wait("what was held", PATIENCE, |journal| journal.events().iter().any(is("held")));
    road.stop();
    let came = of_row_1(&receiver.journal());
    assert_eq!(came.iter().filter(|value| *value == "later").count(), 1, "{came:?}");
}
