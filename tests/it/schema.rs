//! Tables that change while they are streamed: each event has the shape that its row had, and a
//! route that asks for it waits for a person.

use serde_json::json;
use walgate::demo::cluster::{Builder, Cluster};

use super::support::process::eventually;
use super::support::receiver::Receiver;
use super::support::road::{PATIENCE, Road, T, http, route};
use super::support::state;

fn builder() -> Builder {
    Cluster::builder()
}

fn data(receiver: &Receiver) -> Vec<serde_json::Value> {
    receiver.journal().events().into_iter().map(|event| event.0["data"].clone()).collect()
}

#[test]
fn each_event_has_the_shape_that_its_row_had() {
    let receiver = Receiver::start();
    let road = Road::of_t(&http("far", &receiver.url("/"), ""));
    road.sql(
        "INSERT INTO t VALUES (1, 'a');
         ALTER TABLE t ADD c int; INSERT INTO t VALUES (2, 'b', 2);
         ALTER TABLE t ADD d int DEFAULT 7; INSERT INTO t (id) VALUES (3);
         ALTER TABLE t RENAME v TO w; INSERT INTO t (id, w) VALUES (4, 'd');
         ALTER TABLE t DROP c; INSERT INTO t (id) VALUES (5);
         ALTER TABLE t ALTER d TYPE text USING 'x' || d; INSERT INTO t VALUES (6, NULL, 'y')",
    );
    // In one transaction, and undone.
    road.sql(
        "BEGIN; INSERT INTO t (id) VALUES (7); SAVEPOINT s; ALTER TABLE t ADD e int;
         INSERT INTO t (id, e) VALUES (8, 8); ROLLBACK TO s; INSERT INTO t (id) VALUES (9);
         ALTER TABLE t ADD f int DEFAULT 6; INSERT INTO t (id) VALUES (10); COMMIT",
    );
    road.confirms(&road.wal_end());
    assert_eq!(
        data(&receiver),
        [
            json!({ "id": 1, "v": "a" }),
            json!({ "id": 2, "v": "b", "c": 2 }),
            json!({ "id": 3, "v": null, "c": null, "d": 7 }),
            json!({ "id": 4, "w": "d", "c": null, "d": 7 }),
            json!({ "id": 5, "w": null, "d": 7 }),
            json!({ "id": 6, "w": null, "d": "y" }),
            json!({ "id": 7, "w": null, "d": "7" }),
            json!({ "id": 9, "w": null, "d": "7" }),
            json!({ "id": 10, "w": null, "d": "7", "f": 6 }),
        ]
    );
}

#[test]
fn a_route_that_asks_for_it_is_held_before_the_first_row_of_another_shape() {
    let (held, free) = (Receiver::start(), Receiver::start());
    let sinks = format!(
        "{}{}{}on_schema_change = \"hold\"\n{}",
        http("held", &held.url("/"), ""),
        http("free", &free.url("/"), ""),
        route("t", "held"),
        route("t", "free"),
    );
    let mut road = Road::new(builder(), T, &sinks);
    let why =
        "SELECT count(*) FROM known WHERE held LIKE '%public.t changed: column \"c\" is new%'";
    road.sql(
        "INSERT INTO t VALUES (1, 'a'); ALTER TABLE t ADD c int; INSERT INTO t VALUES (2, 'b', 3)",
    );
    road.sql("UPDATE t SET v = 'new'");
    road.confirms(&road.wal_end());
    assert_eq!(free.journal().events().len(), 4);
    assert_eq!(data(&held), [json!({ "id": 1, "v": "a" })]);
    assert_eq!(state::number(&road.walgate, why), 1);
    let told = |road: &Road, count| {
        let reason = road.walgate.status()["sinks"][0]["reason"].clone();
        let changed = "public.t changed: column \"c\" is new";
        assert_eq!(reason, format!("held: t-to-held ({changed}), {count} events wait"));
    };
    told(&road, 3);
    // It stays so over a restart.
    road.stop();
    road.start();
    road.sql("INSERT INTO t VALUES (3, 'c', 4)");
    road.confirms(&road.wal_end());
    assert_eq!(held.journal().events().len(), 1);
    told(&road, 4);
    let output = road.walgate.call(&["route", "release", "t-to-held"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    held.wait("what waited comes", PATIENCE, |journal| journal.events().len() == 5);
    road.sql("INSERT INTO t VALUES (4, 'd', 4)");
    road.arrived(&held);
    // And at the next change again; a person may say go while nothing runs.
    road.sql("ALTER TABLE t DROP c; INSERT INTO t VALUES (5, 'e')");
    let again = "SELECT count(*) FROM known WHERE held LIKE '%column \"c\" is gone%'";
    eventually("it is held", PATIENCE, || state::number(&road.walgate, again) == 1);
    road.confirms(&road.wal_end());
    road.stop();
    assert!(road.walgate.call(&["route", "release", "t-to-held"]).status.success());
    road.start();
    road.sql("INSERT INTO t VALUES (6, 'f')");
    road.confirms(&road.wal_end());
    let last = data(&held).split_off(6);
    assert_eq!(last, [json!({ "id": 5, "v": "e" }), json!({ "id": 6, "v": "f" })]);
}

#[test]
fn a_table_that_is_renamed_or_moved_is_followed_until_another_has_its_name() {
    let receiver = Receiver::start();
    let mut road = Road::of_t(&http("far", &receiver.url("/"), ""));
    road.sql(
        "INSERT INTO t VALUES (1, 'a'); ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (2, 'b')",
    );
    road.confirms(&road.wal_end());
    road.stop();
    road.sql(
        "CREATE SCHEMA other; ALTER TABLE u SET SCHEMA other; INSERT INTO other.u VALUES (3, 'c')",
    );
    road.start();
    road.sql("UPDATE other.u SET v = 'new' WHERE id = 1");
    road.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (4, 'd')");
    road.sql("INSERT INTO other.u VALUES (5, 'not asked for')");
    road.confirms(&road.wal_end());
    let events = receiver.journal().events();
    let seen: Vec<_> =
        events.iter().map(|event| (&event.0["table"], &event.0["data"]["v"])).collect();
    assert_eq!(
        seen,
        [
            (&json!("public.t"), &json!("a")),
            (&json!("public.u"), &json!("b")),
            (&json!("other.u"), &json!("c")),
            (&json!("other.u"), &json!("new")),
            (&json!("public.t"), &json!("d")),
        ]
    );
}

#[test]
fn a_table_that_is_dropped_and_made_anew_or_swapped_is_meant_by_its_name() {
    let receiver = Receiver::start();
    let road = Road::of_t(&http("far", &receiver.url("/"), ""));
    road.sql("INSERT INTO t VALUES (1, 'first'); DROP TABLE t");
    road.sql("CREATE TABLE t (v text, id int PRIMARY KEY); INSERT INTO t VALUES ('second', 1)");
    road.sql(
        "CREATE TABLE fresh (id int PRIMARY KEY, v text); INSERT INTO fresh VALUES (1, 'early');
         BEGIN; ALTER TABLE t RENAME TO stale; ALTER TABLE fresh RENAME TO t; COMMIT;
         INSERT INTO t VALUES (2, 'third'); INSERT INTO stale VALUES ('not asked for', 2)",
    );
    road.confirms(&road.wal_end());
    let seen: Vec<_> = data(&receiver).iter().map(|data| data["v"].clone()).collect();
    assert_eq!(seen, ["first", "second", "third"]);
}

/// What a mapping makes of a row that lacks a column is decided by a person, not by its policy.
#[test]
fn a_change_that_a_mapping_would_refuse_is_held_and_not_refused() {
    let receiver = Receiver::start();
    let mapping = "[mapping.m]\nversion = 1\n[mapping.m.fields]\nid = { column = \"id\" }\n\
                   v = { column = \"v\" }\n";
    let sinks = format!(
        "{}{}on_schema_change = \"hold\"\nmapping = \"m\"\n{mapping}",
        http("far", &receiver.url("/"), ""),
        route("t", "far"),
    );
    let mut road = Road::new(builder(), T, &sinks);
    road.sql(
        "INSERT INTO t VALUES (1, 'a'); ALTER TABLE t RENAME v TO w; INSERT INTO t VALUES (2, 'b')",
    );
    road.confirms(&road.wal_end());
    assert_eq!(receiver.journal().events().len(), 1);
    assert_eq!(state::letters(&road.walgate, "state = 'blocked'"), 1);
    assert_eq!(state::letters(&road.walgate, "state = 'dead'"), 0);
    // The mapping is made to fit, then the route goes on.
    road.stop();
    road.configure(
        &sinks.replace("version = 1", "version = 2").replace("column = \"v\"", "column = \"w\""),
    );
    road.start();
    assert!(road.walgate.call(&["route", "release", "t-to-far"]).status.success());
    receiver.wait("it is mapped as it is now", PATIENCE, |journal| {
        journal.events().last().is_some_and(|event| event.0["data"]["v"] == "b")
    });
}

#[test]
fn a_route_that_can_not_be_held_is_refused() {
    let road = Road::bare(builder(), T);
    let route = format!("{}on_schema_change = \"hold\"\n", route("t", "far"));
    for (config, says) in [
        (format!("[sink.far.poll]\n{route}"), "is not for poll, where nothing is sent"),
        (
            format!(
                "[journal]\nmax_size = \"0\"\n{}{route}",
                http("far", "http://127.0.0.1:1/", "")
            ),
            "on_schema_change = \"hold\" needs a journal",
        ),
    ] {
        road.configure(&config);
        let output = road.walgate.call(&["check", "--offline"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(says), "{said}");
    }
}
