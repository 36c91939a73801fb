//! What a person asks for with `walgate backfill`.

use serde_json::{Value, json};

use super::super::support::process::eventually;
use super::super::support::receiver::{Receiver, Reply};
use super::super::support::road::{PATIENCE, Road, T, http};
use super::{
    arrived, backfill, behind_a_gap, builder, filled, listed, loaded, reads, reason, route,
};

#[test]
fn a_new_route_gets_the_rows_and_others_do_not() {
    let (old, new) = (Receiver::start(), Receiver::start());
    let one = format!(
        "{}{}",
        http("old", &old.url("/"), ""),
        super::super::support::road::route("t", "old")
    );
    let mut road = Road::new(builder(), T, &one);
    road.sql("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 30) i");
    road.confirms(&road.wal_end());
    road.stop();
    road.configure(&format!("{one}{}{}", http("new", &new.url("/"), ""), route("t", "new")));
    road.start();
    loaded(&road);
    road.sql("INSERT INTO t VALUES (31, 'x')");
    assert_eq!(reads(&road.arrived(&new)), 30);
    assert_eq!(reads(&road.arrived(&old)), 0);
}

#[test]
fn a_backfill_sends_what_is_asked_for_to_whom_it_is_for() {
    let (one, two) = (Receiver::start(), Receiver::start());
    let sinks = format!(
        "{}{}{}{}",
        http("one", &one.url("/"), ""),
        http("two", &two.url("/"), ""),
        super::super::support::road::route("t", "one"),
        super::super::support::road::route("t", "two"),
    );
    let road = Road::new(builder(), T, &sinks);
    road.sql("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 30) i");
    road.confirms(&road.wal_end());
    let (code, said) =
        backfill(&road, &["start", "public.t", "--sink", "two", "--where", "id <= 10"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("public.t  done  10 rows"), "{said}");
    assert_eq!(reads(&road.arrived(&two)), 10);
    assert_eq!(reads(&road.arrived(&one)), 0);
    assert_eq!(backfill(&road, &["start"]).0, 0);
    assert_eq!(reads(&road.arrived(&two)), 40);
    assert_eq!(reads(&road.arrived(&one)), 30);
    let all = listed(&road);
    let shown: Vec<_> = all.iter().map(|one| (&one["state"], &one["rows"], &one["sink"])).collect();
    assert_eq!(
        shown,
        [(&json!("done"), &json!(10), &json!("two")), (&json!("done"), &json!(30), &Value::Null),]
    );
}

#[test]
fn a_backfill_that_can_not_be_is_refused_with_what_to_do() {
    let receiver = Receiver::start();
    let road = Road::of_t(&http("far", &receiver.url("/"), ""));
    for (args, code, says) in [
        (&["start", "public.other"][..], 2, "no route takes rows of public.other"),
        (&["start", "public.*"], 2, "is no single table"),
        (&["start", "public.t", "--sink", "fat"], 2, "did you mean \"far\"?"),
        (&["pause", "public.t"], 2, "no such backfill"),
        (
            &["start", "public.t", "--where", "nonsense > 1"],
            1,
            "column \"nonsense\" does not exist",
        ),
        (&["start", "public.t", "--where", "true); DROP TABLE t; --"], 1, "failed"),
        (&["start", "public.t", "--where", "id < 5) OR (id > 7"], 1, "syntax error"),
        (&["start", "public.t", "--where", "true LIMIT 5"], 1, "syntax error"),
    ] {
        let (got, said) = backfill(&road, args);
        assert_eq!(got, code, "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
    road.sql("INSERT INTO t VALUES (1, 'there')");
    road.arrived(&receiver);
}

#[test]
fn a_backfill_is_paused_resumed_and_given_up_over_a_restart() {
    let receiver = Receiver::start();
    let mut road = filled(&receiver);
    receiver.otherwise(Reply::status(503));
    road.sql("INSERT INTO t SELECT i, repeat('x', 3000) FROM generate_series(5001, 9000) i");
    road.start();
    eventually("it has begun", PATIENCE, || !listed(&road).is_empty());
    // No instance need run for it.
    road.stop();
    assert_eq!(backfill(&road, &["pause", "public.t"]).0, 0);
    road.start();
    eventually("it says so", PATIENCE, || reason(&road) == "waiting to load public.t (paused)");
    assert_eq!(listed(&road)[0]["state"], "paused");
    let rows = listed(&road)[0]["rows"].clone();
    receiver.behave();
    assert_eq!(backfill(&road, &["resume", "public.t"]).0, 0);
    let journal = arrived(&road, &receiver);
    assert_eq!(reads(&journal), 9000, "it had {rows}");
    let (code, said) = backfill(&road, &["start", "public.t", "--no-wait"]);
    assert_eq!(code, 0, "{said}");
    let _maybe_over = backfill(&road, &["cancel"]);
    loaded(&road);
    assert!(["cancelled", "done"].contains(&listed(&road)[1]["state"].as_str().unwrap()));
    arrived(&road, &receiver);
}

#[test]
fn what_was_deleted_in_a_gap_is_found_by_a_sweep() {
    let receiver = Receiver::start();
    let lost = "DELETE FROM t WHERE id % 5 = 0; UPDATE t SET v = 'lost' WHERE id = 1";
    let road = behind_a_gap(&receiver, lost);
    road.sql("INSERT INTO t VALUES (5, 'again')");
    let (code, said) = backfill(&road, &["start", "public.t", "--sweep"]);
    assert_eq!(code, 0, "{said}");
    let journal = arrived(&road, &receiver);
    let deletes = journal.events().iter().filter(|event| event.op() == "delete").count();
    assert_eq!(deletes, 999, "id 5 came again");
}
