//! [`Reader`]: the chunks of the stream become tracked events of one sink, a slice at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::handle::SinkProgress;
use super::lane::Tracked;
use crate::chunk::Chunk;
use crate::envelope::{Envelope, RouteLabel};
use crate::failure::Category;
use crate::journal::{self, Cursor};
use crate::lsn::Position;
use crate::mapping::{self, Draft, Mapped, SinkMapper, Skip};
use crate::progress::ledger::{Ledger, Ordinal};
use crate::sink::Failure;

/// Changes mapped before answers are looked at again: some 200 µs of work.
const SLICE_CHANGES: u32 = 512;
/// A slice ends when its bodies hold so much: a body that waits keeps its whole slice in memory.
const SLICE_BYTES: usize = 256 << 10;

/// What a slice of the stream holds for a sink, in stream order.
#[derive(Debug)]
pub(super) enum Read {
    /// To be sent.
    Event(Tracked),
    /// Refused by its mapping.
    Rejected(Tracked, Failure),
}

/// Reads, maps and tracks.
#[derive(Debug)]
pub(super) struct Reader {
    cursor: Cursor,
    mapper: SinkMapper,
    /// The chunk at hand and its next entry.
    current: Option<(Arc<Chunk>, u32)>,
    /// Chunks that events may still refer to, in order.
    held: VecDeque<Held>,
    held_bytes_max: usize,
    drafts: Vec<(Ordinal, Draft, Option<Failure>)>,
}

/// A chunk that was read.
#[derive(Debug)]
struct Held {
    chunk: Weak<Chunk>,
    bytes: usize,
    end: Position,
}

impl Reader {
    /// Waiting events may keep so many bytes of chunks in memory, beside the journal's tail.
    pub(super) const fn new(cursor: Cursor, mapper: SinkMapper, held_bytes_max: usize) -> Self {
        let held = VecDeque::new();
        Self { cursor, mapper, current: None, held, held_bytes_max, drafts: Vec::new() }
    }

    /// Whether the chunk at hand is used up.
    pub(super) const fn needs_chunk(&self) -> bool {
        self.current.is_none()
    }

    /// Whether waiting events keep as many chunks in memory as they may.
    pub(super) fn holds_too_much(&mut self) -> bool {
        let sum = |held: &VecDeque<Held>| held.iter().map(|held| held.bytes).sum::<usize>();
        if sum(&self.held) < self.held_bytes_max {
            return false;
        }
        self.held.retain(|held| held.chunk.strong_count() > 0);
        // What the journal's tail holds is there anyway.
        let tail_begin = self.cursor.tail_begin();
        let outside = self.held.partition_point(|held| held.end <= tail_begin);
        let bytes: usize = self.held.iter().take(outside).map(|held| held.bytes).sum();
        bytes >= self.held_bytes_max
    }

    /// Waits for the next chunk.
    ///
    /// Cancel safety: safe.
    pub(super) async fn next_chunk(&mut self) -> Result<(), journal::Error> {
        let chunk = self.cursor.next().await?;
        while self.held.front().is_some_and(|held| held.chunk.strong_count() == 0) {
            self.held.pop_front();
        }
        self.held.push_back(Held {
            chunk: Arc::downgrade(&chunk),
            bytes: chunk.memory_bytes(),
            end: chunk.end_position(),
        });
        self.current = Some((chunk, 0));
        Ok(())
    }

    /// Maps the next slice of the chunk at hand, if there is one.
    pub(super) fn slice(
        &mut self,
        progress: &SinkProgress,
        out: &mut Vec<Read>,
    ) -> Result<(), mapping::Error> {
        let Some((chunk, from)) = self.current.take() else { return Ok(()) };
        let count = u32::try_from(chunk.entries.len()).unwrap_or(u32::MAX);
        let mut buffer = Vec::new();
        let mut skipped = Skipped::default();
        let next = progress.with_ledger(|ledger| {
            let to = count.min(from.saturating_add(SLICE_CHANGES));
            let mut index = from;
            while index < to && buffer.len() < SLICE_BYTES {
                self.read_entry(ledger, &chunk, index, &mut buffer, &mut skipped)?;
                index += 1;
            }
            if index >= count {
                ledger.scanned(chunk.end_position());
            }
            Ok::<u32, mapping::Error>(index)
        })?;
        if next < count {
            self.current = Some((chunk, next));
        }
        let buffer = Bytes::from(buffer);
        out.extend(self.drafts.drain(..).map(|(ordinal, draft, failure)| {
            let tracked = Tracked::new(ordinal, draft.envelope(&buffer));
            match failure {
                None => Read::Event(tracked),
                Some(failure) => Read::Rejected(tracked, failure),
            }
        }));
        skipped.count(progress);
        Ok(())
    }

    fn read_entry(
        &mut self,
        ledger: &mut Ledger,
        chunk: &Arc<Chunk>,
        index: u32,
        buffer: &mut Vec<u8>,
        skipped: &mut Skipped,
    ) -> Result<(), mapping::Error> {
        let entry = chunk.entries.get(index as usize);
        let Some(position) = entry.map(|entry| chunk.position(entry)) else { return Ok(()) };
        if ledger.covers(position) {
            return Ok(());
        }
        match self.mapper.map(chunk, index, buffer)? {
            Mapped::Event(draft) => self.drafts.push((ledger.track(position), draft, None)),
            Mapped::Rejected { draft, field, reason } => {
                let failure = mapping_failure(&field, &reason);
                self.drafts.push((ledger.track(position), draft, Some(failure)));
            }
            Mapped::Skipped { route, reason } => skipped.add(&route, &reason),
            Mapped::Unrouted => {}
        }
        Ok(())
    }

    /// Maps one change again, that was set aside, with another mapper where one is given.
    pub(super) fn again(
        &mut self,
        other: Option<&mut SinkMapper>,
        chunk: &Arc<Chunk>,
        entry: u32,
    ) -> Result<Again, mapping::Error> {
        let mut buffer = Vec::new();
        let mapped = other.unwrap_or(&mut self.mapper).map(chunk, entry, &mut buffer)?;
        let buffer = Bytes::from(buffer);
        Ok(match mapped {
            Mapped::Event(draft) => Again::Event(draft.envelope(&buffer)),
            Mapped::Rejected { field, reason, .. } => {
                Again::Rejected(mapping_failure(&field, &reason))
            }
            Mapped::Unrouted | Mapped::Skipped { .. } => Again::Unwanted,
        })
    }
}

/// What a change that was set aside is now.
#[derive(Debug)]
pub(super) enum Again {
    Event(Envelope),
    Rejected(Failure),
    /// No route takes it any more.
    Unwanted,
}

fn mapping_failure(field: &str, reason: &mapping::Reason) -> Failure {
    Failure::new(Category::Rejected, format!("field `{field}`: {reason}"))
}

/// Skips of one slice, so that a skipped change costs no allocation.
#[derive(Debug, Default)]
struct Skipped(Vec<(Arc<RouteLabel>, Skip, u64)>);

impl Skipped {
    fn add(&mut self, route: &Arc<RouteLabel>, reason: &Skip) {
        let same = self.0.iter_mut().find(|(r, skip, _)| Arc::ptr_eq(r, route) && skip == reason);
        match same {
            Some((_, _, count)) => *count += 1,
            None => self.0.push((Arc::clone(route), reason.clone(), 1)),
        }
    }

    fn count(self, progress: &SinkProgress) {
        if self.0.is_empty() {
            return;
        }
        let mut sums: BTreeMap<(String, String), u64> = BTreeMap::new();
        for (route, skip, count) in self.0 {
            *sums.entry((route.name.clone(), skip.to_string())).or_default() += count;
        }
        progress.with_snapshot(|snapshot| {
            for (label, count) in sums {
                *snapshot.counters.skipped.entry(label).or_default() += count;
            }
        });
    }
}
