//! A restart takes up at the right row: none is skipped, whatever its LSN looks like.
//!
//! D3, a COPY of one LSN that is killed in the middle, is told in `resumes`.

use std::time::Duration;

use walgate::demo::cluster::Stop;

use super::*;
use crate::support::receiver::Reply;

/// D4: a Begin has the LSN of its first row, and that is where the commit before it ends: who
/// compared it with where the slot had stopped skipped the row.
#[test]
fn the_first_row_behind_a_confirmed_commit_is_not_skipped() {
    let receiver = Receiver::start();
    let mut road = road(15, &[sink("far", &receiver, "")]);
    let mut exact = 0;
    for round in 0..6 {
        let session = road.session();
        road.sql_in(&session, &format!("INSERT INTO t VALUES ({round}0, 'alone')"));
        road.confirms(&road.wal_end());
        if round % 2 == 0 {
            road.stop();
        } else {
            road.walgate.kill();
        }
        road.until_free();
        let here = "SELECT pg_current_wal_insert_lsn() = confirmed_flush_lsn
                    FROM pg_replication_slots";
        exact += usize::from(road.value(here) == "t");
        for id in 1..=3 {
            road.sql_in(&session, &format!("INSERT INTO t VALUES ({round}{id}, 'back to back')"));
        }
        if round == 4 {
            drop(session);
            road.stop_server(Stop::Immediate, PATIENCE);
            road.start_server();
        }
        road.start();
        let journal = road.arrived(&receiver);
        assert_eq!(journal.events_processed, 4 * (round + 1), "a repeat, or a row is missing");
    }
    assert!(exact > 0, "this test needs a commit that begins where the slot was confirmed");
}

/// D5: a crash between the outputs of one change lost the rest of them: the position was stored
/// once the first was done.
#[test]
fn a_crash_between_the_outputs_of_one_change_loses_none_of_them() {
    let receivers = [Receiver::start(), Receiver::start(), Receiver::start()];
    let [first, second, third] = &receivers;
    second.when(|event| id(event) == 1003, Reply::hang());
    third.refuse();
    let sinks =
        [sink("first", first, BRISK), sink("second", second, BRISK), sink("third", third, BRISK)];
    let mut road = road(15, &sinks);
    road.sql("INSERT INTO t SELECT g, 'row' FROM generate_series(1, 5) g");
    road.sql("UPDATE t SET id = id + 1000");
    first.wait("all of it", PATIENCE, |journal| journal.events_processed == 10);
    second.wait("a part", PATIENCE, |journal| journal.events_processed == 7);
    eventually("what is done is stored", PATIENCE, || {
        delivered(&road.walgate, "first") == 10 && delivered(&road.walgate, "second") == 7
    });
    road.walgate.kill();
    second.behave();
    third.listen();
    road.start();
    for receiver in &receivers {
        let journal = road.arrived(receiver);
        assert_eq!((journal.events_processed, journal.repeats()), (10, 0));
        let moved = journal.events().iter().filter(|e| e.0.get("before_key").is_some()).count();
        assert_eq!(moved, 5);
    }
}

/// A run that was to end once all is done ended while rows still waited behind one that had been
/// retried.
#[test]
fn caught_up_is_a_run_only_when_nothing_waits_behind_a_row() {
    let receiver = Receiver::start();
    let keys = BRISK.replace("retry = {", "retry = { max_attempts = 9999,");
    let mut road = road(15, &[sink("far", &receiver, &keys)]);
    receiver.when(|event| id(event) == 1, Reply::status(500));
    road.sql("INSERT INTO t VALUES (1, 'fails')");
    road.sql("INSERT INTO t SELECT g, 'others' FROM generate_series(2, 10) g");
    let blocked =
        || rows_of(&road.walgate, "SELECT count(*) FROM dead_letters WHERE state <> 'delivered'");
    eventually("it is retried by itself", PATIENCE, || blocked() == ["1"]);
    for change in 0..30 {
        road.sql(&format!("UPDATE t SET v = '{change}' WHERE id = 1"));
    }
    eventually("the rest waits behind it", PATIENCE, || blocked() == ["31"]);
    road.stop();
    receiver.behave();
    receiver.otherwise(Reply::ok().after(Duration::from_millis(20)));
    road.walgate.start(&["--until-caught-up"]);
    assert_eq!(road.walgate.exit_code(PATIENCE), 0);
    let journal = receiver.journal();
    assert_eq!((journal.fold(), journal.repeats()), (road.table("t"), 0));
    assert_eq!(journal.out_of_order(), Vec::<String>::new());
}
