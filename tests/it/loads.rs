//! Rows that were there before: loaded once, beside the stream, over whatever happens meanwhile.

use std::time::Duration;

use walgate::demo::cluster::{Builder, Cluster};

use super::support::load::Load;
use super::support::process::eventually;
use super::support::receiver::{Journal, Receiver};
use super::support::road::{PATIENCE, Road, T, http};
use super::support::state;

const FILLED: &str = "INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 5000) i";

/// A route that begins with the rows that are there.
fn route(table: &str, sink: &str) -> String {
    format!(
        "[[route]]\nname = \"{table}-to-{sink}\"\ntable = \"public.{table}\"\nsink = \"{sink}\"\n"
    )
}

fn builder() -> Builder {
    Cluster::builder().major(15)
}

fn batches(url: &str) -> String {
    http("far", url, "batch = { max_events = 500 }")
}

/// A road that has not begun, with what is there before in `t`.
#[track_caller]
fn filled(receiver: &Receiver) -> Road {
    let sinks = format!("{}{}", batches(&receiver.url("/")), route("t", "far"));
    let road = Road::quiet(builder(), T, &sinks);
    road.sql(FILLED);
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    road
}

/// Waits until nothing is left to load.
#[track_caller]
fn loaded(road: &Road) {
    let open = "SELECT (SELECT count(*) FROM loads WHERE state IN ('running', 'paused'))
                     + (SELECT count(*) FROM known WHERE to_load = 1)";
    eventually("all is loaded", PATIENCE, || state::number(&road.walgate, open) == 0);
}

#[track_caller]
fn arrived(road: &Road, receiver: &Receiver) -> Journal {
    loaded(road);
    road.arrived(receiver)
}

fn reads(journal: &Journal) -> usize {
    journal.events().iter().filter(|event| event.op() == "read").count()
}

#[test]
fn the_rows_that_are_there_come_first_and_then_what_happens() {
    let receiver = Receiver::start();
    let mut road = filled(&receiver);
    road.start();
    let journal = arrived(&road, &receiver);
    assert_eq!(reads(&journal), 5000);
    let event = &journal.events()[0].0;
    assert_eq!(event["data"]["v"], "row 1");
    assert_eq!(event["commit"].get("xid"), None);
    road.sql("UPDATE t SET v = 'new' WHERE id = 7; DELETE FROM t WHERE id = 8");
    arrived(&road, &receiver);
    road.stop();
    // It is done for good.
    road.start();
    let journal = arrived(&road, &receiver);
    assert_eq!(reads(&journal), 5000);
}

#[test]
fn a_table_under_load_is_loaded_while_it_changes() {
    let receiver = Receiver::start();
    let mut road = filled(&receiver);
    let load = Load::start(&road, Duration::from_millis(1));
    load.goes_on(20);
    road.start();
    loaded(&road);
    load.goes_on(50);
    drop(load);
    let journal = arrived(&road, &receiver);
    assert!(reads(&journal) > 4000, "{}", reads(&journal));
}
