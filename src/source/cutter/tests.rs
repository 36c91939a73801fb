use super::*;
use crate::change::Cell;
use crate::lsn::Xid;
use crate::pgoutput::build;
use crate::relation::{Column, Kind, ReplicaIdentity};
use crate::source::Ending;

fn table(oid: u32, name: &str) -> Relation {
    Relation {
        oid: Oid(oid),
        namespace: "public".to_owned(),
        name: name.to_owned(),
        identity: ReplicaIdentity::Default,
        columns: vec![Column {
            name: "id".to_owned(),
            type_oid: Oid(23),
            type_modifier: -1,
            in_identity: true,
            kind: Kind::Integer,
        }],
        primary_key: vec![0],
        formerly: None,
    }
}

fn cutter(have: Have) -> Cutter {
    let mut cutter = Cutter::new(have, 2, vec![(1, Lsn(50))]);
    cutter.describe(table(7, "a"), None, 1);
    cutter.describe(table(8, "b"), None, 2);
    cutter
}

fn begin(lsn: u64) -> Vec<u8> {
    let mut out = Vec::new();
    build::begin(Lsn(lsn), Timestamp(1), Xid(9), &mut out);
    out
}

fn commit(lsn: u64) -> Vec<u8> {
    let mut out = Vec::new();
    build::commit(Lsn(lsn), Lsn(lsn + 5), Timestamp(1), &mut out);
    out
}

fn insert(oid: u32, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    build::insert(Oid(oid), &[Cell::Value(text.as_bytes())], &mut out).unwrap();
    out
}

/// Pushes everything, cutting where the cutter asks for it and at the end.
fn cut(cutter: &mut Cutter, frames: &[Vec<u8>]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for frame in frames {
        if cutter.push(frame).unwrap() == Step::Full {
            chunks.extend(cutter.cut());
            assert_ne!(cutter.push(frame).unwrap(), Step::Full);
        }
    }
    chunks.extend(cutter.cut());
    chunks
}

fn positions(chunks: &[Chunk]) -> Vec<(u64, u32)> {
    let of = |chunk: &Chunk| -> Vec<_> {
        let position = |entry| chunk.position(entry);
        chunk.entries.iter().map(position).map(|p| (p.commit_lsn.0, p.seq)).collect()
    };
    chunks.iter().flat_map(of).collect()
}

#[test]
fn a_transaction_becomes_entries_that_lead_back_to_its_frames() {
    let frames = [begin(100), insert(7, "1"), insert(8, "2"), insert(7, "3"), commit(100)];
    let chunks = cut(&mut cutter(Have::default()), &frames);
    let [chunk] = chunks.as_slice() else { panic!("{chunks:?}") };
    assert_eq!(positions(&chunks), [(100, 0), (100, 1), (100, 2)]);
    assert_eq!(chunk.transactions[0].end_lsn, Some(Lsn(105)));
    assert_eq!(chunk.timeline, 2);
    let found: Vec<_> = chunk.entries.iter().map(|entry| chunk.frame(entry).to_vec()).collect();
    assert_eq!(found, frames[1..4]);
    let name = |entry| chunk.relation(entry).unwrap().name.clone();
    assert_eq!(chunk.entries.iter().map(name).collect::<Vec<_>>(), ["a", "b", "a"]);
    assert_eq!(chunk.relations.len(), 2);
}

#[test]
fn a_chunk_may_end_inside_a_transaction_and_the_count_goes_on() {
    let mut cutter = cutter(Have::default());
    cutter.push(&begin(100)).unwrap();
    cutter.push(&insert(7, "1")).unwrap();
    let first = cutter.cut().unwrap();
    assert_eq!(first.transactions[0].end_lsn, None);
    let rest = cut(&mut cutter, &[insert(7, "2"), commit(100)]);
    assert_eq!(positions(&rest), [(100, 1)]);
    assert_eq!(rest[0].transactions[0].end_lsn, Some(Lsn(105)));
    assert_eq!(rest[0].end_position(), Position::after_transaction(Lsn(100)));
}

#[test]
fn the_end_of_a_transaction_whose_changes_are_gone_is_still_told() {
    let mut cutter = cutter(Have::default());
    cut(&mut cutter, &[begin(100), insert(7, "1")]);
    let end = cut(&mut cutter, &[commit(100)]);
    assert!(end[0].entries.is_empty());
    assert_eq!(end[0].transactions[0].end_lsn, Some(Lsn(105)));
    assert!(cut(&mut cutter, &[begin(200), commit(200)]).is_empty(), "an empty transaction");
}

#[test]
fn large_rows_fill_chunks_up_to_the_bound() {
    let row = insert(7, &"x".repeat(300 << 10));
    let mut frames = vec![begin(100)];
    frames.extend(std::iter::repeat_n(row, 7));
    frames.push(insert(7, &"y".repeat(3 << 20)));
    frames.push(commit(100));
    let chunks = cut(&mut cutter(Have::default()), &frames);
    let counts: Vec<_> = chunks.iter().map(|chunk| chunk.entries.len()).collect();
    assert_eq!(counts, [3, 3, 1, 1]);
    assert_eq!(positions(&chunks), (0..8).map(|seq| (100, seq)).collect::<Vec<_>>());
}

#[test]
fn what_the_journal_has_is_dropped_and_counts_nevertheless() {
    let stream = |lsn| [begin(lsn), insert(7, "1"), insert(7, "2"), insert(7, "3"), commit(lsn)];
    let frames: Vec<_> = [100, 200, 300].into_iter().flat_map(stream).collect();
    let received = Lsn(150);
    for (journaled, expected) in [
        (None, vec![(200, 0), (200, 1), (200, 2), (300, 0), (300, 1), (300, 2)]),
        (Some((200, 1)), vec![(200, 2), (300, 0), (300, 1), (300, 2)]),
        (Some((200, 2)), vec![(300, 0), (300, 1), (300, 2)]),
        (Some((300, 0)), vec![(300, 1), (300, 2)]),
    ] {
        let last = journaled.map(|(lsn, seq)| Position::new(Lsn(lsn), seq));
        let chunks = cut(&mut cutter(Have { received, journaled: last }), &frames);
        assert_eq!(positions(&chunks), expected, "{journaled:?}");
        let ends: Vec<_> = chunks.iter().flat_map(|chunk| &chunk.transactions).collect();
        assert!(ends.iter().all(|transaction| transaction.end_lsn.is_some()), "{ends:?}");
        let from = journaled.map_or(200, |(lsn, _)| lsn);
        assert_eq!(ends[0].commit_lsn, Lsn(from), "its end is told though its changes are kept");
    }
}

#[test]
fn truncate_counts_each_table_and_a_message_its_own() {
    let mut truncate = Vec::new();
    build::truncate(&[Oid(7), Oid(8)], true, false, &mut truncate).unwrap();
    let mut message = Vec::new();
    build::message(true, Lsn(90), "p", b"c", &mut message).unwrap();
    let frames = [begin(100), insert(7, "1"), truncate.clone(), message, commit(100)];
    let chunks = cut(&mut cutter(Have::default()), &frames);
    assert_eq!(positions(&chunks), [(100, 0), (100, 1), (100, 2), (100, 3)]);
    let entries = &chunks[0].entries;
    assert_eq!(entries[1].offset, entries[2].offset);
    assert_eq!(chunks[0].frame(&entries[2]), truncate);
    assert_eq!((entries[3].operation, entries[3].relation), (Operation::Message, None));

    let journaled = Some(Position::new(Lsn(100), 1));
    let chunks = cut(&mut cutter(Have { received: Lsn(0), journaled }), &frames);
    assert_eq!(positions(&chunks), [(100, 2), (100, 3)]);
}

fn lone(lsn: u64) -> Vec<u8> {
    let mut out = Vec::new();
    build::message(false, Lsn(lsn), "p", b"c", &mut out).unwrap();
    out
}

#[test]
fn a_message_outside_a_transaction_stands_alone_at_the_last_byte_of_its_record() {
    let frames = [begin(100), insert(7, "1"), commit(100), lone(120)];
    let chunks = cut(&mut cutter(Have::default()), &frames);
    assert_eq!(positions(&chunks), [(100, 0), (119, 0)]);
    let own = chunks[0].transactions[1];
    assert_eq!((own.end_lsn, own.xid, own.commit_time), (Some(Lsn(120)), None, None));
    let had = Position::new(Lsn(119), 0);
    for (received, journaled) in [(120, None), (105, Some(had)), (120, Some(had))] {
        let chunks = cut(&mut cutter(Have { received: Lsn(received), journaled }), &frames);
        assert!(chunks.iter().all(|chunk| chunk.entries.is_empty()), "{received} {journaled:?}");
    }
}

/// Postgres gives such a message the LSN behind its record, where the commit record of the
/// transaction that wrote it starts when nothing came between: both then had one position, and
/// the row counted as done with the message.
#[test]
fn a_message_and_the_commit_right_behind_it_have_positions_of_their_own() {
    let frames = [lone(100), begin(100), insert(7, "1"), commit(100), lone(105), lone(113)];
    let chunks = cut(&mut cutter(Have::default()), &frames);
    assert_eq!(positions(&chunks), [(99, 0), (100, 0), (104, 0), (112, 0)]);
    // The message alone is in the journal: the transaction still comes.
    let journaled = Some(Position::new(Lsn(99), 0));
    let chunks = cut(&mut cutter(Have { received: Lsn(100), journaled }), &frames);
    assert_eq!(positions(&chunks), [(100, 0), (104, 0), (112, 0)]);
}

#[test]
fn a_chunk_has_one_timeline_the_one_its_changes_were_written_on() {
    let frames = [begin(40), insert(7, "1"), commit(40), begin(60), insert(7, "2"), commit(60)];
    let chunks = cut(&mut cutter(Have::default()), &frames);
    let timelines: Vec<_> = chunks.iter().map(|chunk| chunk.timeline).collect();
    assert_eq!(timelines, [1, 2]);
}

#[test]
fn a_table_described_anew_gets_a_version_of_its_own() {
    let mut cutter = cutter(Have::default());
    cutter.push(&begin(100)).unwrap();
    cutter.push(&insert(7, "1")).unwrap();
    cutter.describe(table(7, "a"), None, 3);
    cutter.push(&insert(7, "2")).unwrap();
    cutter.describe(table(7, "renamed"), None, 4);
    cutter.push(&insert(7, "3")).unwrap();
    let chunk = cutter.cut().unwrap();
    let names: Vec<_> = chunk.relations.iter().map(|relation| relation.name.as_str()).collect();
    assert_eq!(names, ["a", "renamed"]);
    let used: Vec<_> = chunk.entries.iter().map(|entry| entry.relation).collect();
    assert_eq!(used, [Some(0), Some(0), Some(1)]);
}

/// The table is described in the transaction, then anew outside, and only then does the transaction
/// commit: its rows have the old shape, those behind it the new one.
#[test]
fn a_replayed_transaction_keeps_its_shapes_to_itself_where_newer_ones_are_known() {
    let mut cutter = cutter(Have::default());
    let mut name = |arrived: &[(u64, &str)]| {
        cutter.begin_replay();
        cutter.push(&begin(cutter.newest.0 + 10)).unwrap();
        for (arrived, name) in arrived {
            cutter.describe(table(7, name), None, *arrived);
            cutter.push(&insert(7, "1")).unwrap();
        }
        cutter.push(&commit(cutter.newest.0)).unwrap();
        cutter.end_replay();
        cutter.push(&begin(cutter.newest.0 + 10)).unwrap();
        cutter.push(&insert(7, "1")).unwrap();
        cutter.push(&commit(cutter.newest.0)).unwrap();
        let chunk = cutter.cut().unwrap();
        let of = |entry| chunk.relation(entry).unwrap().name.clone();
        chunk.entries.iter().map(of).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(name(&[(5, "b"), (6, "c")]), "b c c", "the newest that is known");
    assert_eq!(name(&[(3, "a"), (4, "d")]), "a d c", "older than what is known");
    assert_eq!(name(&[(4, "d"), (7, "c"), (8, "d")]), "d c d d");
    assert_eq!(name(&[]), "d");
}

#[test]
fn a_broken_order_is_an_error_never_a_guess() {
    for frames in [
        vec![insert(7, "1")],
        vec![begin(100), insert(99, "1")],
        vec![begin(100), begin(200)],
        vec![commit(100)],
        vec![begin(100), commit(100), begin(100)],
        vec![begin(100), commit(100), begin(90)],
        vec![begin(100), commit(100), lone(101)],
        vec![lone(100), lone(100)],
        vec![begin(100), b"I\0".to_vec()],
        vec![b"?".to_vec()],
        vec![Vec::new()],
    ] {
        let mut cutter = cutter(Have::default());
        let error = frames.iter().find_map(|frame| cutter.push(frame).err());
        let Some(error) = error else { panic!("{frames:?}") };
        assert_eq!(error.ends_run(), Some(Ending::Halted), "{error}: it would come again");
    }
}

#[test]
fn the_newest_commit_is_known_after_its_end() {
    let mut cutter = cutter(Have::default());
    assert_eq!(cutter.commit_time(), None);
    cut(&mut cutter, &[begin(100), insert(7, "1")]);
    assert_eq!(cutter.commit_time(), Some(Timestamp(1)));
    cut(&mut cutter, &[commit(100), lone(120)]);
    assert_eq!(cutter.commit_time(), Some(Timestamp(1)));
}
