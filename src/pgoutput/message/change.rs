//! The changes: rows, tables that were emptied, and logical messages.

use super::field::{flags, lsn};
use super::tuple::Tuple;
use crate::lsn::{Lsn, Oid};
use crate::pgoutput::Error;
use crate::pgoutput::cursor::Cursor;

/// Wire: `Byte1('I') Int32(relation) Byte1('N') TupleData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insert<'a> {
    /// The table's oid.
    pub relation: Oid,
    /// The new row.
    pub new: Tuple<'a>,
}

impl<'a> Insert<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        let relation = Oid(cursor.int32("relation")?);
        match cursor.byte("new row marker")? {
            b'N' => Ok(Self { relation, new: Tuple::read(cursor)? }),
            marker => Err(Error::UnknownMarker { field: "new row marker", marker }),
        }
    }
}

/// Wire: `Byte1('U') Int32(relation) [Byte1('K'|'O') TupleData] Byte1('N') TupleData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    /// The table's oid.
    pub relation: Oid,
    /// The old key, when it changed.
    pub key: Option<Tuple<'a>>,
    /// The old row, with `REPLICA IDENTITY FULL`.
    pub old: Option<Tuple<'a>>,
    /// The new row.
    pub new: Tuple<'a>,
}

impl<'a> Update<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        let relation = Oid(cursor.int32("relation")?);
        let (mut key, mut old) = (None, None);
        let mut marker = cursor.byte("row marker")?;
        match marker {
            b'K' => key = Some(Tuple::read(cursor)?),
            b'O' => old = Some(Tuple::read(cursor)?),
            _ => {}
        }
        if key.is_some() || old.is_some() {
            marker = cursor.byte("new row marker")?;
        }
        if marker != b'N' {
            return Err(Error::UnknownMarker { field: "new row marker", marker });
        }
        Ok(Self { relation, key, old, new: Tuple::read(cursor)? })
    }
}

/// Wire: `Byte1('D') Int32(relation) Byte1('K'|'O') TupleData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete<'a> {
    /// The table's oid.
    pub relation: Oid,
    /// The old key; exactly one of `key` and `old` is there.
    pub key: Option<Tuple<'a>>,
    /// The old row, with `REPLICA IDENTITY FULL`.
    pub old: Option<Tuple<'a>>,
}

impl<'a> Delete<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        let relation = Oid(cursor.int32("relation")?);
        match cursor.byte("old row marker")? {
            b'K' => Ok(Self { relation, key: Some(Tuple::read(cursor)?), old: None }),
            b'O' => Ok(Self { relation, key: None, old: Some(Tuple::read(cursor)?) }),
            marker => Err(Error::UnknownMarker { field: "old row marker", marker }),
        }
    }
}

/// Wire: `Byte1('T') Int32(relations) Int8(options: 1 cascade, 2 restart identity) Int32(oid)…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// `CASCADE`.
    pub cascade: bool,
    /// `RESTART IDENTITY`.
    pub restart_identity: bool,
    /// The tables' oids.
    pub relations: Vec<Oid>,
}

impl Truncate {
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        let count = cursor.int32("relation count")?;
        let options = flags(cursor, 0b11, "truncate options")?;
        // Checked before anything is reserved: a count that lies costs no memory.
        if cursor.remaining() / 4 < count as usize {
            return Err(Error::Truncated { field: "truncated relation" });
        }
        let relations = (0..count)
            .map(|_| cursor.int32("truncated relation").map(Oid))
            .collect::<Result<_, Error>>()?;
        Ok(Self { cascade: options & 1 != 0, restart_identity: options & 2 != 0, relations })
    }
}

/// Wire: `Byte1('M') Int8(flags: 1 transactional) Int64(LSN) String(prefix) Int32(length) Byten`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogicalMessage<'a> {
    /// Part of the transaction around it.
    pub transactional: bool,
    /// Where the message lies in the log.
    pub lsn: Lsn,
    /// Its prefix.
    pub prefix: &'a str,
    /// Its content: any bytes.
    pub content: &'a [u8],
}

impl<'a> LogicalMessage<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        let transactional = flags(cursor, 1, "message flags")? == 1;
        let lsn = lsn(cursor, "message LSN")?;
        let prefix = cursor.string("message prefix")?;
        let length = cursor.int32("message length")?;
        let content = cursor.bytes(length, "message content")?;
        Ok(Self { transactional, lsn, prefix, content })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Message, parse};
    use super::*;
    use crate::change::{Cell, Image, Images};
    use crate::pgoutput::build::{self, Old};
    use crate::pgoutput::images;

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

    #[track_caller]
    fn check_image(image: &Image, frame: &[u8], expected: Option<&[Made]>) {
        assert_eq!(image.present, expected.is_some());
        let expected = expected.unwrap_or_default();
        let found: Vec<_> = (0..image.slots.len()).map(|index| image.cell(frame, index)).collect();
        assert_eq!(found, cells(expected));
    }

    #[test]
    fn a_count_of_four_billion_tables_reserves_nothing() {
        let lie = [b"T", &[0xFF; 4][..], b"\0", &[0; 12]].concat();
        assert_eq!(parse(&lie), Err(Error::Truncated { field: "truncated relation" }));
    }

    proptest! {
        #[test]
        fn rows_read_back_as_they_were_written(
            old in rows(), new in rows(), full in any::<bool>()
        ) {
            let (old_cells, new_cells) = (cells(&old), cells(&new));
            let half = if full { Old::Full(&old_cells) } else { Old::Key(&old_cells) };
            let mut read = Images::default();
            let mut frame = Vec::new();

            build::update(Oid(9), Some(half), &new_cells, &mut frame).unwrap();
            let Message::Update(update) = parse(&frame).unwrap() else { panic!("not an update") };
            prop_assert_eq!(update.new.cells().collect::<Vec<_>>(), new_cells.clone());
            let Update { key, old: row, .. } = update;
            let (there, other) = if full { (row, key) } else { (key, row) };
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
    }
}
