//! [`Replay`]: a transaction that was held, message by message as it would have come at its commit.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};

use super::record;
use super::spill::File;
use super::undone::Undone;
use crate::lsn::{Lsn, Timestamp, Xid};
use crate::pgoutput::build;
use crate::source::Error;

/// Who ended, where and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) xid: Xid,
    pub(super) commit_lsn: Lsn,
    pub(super) end_lsn: Lsn,
    pub(super) commit_time: Timestamp,
}

/// What was held of it.
pub(super) struct Parts {
    /// What is on disk, and how much.
    pub(super) file: Option<(Arc<File>, u64)>,
    /// What came after that.
    pub(super) memory: Vec<u8>,
    pub(super) undone: Undone,
}

/// What is in the buffer, and how far the file was read.
type Reading = JoinHandle<Result<(Vec<u8>, u64), Error>>;

/// See the module. Holds no more than a piece of it in memory.
pub(in crate::source) struct Replay {
    undone: Undone,
    file: Option<(Arc<File>, u64)>,
    /// So much of the file was read.
    offset: u64,
    reading: Option<Reading>,
    buffer: Vec<u8>,
    /// The first byte of `buffer` that is not done.
    at: usize,
    /// What comes when the file and the buffer are done.
    rest: VecDeque<Vec<u8>>,
}

/// One message.
pub(in crate::source) struct Piece<'a> {
    pub(in crate::source) frame: &'a [u8],
    /// Of a Relation message: how many of them came before.
    pub(in crate::source) arrived: Option<u64>,
}

impl Replay {
    pub(super) fn new(end: End, parts: Parts) -> Result<Self, Error> {
        let End { xid, commit_lsn, end_lsn, commit_time } = end;
        let framed = |frame: &[u8]| {
            let mut record = Vec::new();
            if let Some((kind, rest)) = frame.split_first() {
                record::write(xid, *kind, rest, None, &mut record)?;
            }
            Ok::<_, Error>(record)
        };
        let (mut begin, mut commit) = (Vec::new(), Vec::new());
        build::begin(commit_lsn, commit_time, xid, &mut begin);
        build::commit(commit_lsn, end_lsn, commit_time, &mut commit);
        let Parts { file, memory, undone } = parts;
        Ok(Self {
            undone,
            file,
            offset: 0,
            reading: None,
            buffer: framed(&begin)?,
            at: 0,
            rest: VecDeque::from([memory, framed(&commit)?]),
        })
    }

    /// Returns the next message of what was not undone; none when [`fill`](Self::fill) has to bring
    /// it. Of subtransactions that were undone the shapes of tables are left: the server takes them
    /// for known.
    pub(in crate::source) fn peek(&mut self) -> Option<Piece<'_>> {
        while let Some((record, length)) = record::read(self.left())
            && record.arrived.is_none()
            && self.undone.has(record.xid)
        {
            self.at += length;
        }
        let (record, _) = record::read(self.left())?;
        Some(Piece { frame: record.frame, arrived: record.arrived })
    }

    /// Goes on behind the message that [`peek`](Self::peek) returned.
    pub(in crate::source) fn advance(&mut self) {
        if let Some(length) = record::whole(self.left()) {
            self.at += length;
        }
    }

    fn left(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Brings what follows; returns whether there was anything.
    ///
    /// Cancel safety: nothing is lost; what was read waits for the next call.
    pub(in crate::source) async fn fill(&mut self) -> Result<bool, Error> {
        if let Some((file, length)) = &self.file
            && (self.reading.is_some() || self.offset < *length)
        {
            let (offset, length) = (self.offset, *length);
            let reading = self.reading.get_or_insert_with(|| {
                let mut buffer = std::mem::take(&mut self.buffer);
                buffer.drain(..self.at.min(buffer.len()));
                self.at = 0;
                let file = Arc::clone(file);
                spawn_blocking(move || {
                    let offset = file.read(&mut buffer, offset, length)?;
                    Ok((buffer, offset))
                })
            });
            let read = reading.await;
            self.reading = None;
            (self.buffer, self.offset) = read.map_err(|_| super::interrupted())??;
            return Ok(true);
        }
        if !self.left().is_empty() {
            return Err(Error::Unreadable { what: "half a message in what was held" });
        }
        // The file is done with.
        self.file = None;
        self.at = 0;
        let next = self.rest.pop_front();
        let is_more = next.is_some();
        self.buffer = next.unwrap_or_default();
        Ok(is_more)
    }
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("offset", &self.offset).finish_non_exhaustive()
    }
}
