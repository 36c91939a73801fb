//! [`Held`]: transactions that came before it is known whether they commit.
//!
//! Two kinds are held: those that the server streams while they are open, and those that are
//! prepared, from a slot made with `two_phase`. Their messages are kept as they came, in memory
//! and, past a bound, in files; once a transaction commits a [`Replay`] hands them on as if they
//! had only come then. What is rolled back never leaves here. Knows nothing of chunks.

mod record;
mod replay;
mod spill;
#[cfg(test)]
mod tests;
mod undone;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};

use self::replay::{End, Parts};
use self::spill::{File, Folder};
use self::undone::Undone;
use super::Error;
use crate::lsn::{Lsn, Xid};
use crate::pgoutput::{
    self, BeginPrepare, CommitPrepared, Message, Prepare, RollbackPrepared, StreamAbort,
    StreamCommit, StreamStart,
};

pub(super) use self::replay::Replay;
pub(super) use self::spill::clear;

/// So much of all of them is in memory; past it the largest goes to disk.
pub(super) const MEMORY_BYTES_MAX: usize = 16 << 20;

/// Once a transaction has a file, so much of it gathers before it is appended.
const APPEND_BYTES: usize = 1 << 20;

/// So many at once: as many as a server has backends at most.
const TRANSACTIONS_MAX: usize = 1 << 18;

/// What became of a message.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is not of a transaction that is held, or tells of a table to all.
    Passed,
    /// It is kept, or was about what is.
    Held,
    /// A transaction is prepared here: until it ends, the server must be able to send it again.
    Prepared(Xid, Lsn),
    /// A prepared transaction was rolled back.
    RolledBack(Xid),
    /// A transaction commits: here is what it did.
    Committed(Box<Ended>),
}

/// A transaction that was held and is not any more.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) replay: Replay,
    pub(super) xid: Xid,
    /// Where its commit record ends.
    pub(super) end_lsn: Lsn,
}

/// What the messages are of that come just now.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// Between Stream Start and Stream Stop.
    Streamed(Xid),
    /// Between Begin Prepare and Prepare.
    Preparing(Xid),
}

/// One transaction.
#[derive(Debug, Default)]
struct Transaction {
    /// What came after what is in the file.
    memory: Vec<u8>,
    file: Option<Arc<File>>,
    file_bytes: u64,
    undone: Undone,
    /// Some of it are logical messages.
    has_messages: bool,
    /// The name given to `PREPARE TRANSACTION`, once it is prepared.
    gid: Option<String>,
}

type Writing = JoinHandle<Result<(), Error>>;

/// See the module.
#[derive(Debug)]
pub(super) struct Held {
    folder: Folder,
    memory_bytes_max: usize,
    /// One may commit that never came: that it is missed was accepted.
    accepts_gap: bool,
    transactions: HashMap<Xid, Transaction>,
    part: Option<Part>,
    /// In memory, of all.
    bytes: usize,
    /// The one that has to go to disk.
    due: Option<Xid>,
    writing: Option<Writing>,
    arrivals: u64,
}

impl Held {
    pub(super) fn new(folder: PathBuf, memory_bytes_max: usize, accepts_gap: bool) -> Self {
        Self {
            folder: Folder::new(folder),
            memory_bytes_max,
            accepts_gap,
            transactions: HashMap::new(),
            part: None,
            bytes: 0,
            due: None,
            writing: None,
            arrivals: 0,
        }
    }

    /// Whether a part of one has begun and not ended.
    pub(super) const fn is_within(&self) -> bool {
        self.part.is_some()
    }

    /// Whether [`spill`](Self::spill) has to be called before the next message.
    pub(super) const fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// Counts a Relation message.
    pub(super) const fn arrival(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }

    /// Takes one pgoutput message, or passes it on.
    #[inline]
    pub(super) fn take(&mut self, frame: &[u8]) -> Result<Taken, Error> {
        let kind = frame.first().copied();
        match (self.part, kind) {
            (None, Some(b'S' | b'E' | b'c' | b'A' | b'b' | b'P' | b'K' | b'r' | b'p')) => {
                self.outside(frame)
            }
            (None, _) => Ok(Taken::Passed),
            (Some(Part::Streamed(xid)), _) => self.streamed(xid, frame),
            (Some(Part::Preparing(xid)), _) => self.preparing(xid, frame),
        }
    }

    fn outside(&mut self, frame: &[u8]) -> Result<Taken, Error> {
        match pgoutput::parse(frame).map_err(Error::Pgoutput)? {
            Message::StreamStart(start) => self.start(start),
            Message::StreamCommit(commit) => self.commit(commit),
            Message::StreamAbort(abort) => self.abort(abort),
            Message::BeginPrepare(begin) => self.begin_prepare(begin),
            Message::StreamPrepare(prepare) => self.prepare(prepare),
            Message::CommitPrepared(commit) => self.commit_prepared(commit),
            Message::RollbackPrepared(rollback) => Ok(self.roll_back_prepared(rollback)),
            _ => Err(Error::Unreadable { what: "the end of a part that never began" }),
        }
    }

    /// A message between Stream Start and Stream Stop.
    fn streamed(&mut self, top: Xid, frame: &[u8]) -> Result<Taken, Error> {
        match frame.first() {
            Some(b'E') => {
                pgoutput::parse(frame).map_err(Error::Pgoutput)?;
                self.part = None;
            }
            // Nothing in it that an event tells.
            Some(b'O') => drop(pgoutput::parse(frame).map_err(Error::Pgoutput)?),
            Some(b'Y') => drop(pgoutput::parse_part(frame).map_err(Error::Pgoutput)?),
            Some(b'R') => {
                let (xid, _) = pgoutput::parse_part(frame).map_err(Error::Pgoutput)?;
                let part = pgoutput::part(frame).map_err(Error::Pgoutput)?;
                let arrived = Some(self.arrival());
                self.keep(top, xid, part.kind, part.rest, arrived)?;
            }
            kind => {
                let part = pgoutput::part(frame).map_err(Error::Pgoutput)?;
                self.keep(top, part.xid, part.kind, part.rest, None)?;
                if kind == Some(&b'M')
                    && let Some(held) = self.transactions.get_mut(&top)
                {
                    held.has_messages = true;
                }
            }
        }
        Ok(Taken::Held)
    }

    /// A message between Begin Prepare and Prepare.
    fn preparing(&mut self, xid: Xid, frame: &[u8]) -> Result<Taken, Error> {
        let Some((kind, rest)) = frame.split_first() else {
            return Err(Error::Pgoutput(pgoutput::Error::Empty));
        };
        match kind {
            b'O' | b'Y' => drop(pgoutput::parse(frame).map_err(Error::Pgoutput)?),
            // The server takes the table for known from here on, by every transaction.
            b'R' => {
                let arrived = Some(self.arrival());
                self.keep(xid, xid, *kind, rest, arrived)?;
                return Ok(Taken::Passed);
            }
            b'I' | b'U' | b'D' | b'T' | b'M' => self.keep(xid, xid, *kind, rest, None)?,
            b'P' => {
                let Message::Prepare(prepare) = pgoutput::parse(frame).map_err(Error::Pgoutput)?
                else {
                    return Err(Error::Unreadable { what: "a Prepare that is none" });
                };
                self.part = None;
                if prepare.xid != xid {
                    return Err(Error::Unreadable { what: "another transaction is prepared" });
                }
                self.name(prepare)?;
            }
            _ => return Err(Error::Unreadable { what: "a message inside a prepared transaction" }),
        }
        Ok(Taken::Held)
    }

    fn start(&mut self, start: StreamStart) -> Result<Taken, Error> {
        let StreamStart { xid, is_first } = start;
        if self.transactions.contains_key(&xid) == is_first {
            return Err(Error::Unreadable { what: "parts of a transaction that do not fit" });
        }
        if is_first {
            self.add(xid)?;
        }
        self.part = Some(Part::Streamed(xid));
        Ok(Taken::Held)
    }

    fn commit(&mut self, commit: StreamCommit) -> Result<Taken, Error> {
        let StreamCommit { xid, commit_lsn, end_lsn, commit_time } = commit;
        let Some(held) = self.remove(xid).filter(|held| held.gid.is_none()) else {
            return Err(Error::Unreadable { what: "a transaction commits that never came" });
        };
        ended(held, End { xid, commit_lsn, end_lsn, commit_time })
    }

    fn abort(&mut self, abort: StreamAbort) -> Result<Taken, Error> {
        if abort.xid == abort.subxid {
            self.remove(abort.xid);
        } else if let Some(held) = self.transactions.get_mut(&abort.xid) {
            // The server says of every message that the whole transaction made it.
            if held.has_messages {
                return Err(Error::MessageUndone);
            }
            held.undone.add(abort.subxid)?;
        }
        Ok(Taken::Held)
    }

    fn begin_prepare(&mut self, begin: BeginPrepare<'_>) -> Result<Taken, Error> {
        if self.transactions.contains_key(&begin.xid) {
            return Err(Error::Unreadable { what: "a transaction is prepared twice" });
        }
        self.add(begin.xid)?;
        self.part = Some(Part::Preparing(begin.xid));
        Ok(Taken::Prepared(begin.xid, begin.prepare_lsn))
    }

    fn prepare(&mut self, prepare: Prepare<'_>) -> Result<Taken, Error> {
        self.name(prepare)?;
        Ok(Taken::Prepared(prepare.xid, prepare.prepare_lsn))
    }

    fn name(&mut self, prepare: Prepare<'_>) -> Result<(), Error> {
        let held = self.transactions.get_mut(&prepare.xid).filter(|held| held.gid.is_none());
        let Some(held) = held else {
            return Err(Error::Unreadable { what: "a transaction is prepared that never came" });
        };
        held.gid = Some(prepare.gid.to_owned());
        Ok(())
    }

    fn commit_prepared(&mut self, commit: CommitPrepared<'_>) -> Result<Taken, Error> {
        let CommitPrepared { commit_lsn, end_lsn, commit_time, xid, gid } = commit;
        if let Some(held) = self.remove(xid) {
            if held.gid.as_deref() != Some(gid) {
                return Err(Error::Unreadable { what: "another name than it was prepared under" });
            }
            return ended(held, End { xid, commit_lsn, end_lsn, commit_time });
        }
        if !self.accepts_gap {
            return Err(Error::PreparedMissed { gid: gid.to_owned() });
        }
        tracing::error!(gid, %commit_lsn, "a transaction committed that was prepared in a gap: its \
            changes are lost to the stream");
        Ok(Taken::Held)
    }

    fn roll_back_prepared(&mut self, rollback: RollbackPrepared<'_>) -> Taken {
        self.remove(rollback.xid);
        Taken::RolledBack(rollback.xid)
    }

    fn add(&mut self, xid: Xid) -> Result<(), Error> {
        if self.transactions.len() >= TRANSACTIONS_MAX {
            return Err(Error::Unreadable { what: "more open transactions than there can be" });
        }
        self.transactions.insert(xid, Transaction::default());
        Ok(())
    }

    fn remove(&mut self, xid: Xid) -> Option<Transaction> {
        let held = self.transactions.remove(&xid)?;
        self.bytes = self.bytes.saturating_sub(held.memory.len());
        Some(held)
    }

    fn keep(
        &mut self,
        top: Xid,
        xid: Xid,
        kind: u8,
        rest: &[u8],
        arrived: Option<u64>,
    ) -> Result<(), Error> {
        let Some(held) = self.transactions.get_mut(&top) else {
            return Err(Error::Unreadable { what: "a change of a transaction that never came" });
        };
        let before = held.memory.len();
        record::write(xid, kind, rest, arrived, &mut held.memory)?;
        self.bytes += held.memory.len() - before;
        if held.file.is_some() && held.memory.len() >= APPEND_BYTES {
            self.due = Some(top);
        } else if self.bytes > self.memory_bytes_max {
            self.due = self.largest();
        }
        Ok(())
    }

    fn largest(&self) -> Option<Xid> {
        let largest = self.transactions.iter().max_by_key(|(_, held)| held.memory.len());
        largest.map(|(xid, _)| *xid)
    }

    /// Appends to files what there is no room for.
    ///
    /// Cancel safety: nothing is lost; a write that runs is waited for by the next call.
    pub(super) async fn spill(&mut self) -> Result<(), Error> {
        loop {
            if let Some(writing) = &mut self.writing {
                let written = writing.await;
                self.writing = None;
                written.map_err(|_| interrupted())??;
            }
            let Some(xid) = self.due.take() else { return Ok(()) };
            let Some(held) = self.transactions.get_mut(&xid) else { continue };
            let memory = std::mem::take(&mut held.memory);
            held.file_bytes += memory.len() as u64;
            self.bytes = self.bytes.saturating_sub(memory.len());
            let file = Arc::clone(held.file.get_or_insert_with(|| {
                tracing::debug!(xid = xid.0, "an open transaction goes to disk");
                Arc::new(self.folder.file(xid))
            }));
            self.writing = Some(spawn_blocking(move || file.append(&memory)));
            if self.bytes > self.memory_bytes_max {
                self.due = self.largest();
            }
        }
    }
}

fn ended(held: Transaction, end: End) -> Result<Taken, Error> {
    let Transaction { memory, file, file_bytes, undone, .. } = held;
    let parts = Parts { file: file.map(|file| (file, file_bytes)), memory, undone };
    let (xid, end_lsn) = (end.xid, end.end_lsn);
    Ok(Taken::Committed(Box::new(Ended { replay: Replay::new(end, parts)?, xid, end_lsn })))
}

/// What ran beside did not come back: the process ends.
fn interrupted() -> Error {
    Error::Io(io::Error::other("interrupted"))
}
