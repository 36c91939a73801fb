//! The transactions of `PREPARE TRANSACTION`, from slots made with `two_phase`.

use super::field::{flags, lsn, time};
use crate::lsn::{Lsn, Timestamp, Xid};
use crate::pgoutput::Error;
use crate::pgoutput::cursor::Cursor;

/// Wire: `Byte1('b') Int64(prepare LSN) Int64(end LSN) Int64(prepare time) Int32(xid) String(gid)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeginPrepare<'a> {
    /// Where the prepare record starts.
    pub prepare_lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// When it was prepared.
    pub prepare_time: Timestamp,
    /// The transaction's id.
    pub xid: Xid,
    /// The name given to `PREPARE TRANSACTION`.
    pub gid: &'a str,
}

impl<'a> BeginPrepare<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        Ok(Self {
            prepare_lsn: lsn(cursor, "prepare LSN")?,
            end_lsn: lsn(cursor, "end LSN")?,
            prepare_time: time(cursor, "prepare time")?,
            xid: Xid(cursor.int32("xid")?),
            gid: cursor.string("gid")?,
        })
    }
}

/// Wire: `Byte1('P'|'p') Int8(flags, 0) Int64(prepare LSN) Int64(end LSN) Int64(prepare time)
/// Int32(xid) String(gid)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepare<'a> {
    /// Where the prepare record starts.
    pub prepare_lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// When it was prepared.
    pub prepare_time: Timestamp,
    /// The transaction's id.
    pub xid: Xid,
    /// The name given to `PREPARE TRANSACTION`.
    pub gid: &'a str,
}

impl<'a> Prepare<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        flags(cursor, 0, "prepare flags")?;
        Ok(Self {
            prepare_lsn: lsn(cursor, "prepare LSN")?,
            end_lsn: lsn(cursor, "end LSN")?,
            prepare_time: time(cursor, "prepare time")?,
            xid: Xid(cursor.int32("xid")?),
            gid: cursor.string("gid")?,
        })
    }
}

/// Wire: `Byte1('K') Int8(flags, 0) Int64(commit LSN) Int64(end LSN) Int64(commit time) Int32(xid)
/// String(gid)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPrepared<'a> {
    /// Where the record of `COMMIT PREPARED` starts.
    pub commit_lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// When it committed.
    pub commit_time: Timestamp,
    /// The transaction's id.
    pub xid: Xid,
    /// The name given to `PREPARE TRANSACTION`.
    pub gid: &'a str,
}

impl<'a> CommitPrepared<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        flags(cursor, 0, "commit prepared flags")?;
        Ok(Self {
            commit_lsn: lsn(cursor, "commit LSN")?,
            end_lsn: lsn(cursor, "end LSN")?,
            commit_time: time(cursor, "commit time")?,
            xid: Xid(cursor.int32("xid")?),
            gid: cursor.string("gid")?,
        })
    }
}

/// Wire: `Byte1('r') Int8(flags, 0) Int64(prepare end LSN) Int64(rollback end LSN)
/// Int64(prepare time) Int64(rollback time) Int32(xid) String(gid)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollbackPrepared<'a> {
    /// Where the prepare record ended.
    pub prepare_end_lsn: Lsn,
    /// Where the record of `ROLLBACK PREPARED` ends.
    pub rollback_end_lsn: Lsn,
    /// When it was prepared.
    pub prepare_time: Timestamp,
    /// When it was rolled back.
    pub rollback_time: Timestamp,
    /// The transaction's id.
    pub xid: Xid,
    /// The name given to `PREPARE TRANSACTION`.
    pub gid: &'a str,
}

impl<'a> RollbackPrepared<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        flags(cursor, 0, "rollback prepared flags")?;
        Ok(Self {
            prepare_end_lsn: lsn(cursor, "prepare end LSN")?,
            rollback_end_lsn: lsn(cursor, "rollback end LSN")?,
            prepare_time: time(cursor, "prepare time")?,
            rollback_time: time(cursor, "rollback time")?,
            xid: Xid(cursor.int32("xid")?),
            gid: cursor.string("gid")?,
        })
    }
}
