//! Where a transaction starts and ends, and where it came from.

use super::field::{flags, lsn, time};
use crate::lsn::{Lsn, Timestamp, Xid};
use crate::pgoutput::Error;
use crate::pgoutput::cursor::Cursor;

/// Wire: `Byte1('B') Int64(final LSN) Int64(commit time) Int32(xid)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Where the commit record starts.
    pub commit_lsn: Lsn,
    /// When it committed.
    pub commit_time: Timestamp,
    /// The transaction's id.
    pub xid: Xid,
}

impl Begin {
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        Ok(Self {
            commit_lsn: lsn(cursor, "final LSN")?,
            commit_time: time(cursor, "commit time")?,
            xid: Xid(cursor.int32("xid")?),
        })
    }
}

/// Wire: `Byte1('C') Int8(flags, 0) Int64(commit LSN) Int64(end LSN) Int64(commit time)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Where the commit record starts.
    pub commit_lsn: Lsn,
    /// Where it ends: what may be confirmed.
    pub end_lsn: Lsn,
    /// When it committed.
    pub commit_time: Timestamp,
}

impl Commit {
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        flags(cursor, 0, "commit flags")?;
        Ok(Self {
            commit_lsn: lsn(cursor, "commit LSN")?,
            end_lsn: lsn(cursor, "end LSN")?,
            commit_time: time(cursor, "commit time")?,
        })
    }
}

/// Wire: `Byte1('O') Int64(LSN) String(name)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Where it committed on the server it came from.
    pub lsn: Lsn,
    /// The origin's name.
    pub name: &'a str,
}

impl<'a> Origin<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        Ok(Self { lsn: lsn(cursor, "origin LSN")?, name: cursor.string("origin name")? })
    }
}
