//! Messages from bytes: what is built reads back, and what is broken is an error.

use proptest::prelude::*;

use super::{Message, Part, StreamAbort, StreamStart, parse, parse_part, part};
use crate::change::{Cell, Images};
use crate::lsn::{Lsn, Oid, Timestamp, Xid};
use crate::pgoutput::build::{self, Old};
use crate::pgoutput::{Error, images};
use crate::relation::{Column, Kind, Relation, ReplicaIdentity};

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
        [&b"S"[..], &xid, &[1]].concat(),
        b"E".to_vec(),
        [&b"c"[..], &xid, &[0], &lsns, &[2; 8]].concat(),
        [&b"A"[..], &xid, &[0, 0, 0, 10]].concat(),
    ]);
    frames
}

pub(super) fn relation() -> Relation {
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
        formerly: None,
    }
}

#[test]
fn every_kind_of_message_is_recognised() {
    let names: Vec<_> = frames().iter().map(|frame| parse(frame).unwrap().name()).collect();
    assert_eq!(
        names.join(" "),
        "Begin Commit Relation Insert Update Update Update Delete Delete Truncate Message Type \
         Origin Begin Prepare Prepare Commit Prepared Stream Prepare Rollback Prepared Stream \
         Start Stream Stop Stream Commit Stream Abort"
    );
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
        let error = parse(&frame).unwrap_err();
        // Of an abort what follows may be where it was.
        let expected = if frame[0] == b'A' {
            Error::Truncated { field: "abort LSN" }
        } else {
            Error::Trailing { message: parse(&frame[..frame.len() - 1]).unwrap().name(), bytes: 1 }
        };
        assert_eq!(error, expected, "{frame:?}");
    }
}

#[test]
fn what_was_not_asked_for_is_named() {
    assert_eq!(parse(b""), Err(Error::Empty));
    assert_eq!(parse(b"?\0\0\0\x01\x01"), Err(Error::UnknownKind { kind: b'?' }));
    let binary = b"I\0\0\0\x09N\0\x01b\0\0\0\x01x";
    assert_eq!(parse(binary), Err(Error::Binary));
    assert_eq!(images(binary, &mut Images::default()), Err(Error::Binary));
    let error = parse(b"I\0\0\0\x09N\0\x01t\0\0\0\x05x").unwrap_err();
    assert_eq!(error.to_string(), "pgoutput frame ends inside `column value`");
    assert_eq!(parse(b"Y\0\0\0\x09\xff\0\0"), Err(Error::NotUtf8 { field: "type namespace" }));
}

/// What the server would send of a change of `xid` while its transaction is open.
fn streamed(frame: &[u8], xid: Xid) -> Vec<u8> {
    [&frame[..1], &xid.0.to_be_bytes(), &frame[1..]].concat()
}

#[test]
fn a_part_of_an_open_transaction_says_who_made_it_and_is_the_same_else() {
    for frame in frames() {
        let within = streamed(&frame, Xid(790));
        if b"RYIUDTM".contains(&frame[0]) {
            assert_eq!(parse_part(&within), Ok((Xid(790), parse(&frame).unwrap())));
            let rest = &frame[1..];
            assert_eq!(part(&within), Ok(Part { kind: frame[0], xid: Xid(790), rest }));
            for length in 0..within.len() {
                assert!(parse_part(&within[..length]).is_err(), "{:?}", &within[..length]);
            }
            assert!(parse_part(&[&within[..], b"\0"].concat()).is_err());
        } else {
            assert_eq!(part(&within), Err(Error::UnknownKind { kind: frame[0] }));
        }
    }
}

#[test]
fn an_abort_tells_where_it_was_when_it_was_asked_to() {
    let ids = [0, 0, 0, 9, 0, 0, 0, 10];
    let frame = [&b"A"[..], &ids, &5_u64.to_be_bytes(), &7_i64.to_be_bytes()].concat();
    let abort = Some((Lsn(5), Timestamp(7)));
    let expected = StreamAbort { xid: Xid(9), subxid: Xid(10), abort };
    assert_eq!(parse(&frame), Ok(Message::StreamAbort(expected)));
    let expected = StreamAbort { abort: None, ..expected };
    assert_eq!(parse(&frame[..9]), Ok(Message::StreamAbort(expected)));
    for length in 10..frame.len() {
        assert!(matches!(parse(&frame[..length]), Err(Error::Truncated { .. })), "{length}");
    }
    let first = StreamStart { xid: Xid(9), is_first: true };
    assert_eq!(parse(b"S\0\0\0\x09\x01"), Ok(Message::StreamStart(first)));
    let unknown = Error::UnknownMarker { field: "first part of a stream", marker: 2 };
    assert_eq!(parse(b"S\0\0\0\x09\x02"), Err(unknown));
}

proptest! {
    #[test]
    fn no_bytes_panic_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        let _ = parse_part(&bytes);
        let _ = images(&bytes, &mut Images::default());
    }

    #[test]
    fn a_damaged_frame_is_read_alike_by_both_ways(
        which in 0..22_usize, at in any::<prop::sample::Index>(), byte in any::<u8>()
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
