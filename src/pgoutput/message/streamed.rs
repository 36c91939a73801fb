//! Transactions that come while they are still open (protocol 2 and later).

use super::field::{flags, lsn, time};
use crate::lsn::{Lsn, Timestamp, Xid};
use crate::pgoutput::Error;
use crate::pgoutput::cursor::Cursor;

/// What follows up to the next Stream Stop is a part of this transaction, and each change of it
/// names the transaction or subtransaction that made it.
///
/// Wire: `Byte1('S') Int32(xid) Int8(1 for the first part)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamStart {
    /// The transaction's id.
    pub xid: Xid,
    /// Nothing of it came before.
    pub is_first: bool,
}

impl StreamStart {
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        let xid = Xid(cursor.int32("xid")?);
        Ok(Self { xid, is_first: flags(cursor, 1, "first part of a stream")? == 1 })
    }
}

/// Wire: `Byte1('c') Int32(xid) Int8(flags, 0) Int64(commit LSN) Int64(end LSN)
/// Int64(commit time)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamCommit {
    /// The transaction's id.
    pub xid: Xid,
    /// Where the commit record starts.
    pub commit_lsn: Lsn,
    /// Where it ends: what may be confirmed.
    pub end_lsn: Lsn,
    /// When it committed.
    pub commit_time: Timestamp,
}

impl StreamCommit {
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        let xid = Xid(cursor.int32("xid")?);
        flags(cursor, 0, "stream commit flags")?;
        Ok(Self {
            xid,
            commit_lsn: lsn(cursor, "commit LSN")?,
            end_lsn: lsn(cursor, "end LSN")?,
            commit_time: time(cursor, "commit time")?,
        })
    }
}

/// Wire: `Byte1('A') Int32(xid) Int32(subxid)`, and with `streaming 'parallel'`
/// `Int64(abort LSN) Int64(abort time)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamAbort {
    /// The transaction's id.
    pub xid: Xid,
    /// What is undone: a subtransaction of it, or all of it where the two are the same.
    pub subxid: Xid,
    /// Where the abort record ends and when it was, where the server was asked to tell. Zero when
    /// there is no such record: the transaction was open when the server crashed.
    pub abort: Option<(Lsn, Timestamp)>,
}

impl StreamAbort {
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        let (xid, subxid) = (Xid(cursor.int32("xid")?), Xid(cursor.int32("subxid")?));
        let abort = match cursor.remaining() {
            0 => None,
            _ => Some((lsn(cursor, "abort LSN")?, time(cursor, "abort time")?)),
        };
        Ok(Self { xid, subxid, abort })
    }
}

/// A message inside a streamed part, taken apart as far as it differs from one outside.
///
/// Wire: `Byte1('R'|'Y'|'I'|'U'|'D'|'T'|'M') Int32(xid)`, then as outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Its kind.
    pub kind: u8,
    /// The transaction or subtransaction that it is of.
    pub xid: Xid,
    /// What follows.
    pub rest: &'a [u8],
}

/// Parts the id from a message inside a streamed part. What follows it is not looked at.
///
/// # Errors
/// When it is not of a kind that can be there, or too short.
#[inline]
pub fn part(frame: &[u8]) -> Result<Part<'_>, Error> {
    let mut cursor = Cursor::new(frame);
    let kind = cursor.byte("kind").map_err(|_| Error::Empty)?;
    if !matches!(kind, b'I' | b'U' | b'D' | b'T' | b'M' | b'R' | b'Y') {
        return Err(Error::UnknownKind { kind });
    }
    let xid = Xid(cursor.int32("xid")?);
    Ok(Part { kind, xid, rest: cursor.rest() })
}
