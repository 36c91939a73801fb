//! Logical messages: what `pg_logical_emit_message` wrote arrives as it was meant.

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::support::receiver::{Journal, Receiver};
use super::support::road::{PATIENCE, Road, T, http, route};

/// Rows of `t` and messages of any prefix, in the order in which they come.
fn road(major: u32, receiver: &Receiver) -> Road {
    let all = "[[route]]\nname = \"all\"\nmessage = \"*\"\nsink = \"far\"\n";
    let sinks = [&http("far", &receiver.url("/"), ""), &route("t", "far"), all].concat();
    Road::new(Cluster::builder().major(major), T, &sinks)
}

/// What came: the row's id, or the message's prefix and content.
fn told(journal: &Journal) -> Vec<Value> {
    let tell = |event: super::support::receiver::Event| match event.op() {
        "message" => {
            let message = &event.0["message"];
            json!([message["prefix"], message["content"]])
        }
        _ => event.0["data"]["id"].clone(),
    };
    journal.events().into_iter().map(tell).collect()
}

#[test]
fn a_message_of_a_transaction_comes_with_it_at_its_place_or_not_at_all() {
    for major in [15, 18] {
        let receiver = Receiver::start();
        let road = road(major, &receiver);
        road.sql(
            "BEGIN; INSERT INTO t VALUES (1, 'a'); SELECT pg_logical_emit_message(true, 'p', 'x');
             INSERT INTO t VALUES (2, 'b'); COMMIT",
        );
        road.sql("SELECT pg_logical_emit_message(true, 'alone', 'y')");
        road.sql(
            "BEGIN; INSERT INTO t VALUES (3, 'c'); SELECT pg_logical_emit_message(true, 'p', 'never');
             ROLLBACK",
        );
        road.sql(
            "BEGIN; SAVEPOINT a; SELECT pg_logical_emit_message(true, 'p', 'never'); ROLLBACK TO a;
             SELECT pg_logical_emit_message(true, 'p', 'kept'); COMMIT",
        );
        road.confirms(&road.wal_end());
        let journal = receiver.journal();
        let expected = json!([1, ["p", "x"], 2, ["alone", "y"], ["p", "kept"]]);
        assert_eq!(json!(told(&journal)), expected, "on {major}");
        let events = journal.events();
        let (message, row) = (&events[1].0, &events[2].0);
        assert_eq!((&message["commit"]["seq"], &row["commit"]["seq"]), (&json!(1), &json!(2)));
        assert_eq!(message["commit"]["xid"], row["commit"]["xid"]);
        assert!(message["commit"]["time"].is_string());
        assert!(message.get("key").is_none() && message.get("table").is_none(), "{message}");
        assert_eq!(events[3].0["commit"]["seq"], 0);
    }
}

#[test]
fn prefix_and_content_may_be_empty_and_content_any_bytes() {
    let receiver = Receiver::start();
    let road = road(15, &receiver);
    for transactional in ["true", "false"] {
        road.sql(&format!(
            "SELECT pg_logical_emit_message({transactional}, '', '');
             SELECT pg_logical_emit_message({transactional}, 'b', decode('00ff', 'hex'));
             SELECT pg_logical_emit_message({transactional}, 'é \"', E'\\t\u{1F600}')"
        ));
    }
    // The log is written out by whoever commits next.
    road.sql("CREATE TABLE other ()");
    receiver.wait("six messages", PATIENCE, |journal| journal.events_processed == 6);
    let messages: Vec<Value> =
        receiver.journal().events().into_iter().map(|mut e| e.0["message"].take()).collect();
    let three = [
        json!({"prefix": "", "content": ""}),
        json!({"prefix": "b", "content": "AP8=", "encoding": "base64"}),
        json!({"prefix": "é \"", "content": "\t\u{1F600}"}),
    ];
    assert_eq!(messages, [three.clone(), three].concat());
}

/// It is in the log before the commit, and whether that ever comes does not matter.
#[test]
fn a_message_outside_transactions_comes_before_the_one_that_wrote_it() {
    for major in [15, 18] {
        let receiver = Receiver::start();
        let road = road(major, &receiver);
        let session = road.session();
        road.sql_in(
            &session,
            "BEGIN; INSERT INTO t VALUES (1, 'a'); SELECT pg_logical_emit_message(false, 'p', 'early')",
        );
        // The log is written out by whoever commits next.
        road.sql("INSERT INTO t VALUES (2, 'other')");
        receiver.wait("message and other row", PATIENCE, |journal| journal.events_processed == 2);
        road.sql_in(&session, "INSERT INTO t VALUES (3, 'c'); COMMIT");
        road.sql_in(
            &session,
            "BEGIN; INSERT INTO t VALUES (4, 'd'); SELECT pg_logical_emit_message(false, 'p', 'stays');
             ROLLBACK",
        );
        road.sql("SELECT pg_logical_emit_message(false, 'p', 'alone')");
        road.sql("INSERT INTO t VALUES (5, 'e')");
        road.confirms(&road.wal_end());
        let journal = receiver.journal();
        let expected = json!([["p", "early"], 2, 1, 3, ["p", "stays"], ["p", "alone"], 5]);
        assert_eq!(json!(told(&journal)), expected, "on {major}");
        let message = &journal.events()[0].0;
        let commit = message["commit"].as_object().unwrap();
        assert_eq!(commit.keys().collect::<Vec<_>>(), ["lsn", "seq"], "no xid, no time");
        let ids: std::collections::BTreeSet<_> =
            journal.events().iter().map(|event| event.id().to_owned()).collect();
        assert_eq!(ids.len(), 7, "each has an id of its own");
    }
}

#[test]
fn a_message_does_not_come_again_after_a_stop() {
    let receiver = Receiver::start();
    let mut road = road(15, &receiver);
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.sql("SELECT pg_logical_emit_message(true, 'p', 'within')");
    let session = road.session();
    road.sql_in(
        &session,
        "BEGIN; INSERT INTO t VALUES (2, 'open'); SELECT pg_logical_emit_message(false, 'p', 'lone')",
    );
    road.sql("SELECT pg_logical_emit_message(true, 'p', 'last')");
    receiver.wait("a row and messages", PATIENCE, |journal| journal.events_processed == 4);
    road.stop();
    road.sql_in(&session, "COMMIT");
    road.start();
    road.confirms(&road.wal_end());
    let journal = receiver.journal();
    let expected = json!([1, ["p", "within"], ["p", "lone"], ["p", "last"], 2]);
    assert_eq!(json!(told(&journal)), expected, "nothing twice, and the open row is not skipped");
}

#[test]
fn messages_in_our_own_name_are_nobodys_and_stop_nothing() {
    let receiver = Receiver::start();
    let road = road(15, &receiver);
    for prefix in ["walgate", "walgate.heartbeat", "walgate.load", "walgate.unknown"] {
        for content in ["", "not json", "{\"id\": -1}", "\\x00ff"] {
            road.sql(&format!(
                "SELECT pg_logical_emit_message(true, '{prefix}', '{content}');
                 SELECT pg_logical_emit_message(false, '{prefix}', '{content}')"
            ));
        }
    }
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.confirms(&road.wal_end());
    assert_eq!(json!(told(&receiver.journal())), json!([1]));
}
