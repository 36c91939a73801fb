//! The slot is told nothing that is not done: what is confirmed is gone from the server.

use super::*;
use crate::support::receiver::Reply;

/// D1: a keepalive's position was confirmed while a row before it was still on its way, and the
/// crash that followed lost the row.
#[test]
fn keepalives_confirm_nothing_that_is_still_on_its_way() {
    let builder = Cluster::builder().major(15).setting("wal_sender_timeout", "1s");
    let postgres = Postgres::of(builder);
    let receiver = Receiver::start();
    receiver.otherwise(Reply::hang());
    let mut walgate = started(&postgres, &config(&postgres.url(), &[sink("a", &receiver, "")]));
    postgres.sql("INSERT INTO t VALUES (1, 'held')");
    receiver.wait("the row", PATIENCE, |journal| !journal.requests.is_empty());
    let commit = commit_lsn(&receiver.journal().requests[0].events()[0]);

    // The server asks for a reply twice in each time-out, and its position moves on.
    let asked = postgres.value("SELECT clock_timestamp()");
    postgres.sql("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 2000)");
    let end = postgres.value("SELECT pg_current_wal_lsn()");
    postgres.until(&format!(
        "SELECT write_lsn >= '{end}' AND reply_time > '{asked}'::timestamptz + interval '2s'
         FROM pg_stat_replication"
    ));
    assert!(postgres.confirmed() <= commit, "{} of {commit}", postgres.confirmed());
    walgate.kill();
    receiver.behave();
    walgate.start(&[]);
    receiver.wait("the row again", PATIENCE, |journal| has_all(journal, [1]));
    eventually("confirmed", PATIENCE, || postgres.confirmed() > commit);
}

/// D2: the position of the newest acknowledgement was confirmed, not the lowest that everyone
/// had reached.
#[test]
fn an_older_row_in_flight_holds_back_newer_ones_that_are_acknowledged() {
    let postgres = Postgres::start();
    let (quick, odd) = (Receiver::start(), Receiver::start());
    odd.when(|event| id(event) == 1, Reply::hang());
    let sinks = [
        sink("quick", &quick, "concurrency = 4"),
        sink("odd", &odd, "concurrency = 4\ntimeout = \"60s\""),
    ];
    let mut walgate = started(&postgres, &config(&postgres.url(), &sinks));
    for id in 1..=20 {
        postgres.sql(&format!("INSERT INTO t VALUES ({id}, 'row')"));
    }
    quick.wait("all rows", PATIENCE, |journal| has_all(journal, 1..=20));
    let enough = |journal: &Journal| journal.events_processed >= 5;
    odd.wait("rows that overtook the first", PATIENCE, enough);
    let events = quick.journal().events();
    let commit = commit_lsn(&events[0]);
    // What was acknowledged is stored; the slot is still told nothing of it.
    eventually("the progress of both is stored", PATIENCE, || {
        floor(&walgate, "quick").commit_lsn >= commit_lsn(&events[19])
            && delivered(&walgate, "odd") == odd.journal().events_processed
    });
    assert!(postgres.confirmed() <= commit, "{} of {commit}", postgres.confirmed());
    walgate.kill();
    odd.behave();
    walgate.start(&[]);
    odd.wait("the first row", PATIENCE, |journal| has_all(journal, 1..=20));
    eventually("confirmed", PATIENCE, || postgres.confirmed() > commit);
    // What overtook the first row was stored as finished: only what was under way comes again.
    assert!(odd.journal().repeats() <= 4, "{} repeats", odd.journal().repeats());
    assert_eq!(quick.journal().repeats(), 0);
}
