//! A source that lost what we need is said to have lost it: no silent gap, no endless reconnects.

use std::fs;

use super::*;
use crate::support::receiver::Reply;

/// Runs walgate until it ends by itself; holds how it ends, and what it says.
#[track_caller]
fn ends(road: &mut Road, args: &[&str], code: i32, says: &str) {
    let before = road.walgate.log().len();
    road.walgate.start(args);
    ended(road, before, code, says);
}

#[track_caller]
fn ended(road: &mut Road, before: usize, code: i32, says: &str) {
    assert_eq!(road.walgate.exit_code(PATIENCE), code, "{}", road.walgate.log());
    let log = road.walgate.log();
    assert!(log[before..].contains(says), "{says:?} is not said: {}", &log[before..]);
}

#[track_caller]
fn arrives(road: &Road, receiver: &Receiver, row: i64) {
    road.sql(&format!("INSERT INTO t VALUES ({row}, 'row')"));
    receiver.wait(&format!("row {row}"), PATIENCE, |journal| has_all(journal, [row]));
}

const DROP: &str = "SELECT pg_drop_replication_slot('walgate')";
const MAKE: &str = "SELECT pg_create_logical_replication_slot('walgate', 'pgoutput')";

/// D13: a slot that was made again began behind rows that nobody had read, and the stream went
/// on as if nothing were missing.
#[test]
fn a_slot_that_was_made_again_ends_the_run_until_the_gap_is_accepted() {
    let receiver = Receiver::start();
    let mut road = road(15, &[sink("far", &receiver, "")]);
    arrives(&road, &receiver, 1);
    road.stop();
    road.until_free();
    road.sql(DROP);
    ends(&mut road, &[], 4, "slot \"walgate\" is gone");
    road.sql("INSERT INTO t VALUES (2, 'lost')");
    road.sql(MAKE);
    for _ in 0..2 {
        ends(&mut road, &[], 4, "it was recreated, or another advanced it");
    }
    road.start_with(&["--accept-gap"]);
    arrives(&road, &receiver, 3);
    road.stop();
    road.start();
    arrives(&road, &receiver, 4);
    let ids: Vec<_> = receiver.journal().events().iter().map(id).collect();
    assert_eq!(ids, [1, 3, 4]);
}

/// D13: a slot that was dropped while it was streamed was made again without a word.
#[test]
fn a_slot_that_is_dropped_under_a_stream_ends_the_run() {
    for remake in [false, true] {
        let receiver = Receiver::start();
        let mut road = road(18, &[sink("far", &receiver, "")]);
        arrives(&road, &receiver, 1);
        let before = road.walgate.log().len();
        road.walgate.signal("STOP");
        road.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots");
        road.until_free();
        road.sql(DROP);
        road.sql("INSERT INTO t VALUES (2, 'lost')");
        if remake {
            road.sql(MAKE);
        }
        road.walgate.signal("CONT");
        let says = if remake { "it was recreated" } else { "slot \"walgate\" is gone" };
        ended(&mut road, before, 4, says);
    }
}

/// D13: another client moved the slot over rows that we had not read.
#[test]
fn a_slot_that_another_advanced_ends_the_run_until_the_gap_is_accepted() {
    let receiver = Receiver::start();
    let mut road = road(15, &[sink("far", &receiver, "")]);
    arrives(&road, &receiver, 1);
    road.stop();
    road.until_free();
    road.sql("INSERT INTO t VALUES (2, 'lost')");
    road.sql("SELECT pg_replication_slot_advance('walgate', pg_current_wal_lsn())");
    ends(&mut road, &[], 4, "another advanced it");
    road.start_with(&["--accept-gap"]);
    arrives(&road, &receiver, 3);
    assert!(!has_all(&receiver.journal(), [2]));
}

/// D13: what was read before an accepted gap and is not done yet was forgotten, or the gap was
/// found again at the next break of the connection.
#[test]
fn a_gap_is_accepted_once_and_what_came_before_it_is_still_delivered() {
    let receiver = Receiver::start();
    receiver.otherwise(Reply::hang());
    let mut road = road(15, &[sink("far", &receiver, BRISK)]);
    road.sql("INSERT INTO t VALUES (1, 'read before')");
    receiver.wait("the first row", PATIENCE, |journal| !journal.requests.is_empty());
    road.stop();
    road.until_free();
    road.sql(DROP);
    road.sql("INSERT INTO t VALUES (2, 'lost')");
    road.start_with(&["--accept-gap"]);
    road.sql("INSERT INTO t VALUES (3, 'behind it')");
    for _ in 0..2 {
        let pid = road.value("SELECT active_pid FROM pg_replication_slots");
        road.sql(&format!("SELECT pg_terminate_backend({pid})"));
        road.until(&format!("SELECT active_pid <> {pid} FROM pg_replication_slots"));
        assert!(road.walgate.is_running());
    }
    road.walgate.kill();
    receiver.behave();
    road.start();
    receiver.wait("what was read", PATIENCE, |journal| has_all(journal, [1, 3]));
    arrives(&road, &receiver, 4);
    road.confirms(&road.wal_end());
    let ids: Vec<_> = receiver.journal().events().iter().map(id).collect();
    assert_eq!(ids, [1, 3, 4]);
}

/// D13: positions of one slot were used with another, or a lost disk made the stream begin
/// wherever the slot happened to be.
#[test]
fn a_state_folder_serves_its_own_slot_and_a_slot_its_own_folder() {
    let receiver = Receiver::start();
    receiver.otherwise(Reply::hang());
    let sinks = sink("far", &receiver, BRISK);
    let mut road = road(15, std::slice::from_ref(&sinks));
    road.sql("INSERT INTO t VALUES (1, 'not done')");
    receiver.wait("the row", PATIENCE, |journal| !journal.requests.is_empty());
    road.stop();
    road.until_free();
    road.configure_as(QUICK_STOP, "slot = \"other\"", &sinks);
    ends(&mut road, &[], 4, "the state belongs to slot \"walgate\"");
    assert_eq!(road.value("SELECT count(*) FROM pg_replication_slots"), "1");
    road.configure_as(QUICK_STOP, "", &sinks);
    fs::remove_dir_all(road.walgate.folder().join("walgate-state")).unwrap();
    receiver.behave();
    ends(&mut road, &[], 4, "the state folder is empty");
    road.start_with(&["--adopt-slot"]);
    receiver.wait("the row", PATIENCE, |journal| has_all(journal, [1]));
    road.arrived(&receiver);
}

/// D14: the server had dropped the log that the slot needed; the stream was tried again for
/// ever, or reported as healthy.
#[test]
fn a_slot_whose_log_was_dropped_ends_the_run_while_streaming_and_at_the_start() {
    for major in [15, 18] {
        let receiver = Receiver::start();
        receiver.otherwise(Reply::hang());
        let builder = Cluster::builder()
            .major(major)
            .setting("max_slot_wal_keep_size", "1MB")
            .setting("min_wal_size", "32MB")
            .setting("max_wal_size", "32MB");
        let held = "[journal]\nwal_budget = \"0\"\n".to_owned();
        let mut road = road_of(builder, &[held, sink("far", &receiver, BRISK)]);
        road.sql("INSERT INTO t VALUES (1, 'holds the slot')");
        receiver.wait("the row", PATIENCE, |journal| !journal.requests.is_empty());
        let lost = "SELECT wal_status = 'lost' FROM pg_replication_slots";
        eventually("the slot is lost", PATIENCE, || {
            road.sql("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 2000)");
            road.sql("SELECT pg_switch_wal()");
            road.sql("CHECKPOINT");
            road.value(lost) == "t"
        });
        ended(&mut road, 0, 4, "slot \"walgate\" is lost");
        ends(&mut road, &[], 4, "slot \"walgate\" is lost");
        receiver.behave();
        road.start_with(&["--accept-gap"]);
        receiver.wait("what was read", PATIENCE, |journal| has_all(journal, [1]));
        arrives(&road, &receiver, 3);
    }
}

/// D15: a publication was dropped while it was streamed, version 18 skipped its rows with a
/// warning, and keepalives confirmed what nobody had seen.
#[test]
fn a_publication_that_vanishes_ends_the_run_before_its_rows_are_confirmed() {
    for (major, again) in [(15, false), (15, true), (18, false), (18, true)] {
        let receiver = Receiver::start();
        let mut road = road(major, &[sink("far", &receiver, "")]);
        arrives(&road, &receiver, 1);
        let before = road.walgate.log().len();
        road.walgate.signal("STOP");
        road.sql("DROP PUBLICATION walgate");
        let lsn: Lsn = road.value("SELECT pg_current_wal_insert_lsn()").parse().unwrap();
        road.sql("INSERT INTO t VALUES (2, 'unpublished')");
        if again {
            // It is there when one looks, and was not when the row was written.
            road.sql("CREATE PUBLICATION walgate FOR TABLE t");
        }
        road.walgate.signal("CONT");
        ended(&mut road, before, 4, "publication \"walgate\" vanished");
        road.until_free();
        assert!(road.confirmed() <= lsn, "{} was confirmed, of {lsn}", road.confirmed());
        if again {
            ends(&mut road, &[], 4, "publication \"walgate\" vanished");
            assert!(road.confirmed() <= lsn, "{} was confirmed, of {lsn}", road.confirmed());
        }
    }
}

/// D15: the one warning of it was one that the role had turned off.
#[test]
fn a_publication_that_vanishes_ends_the_run_whatever_the_role_wants_to_hear() {
    let receiver = Receiver::start();
    let mut road = Road::bare(Cluster::builder().major(18), SCHEMA);
    road.sql("ALTER ROLE walgate SET client_min_messages = 'error'");
    road.configure_as(QUICK_STOP, "", &sink("far", &receiver, ""));
    road.start();
    arrives(&road, &receiver, 1);
    road.stop();
    road.sql("DROP PUBLICATION walgate");
    road.sql("INSERT INTO t VALUES (2, 'unpublished')");
    road.sql("CREATE PUBLICATION walgate FOR TABLE t");
    ends(&mut road, &[], 4, "publication \"walgate\" vanished");
}

/// D15: a slot was made before its publication, and could never be read.
#[test]
fn a_missing_publication_ends_the_start_before_a_slot_is_made() {
    let receiver = Receiver::start();
    let mut road = Road::bare(Cluster::builder().major(18), "CREATE TABLE t (id int PRIMARY KEY)");
    road.configure(&sink("far", &receiver, ""));
    ends(&mut road, &[], 3, "publication \"walgate\" does not exist");
    assert_eq!(road.value("SELECT count(*) FROM pg_replication_slots"), "0");
    road.sql("CREATE PUBLICATION walgate FOR TABLE t");
    road.start();
    road.sql("INSERT INTO t VALUES (1)");
    receiver.wait("the row", PATIENCE, |journal| has_all(journal, [1]));
}
