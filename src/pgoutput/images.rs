//! The fast path: where the values of a row change lie in its frame, without an allocation.

use super::Error;
use super::cursor::Cursor;
use crate::change::{Change, Image, Images, Slot};
use crate::chunk::{Chunk, Entry, Operation};

/// Fills `out` with the row images of an Insert, Update or Delete message. For Truncate and
/// Message both images are left out.
///
/// `out` keeps its memory from call to call. After an error it holds nothing of worth.
///
/// # Errors
/// When the frame is not a whole message with text values, or has bytes left over.
pub fn images(frame: &[u8], out: &mut Images) -> Result<(), Error> {
    out.new.present = false;
    out.new.slots.clear();
    out.old.present = false;
    out.old.slots.clear();
    out.old_is_full = false;
    // Offsets below are 32 bits wide; Postgres itself sends no message above 1 GiB.
    let end = u32::try_from(frame.len()).map_err(|_| Error::TooLong)?;
    let mut cursor = Cursor::new(frame);
    match cursor.byte("kind").map_err(|_| Error::Empty)? {
        b'I' => {
            cursor.int32("relation")?;
            new_row(&mut cursor, end, out)?;
            cursor.end("Insert")
        }
        b'U' => {
            cursor.int32("relation")?;
            if matches!(cursor.rest().first(), Some(b'K' | b'O')) {
                old_row(&mut cursor, end, out)?;
            }
            new_row(&mut cursor, end, out)?;
            cursor.end("Update")
        }
        b'D' => {
            cursor.int32("relation")?;
            old_row(&mut cursor, end, out)?;
            cursor.end("Delete")
        }
        b'T' | b'M' => Ok(()),
        kind => Err(Error::UnknownKind { kind }),
    }
}

/// Joins an entry of a chunk with its table, its transaction and its row images.
///
/// `images` is memory that the caller keeps between changes.
///
/// # Errors
/// When the frame is malformed, when a row does not have as many values as its relation has
/// columns, or when the chunk's index lies.
pub fn change<'a>(
    chunk: &'a Chunk,
    entry: &'a Entry,
    images: &'a mut Images,
) -> Result<Change<'a>, Error> {
    let frame = chunk.frame(entry);
    self::images(frame, images)?;
    let transaction = chunk.transaction(entry).ok_or(Error::Index)?;
    let relation = chunk.relation(entry);
    let expected_kind = match entry.operation {
        Operation::Read | Operation::Insert => b'I',
        Operation::Update => b'U',
        Operation::Delete => b'D',
        Operation::Truncate => b'T',
        Operation::Message => b'M',
    };
    if frame.first() != Some(&expected_kind)
        || relation.is_none() != (entry.operation == Operation::Message)
    {
        return Err(Error::Index);
    }
    let expected = relation.map_or(0, |relation| relation.columns.len());
    for image in [&images.new, &images.old] {
        if image.present && image.slots.len() != expected {
            return Err(Error::ColumnCount { expected, found: image.slots.len() });
        }
    }
    Ok(Change { operation: entry.operation, relation, transaction, seq: entry.seq, frame, images })
}

fn new_row(cursor: &mut Cursor<'_>, end: u32, out: &mut Images) -> Result<(), Error> {
    match cursor.byte("new row marker")? {
        b'N' => image(cursor, end, &mut out.new),
        marker => Err(Error::UnknownMarker { field: "new row marker", marker }),
    }
}

fn old_row(cursor: &mut Cursor<'_>, end: u32, out: &mut Images) -> Result<(), Error> {
    out.old_is_full = match cursor.byte("old row marker")? {
        b'K' => false,
        b'O' => true,
        marker => return Err(Error::UnknownMarker { field: "old row marker", marker }),
    };
    image(cursor, end, &mut out.old)
}

/// Reads one `TupleData`. `end` is the length of the whole frame: what lies before the cursor
/// is that less what remains.
fn image(cursor: &mut Cursor<'_>, end: u32, out: &mut Image) -> Result<(), Error> {
    let count = cursor.int16("column count")?;
    out.present = true;
    // A column takes a byte at least, so a count that lies reserves no more than the frame.
    out.slots.reserve(usize::from(count).min(cursor.remaining()));
    for _ in 0..count {
        let slot = match cursor.byte("column kind")? {
            b't' => {
                let length = cursor.int32("column length")?;
                let remaining = u32::try_from(cursor.remaining()).map_err(|_| Error::TooLong)?;
                cursor.bytes(length, "column value")?;
                Slot::Value { offset: end.saturating_sub(remaining), length }
            }
            b'n' => Slot::Null,
            b'u' => Slot::Unchanged,
            b'b' => return Err(Error::Binary),
            marker => return Err(Error::UnknownMarker { field: "column kind", marker }),
        };
        out.slots.push(slot);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::change::Cell;
    use crate::chunk::Transaction;
    use crate::lsn::{Lsn, Oid};
    use crate::pgoutput::build::{self, Old};
    use crate::relation::{Column, Kind, Relation, ReplicaIdentity};

    fn chunk(frame: Vec<u8>, operation: Operation, columns: usize) -> Chunk {
        let column = |index| Column {
            name: format!("c{index}"),
            type_oid: Oid(25),
            type_modifier: -1,
            in_identity: index == 0,
            kind: Kind::Text,
        };
        let relation = Relation {
            oid: Oid(9),
            namespace: "public".to_owned(),
            name: "t".to_owned(),
            identity: ReplicaIdentity::Default,
            columns: (0..columns).map(column).collect(),
            primary_key: vec![0],
            formerly: None,
        };
        let transaction =
            Transaction { commit_lsn: Lsn(1), end_lsn: None, xid: None, commit_time: None };
        let relation = Some(Arc::new(relation));
        Chunk::of_one(1, transaction, relation, 0, operation, Bytes::from(frame)).unwrap()
    }

    #[track_caller]
    fn refused(chunk: &Chunk, expected: &Error) {
        let mut images = Images::default();
        assert_eq!(&change(chunk, &chunk.entries[0], &mut images).unwrap_err(), expected);
    }

    #[test]
    fn a_null_outside_the_key_of_an_old_key_was_not_sent() {
        let mut frame = Vec::new();
        let key = [Cell::Value(b"1"), Cell::Null];
        let new = [Cell::Value(b"2"), Cell::Unchanged];
        build::update(Oid(9), Some(Old::Key(&key)), &new, &mut frame).unwrap();
        let chunk = chunk(frame, Operation::Update, 2);
        let mut images = Images::default();
        let change = change(&chunk, &chunk.entries[0], &mut images).unwrap();
        let old: Vec<_> = (0..3).map(|index| change.old_cell(index)).collect();
        assert_eq!(old, [Cell::Value(b"1"), Cell::Unchanged, Cell::Absent]);
        let new: Vec<_> = (0..3).map(|index| change.new_cell(index)).collect();
        assert_eq!(new, [Cell::Value(b"2"), Cell::Unchanged, Cell::Absent]);
    }

    #[test]
    fn a_full_old_row_fills_what_did_not_change() {
        let mut frame = Vec::new();
        let old = [Cell::Value(b"1"), Cell::Value(b"big")];
        let new = [Cell::Null, Cell::Unchanged];
        build::update(Oid(9), Some(Old::Full(&old)), &new, &mut frame).unwrap();
        let chunk = chunk(frame, Operation::Update, 2);
        let mut images = Images::default();
        let change = change(&chunk, &chunk.entries[0], &mut images).unwrap();
        assert_eq!([change.new_cell(0), change.new_cell(1)], [Cell::Null, Cell::Value(b"big")]);
    }

    #[test]
    fn a_row_that_does_not_fit_its_relation_is_refused() {
        let mut frame = Vec::new();
        build::insert(Oid(9), &[Cell::Null, Cell::Null], &mut frame).unwrap();
        let error = Error::ColumnCount { expected: 1, found: 2 };
        refused(&chunk(frame.clone(), Operation::Insert, 1), &error);
        refused(&chunk(frame.clone(), Operation::Delete, 2), &Error::Index);
        refused(&chunk(frame.clone(), Operation::Message, 2), &Error::Index);
        let mut beyond = chunk(frame, Operation::Insert, 2);
        beyond.entries[0].offset = 5;
        refused(&beyond, &Error::Empty);
    }

    #[test]
    fn a_table_without_columns_has_rows_all_the_same() {
        let mut frame = Vec::new();
        build::insert(Oid(9), &[], &mut frame).unwrap();
        let chunk = chunk(frame, Operation::Insert, 0);
        let mut images = Images::default();
        let change = change(&chunk, &chunk.entries[0], &mut images).unwrap();
        assert!(change.images.new.present);
        assert_eq!(change.new_cell(0), Cell::Absent);
    }
}
