//! What endangers the source's disk or its slot is told while there is time, and acted on.

use serde_json::Value;
use walgate::demo::cluster::Cluster;
use walgate::lsn::Lsn;

use super::support::process::eventually;
use super::support::receiver::{Receiver, Reply};
use super::support::road::{PATIENCE, Road, T, http, route};
use super::support::state;

fn sinks(receiver: &Receiver) -> String {
    format!("{}{}", http("far", &receiver.url("/"), ""), route("t", "far"))
}

/// Waits until the status of the source is as it should be, and returns it.
#[track_caller]
fn becomes(road: &Road, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut source = Value::Null;
    eventually(what, PATIENCE, || {
        source = road.walgate.status()["source"].take();
        is(&source)
    });
    source
}

#[test]
fn who_holds_the_slot_back_is_named_a_session_and_a_prepared_transaction() {
    let receiver = Receiver::start();
    let road = Road::new(Cluster::builder(), T, &sinks(&receiver));
    // Else the server tells no state and no age of sessions of other roles.
    road.sql("GRANT pg_monitor TO walgate");
    let session = road.session();
    road.sql_in(&session, "SET application_name = 'sleeper'; BEGIN; INSERT INTO t VALUES (1, '')");
    let preparing = road.session();
    road.sql_in(&preparing, "BEGIN; INSERT INTO t VALUES (2, '')");
    road.sql_in(&preparing, "PREPARE TRANSACTION 'left behind'");
    let source = becomes(&road, "both are named", |source| {
        source["held_by"].as_array().is_some_and(|held| held.len() == 2)
    });
    let held = &source["held_by"];
    assert_eq!(held[0]["application_name"], "sleeper");
    assert!(held[0]["pid"].is_u64() && held[0]["seconds"].as_u64() >= Some(10), "{held}");
    assert_eq!((&held[1]["gid"], &held[1]["state"]), (&"left behind".into(), &"prepared".into()));
    assert!(!held.to_string().contains("INSERT"), "{held}");
    let text = String::from_utf8(road.walgate.call(&["status"]).stdout).unwrap();
    assert!(text.contains("held back by process ") && text.contains("left behind"), "{text}");
    let page = road.walgate.get("/metrics").body;
    assert!(page.contains("\nwalgate_source_oldest_transaction_seconds "), "{page}");
    drop(session);
    road.sql("ROLLBACK PREPARED 'left behind'");
    becomes(&road, "nobody is left", |source| source["held_by"] == Value::Array(Vec::new()));
}

/// The budget is larger than what the server would ever keep: it is the server's bound that counts.
#[test]
fn a_slow_sink_costs_no_slot_that_the_server_bounds() {
    let receiver = Receiver::start();
    receiver.otherwise(Reply::hang());
    let builder = Cluster::builder().setting("max_slot_wal_keep_size", "96MB");
    let road = Road::new(builder, T, &sinks(&receiver));
    road.sql("CREATE TABLE noise (v text); INSERT INTO t VALUES (1, 'held')");
    // What is not behind the row is done, and may be confirmed at any time.
    let held: Lsn = road.wal_end().parse().unwrap();
    receiver.wait("the row", PATIENCE, |journal| !journal.requests.is_empty());
    becomes(&road, "what may still be written is known", |source| {
        source["safe_wal_bytes"].is_i64()
    });
    let mut rounds = 0;
    eventually("what is journaled is confirmed", PATIENCE, || {
        // Up to two thirds of the bound, then no more: the slot stays well within it.
        if rounds < 8 {
            rounds += 1;
            road.sql("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 7500)");
        }
        road.confirmed() > held
    });
    let log = road.walgate.log();
    assert!(log.contains("confirming what is journaled instead"), "{log}");
    let status = "SELECT wal_status IN ('reserved', 'extended') FROM pg_replication_slots";
    assert_eq!(road.value(status), "t");
    assert_eq!(receiver.journal().events_processed, 0);
    receiver.behave();
    receiver.wait("the row", PATIENCE, |journal| journal.events_processed == 1);
}

/// D16: a publication without a table, or without deletes, looked as if nothing were written.
#[test]
fn a_publication_that_lost_a_table_or_deletes_is_told_and_told_when_mended() {
    let receiver = Receiver::start();
    let mut road = Road::bare(Cluster::builder(), T);
    road.sql("CREATE PUBLICATION walgate FOR TABLE t");
    road.configure(&sinks(&receiver));
    road.start();
    let no_warning = |source: &Value| {
        source["state"] == "streaming"
            && source["safe_wal_bytes"].is_null()
            && source["warnings"] == Value::Array(Vec::new())
    };
    becomes(&road, "nothing is wrong", no_warning);
    let says = |source: &Value, what: &str| source["warnings"].to_string().contains(what);
    road.sql("ALTER PUBLICATION walgate SET (publish = 'insert, update')");
    becomes(&road, "deletes are missed", |source| says(source, "does not publish delete"));
    road.sql("ALTER PUBLICATION walgate DROP TABLE t");
    becomes(&road, "it is empty", |source| says(source, "has no table"));
    road.sql("ALTER PUBLICATION walgate ADD TABLE t");
    road.sql("ALTER PUBLICATION walgate SET (publish = 'insert, update, delete, truncate')");
    becomes(&road, "all is well again", no_warning);
    let log = road.walgate.log();
    assert!(log.contains("needs a look") && log.contains("this is over"), "{log}");
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.arrived(&receiver);
}

/// D23: the rows of a table had other values, and nobody knew.
///
/// No event tells that the rows of a table were written anew.
#[test]
fn an_alter_table_that_writes_the_rows_anew_asks_for_a_backfill() {
    let receiver = Receiver::start();
    let mut road = Road::new(Cluster::builder(), T, &sinks(&receiver));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    let known = |what: &str, road: &Road| {
        let file = road.value("SELECT pg_relation_filenode('t')");
        let sql = format!("SELECT count(*) FROM files WHERE seen LIKE '[\"{file}\"%'");
        eventually(what, PATIENCE, || state::number(&road.walgate, &sql) == 1);
    };
    let says = |source: &Value| source["warnings"].to_string().contains("rows of public.t anew");
    known("the file is noted", &road);
    road.sql("VACUUM FULL t");
    known("the new file is noted", &road);
    assert!(!says(&road.walgate.status()["source"]));
    road.stop();
    road.sql("ALTER TABLE t ALTER v TYPE text USING upper(v)");
    road.start();
    becomes(&road, "it is told", says);
    let output = road.walgate.call(&["backfill", "start", "public.t"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    becomes(&road, "it is done", |source| source["state"] == "streaming" && !says(source));
    road.arrived(&receiver);
    road.sql("ALTER TABLE t ADD w int DEFAULT 7");
    becomes(&road, "it is told again", says);
}

/// What a table has when it is added to a publication is in no stream.
#[test]
fn a_table_that_is_published_later_with_rows_asks_for_a_backfill() {
    let receiver = Receiver::start();
    let schema = format!("{T}; CREATE TABLE late (id int PRIMARY KEY, v text)");
    let mut road = Road::bare(Cluster::builder(), &schema);
    road.sql("CREATE PUBLICATION walgate FOR TABLE t; INSERT INTO late VALUES (1, 'there')");
    let late = route("late", "far").replace("start = \"now\"\n", "");
    road.configure(&format!("{}{late}", sinks(&receiver)));
    road.start();
    let known = "SELECT count(*) FROM files";
    eventually("what is published is noted", PATIENCE, || state::number(&road.walgate, known) == 1);
    // The route loads what is published by then.
    let planned = "SELECT count(*) FROM known WHERE to_load = 1";
    eventually("the loads are planned", PATIENCE, || state::number(&road.walgate, planned) == 0);
    road.sql("ALTER PUBLICATION walgate ADD TABLE late; INSERT INTO late VALUES (2, 'new')");
    let says = |source: &Value| source["warnings"].to_string().contains("public.late had rows");
    becomes(&road, "it is told", says);
    let output = road.walgate.call(&["backfill", "start", "public.late"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    becomes(&road, "it is done", |source| source["state"] == "streaming" && !says(source));
    road.confirms(&road.wal_end());
    let mut expected = road.table("t");
    expected.extend(road.table("late"));
    assert_eq!(receiver.journal().fold(), expected);
}
