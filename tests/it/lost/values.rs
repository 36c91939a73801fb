//! A value that Postgres did not send is never taken for one that it sent.

use serde_json::json;

use super::*;

const BIG: &str = "repeat('0123456789abcdef', 1000)";

/// A table `t` with a value that is stored out of line, under a replica identity.
fn toasted(identity: &str, sinks: &str) -> Road {
    let mut road = Road::bare(
        Cluster::builder().major(15),
        &format!(
            "CREATE TABLE t (id int PRIMARY KEY, code int NOT NULL UNIQUE, v int, bio text);
             ALTER TABLE t ALTER bio SET STORAGE EXTERNAL;
             ALTER TABLE t REPLICA IDENTITY {identity};
             CREATE PUBLICATION walgate FOR TABLE t"
        ),
    );
    road.configure(sinks);
    road.start();
    road
}

fn changes(road: &Road) {
    road.sql(&format!(
        "INSERT INTO t VALUES (1, 10, 0, {BIG}), (2, 20, 0, NULL), (3, 30, 0, 'small')"
    ));
    road.sql("UPDATE t SET v = v + 1");
    // The old row is sent, but of it the key alone under a default or index identity.
    road.sql("UPDATE t SET id = id + 100");
    road.sql("UPDATE t SET code = code + 1");
    road.sql(&format!(
        "UPDATE t SET bio = {BIG} || 'x' WHERE id = 102; UPDATE t SET bio = NULL WHERE id = 101"
    ));
    road.sql("UPDATE t SET v = v + 1");
}

/// D20: a value that an update had not touched arrived as null, or as what a key-only old row
/// has in its place.
#[test]
fn an_unchanged_value_is_named_as_unchanged_and_never_null() {
    for (identity, key) in [("DEFAULT", "id"), ("USING INDEX t_code_key", "code")] {
        let receiver = Receiver::start();
        let road = toasted(identity, &sink("far", &receiver, ""));
        changes(&road);
        road.confirms(&road.wal_end());
        let journal = receiver.journal();
        let mut named = 0;
        for event in journal.events() {
            let (data, unchanged) = (&event.0["data"], event.0.get("unchanged"));
            if let Some(unchanged) = unchanged {
                named += 1;
                assert_eq!(*unchanged, json!(["bio"]), "{identity}");
                assert!(data.get("bio").is_none(), "{identity}: {data}");
            } else {
                assert!(data.get("bio").is_some(), "{identity}: {data}");
            }
            assert!(event.0["key"].get(key).is_some(), "{identity}");
        }
        // Of row 1: three updates; of row 2 the last one; nulls and small values are sent.
        assert_eq!(named, 4, "{identity}");
        let rows: Vec<_> = journal.fold().into_values().collect();
        let table: Vec<_> = road.table("t").into_values().collect();
        assert_eq!(sorted(rows), sorted(table), "{identity}");
    }
}

fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(|row| row["id"].as_i64());
    rows
}

/// D20, under a full identity: what was not touched stands in the old row, and was not looked up
/// there.
#[test]
fn an_unchanged_value_is_taken_from_a_full_old_row() {
    let receiver = Receiver::start();
    let road = toasted("FULL", &sink("far", &receiver, ""));
    changes(&road);
    let journal = road.arrived(&receiver);
    for event in journal.events() {
        assert_eq!(event.0.get("unchanged"), None);
        assert!(event.0["data"].get("bio").is_some());
    }
    let nulls = journal.events().iter().filter(|event| event.0["data"]["bio"].is_null()).count();
    // Row 2 until its value is set: four events. Row 1 once its value is gone: two.
    assert_eq!(nulls, 6);
}

/// D20, through a mapping: the field of a value that was not sent was null, or its row refused
/// though nothing was wrong with it.
#[test]
fn a_field_of_an_unchanged_value_is_left_out_or_refused_as_told() {
    for reject in [false, true] {
        let receiver = Receiver::start();
        let policy = if reject { ", on_unchanged = \"reject\"" } else { "" };
        let sinks = sink("far", &receiver, "")
            + &format!(
                "mapping = \"m\"\n[mapping.m]\nversion = 1\n[mapping.m.fields]\n\
             id = {{ column = \"id\" }}\nabout = {{ column = \"bio\", on_null = \"reject\"{policy} }}\n"
            );
        let road = toasted("DEFAULT", &sinks);
        road.sql(&format!("INSERT INTO t VALUES (1, 10, 0, {BIG})"));
        road.sql("UPDATE t SET v = 1");
        road.confirms(&road.wal_end());
        let events = receiver.journal().events();
        let letters = rows_of(&road.walgate, "SELECT state, category FROM dead_letters");
        if reject {
            assert_eq!((events.len(), letters), (1, vec!["dead|rejected".to_owned()]));
        } else {
            assert_eq!((events.len(), letters), (2, Vec::new()));
            assert_eq!(events[1].0["data"], json!({ "id": 1 }));
            assert_eq!(events[1].0["unchanged"], json!(["about"]));
        }
    }
}
