//! Each committed change arrives, and nothing else.

use serde_json::json;
use walgate::demo::cluster::Cluster;

use super::support::receiver::{Journal, Receiver};
use super::support::road::{PATIENCE, Road, T, file, http, route};

/// What came, in order: operation and row.
fn told(journal: &Journal) -> Vec<String> {
    let tell =
        |event: &super::support::receiver::Event| format!("{} {}", event.op(), event.0["data"]);
    journal.events().iter().map(tell).collect()
}

#[test]
fn a_change_arrives_as_one_request() {
    let receiver = Receiver::start();
    let road = Road::of_t(&http("far", &receiver.url("/in"), ""));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.sql("UPDATE t SET v = 'b' WHERE id = 1");
    road.sql("DELETE FROM t");
    receiver.wait("three events", PATIENCE, |journal| journal.events_processed == 3);
    let journal = receiver.journal();
    assert_eq!(
        told(&journal),
        [r#"insert {"id":1,"v":"a"}"#, r#"update {"id":1,"v":"b"}"#, r#"delete {"id":1}"#]
    );
    for request in &journal.requests {
        let event = &request.events()[0].0;
        assert_eq!(request.header("idempotency-key"), event["id"].as_str());
        assert_eq!(event["key"], json!({"id": 1}));
        assert_eq!(event["table"], "public.t");
        assert_eq!(event["route"], "t-to-far");
    }
}

/// Postgres reports the message at the place where the commit record starts: once it was done,
/// every sink took the row for done as well.
#[test]
fn a_row_arrives_whose_commit_follows_a_message_outside_its_transaction() {
    let receiver = Receiver::start();
    let road = Road::of_t(&http("far", &receiver.url("/"), ""));
    road.sql(
        "BEGIN; INSERT INTO t VALUES (1, 'a'); SELECT pg_logical_emit_message(false, 'p', 'x');
         SELECT pg_sleep(1); COMMIT",
    );
    road.arrived(&receiver);
}

#[test]
fn a_file_takes_the_same_events_as_an_endpoint() {
    let road = Road::of_t(&file("far"));
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 100) g");
    road.confirms(&road.wal_end());
    let lines = std::fs::read_to_string(road.walgate.folder().join("far.ndjson")).unwrap();
    let ids: Vec<_> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["data"]["id"].clone())
        .collect();
    assert_eq!(ids, (1..=100).map(|id| json!(id)).collect::<Vec<_>>());
}

#[test]
fn a_batch_holds_what_has_arrived_in_order() {
    let receiver = Receiver::start();
    let road = Road::of_t(&http("far", &receiver.url("/"), "batch = { max_events = 50 }"));
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 1000) g");
    road.sql("UPDATE t SET v = 'b'; DELETE FROM t WHERE id > 10");
    let journal = road.arrived(&receiver);
    assert_eq!((journal.events_processed, journal.repeats()), (2990, 0));
    let ids: Vec<_> = journal.events().iter().map(|event| event.id().to_owned()).collect();
    assert!(ids.is_sorted(), "one request at a time keeps the order of commits");
    let largest = journal.requests.iter().map(|request| request.events().len()).max();
    assert_eq!(largest, Some(50));
    assert!(journal.requests.len() < 600, "{} requests", journal.requests.len());
}

#[test]
fn nothing_of_what_was_rolled_back_arrives() {
    let receiver = Receiver::start();
    let sinks = format!("{}{}", http("far", &receiver.url("/"), ""), route("t", "far"));
    let road = Road::new(Cluster::builder(), T, &sinks);
    let mut nested = "BEGIN; INSERT INTO t VALUES (100, 'kept');".to_owned();
    for level in 1..=80 {
        let kept = if level <= 70 { "kept" } else { "never" };
        nested += &format!("SAVEPOINT s{level}; INSERT INTO t VALUES (100 + {level}, '{kept}');");
    }
    nested += "ROLLBACK TO s71; INSERT INTO t VALUES (199, 'kept'); COMMIT";
    for statements in [
        "BEGIN; INSERT INTO t VALUES (1, 'never'); ROLLBACK",
        "BEGIN; INSERT INTO t VALUES (2, 'kept'); SAVEPOINT a; INSERT INTO t VALUES (3, 'never');
         SAVEPOINT b; INSERT INTO t VALUES (4, 'never'); RELEASE b; ROLLBACK TO a;
         INSERT INTO t VALUES (5, 'kept'); COMMIT",
        "BEGIN; SAVEPOINT a; INSERT INTO t VALUES (6, 'never'); ROLLBACK TO a; COMMIT",
        "DO $$ BEGIN
             INSERT INTO t VALUES (7, 'kept');
             BEGIN INSERT INTO t VALUES (8, 'never'); RAISE 'no';
             EXCEPTION WHEN raise_exception THEN INSERT INTO t VALUES (9, 'kept'); END;
         END $$",
        &nested,
    ] {
        road.sql(statements);
    }
    let journal = road.arrived(&receiver);
    assert!(told(&journal).iter().all(|event| event.contains("kept")), "{:?}", told(&journal));
    let ids: Vec<_> = journal.events().iter().map(|e| e.0["data"]["id"].clone()).collect();
    let expected: Vec<_> =
        [2, 5, 7, 9].into_iter().chain(100..=170).chain([199]).map(|id| json!(id)).collect();
    assert_eq!(ids, expected);
}

#[test]
fn an_open_transaction_waits_for_its_commit() {
    let receiver = Receiver::start();
    let road = Road::of_t(&http("far", &receiver.url("/"), ""));
    let session = road.session();
    road.sql_in(&session, "BEGIN; INSERT INTO t VALUES (1, 'late')");
    road.sql("INSERT INTO t VALUES (2, 'early')");
    receiver.wait("the early one", PATIENCE, |journal| journal.events_processed == 1);
    road.sql_in(&session, "COMMIT");
    let journal = road.arrived(&receiver);
    assert_eq!(told(&journal), [r#"insert {"id":2,"v":"early"}"#, r#"insert {"id":1,"v":"late"}"#]);
}

#[test]
fn a_change_of_the_key_names_the_old_one() {
    let receiver = Receiver::start();
    let road = Road::of_t(&http("far", &receiver.url("/"), "concurrency = 4"));
    road.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 50) g");
    for _ in 0..4 {
        road.sql("UPDATE t SET id = id + 1000; UPDATE t SET v = id; UPDATE t SET id = id - 999");
    }
    let journal = road.arrived(&receiver);
    let moved = journal.events().iter().filter(|event| event.0.get("before_key").is_some()).count();
    assert_eq!(moved, 4 * 2 * 50);
}

#[test]
fn tables_of_one_transaction_keep_its_order() {
    let receiver = Receiver::start();
    let schema = "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)";
    let sinks =
        [http("far", &receiver.url("/"), ""), route("a", "far"), route("b", "far")].concat();
    let road = Road::new(Cluster::builder(), schema, &sinks);
    road.sql(
        "BEGIN; INSERT INTO a VALUES (1); INSERT INTO b VALUES (2); INSERT INTO a VALUES (3);
              INSERT INTO b VALUES (4); COMMIT",
    );
    receiver.wait("four events", PATIENCE, |journal| journal.events_processed == 4);
    let rows: Vec<_> =
        receiver.journal().events().iter().map(|e| e.0["data"]["id"].clone()).collect();
    assert_eq!(rows, [json!(1), json!(2), json!(3), json!(4)]);
}

#[test]
fn a_sink_that_is_added_later_begins_there() {
    let (first, second) = (Receiver::start(), Receiver::start());
    let one = format!("{}{}", http("far", &first.url("/"), ""), route("t", "far"));
    let mut road = Road::new(Cluster::builder(), T, &one);
    road.sql("INSERT INTO t VALUES (1, 'before')");
    road.arrived(&first);
    road.stop();
    road.configure(&format!("{one}{}{}", http("near", &second.url("/"), ""), route("t", "near")));
    road.start();
    road.sql("INSERT INTO t VALUES (2, 'after')");
    second.wait("the later row", PATIENCE, |journal| journal.events_processed == 1);
    let journal = road.arrived(&first);
    assert_eq!((journal.events_processed, journal.repeats()), (2, 0));
    assert_eq!(told(&second.journal()), [r#"insert {"id":2,"v":"after"}"#]);
}

#[test]
fn what_no_route_wants_moves_the_slot_all_the_same() {
    let receiver = Receiver::start();
    let road = Road::of_t(&http("far", &receiver.url("/"), ""));
    road.sql("CREATE TABLE other (id int); INSERT INTO other VALUES (1); DROP TABLE other");
    road.sql("UPDATE t SET v = 'none'");
    road.confirms(&road.wal_end());
    assert_eq!(receiver.journal().requests.len(), 0);
}
