//! What appenders, cursors and the writer thread share: the memory tail and the index.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::index::Run;
use super::record::Header;
use super::recover::{Found, Segment};
use super::{Error, Settings, Status, lock};
use crate::chunk::Chunk;
use crate::lsn::{Lsn, Position, Timestamp};

/// So much is held in memory, so that a sink that keeps up never reads a file; a single larger
/// chunk is held alone.
pub(super) const TAIL_BYTES_MAX: usize = 8 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// A chunk was appended.
    pub(super) grown: Notify,
    /// Something was written, read or removed: there may be room.
    pub(super) room: Notify,
    #[cfg(test)]
    pub(super) disk: Mutex<TestDisk>,
}

/// What a test makes of the disk.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct TestDisk {
    /// A write gets half of its bytes down.
    pub(super) is_full: bool,
    /// So much is free, whatever the file system says.
    pub(super) free_bytes: Option<u64>,
}

/// Behind the lock.
#[derive(Debug)]
pub(super) struct Inner {
    /// The newest chunks, in order.
    tail: VecDeque<Arc<Chunk>>,
    tail_bytes: usize,
    /// Everything below is no longer in memory.
    pub(super) tail_begin: Position,
    /// Behind the last chunk.
    pub(super) end: Position,
    /// Behind the last chunk that is in a file.
    pub(super) written: Position,
    /// The end of the last whole transaction.
    pub(super) received: Option<Lsn>,
    segments: Vec<Segment>,
    /// From where on everything is here, while there is no segment.
    begin: Position,
    /// Some sink needs what lies behind.
    needed_from: Position,
    /// Bytes from the first segment that is needed on.
    undone_bytes: u64,
    bytes_max: u64,
    /// The disk has less left than it must.
    pub(super) disk_low: bool,
    /// A write found no room.
    pub(super) disk_full: bool,
    /// The disk failed.
    pub(super) failed: Option<Error>,
    /// Where each cursor is, where memory is all there is.
    cursors: Option<BTreeMap<u64, Position>>,
    cursor_count: u64,
}

/// Where a cursor finds what comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// In memory.
    Chunk(Arc<Chunk>),
    /// In this segment, from this offset on up to there.
    Disk { segment: u32, offset: u64, length: u64 },
    /// Nowhere yet.
    Wait,
}

impl Shared {
    pub(super) fn new(found: &Found, settings: Settings) -> Self {
        let end = found.segments.last().map_or(found.begin, Segment::end);
        let inner = Inner {
            received: found.received,
            segments: found.segments.clone(),
            begin: found.begin,
            bytes_max: settings.max_bytes,
            cursors: None,
            ..Inner::at(end)
        };
        Self::of(inner)
    }

    pub(super) fn without_disk() -> Self {
        Self::of(Inner { cursors: Some(BTreeMap::new()), ..Inner::at(Position::ZERO) })
    }

    fn of(inner: Inner) -> Self {
        Self {
            inner: Mutex::new(inner),
            grown: Notify::new(),
            room: Notify::new(),
            #[cfg(test)]
            disk: Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Refuses everything from now on.
    pub(super) fn fail(&self, error: Error) {
        self.lock().failed = Some(error);
        self.room.notify_waiters();
        self.grown.notify_waiters();
    }
}

impl Inner {
    const fn at(end: Position) -> Self {
        Self {
            tail: VecDeque::new(),
            tail_bytes: 0,
            tail_begin: end,
            end,
            written: end,
            received: None,
            segments: Vec::new(),
            begin: end,
            needed_from: Position::ZERO,
            undone_bytes: 0,
            bytes_max: u64::MAX,
            disk_low: false,
            disk_full: false,
            failed: None,
            cursors: None,
            cursor_count: 0,
        }
    }

    /// From where on everything is here.
    pub(super) fn begin(&self) -> Position {
        if self.cursors.is_some() {
            return self.tail_begin;
        }
        self.segments.first().map_or(self.begin, |segment| segment.begin)
    }

    /// Moves the beginning of what is empty.
    pub(super) fn begin_at(&mut self, position: Position) {
        if self.segments.is_empty() && self.tail.is_empty() && self.end < position {
            self.begin = position;
            self.end = position;
            self.written = position;
            self.tail_begin = position;
        }
    }

    /// Takes a chunk if there is room for it.
    pub(super) fn push(&mut self, chunk: &Arc<Chunk>) -> Result<bool, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.paused().is_some() {
            return Ok(false);
        }
        let bytes = chunk.memory_bytes();
        while self.tail_bytes + bytes > TAIL_BYTES_MAX && self.drop_oldest() {}
        if self.tail_bytes > 0 && self.tail_bytes + bytes > TAIL_BYTES_MAX {
            return Ok(false);
        }
        self.tail_bytes += bytes;
        self.end = self.end.max(chunk.end_position());
        if let Some(end) = chunk.transactions.iter().rev().find_map(|t| t.end_lsn) {
            self.received = Some(end);
        }
        self.tail.push_back(Arc::clone(chunk));
        Ok(true)
    }

    /// Lets go of the oldest chunk in memory if it can be had from elsewhere, or needs not be.
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.tail.front() else { return false };
        let end = oldest.end_position();
        let droppable = match &self.cursors {
            Some(cursors) => cursors.values().all(|cursor| *cursor >= end),
            None => self.written >= end,
        };
        if droppable {
            self.tail_bytes -= oldest.memory_bytes().min(self.tail_bytes);
            self.tail_begin = end;
            self.tail.pop_front();
        }
        droppable
    }

    /// Why nothing more is taken, if so.
    pub(super) fn paused(&self) -> Option<&'static str> {
        if self.disk_full {
            Some("the disk is full")
        } else if self.disk_low {
            Some("the disk has no more than `journal.reserve` left")
        } else if self.undone_bytes >= self.bytes_max {
            Some("what is undone has reached `journal.max_size`")
        } else {
            None
        }
    }

    /// Says where the first chunk that ends behind `after` is.
    pub(super) fn next(&self, after: Position) -> Result<Next, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if after >= self.tail_begin {
            let index = self.tail.partition_point(|chunk| chunk.end_position() <= after);
            return Ok(self.tail.get(index).map_or(Next::Wait, |c| Next::Chunk(Arc::clone(c))));
        }
        if after < self.begin() {
            return Err(Error::Gone { from: after, begin: self.begin() });
        }
        let index = self.segments.partition_point(|segment| segment.end() <= after);
        let Some(segment) = self.segments.get(index) else { return Ok(Next::Wait) };
        let run = segment.runs.partition_point(|run| run.end <= after);
        let Some(run) = segment.runs.get(run) else { return Ok(Next::Wait) };
        let (segment, length) = (segment.number, segment.length());
        Ok(Next::Disk { segment, offset: run.offset, length })
    }

    /// Registers a cursor where memory is all there is.
    pub(super) fn enlist(&mut self, after: Position) -> u64 {
        self.cursor_count += 1;
        let id = self.cursor_count;
        self.moved(id, after);
        id
    }

    pub(super) fn moved(&mut self, id: u64, after: Position) {
        if let Some(cursors) = &mut self.cursors {
            cursors.insert(id, after);
        }
    }

    pub(super) fn delist(&mut self, id: u64) {
        if let Some(cursors) = &mut self.cursors {
            cursors.remove(&id);
        }
    }

    /// Notes a new segment.
    pub(super) fn began(&mut self, number: u32, begin: Position) {
        self.segments.push(Segment { number, begin, runs: Vec::new() });
    }

    /// Notes a record at the end of the last segment, and returns the run it belongs to.
    pub(super) fn wrote(&mut self, header: &Header, chunk: &Chunk) -> Option<&Run> {
        self.written = self.written.max(header.end);
        if header.end > self.needed_from {
            self.undone_bytes += header.length();
        }
        let segment = self.segments.last_mut()?;
        if segment.runs.last().is_none_or(Run::is_full) {
            let offset = segment.length();
            segment.runs.push(Run::new(segment.number, offset, header.first));
        }
        let run = segment.runs.last_mut()?;
        run.add(header, chunk);
        Some(run)
    }

    /// Takes out of the index what may go and returns its segments.
    pub(super) fn retire(
        &mut self,
        needed_from: Position,
        now: Timestamp,
        settings: &Settings,
    ) -> Vec<u32> {
        self.needed_from = needed_from;
        let mut total: u64 = self.segments.iter().map(Segment::length).sum();
        let retain = i64::try_from(settings.retain.as_micros()).unwrap_or(i64::MAX);
        let oldest_kept = now.unix_micros().saturating_sub(retain);
        let mut removed = Vec::new();
        while let [oldest, _, ..] = self.segments.as_slice() {
            let written_at = oldest.runs.last().map_or(i64::MIN, |run| run.written_at);
            let is_old = written_at < oldest_kept || total > settings.max_bytes;
            if !is_old || oldest.end() > needed_from || oldest.end() > self.tail_begin {
                break;
            }
            total -= oldest.length();
            removed.push(self.segments.remove(0).number);
        }
        self.undone_bytes = self.bytes_behind(needed_from);
        removed
    }

    /// See [`super::Journal::position_at`].
    pub(super) fn position_at(&self, time: Timestamp) -> Position {
        let mut runs = self.segments.iter().flat_map(|segment| &segment.runs);
        let run = runs.find(|run| run.newest.is_some_and(|newest| newest >= time));
        run.map_or(self.written, |run| run.first.max(self.begin()))
    }

    /// Bytes of the runs that hold what lies behind `from`.
    pub(super) fn bytes_behind(&self, from: Position) -> u64 {
        let runs = self.segments.iter().rev().flat_map(|segment| segment.runs.iter().rev());
        runs.take_while(|run| run.end > from).map(|run| run.length).sum()
    }

    pub(super) fn status(&self) -> Status {
        let runs = || self.segments.iter().flat_map(|segment| &segment.runs);
        Status {
            bytes: self.segments.iter().map(Segment::length).sum(),
            oldest: runs().find_map(|run| run.oldest),
            newest: runs().rev().find_map(|run| run.newest),
            paused: self.paused(),
        }
    }
}
