//! Messages from bytes: what is built reads back, and what is broken is an error.

use proptest::prelude::*;

use super::{Message, parse};
use crate::change::{Cell, Image, Images};
use crate::lsn::{Lsn, Oid, Timestamp, Xid};
use crate::pgoutput::build::{self, Old};
use crate::pgoutput::{Error, images};
use crate::relation::{Column, Kind, Relation, ReplicaIdentity};

/// A value of a made-up row.
#[derive(Clone, Debug)]
enum Made {
    Null,
    Unchanged,
    Text(Vec<u8>),
}

fn cells(row: &[Made]) -> Vec<Cell<'_>> {
    let cell = |made| match made {
        &Made::Null => Cell::Null,
        Made::Unchanged => Cell::Unchanged,
        Made::Text(text) => Cell::Value(text.as_slice()),
    };
    row.iter().map(cell).collect()
}

fn rows() -> impl Strategy<Value = Vec<Made>> {
    let made = prop_oneof![
        Just(Made::Null),
        Just(Made::Unchanged),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Made::Text),
    ];
    prop::collection::vec(made, 0..12)
}

/// One frame of every kind that `build` makes, and the prepared ones by hand.
fn frames() -> Vec<Vec<u8>> {
    let row = [Cell::Value(b"1"), Cell::Null, Cell::Unchanged, Cell::Value(b"")];
    let build = |write: &dyn Fn(&mut Vec<u8>) -> Result<(), Error>| {
        let mut frame = Vec::new();
        write(&mut frame).unwrap();
        frame
    };
    let (mut begin, mut commit) = (Vec::new(), Vec::new());
    build::begin(Lsn(1), Timestamp(7), Xid(790), &mut begin);
    build::commit(Lsn(1), Lsn(2), Timestamp(7), &mut commit);
    let mut frames = vec![
        begin,
        commit,
        build(&|out| build::relation(&relation(), out)),
        build(&|out| build::insert(Oid(9), &row, out)),
        build(&|out| build::update(Oid(9), None, &row, out)),
        build(&|out| build::update(Oid(9), Some(Old::Key(&row)), &row, out)),
        build(&|out| build::update(Oid(9), Some(Old::Full(&row)), &row, out)),
        build(&|out| build::delete(Oid(9), Old::Key(&row), out)),
        build(&|out| build::delete(Oid(9), Old::Full(&row), out)),
        build(&|out| build::truncate(&[Oid(9), Oid(10)], true, true, out)),
        build(&|out| build::message(true, Lsn(3), "prefix", b"\0any", out)),
        b"Y\0\0\0\x09public\0mood\0".to_vec(),
        b"O\0\0\0\0\0\0\0\x05elsewhere\0".to_vec(),
    ];
    let (lsns, xid) = ([1; 16], [0, 0, 0, 9]);
    let prepared =
        |head: &[u8], times: usize| [head, &lsns, &vec![2; times * 8], &xid, b"gid\0"].concat();
    frames.extend([
        prepared(b"b", 1),
        prepared(b"P\0", 1),
        prepared(b"K\0", 1),
        prepared(b"p\0", 1),
        prepared(b"r\0", 2),
    ]);
    frames
}

fn relation() -> Relation {
    let column = |name: &str, in_identity| Column {
        name: name.to_owned(),
        type_oid: Oid(23),
        type_modifier: -1,
        in_identity,
        kind: Kind::Integer,
    };
    Relation {
        oid: Oid(9),
        namespace: "public".to_owned(),
        name: "Order Items".to_owned(),
        identity: ReplicaIdentity::Index,
        columns: vec![column("id", true), column("näme", false)],
        primary_key: Vec::new(),
    }
}

#[test]
fn every_kind_of_message_is_recognised() {
    let names: Vec<_> = frames().iter().map(|frame| parse(frame).unwrap().name()).collect();
    assert_eq!(
        names.join(" "),
        "Begin Commit Relation Insert Update Update Update Delete Delete Truncate Message Type \
         Origin Begin Prepare Prepare Commit Prepared Stream Prepare Rollback Prepared"
    );
}

#[test]
fn a_relation_reads_back_as_it_was_written() {
    let (made, mut frame) = (relation(), Vec::new());
    build::relation(&made, &mut frame).unwrap();
    let Message::Relation(read) = parse(&frame).unwrap() else { panic!("not a relation") };
    assert_eq!((read.oid, read.namespace, read.name), (Oid(9), "public", "Order Items"));
    assert_eq!(read.identity, ReplicaIdentity::Index);
    let columns: Vec<_> = read.columns.iter().map(|c| (c.name, c.in_identity)).collect();
    assert_eq!(columns, [("id", true), ("näme", false)]);
}

#[test]
fn the_empty_namespace_is_pg_catalog() {
    let Message::Type(read) = parse(b"Y\0\0\0\x09\0int4\0").unwrap() else { panic!("not a type") };
    assert_eq!((read.namespace, read.name), ("pg_catalog", "int4"));
}

#[test]
fn a_frame_cut_anywhere_or_followed_by_anything_is_an_error() {
    for mut frame in frames() {
        for length in 0..frame.len() {
            let cut = &frame[..length];
            assert!(parse(cut).is_err(), "{cut:?}");
            if matches!(cut.first(), Some(b'I' | b'U' | b'D')) {
                assert!(images(cut, &mut Images::default()).is_err(), "{cut:?}");
            }
        }
        frame.push(0);
        assert!(matches!(parse(&frame), Err(Error::Trailing { bytes: 1, .. })), "{frame:?}");
    }
}

#[test]
fn what_was_not_asked_for_is_named() {
    assert_eq!(parse(b""), Err(Error::Empty));
    assert_eq!(parse(b"S\0\0\0\x01\x01"), Err(Error::UnknownKind { kind: b'S' }));
    let binary = b"I\0\0\0\x09N\0\x01b\0\0\0\x01x";
    assert_eq!(parse(binary), Err(Error::Binary));
    assert_eq!(images(binary, &mut Images::default()), Err(Error::Binary));
    let error = parse(b"I\0\0\0\x09N\0\x01t\0\0\0\x05x").unwrap_err();
    assert_eq!(error.to_string(), "pgoutput frame ends inside `column value`");
    assert_eq!(parse(b"Y\0\0\0\x09\xff\0\0"), Err(Error::NotUtf8 { field: "type namespace" }));
    // A count of four billion tables reserves nothing.
    let lie = [b"T", &[0xFF; 4][..], b"\0", &[0; 12]].concat();
    assert_eq!(parse(&lie), Err(Error::Truncated { field: "truncated relation" }));
}

#[track_caller]
fn check_image(image: &Image, frame: &[u8], expected: Option<&[Made]>) {
    assert_eq!(image.present, expected.is_some());
    let expected = expected.unwrap_or_default();
    let found: Vec<_> = (0..image.slots.len()).map(|index| image.cell(frame, index)).collect();
    assert_eq!(found, cells(expected));
}

proptest! {
    #[test]
    fn rows_read_back_as_they_were_written(old in rows(), new in rows(), full in any::<bool>()) {
        let (old_cells, new_cells) = (cells(&old), cells(&new));
        let half = if full { Old::Full(&old_cells) } else { Old::Key(&old_cells) };
        let mut read = Images::default();
        let mut frame = Vec::new();

        build::update(Oid(9), Some(half), &new_cells, &mut frame).unwrap();
        let Message::Update(update) = parse(&frame).unwrap() else { panic!("not an update") };
        prop_assert_eq!(update.new.cells().collect::<Vec<_>>(), new_cells.clone());
        let (there, other) = if full { (update.old, update.key) } else { (update.key, update.old) };
        prop_assert_eq!(there.unwrap().cells().collect::<Vec<_>>(), old_cells.clone());
        prop_assert_eq!(other, None);
        images(&frame, &mut read).unwrap();
        check_image(&read.new, &frame, Some(&new));
        check_image(&read.old, &frame, Some(&old));
        prop_assert_eq!(read.old_is_full, full);

        frame.clear();
        build::insert(Oid(9), &new_cells, &mut frame).unwrap();
        images(&frame, &mut read).unwrap();
        check_image(&read.new, &frame, Some(&new));
        check_image(&read.old, &frame, None);
        prop_assert!(!read.old_is_full);

        frame.clear();
        build::delete(Oid(9), half, &mut frame).unwrap();
        images(&frame, &mut read).unwrap();
        check_image(&read.new, &frame, None);
        check_image(&read.old, &frame, Some(&old));
    }

    #[test]
    fn no_bytes_panic_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        let _ = images(&bytes, &mut Images::default());
    }

    #[test]
    fn a_damaged_frame_is_read_alike_by_both_ways(
        which in 0..18_usize, at in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let mut frame = frames().swap_remove(which);
        let at = at.index(frame.len());
        frame[at] = byte;
        let parsed = parse(&frame);
        if matches!(frame.first(), Some(b'I' | b'U' | b'D')) {
            let mut read = Images::default();
            prop_assert_eq!(parsed.err(), images(&frame, &mut read).err());
        }
    }
}
