use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::chunk::Chunk;
use crate::envelope::RouteLabel;
use crate::lsn::{EventId, Lsn, Position};
use crate::sink::Answer;

fn event(op: Operation, body: &Value) -> Envelope {
    let mut body = body.clone();
    body["op"] = json!(op.as_str());
    Envelope {
        id: EventId { timeline: 1, position: Position::new(Lsn(7), 0) },
        operation: op,
        body: body.to_string().into(),
        key: Bytes::from(body["key"].to_string()),
        key_hash: 0,
        before_key_hash: None,
        before_key: None,
        outbox: None,
        commit_time: None,
        route: Arc::new(RouteLabel { name: "r".into(), mapping: None }),
        chunk: Arc::new(Chunk {
            timeline: 1,
            frames: Bytes::new(),
            transactions: Vec::new(),
            relations: Vec::new(),
            entries: Vec::new(),
            audience: None,
        }),
        entry: 0,
    }
}

/// What is planned, as `id=fields` and `-id`, and what the board says once all of it is done.
fn planned(events: &[(Operation, Value)], deletes: bool) -> (Vec<String>, Answer) {
    let events = events.iter().map(|(op, body)| event(*op, body)).collect();
    let batch = Batch { events, replay: 0 };
    let mut board = Board::new("far", batch.events.len());
    let plan = plan(&batch, "ext", deletes, &mut board, |_| Ok(0));
    let mut all = Vec::new();
    for record in &plan.deletes {
        all.push(format!("-{} {:?}", record.id(), record.events));
        board.done(&record.events);
    }
    for record in &plan.upserts {
        let fields = record.fields.iter().map(|field| format!("{}={}", &*field.name, field.value));
        let fields = fields.collect::<Vec<_>>().join(",");
        all.push(format!("{}: {fields} {:?}", record.id(), record.events));
        board.done(&record.events);
    }
    (all, board.answer())
}

#[track_caller]
fn check(events: &[(Operation, Value)], expected: &[&str]) {
    let (all, answer) = planned(events, true);
    assert_eq!(all, expected);
    assert_eq!(answer, Answer::Acknowledged);
}

use Operation::{Delete, Insert, Truncate, Update};

#[test]
fn the_id_is_the_key_unless_a_field_has_it() {
    let by_key = json!({ "key": { "id": 42 }, "data": { "a": 1.50 } });
    check(&[(Insert, by_key)], &["42: a=1.5 [0]"]);
    let by_field = json!({ "key": { "id": 42 }, "data": { "a": 1, "ext": "c-42" } });
    check(&[(Insert, by_field)], &["c-42: a=1 [0]"]);
    let of_delete = json!({ "key": { "id": 42 }, "data": { "ext": "c-42" } });
    check(&[(Delete, of_delete)], &["-c-42 [0]"]);
}

#[test]
fn the_changes_of_a_record_become_one() {
    let row = |a: u32| json!({ "key": { "id": 1 }, "data": { "a": a, "b": "x" } });
    let partial = json!({ "key": { "id": 1 }, "data": { "a": 3 }, "unchanged": ["b"] });
    check(&[(Insert, row(1)), (Update, row(2)), (Update, partial)], &["1: a=3,b=\"x\" [0, 1, 2]"]);
    check(&[(Insert, row(1)), (Delete, json!({ "key": { "id": 1 } }))], &["-1 [0, 1]"]);
}

#[test]
fn a_key_that_changes_takes_its_record_along() {
    let moved = json!({ "key": { "id": 2 }, "before_key": { "id": 1 }, "data": { "a": 1 } });
    check(&[(Update, moved)], &["-1 [0]", "2: a=1 [0]"]);
    let mapped = json!({
        "key": { "id": 2 }, "before_key": { "id": 1 }, "data": { "ext": "c2", "a": 1 },
        "before": { "ext": "c1" }
    });
    check(&[(Update, mapped)], &["-c1 [0]", "c2: a=1 [0]"]);
    // The key changed, but the record's id did not.
    let same = json!({
        "key": { "id": 2 }, "before_key": { "id": 1 }, "data": { "ext": "c" },
        "before": { "ext": "c" }
    });
    check(&[(Update, same)], &["c:  [0]"]);
    let lacking = json!({
        "key": { "id": 2 }, "before_key": { "id": 1 }, "data": { "a": 1 }, "unchanged": ["b"]
    });
    let (all, answer) = planned(&[(Update, lacking)], true);
    assert_eq!(all, Vec::<String>::new(), "the old one stays");
    let Answer::PerEvent(outcomes) = answer else { unreachable!("{answer:?}") };
    assert!(outcomes[0].as_ref().unwrap_err().message.contains("REPLICA IDENTITY FULL"));
}

#[test]
fn deletes_may_be_left_out() {
    let gone = json!({ "key": { "id": 1 }, "data": {} });
    let (all, answer) = planned(&[(Delete, gone)], false);
    assert_eq!((all, answer), (Vec::new(), Answer::Acknowledged));
}

#[test]
fn what_has_no_id_is_refused_and_the_rest_is_not() {
    let good = json!({ "key": { "id": 1 }, "data": { "a": 1 } });
    for (op, bad) in [
        (Insert, json!({ "key": null, "data": { "a": 1 } })),
        (Insert, json!({ "key": { "a": 1, "b": 2 }, "data": { "a": 1 } })),
        (Insert, json!({ "key": { "id": 1 }, "data": { "ext": null } })),
        (Insert, json!({ "key": { "id": 1 }, "data": { "ext": "" } })),
        (Update, json!({ "key": { "id": 1 }, "data": {}, "unchanged": ["ext"] })),
        (Truncate, json!({ "key": null, "data": null })),
    ] {
        let (all, answer) = planned(&[(op, bad.clone()), (Insert, good.clone())], true);
        assert_eq!(all, ["1: a=1 [1]"], "{bad}");
        let Answer::PerEvent(outcomes) = answer else { unreachable!("{answer:?}") };
        assert_eq!(outcomes[0].as_ref().unwrap_err().category, Category::Rejected, "{bad}");
        assert_eq!(outcomes[1], Ok(()));
    }
}

#[test]
fn several_events_that_are_rejected_together_come_again_in_halves() {
    let rejected = Failure::new(Category::Rejected, "no");
    let mut board = Board::new("far", 3);
    board.expect(&[0, 1]);
    board.fail(&[0, 1], &rejected);
    assert_eq!(board.answer(), Answer::Failed(rejected.clone()));
    let mut board = Board::new("far", 3);
    board.fail(&[1], &rejected);
    assert_eq!(board.answer(), Answer::PerEvent(vec![Ok(()), Err(rejected.clone()), Ok(())]));
    // What halts the sink goes before.
    let halts = Failure::new(Category::Setup, "who are you");
    let mut board = Board::new("far", 3);
    board.fail(&[0, 1], &rejected);
    board.expect(&[2]);
    board.done(&[2]);
    assert!(!board.failed_at_once(&[2], &halts));
    assert_eq!(board.answer(), Answer::Failed(halts));
}

#[test]
fn what_was_not_sent_fails_as_what_stopped_it() {
    let down = Failure::new(Category::Transient, "down");
    let mut board = Board::new("far", 3);
    board.expect(&[0]);
    board.expect(&[1]);
    board.expect(&[2]);
    board.done(&[2]);
    assert!(!board.failed_at_once(&[0], &down));
    assert_eq!(board.answer(), Answer::PerEvent(vec![Err(down.clone()), Err(down), Ok(())]));
}

#[test]
fn an_event_of_which_nothing_was_sent_does_not_say_that_the_far_side_is_up() {
    let down = Failure::new(Category::Transient, "down");
    let mut board = Board::new("far", 2);
    board.expect(&[0]);
    assert!(!board.failed_at_once(&[0], &down));
    assert_eq!(board.answer(), Answer::Failed(down));
}
