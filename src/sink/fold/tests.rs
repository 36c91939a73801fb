use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use serde_json::{Value, json};

use super::*;
use crate::chunk::Chunk;
use crate::envelope::{Envelope, RouteLabel};
use crate::lsn::EventId;

/// An event with this body.
fn event(body: &Value) -> Envelope {
    let op = body["op"].as_str().unwrap();
    Envelope {
        id: EventId::FIRST,
        operation: Operation::ALL.into_iter().find(|one| one.as_str() == op).unwrap(),
        body: body.to_string().into(),
        key: Bytes::new(),
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

fn fields(fields: &[Field<'_>]) -> String {
    let one = |field: &Field<'_>| format!("{}={}", &*field.name, field.value.get());
    fields.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Prints what was folded, an action a line.
fn folded(bodies: &[Value]) -> Vec<String> {
    let events: Vec<Envelope> = bodies.iter().map(event).collect();
    let changes: Vec<_> = events.iter().map(|event| Change::read(event).unwrap()).collect();
    let items = changes.iter().enumerate().map(|(event, change)| Item { event, scope: 0, change });
    let print = |action: &Action<'_>| {
        let work = match &action.work {
            Work::Clear => "clear".to_owned(),
            Work::Delete(key) => format!("delete {}", fields(&key.fields)),
            Work::Put(put) => {
                let missing: Vec<&str> = put.missing.iter().map(|name| &**name).collect();
                let from = put.from.as_ref().map(|key| fields(&key.fields));
                let anew = if put.is_anew { " anew" } else { "" };
                format!(
                    "put {}: {}{anew} {missing:?}{}",
                    fields(&put.key.fields),
                    fields(&put.fields),
                    from.map(|from| format!(" from {from}")).unwrap_or_default()
                )
            }
        };
        format!("{work} {:?}", action.events)
    };
    fold(items).unwrap().iter().map(print).collect()
}

fn insert(id: u32, a: u32, b: u32) -> Value {
    json!({ "op": "insert", "key": { "id": id }, "data": { "id": id, "a": a, "b": b } })
}

/// An update that did not send `b`.
fn update(id: u32, a: u32) -> Value {
    json!({ "op": "update", "key": { "id": id }, "data": { "id": id, "a": a }, "unchanged": ["b"] })
}

fn moved(from: u32, id: u32, a: u32) -> Value {
    let mut body = update(id, a);
    body["before_key"] = json!({ "id": from });
    body
}

fn delete(id: u32) -> Value {
    json!({ "op": "delete", "key": { "id": id }, "data": { "id": id } })
}

fn truncate() -> Value {
    json!({ "op": "truncate", "key": null, "data": null })
}

#[track_caller]
fn check(bodies: &[Value], expected: &[&str]) {
    assert_eq!(folded(bodies), expected);
}

#[test]
fn the_last_value_of_each_field_wins() {
    check(&[update(1, 5), update(1, 6)], &[r#"put id=1: id=1 a=6 ["b"] [0, 1]"#]);
    check(&[insert(1, 5, 7), update(1, 6)], &["put id=1: id=1 a=6 b=7 [] [0, 1]"]);
    check(&[update(1, 6), insert(1, 5, 7)], &["put id=1: id=1 a=5 b=7 [] [0, 1]"]);
    check(&[insert(1, 5, 7), delete(1)], &["delete id=1 [0, 1]"]);
    check(&[delete(1), insert(1, 5, 7)], &["put id=1: id=1 a=5 b=7 anew [] [0, 1]"]);
    check(
        &[insert(1, 0, 0), insert(2, 0, 0), delete(1)],
        &["delete id=1 [0, 2]", "put id=2: id=2 a=0 b=0 [] [1]"],
    );
}

#[test]
fn a_row_that_moves_takes_along_what_was_not_sent() {
    check(&[moved(1, 2, 5)], &["delete id=1 [0]", r#"put id=2: id=2 a=5 ["b"] from id=1 [0]"#]);
    check(
        &[insert(1, 0, 7), moved(1, 2, 5)],
        &["delete id=1 [0, 1]", "put id=2: id=2 a=5 b=7 [] [0, 1]"],
    );
    check(
        &[update(1, 0), moved(1, 2, 5), moved(2, 3, 6), update(3, 7)],
        &[
            "delete id=1 [0, 1]",
            "delete id=2 [0, 1, 2]",
            r#"put id=3: id=3 a=7 ["b"] from id=1 [0, 1, 2, 3]"#,
        ],
    );
    // Back to where it was: the row is deleted and made anew of what it was.
    check(
        &[moved(1, 2, 5), moved(2, 1, 6)],
        &[r#"put id=1: id=1 a=6 anew ["b"] from id=1 [0, 1]"#, "delete id=2 [0, 1]"],
    );
}

#[test]
fn truncate_undoes_what_came_before_it() {
    check(
        &[insert(1, 0, 0), moved(2, 3, 0), truncate(), insert(1, 5, 6)],
        &["clear [0, 1, 2]", "put id=1: id=1 a=5 b=6 [] [3]"],
    );
    check(&[truncate(), insert(1, 0, 0), truncate()], &["clear [0, 1, 2]"]);
}

#[test]
fn a_row_without_a_key_is_an_error() {
    let events = [event(&json!({ "op": "insert", "key": null, "data": { "a": 1 } }))];
    let change = Change::read(&events[0]).unwrap();
    let items = [Item { event: 4, scope: 0, change: &change }];
    assert_eq!(fold(items).unwrap_err(), NoKey(4));
}

type Rows = BTreeMap<u64, BTreeMap<String, u64>>;

/// A change of a table with few keys, as Postgres would send it; none where the dice fall badly.
fn change(rows: &mut Rows, rng: &mut Rng) -> Option<Value> {
    let (id, a) = (rng.u64(0..5), rng.u64(0..100));
    let is_there = rows.contains_key(&id);
    Some(match rng.u8(0..20) {
        0 => {
            rows.clear();
            truncate()
        }
        1..5 if is_there => {
            rows.remove(&id);
            json!({ "op": "delete", "key": { "id": id }, "data": { "id": id } })
        }
        1..8 if !is_there => {
            let b = rng.u64(0..100);
            rows.insert(
                id,
                [("id", id), ("a", a), ("b", b)].map(|(n, v)| (n.to_owned(), v)).into(),
            );
            json!({ "op": "insert", "key": { "id": id }, "data": { "id": id, "a": a, "b": b } })
        }
        8..14 if is_there => {
            let row = rows.get_mut(&id)?;
            row.insert("a".to_owned(), a);
            if rng.bool() {
                let b = rng.u64(0..100);
                row.insert("b".to_owned(), b);
                json!({ "op": "update", "key": { "id": id }, "data": { "id": id, "a": a, "b": b } })
            } else {
                json!({ "op": "update", "key": { "id": id }, "data": { "id": id, "a": a },
                        "unchanged": ["b"] })
            }
        }
        14.. if is_there => {
            let new = rng.u64(0..5);
            if rows.contains_key(&new) {
                return None;
            }
            let mut row = rows.remove(&id)?;
            row.extend([("id".to_owned(), new), ("a".to_owned(), a)]);
            rows.insert(new, row);
            json!({ "op": "update", "key": { "id": new }, "before_key": { "id": id },
                    "data": { "id": new, "a": a }, "unchanged": ["b"] })
        }
        _ => return None,
    })
}

/// Does what was folded, as a keyed store would: what moved is read first, then rows go, then come.
fn apply(rows: &mut Rows, actions: &[Action<'_>]) {
    let number = |field: &Field<'_>| field.value.get().parse::<u64>().unwrap();
    let id = |key: &Key<'_>| number(&key.fields[0]);
    if actions.iter().any(|action| matches!(action.work, Work::Clear)) {
        rows.clear();
    }
    let before = rows.clone();
    for action in actions {
        match &action.work {
            Work::Delete(key) => drop(rows.remove(&id(key))),
            Work::Put(put) if put.is_anew => drop(rows.remove(&id(&put.key))),
            _ => {}
        }
    }
    for action in actions {
        let Work::Put(put) = &action.work else { continue };
        let row = rows.entry(id(&put.key)).or_default();
        row.extend(put.fields.iter().map(|field| (field.name.to_string(), number(field))));
        if let Some(from) = &put.from {
            for name in &put.missing {
                row.insert(name.to_string(), before[&id(from)][&**name]);
            }
        }
    }
}

#[test]
fn what_is_folded_ends_as_the_changes_one_after_the_other_would() {
    for seed in 0..3000 {
        let mut rng = Rng::with_seed(seed);
        let (mut rows, mut far) = (Rows::new(), Rows::new());
        for _ in 0..4 {
            let bodies: Vec<Value> = (0..12).filter_map(|_| change(&mut rows, &mut rng)).collect();
            let events: Vec<Envelope> = bodies.iter().map(event).collect();
            let changes: Vec<_> = events.iter().map(|one| Change::read(one).unwrap()).collect();
            let items = changes.iter().enumerate();
            let items = items.map(|(event, change)| Item { event, scope: 0, change });
            let actions = fold(items).unwrap();
            let mut keys: Vec<&str> = Vec::new();
            let mut named: Vec<usize> = Vec::new();
            for action in &actions {
                match &action.work {
                    Work::Clear => {}
                    Work::Delete(key) | Work::Put(Put { key, .. }) => keys.push(key.raw),
                }
                named.extend(&action.events);
            }
            keys.sort_unstable();
            assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "seed {seed}: {keys:?}");
            named.sort_unstable();
            named.dedup();
            assert_eq!(named, (0..bodies.len()).collect::<Vec<_>>(), "seed {seed}");
            apply(&mut far, &actions);
            assert_eq!(far, rows, "seed {seed}: {bodies:#?}");
        }
    }
}
