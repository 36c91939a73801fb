//! Order per key where a row has two keys, or none, or all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::support::receiver::Reply;

const WIDE: &str = "concurrency = 4\n";

/// Answers that take their time, so that whoever may overtake does.
fn scramble(receiver: &Receiver) {
    receiver.when(
        |event| event.id().ends_with(['3', '7', 'B']),
        Reply::ok().after(Duration::from_millis(4)),
    );
    receiver.when(
        |event| event.id().ends_with(['1', '5', '9', 'D']),
        Reply::ok().after(Duration::from_millis(15)),
    );
}

/// Keys, old ones too, whose events came in another order than they committed.
fn out_of_order_by_either_key(journal: &Journal) -> Vec<String> {
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    let mut broken = Vec::new();
    for event in journal.events() {
        for key in [&event.0["key"], &event.0["before_key"]] {
            let name = format!("{}{key}", event.0["table"]);
            if key.is_null() || last.get(&name).is_some_and(|last| **last == *event.id()) {
                continue;
            }
            let before = last.insert(name.clone(), event.id().to_owned());
            if before.is_some_and(|before| *before > *event.id()) {
                broken.push(format!("{name} at {}", event.id()));
            }
        }
    }
    broken
}

/// D21: a row that changed its key was sent beside the changes of its old key, and a row that
/// took that key over was deleted by it.
#[test]
fn rows_that_swap_their_keys_keep_the_order_of_both() {
    let receiver = Receiver::start();
    scramble(&receiver);
    let road = road(15, &[sink("far", &receiver, WIDE)]);
    road.sql("INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 20) g");
    for round in 0..20 {
        let (a, b) = (round % 20 + 1, (round * 7 + 3) % 20 + 1);
        road.sql(&format!(
            "BEGIN; UPDATE t SET id = -1 WHERE id = {a}; UPDATE t SET id = {a} WHERE id = {b};
             UPDATE t SET id = {b} WHERE id = -1; COMMIT"
        ));
        road.sql(&format!("UPDATE t SET v = v || '.' WHERE id IN ({a}, {b})"));
    }
    // A chain: each row takes the key that the one before it has just left.
    road.sql(
        "DO $$ BEGIN FOR i IN REVERSE 20..1 LOOP UPDATE t SET id = i + 1 WHERE id = i; END LOOP; END $$",
    );
    let journal = road.arrived(&receiver);
    assert_eq!(out_of_order_by_either_key(&journal), Vec::<String>::new());
    assert!(journal.in_flight_max > 1, "this test needs requests beside each other");
}

/// D22: a TRUNCATE overtook rows before it or was overtaken by rows behind it, on another lane.
#[test]
fn a_truncate_comes_after_all_before_it_and_before_all_behind_it() {
    let receiver = Receiver::start();
    scramble(&receiver);
    let every = "on = [\"insert\", \"update\", \"delete\", \"truncate\"]\n";
    let road = road(15, &[sink("far", &receiver, WIDE) + every]);
    for round in 0..6 {
        road.sql(&format!("INSERT INTO t SELECT g, 'round {round}' FROM generate_series(1, 30) g"));
        road.sql(&format!("UPDATE t SET id = id + 100 WHERE id % 5 = {round} % 5"));
        road.sql("TRUNCATE t");
        // One transaction with rows on both sides of it.
        road.sql("BEGIN; INSERT INTO t VALUES (1, 'a'), (2, 'b'); TRUNCATE t; INSERT INTO t VALUES (3, 'c'); COMMIT");
        road.sql("DELETE FROM t");
    }
    road.sql("INSERT INTO t SELECT g, 'last' FROM generate_series(1, 10) g");
    let journal = road.arrived(&receiver);
    let events = journal.events();
    for (place, truncate) in events.iter().enumerate().filter(|(_, event)| event.op() == "truncate")
    {
        assert!(events[..place].iter().all(|event| event.id() < truncate.id()));
        assert!(events[place + 1..].iter().all(|event| event.id() > truncate.id()));
    }
    assert_eq!(events.iter().filter(|event| event.op() == "truncate").count(), 12);
    assert_eq!(out_of_order_by_either_key(&journal), Vec::<String>::new());
    assert!(journal.in_flight_max > 1, "this test needs requests beside each other");
}

/// Rows of a table without a key were spread over lanes, so that the second of two equal rows
/// was deleted before it came.
#[test]
fn a_table_without_a_key_keeps_its_order_as_one_key() {
    let receiver = Receiver::start();
    scramble(&receiver);
    let mut road = Road::bare(
        Cluster::builder().major(15),
        "CREATE TABLE log (v int); ALTER TABLE log REPLICA IDENTITY FULL;
         CREATE TABLE t (id int PRIMARY KEY, v text); CREATE PUBLICATION walgate FOR ALL TABLES",
    );
    let sinks = [http("far", &receiver.url("/"), WIDE), route("log", "far"), route("t", "far")];
    road.configure(&sinks.concat());
    road.start();
    for round in 0..10 {
        road.sql(&format!("INSERT INTO log SELECT g % 3 FROM generate_series(1, 6) g; UPDATE log SET v = v + 10 WHERE v = {round} % 3"));
        road.sql(&format!(
            "INSERT INTO t SELECT {round} * 100 + g, 'beside' FROM generate_series(1, 10) g"
        ));
        road.sql("DELETE FROM log WHERE v > 10");
    }
    let journal = receiver_rows(&road, &receiver);
    let log: Vec<_> =
        journal.events().into_iter().filter(|event| event.0["table"] == "public.log").collect();
    assert!(log.len() > 100 && log.iter().all(|event| event.0["key"].is_null()));
    assert!(
        log.windows(2).all(|pair| pair[0].id() < pair[1].id()),
        "the order of the log is broken"
    );
    assert!(journal.in_flight_max > 1, "this test needs requests beside each other");
}

/// What came, once all is done.
fn receiver_rows(road: &Road, receiver: &Receiver) -> Journal {
    road.confirms(&road.wal_end());
    receiver.journal()
}

/// A row that kept failing and changed its key let later rows of either key pass it.
#[test]
fn nothing_passes_a_row_that_fails_while_it_changes_its_key() {
    let receiver = Receiver::start();
    let keys = format!("{WIDE}{}", BRISK.replace("retry = {", "retry = { max_attempts = 9999,"));
    let road = road(15, &[sink("far", &receiver, &keys)]);
    road.sql("INSERT INTO t SELECT g, 'row' FROM generate_series(1, 8) g");
    road.arrived(&receiver);
    receiver.when(|event| event.0["before_key"]["id"] == 1, Reply::status(500));
    road.sql("UPDATE t SET id = 101 WHERE id = 1");
    road.sql("UPDATE t SET v = 'later' WHERE id = 101");
    road.sql("INSERT INTO t VALUES (1, 'again')");
    road.sql("UPDATE t SET id = 202 WHERE id = 2");
    road.sql("UPDATE t SET id = 2 WHERE id = 101");
    road.sql("UPDATE t SET v = 'others' WHERE id BETWEEN 3 AND 8");
    let others = |journal: &Journal| {
        journal.events().iter().filter(|event| event.0["data"]["v"] == "others").count() == 6
    };
    receiver.wait("the others", PATIENCE, others);
    eventually("it waits by itself, and four behind it", PATIENCE, || {
        rows_of(&road.walgate, "SELECT state FROM dead_letters WHERE state = 'retrying'").len() == 1
            && rows_of(&road.walgate, "SELECT state FROM dead_letters WHERE state <> 'delivered'")
                .len()
                == 4
    });
    receiver.behave();
    eventually("nothing waits", PATIENCE, || {
        rows_of(&road.walgate, "SELECT id FROM dead_letters WHERE state <> 'delivered'").is_empty()
    });
    let journal = road.arrived(&receiver);
    assert_eq!(out_of_order_by_either_key(&journal), Vec::<String>::new());
}
