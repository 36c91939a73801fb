//! Fields that several messages have, each read by its name.

use crate::lsn::{Lsn, Timestamp};
use crate::pgoutput::Error;
use crate::pgoutput::cursor::Cursor;

pub(super) fn lsn(cursor: &mut Cursor<'_>, field: &'static str) -> Result<Lsn, Error> {
    cursor.int64(field).map(Lsn)
}

pub(super) fn time(cursor: &mut Cursor<'_>, field: &'static str) -> Result<Timestamp, Error> {
    cursor.signed64(field).map(Timestamp)
}

/// Reads a byte of flags of which only those of `known` may be set.
pub(super) fn flags(cursor: &mut Cursor<'_>, known: u8, field: &'static str) -> Result<u8, Error> {
    let marker = cursor.byte(field)?;
    if marker & !known == 0 { Ok(marker) } else { Err(Error::UnknownMarker { field, marker }) }
}

/// An empty string on the wire stands for `pg_catalog`.
pub(super) const fn namespace(name: &str) -> &str {
    if name.is_empty() { "pg_catalog" } else { name }
}
