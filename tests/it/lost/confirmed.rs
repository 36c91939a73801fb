//! The slot is told nothing that is not done: what is confirmed is gone from the server.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use walgate::state::meta;

use super::*;
use crate::support::load::Load;
use crate::support::receiver::Reply;

/// Holds what is confirmed to a row that is not done, until the server has asked for a reply
/// often and was answered for a second.
#[track_caller]
fn nothing_is_confirmed_from(road: &Road, commit: Lsn) {
    let asked = road.value("SELECT clock_timestamp()");
    road.sql("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 2000)");
    let end = road.wal_end();
    road.until(&format!(
        "SELECT write_lsn >= '{end}' AND reply_time > '{asked}'::timestamptz + interval '1s'
         FROM pg_stat_replication"
    ));
    assert!(road.confirmed() <= commit, "{} of {commit}", road.confirmed());
}

/// A server that asks for a reply twice in each second.
fn impatient() -> Builder {
    Cluster::builder().major(15).setting("wal_sender_timeout", "1s")
}

/// D1: a keepalive's position was confirmed while a row before it was still on its way, and the
/// crash that followed lost the row.
#[test]
fn keepalives_confirm_nothing_that_is_still_on_its_way() {
    let receiver = Receiver::start();
    receiver.otherwise(Reply::hang());
    let mut road = road_of(impatient(), &[sink("far", &receiver, "")]);
    road.sql("INSERT INTO t VALUES (1, 'held')");
    receiver.wait("the row", PATIENCE, |journal| !journal.requests.is_empty());
    let commit = commit_lsn(&receiver.journal().requests[0].events()[0]);
    nothing_is_confirmed_from(&road, commit);
    road.walgate.kill();
    receiver.behave();
    road.start();
    receiver.wait("the row again", PATIENCE, |journal| has_all(journal, [1]));
    eventually("confirmed", PATIENCE, || road.confirmed() > commit);
}

/// D1, the other way: positions of keepalives were never confirmed while nothing came, so that
/// an idle table beside busy ones filled the server's disk.
#[test]
fn an_idle_table_beside_busy_ones_holds_back_no_log() {
    let receiver = Receiver::start();
    let mut road = Road::bare(Cluster::builder().major(15), SCHEMA);
    road.configure_as("", "heartbeat = \"0s\"", &sink("far", &receiver, ""));
    road.start();
    road.sql("INSERT INTO t VALUES (1, 'the only one')");
    road.arrived(&receiver);
    for _ in 0..3 {
        road.sql("INSERT INTO noise SELECT 'x' FROM generate_series(1, 1000)");
        road.confirms(&road.wal_end());
    }
    road.sql("CREATE DATABASE other");
    let other = road.session_in("other");
    road.sql_in(&other, "CREATE TABLE t (id int PRIMARY KEY)");
    for id in 1..=3 {
        road.sql_in(&other, &format!("INSERT INTO t VALUES ({id})"));
        road.confirms(&road.wal_end());
    }
    assert_eq!(receiver.journal().requests.len(), 1);
}

/// D2: the position of the newest acknowledgement was confirmed, not the lowest that everyone
/// had reached.
#[test]
fn an_older_row_in_flight_holds_back_newer_ones_that_are_acknowledged() {
    let (quick, odd) = (Receiver::start(), Receiver::start());
    odd.when(|event| id(event) == 1, Reply::hang());
    let sinks = [
        sink("quick", &quick, "concurrency = 4"),
        sink("odd", &odd, "concurrency = 4\ntimeout = \"60s\""),
    ];
    let mut road = road(15, &sinks);
    // Until both are known to bear four at a time.
    road.sql("INSERT INTO t SELECT g, 'row' FROM generate_series(101, 104) g");
    let four = |journal: &Journal| journal.events_processed == 4;
    quick.wait("four rows", PATIENCE, four);
    odd.wait("four rows", PATIENCE, four);
    for id in 1..=20 {
        road.sql(&format!("INSERT INTO t VALUES ({id}, 'row')"));
    }
    quick.wait("all rows", PATIENCE, |journal| has_all(journal, 1..=20));
    let enough = |journal: &Journal| journal.events_processed >= 9;
    odd.wait("rows that overtook the first", PATIENCE, enough);
    let events = quick.journal().events();
    let commit = commit_lsn(&events[4]);
    // What was acknowledged is stored; the slot is still told nothing of it.
    eventually("the progress of both is stored", PATIENCE, || {
        floor(&road.walgate, "quick").commit_lsn >= commit_lsn(&events[23])
            && delivered(&road.walgate, "odd") == odd.journal().events_processed
    });
    assert!(road.confirmed() <= commit, "{} of {commit}", road.confirmed());
    road.walgate.kill();
    odd.behave();
    road.start();
    odd.wait("the first row", PATIENCE, |journal| has_all(journal, 1..=20));
    eventually("confirmed", PATIENCE, || road.confirmed() > commit);
    // What overtook the first row was stored as finished: only what was under way comes again.
    assert!(odd.journal().repeats() <= 4, "{} repeats", odd.journal().repeats());
    assert_eq!(quick.journal().repeats(), 0);
}

/// One look at the slot and, after it, at what is stored.
struct Sample {
    at: Instant,
    told: Lsn,
    stored: Lsn,
    floors: Vec<Position>,
}

#[track_caller]
fn sample(road: &Road, sinks: &[&str]) -> Sample {
    let told = road.confirmed();
    let at = Instant::now();
    let (meta, progress) = state(&road.walgate, |connection| {
        let reading = connection.unchecked_transaction().unwrap();
        (meta::load(&reading).unwrap(), store::load_all(&reading).unwrap())
    });
    assert!(told <= meta.confirmed, "{told} was told and {} is stored", meta.confirmed);
    let floors = sinks.iter().map(|sink| progress[*sink].reached.floor).collect();
    Sample { at, told, stored: meta.confirmed, floors }
}

/// D6: the slot was told a newer position than the one that was stored, and the state was a
/// newer one than what anybody had acknowledged.
#[test]
fn the_order_is_acknowledged_then_stored_then_confirmed() {
    let receivers = [Receiver::start(), Receiver::start()];
    receivers[1].otherwise(Reply::ok().after(Duration::from_millis(2)));
    let wide = "concurrency = 4\nbatch = { max_events = 10 }";
    let names = ["quick", "slow"];
    let sinks = [sink("quick", &receivers[0], wide), sink("slow", &receivers[1], wide)];
    let mut road = road(15, &sinks);
    let load = Load::start(&road, Duration::from_millis(1));
    let mut samples = Vec::new();
    for _ in 0..4 {
        for _ in 0..40 {
            load.goes_on(3);
            samples.push(sample(&road, &names));
        }
        road.walgate.kill();
        samples.push(sample(&road, &names));
        road.start();
    }
    load.end();
    let told: BTreeSet<Lsn> = samples.iter().map(|sample| sample.told).collect();
    assert!(told.len() > 20, "only {} positions were seen", told.len());
    for (index, receiver) in receivers.iter().enumerate() {
        let journal = road.arrived(receiver);
        let mut seen = BTreeSet::new();
        for request in journal.requests.iter().filter(|request| request.processed) {
            for event in request.events().iter().filter(|event| seen.insert(event.id().to_owned()))
            {
                let commit = commit_lsn(event);
                let late = samples.iter().find(|s| commit < s.told && s.at < request.at);
                assert!(late.is_none(), "{} came after it was confirmed", event.id());
                let above = |s: &&Sample| commit < s.stored && s.floors[index].commit_lsn < commit;
                let open = samples.iter().find(above);
                assert!(open.is_none(), "{} was confirmed and not done", event.id());
            }
        }
    }
}

/// D7: a negative answer released a row like an acknowledgement: refused, and in no place where
/// somebody would find it.
#[test]
fn a_refused_row_is_a_stored_dead_letter_before_the_slot_moves() {
    let receiver = Receiver::start();
    receiver.when(|event| id(event) == 2, Reply::status(422).body("no"));
    let mut road = road_of(impatient(), &[sink("far", &receiver, BRISK)]);
    road.sql("INSERT INTO t VALUES (0, 'before')");
    road.confirms(&road.wal_end());
    let locked = lock_state(&road.walgate);
    road.sql("INSERT INTO t VALUES (1, 'taken')");
    road.sql("INSERT INTO t VALUES (2, 'refused')");
    receiver.wait("all rows", PATIENCE, |journal| journal.requests.len() == 3);
    let commit = commit_lsn(&receiver.journal().requests[1].events()[0]);
    // Neither the acknowledgement nor the refusal can be stored: nothing may be confirmed.
    nothing_is_confirmed_from(&road, commit);
    road.walgate.kill();
    drop(locked);
    road.start();
    road.confirms(&road.wal_end());
    let rows = "SELECT event_id, state, category, status, answer FROM dead_letters";
    let event = receiver.journal().requests[2].events()[0].id().to_owned();
    assert_eq!(rows_of(&road.walgate, rows), [format!("{event}|dead|rejected|422|no")]);
    assert!(has_all(&receiver.journal(), [1]));
}

/// D7: what a rule dropped, or a failing sink had not taken, resolved what was before it.
#[test]
fn neither_a_failure_nor_a_skipped_row_moves_the_slot() {
    let receiver = Receiver::start();
    receiver.otherwise(Reply::status(500));
    let skips = "mapping = \"m\"\n[mapping.m]\nversion = 1\n[mapping.m.fields]\n\
                 id = { column = \"id\" }\nv = { column = \"v\", on_null = \"skip\" }\n";
    let mut road = road_of(impatient(), &[sink("far", &receiver, BRISK), skips.to_owned()]);
    road.sql("INSERT INTO t VALUES (1, 'sent')");
    road.sql("INSERT INTO t SELECT g, null FROM generate_series(2, 50) g");
    receiver.wait("some attempts", PATIENCE, |journal| journal.requests.len() > 5);
    let commit = commit_lsn(&receiver.journal().requests[0].events()[0]);
    let skipped = "SELECT skipped FROM progress";
    eventually("the rest is skipped", PATIENCE, || rows_of(&road.walgate, skipped) == ["49"]);
    nothing_is_confirmed_from(&road, commit);
    road.walgate.kill();
    receiver.behave();
    road.start();
    road.confirms(&road.wal_end());
    assert!(has_all(&receiver.journal(), [1]));
    assert_eq!(receiver.journal().events_processed, 1);
    assert_eq!(
        rows_of(&road.walgate, "SELECT id FROM dead_letters WHERE state <> 'delivered'"),
        Vec::<String>::new()
    );
}
