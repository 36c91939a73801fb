use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::chunk::Transaction;
use crate::lsn::Lsn;
use crate::pgoutput::build::{self, Old};
use crate::relation::{Column, Kind};

fn relation(identity: ReplicaIdentity, key: &[u16]) -> Arc<Relation> {
    let column = |name: &str, in_identity| Column {
        name: name.to_owned(),
        type_oid: Oid(25),
        type_modifier: -1,
        in_identity,
        kind: Kind::Text,
    };
    let in_key = |index: u16| match identity {
        ReplicaIdentity::Full => true,
        ReplicaIdentity::Index => index == 1,
        _ => key.contains(&index),
    };
    Arc::new(Relation {
        oid: Oid(9),
        namespace: "public".to_owned(),
        name: "t".to_owned(),
        identity,
        columns: vec![column("id", in_key(0)), column("v", in_key(1))],
        primary_key: key.to_vec(),
        formerly: None,
    })
}

fn chunk(relation: &Arc<Relation>, xid: u32, operation: Operation, frame: Vec<u8>) -> Chunk {
    let transaction =
        Transaction { commit_lsn: Lsn(7), end_lsn: None, xid: Some(Xid(xid)), commit_time: None };
    let relation = Some(Arc::clone(relation));
    Chunk::of_one(1, transaction, relation, 0, operation, Bytes::from(frame)).unwrap()
}

const fn text(value: &str) -> Cell<'_> {
    Cell::Value(value.as_bytes())
}

fn insert(relation: &Arc<Relation>, id: &str) -> Chunk {
    let mut frame = Vec::new();
    build::insert(relation.oid, &[text(id), text("x")], &mut frame).unwrap();
    chunk(relation, 5, Operation::Insert, frame)
}

fn update(relation: &Arc<Relation>, old: Option<&str>, id: Cell<'_>) -> Chunk {
    let mut frame = Vec::new();
    let cells = old.map(|old| [text(old), Cell::Null]);
    let old = cells.as_ref().map(|cells| Old::Key(cells));
    build::update(relation.oid, old, &[id, text("y")], &mut frame).unwrap();
    chunk(relation, 5, Operation::Update, frame)
}

#[test]
fn more_keys_than_may_be_remembered_void_the_piece() {
    let relation = relation(ReplicaIdentity::Default, &[0]);
    let keys = |count: usize| -> Vec<Chunk> {
        (0..count).map(|n| insert(&relation, &format!("{n}{}", "x".repeat(8 << 20)))).collect()
    };
    assert_eq!(judged(&relation, &keys(8), &["1"]), Ok(vec![]));
    assert_eq!(judged(&relation, &keys(9), &["1"]), Err(Void::TooMany));
}

fn delete(relation: &Arc<Relation>, id: &str) -> Chunk {
    let mut frame = Vec::new();
    build::delete(relation.oid, Old::Key(&[text(id), Cell::Null]), &mut frame).unwrap();
    chunk(relation, 5, Operation::Delete, frame)
}

/// A piece with rows of these ids, of a snapshot that sees everything below 100.
fn piece(relation: &Arc<Relation>, ids: &[&str]) -> Piece {
    let (mut bytes, mut rows) = (Vec::new(), Vec::new());
    for id in ids {
        let start = bytes.len();
        build::insert(relation.oid, &[text(id), text("old")], &mut bytes).unwrap();
        rows.push(start..bytes.len());
    }
    let snapshot = Snapshot::parse("100:100:").unwrap();
    let (relation, operation) = (Arc::clone(relation), Operation::Read);
    Piece { relation, snapshot, operation, bytes, rows, next: None, is_full: false }
}

#[track_caller]
fn judged(relation: &Arc<Relation>, between: &[Chunk], ids: &[&str]) -> Result<Vec<usize>, Void> {
    let mut seen = Seen::default();
    let mut window = Window::open(relation.oid, &seen);
    for chunk in between {
        window.note(chunk, &chunk.entries[0]).unwrap();
    }
    window.judge(&piece(relation, ids), &mut seen).unwrap()
}

#[test]
fn rows_that_the_stream_has_newer_are_left_out() {
    let table = relation(ReplicaIdentity::Default, &[0]);
    let between = [
        insert(&table, "1"),
        update(&table, None, text("2")),
        update(&table, Some("3"), text("4")),
        delete(&table, "5"),
    ];
    let ids = ["0", "1", "2", "3", "4", "5", "6"];
    assert_eq!(judged(&table, &between, &ids), Ok(vec![1, 2, 3, 4, 5]));
    assert_eq!(judged(&table, &[], &ids), Ok(vec![]));
}

/// An update without the value of `v`.
fn partial(relation: &Arc<Relation>, old: Option<&str>, id: &str) -> Chunk {
    let mut frame = Vec::new();
    let cells = old.map(|old| [text(old), Cell::Null]);
    let old = cells.as_ref().map(|cells| Old::Key(cells));
    build::update(relation.oid, old, &[text(id), Cell::Unchanged], &mut frame).unwrap();
    chunk(relation, 5, Operation::Update, frame)
}

#[test]
fn a_row_of_which_only_the_piece_has_all_voids_it() {
    let table = relation(ReplicaIdentity::Default, &[0]);
    let check = |between: &[Chunk], expected| {
        assert_eq!(judged(&table, between, &["1", "2"]), expected);
    };
    check(&[partial(&table, None, "1")], Err(Void::Partial));
    check(&[partial(&table, None, "7")], Ok(vec![]));
    // Moved: the piece may have it under either key.
    check(&[partial(&table, Some("1"), "7")], Err(Void::Partial));
    check(&[partial(&table, Some("7"), "1")], Err(Void::Partial));
    // The stream has brought the rest before, or after.
    check(&[insert(&table, "1"), partial(&table, None, "1")], Ok(vec![0]));
    check(&[partial(&table, None, "1"), update(&table, None, text("1"))], Ok(vec![0]));
    check(&[insert(&table, "7"), partial(&table, Some("7"), "1")], Ok(vec![0]));
    check(&[partial(&table, None, "1"), delete(&table, "1")], Ok(vec![0]));
}

#[test]
fn a_key_that_is_stored_out_of_line_is_told_by_the_old_row() {
    let table = relation(ReplicaIdentity::Default, &[0]);
    let between = [update(&table, Some("3"), Cell::Unchanged)];
    assert_eq!(judged(&table, &between, &["3"]), Ok(vec![0]));
    let between = [update(&table, None, Cell::Unchanged)];
    assert_eq!(judged(&table, &between, &["3"]), Err(Void::Keyless));
}

#[test]
fn a_row_is_the_one_that_its_replica_identity_says() {
    let table = relation(ReplicaIdentity::Index, &[0]);
    let mut frame = Vec::new();
    build::delete(table.oid, Old::Key(&[Cell::Null, text("old")]), &mut frame).unwrap();
    let between = [chunk(&table, 5, Operation::Delete, frame)];
    // Every row of the piece has it.
    assert_eq!(judged(&table, &between, &["1", "2"]), Ok(vec![0, 1]));
}

#[test]
fn without_a_key_only_new_rows_may_come() {
    let table = relation(ReplicaIdentity::Full, &[]);
    assert_eq!(judged(&table, &[insert(&table, "1")], &["1"]), Ok(vec![]));
    assert_eq!(judged(&table, &[delete(&table, "1")], &["1"]), Err(Void::Keyless));
}

#[test]
fn a_truncate_or_another_shape_voids_the_piece() {
    let table = relation(ReplicaIdentity::Default, &[0]);
    let mut frame = Vec::new();
    build::truncate(&[table.oid], false, false, &mut frame).unwrap();
    let truncate = chunk(&table, 5, Operation::Truncate, frame);
    assert_eq!(judged(&table, &[truncate], &["1"]), Err(Void::Truncated));
    let mut other = Relation::clone(&table);
    other.columns[1].name = "w".to_owned();
    let other = Arc::new(other);
    assert_eq!(judged(&table, &[insert(&other, "7")], &["1"]), Err(Void::Altered));
    let between = [insert(&table, "7"), insert(&other, "8")];
    assert_eq!(judged(&other, &between, &["1"]), Err(Void::Altered));
    let mut elsewhere = Relation::clone(&table);
    elsewhere.oid = Oid(10);
    let between = [insert(&Arc::new(elsewhere), "1")];
    assert_eq!(judged(&table, &between, &["1"]), Ok(vec![]), "another table");
}

#[test]
fn what_the_stream_brought_before_must_be_visible() {
    let table = relation(ReplicaIdentity::Default, &[0]);
    let judge = |before: &[u32], between: &[u32], suspects: &[u32]| {
        let mut seen = Seen::default();
        seen.suspect(suspects.iter().copied().map(Xid).collect());
        let note = |seen: &mut Seen, xid: u32| {
            let chunk = chunk(&table, xid, Operation::Insert, insert(&table, "7").frames.to_vec());
            seen.note(&chunk);
            seen.note(&chunk);
        };
        before.iter().for_each(|xid| note(&mut seen, *xid));
        let window = Window::open(table.oid, &seen);
        between.iter().for_each(|xid| note(&mut seen, *xid));
        window.judge(&piece(&table, &["1"]), &mut seen).unwrap()
    };
    assert_eq!(judge(&[99], &[101], &[98]), Ok(vec![]), "101 came later");
    assert_eq!(judge(&[99, 101], &[], &[]), Err(Void::NotVisible));
    assert_eq!(judge(&[], &[], &[100]), Err(Void::NotVisible), "may have come before");
}

proptest! {
    /// Against a table kept by hand: the piece's rows that are kept, put behind the stream's
    /// changes, never bring back what is older.
    #[test]
    fn the_sink_never_goes_back(
        rows in prop::collection::btree_map(0..8_u8, 0..3_u8, 0..8),
        changes in prop::collection::vec((0..8_u8, 0..4_u8, 0..8_u8), 0..12),
        read_at in 0..13_usize,
    ) {
        let table = relation(ReplicaIdentity::Default, &[0]);
        let mut seen = Seen::default();
        let mut window = Window::open(table.oid, &seen);
        let (mut now, mut far) = (rows.clone(), std::collections::BTreeMap::new());
        let mut read = None;
        for (index, (id, what, other)) in changes.iter().enumerate() {
            if index == read_at {
                read = Some(now.clone());
            }
            let (old, new) = (id.to_string(), other.to_string());
            let chunk = match what {
                0 if now.contains_key(id) => {
                    now.remove(id);
                    far.remove(id);
                    delete(&table, &old)
                }
                1 if now.contains_key(id) && !now.contains_key(other) => {
                    now.remove(id);
                    now.insert(*other, 9);
                    far.remove(id);
                    far.insert(*other, 9);
                    update(&table, Some(&old), text(&new))
                }
                2 if now.contains_key(id) => {
                    now.insert(*id, 10 + other);
                    far.insert(*id, 10 + other);
                    update(&table, None, text(&old))
                }
                3 if !now.contains_key(id) => {
                    now.insert(*id, 20 + other);
                    far.insert(*id, 20 + other);
                    insert(&table, &old)
                }
                _ => continue,
            };
            window.note(&chunk, &chunk.entries[0]).unwrap();
        }
        let read = read.unwrap_or_else(|| now.clone());
        let ids: Vec<String> = read.keys().map(ToString::to_string).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let stale = window.judge(&piece(&table, &ids), &mut seen).unwrap().unwrap();
        for (index, (id, value)) in read.iter().enumerate() {
            if !stale.contains(&index) {
                far.insert(*id, *value);
            }
        }
        prop_assert_eq!(far, now);
    }
}
