//! [`Tuple`]: a row of a change, and the values in it.

use crate::change::Cell;
use crate::pgoutput::Error;
use crate::pgoutput::cursor::Cursor;

/// A row as it lies in its frame, checked to its last byte.
///
/// Wire: `TupleData = Int16(columns)`, then a column: `Byte1('n')` NULL, `Byte1('u')` unchanged
/// TOAST, or `Byte1('t') Int32(length) Byten` text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple<'a> {
    columns: u16,
    data: &'a [u8],
}

impl<'a> Tuple<'a> {
    /// Walks a row to its end, so that [`Self::cells`] can't fail later.
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        let columns = cursor.int16("column count")?;
        let data = cursor.rest();
        for _ in 0..columns {
            cell(cursor)?;
        }
        let length = data.len().saturating_sub(cursor.remaining());
        Ok(Self { columns, data: data.get(..length).unwrap_or_default() })
    }

    /// Returns how many columns it has.
    #[must_use]
    pub const fn columns(self) -> u16 {
        self.columns
    }

    /// Returns the values in order. In an old key image, what lies outside the key comes as NULL,
    /// as it does on the wire.
    #[must_use]
    pub const fn cells(self) -> TupleCells<'a> {
        TupleCells { remaining: self.columns, cursor: Cursor::new(self.data) }
    }
}

/// The values of a [`Tuple`].
#[derive(Clone, Copy, Debug)]
pub struct TupleCells<'a> {
    remaining: u16,
    cursor: Cursor<'a>,
}

impl<'a> Iterator for TupleCells<'a> {
    type Item = Cell<'a>;

    fn next(&mut self) -> Option<Cell<'a>> {
        self.remaining = self.remaining.checked_sub(1)?;
        cell(&mut self.cursor).ok()
    }
}

fn cell<'a>(cursor: &mut Cursor<'a>) -> Result<Cell<'a>, Error> {
    match cursor.byte("column kind")? {
        b't' => {
            let length = cursor.int32("column length")?;
            cursor.bytes(length, "column value").map(Cell::Value)
        }
        b'n' => Ok(Cell::Null),
        b'u' => Ok(Cell::Unchanged),
        b'b' => Err(Error::Binary),
        marker => Err(Error::UnknownMarker { field: "column kind", marker }),
    }
}
