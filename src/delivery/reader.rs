//! [`Reader`]: the chunks of the stream become tracked events of one sink, a slice at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::compact::{self, Compaction};
use super::handle::SinkProgress;
use super::lane::Tracked;
use crate::chunk::{Chunk, Operation};
use crate::envelope::{Envelope, RouteLabel};
use crate::failure::Category;
use crate::journal::{self, Cursor};
use crate::lsn::Position;
use crate::mapping::{self, Draft, Mapped, SinkMapper, Skip};
use crate::progress::decoded::Taken;
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
    Rejected(Box<(Tracked, Failure)>),
    /// Not sent, because a later change of this key makes it needless.
    LeftOut(u64),
}

/// As [`Read`], while the slice's buffer still grows.
#[derive(Debug)]
enum Made {
    Draft(Ordinal, Draft, Option<Box<Failure>>),
    LeftOut(u64),
}

/// Reads, maps and tracks.
#[derive(Debug)]
pub(super) struct Reader {
    cursor: Cursor,
    mapper: SinkMapper,
    /// The chunk at hand and its next entry.
    current: Option<(Arc<Chunk>, u32)>,
    /// What it was given so far.
    taken: Taken,
    /// Chunks that events may still refer to, in order.
    held: VecDeque<Held>,
    held_bytes_max: usize,
    made: Vec<Made>,
    /// What is read is not sent where a later change of its key makes it needless.
    compaction: Option<Compaction>,
    /// Outbox routes whose updates were warned of.
    warned: BTreeSet<String>,
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
    pub(super) const fn new(
        cursor: Cursor,
        taken: Taken,
        mapper: SinkMapper,
        held_bytes_max: usize,
    ) -> Self {
        Self {
            cursor,
            mapper,
            current: None,
            taken,
            held: VecDeque::new(),
            held_bytes_max,
            made: Vec::new(),
            compaction: None,
            warned: BTreeSet::new(),
        }
    }

    /// Whether the chunk at hand is used up.
    pub(super) const fn needs_chunk(&self) -> bool {
        self.current.is_none()
    }

    /// Returns the position behind the last chunk that was read.
    pub(super) const fn position(&self) -> Position {
        self.cursor.position()
    }

    /// Returns up to where everything was taken in, and how much; none in the midst of a chunk.
    pub(super) const fn taken(&mut self) -> Option<(Position, &mut Taken)> {
        if self.needs_chunk() { Some((self.position(), &mut self.taken)) } else { None }
    }

    /// Says what makes changes needless from here on.
    pub(super) fn compact(&mut self, compaction: Option<Compaction>) {
        self.compaction = compaction;
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
        let to = count.min(from.saturating_add(SLICE_CHANGES));
        let mut buffer = Vec::with_capacity(room(&chunk, to.saturating_sub(from)));
        let mut skipped = Skipped::default();
        let next = progress.with_ledger(|ledger| {
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
        // Room for changes that nobody wants must not wait with those that somebody does.
        if buffer.len() < buffer.capacity() / 2 {
            buffer.shrink_to_fit();
        }
        let buffer = Bytes::from(buffer);
        out.extend(self.made.drain(..).map(|made| match made {
            Made::LeftOut(key_hash) => Read::LeftOut(key_hash),
            Made::Draft(ordinal, draft, failure) => {
                let tracked = Tracked::new(ordinal, draft.envelope(&buffer));
                match failure {
                    None => Read::Event(tracked),
                    Some(failure) => Read::Rejected(Box::new((tracked, *failure))),
                }
            }
        }));
        for route in skipped.outbox_updates() {
            if self.warned.insert(route.to_owned()) {
                tracing::warn!(
                    route,
                    "a row of an outbox was updated: only inserts are sent, an update is skipped"
                );
            }
        }
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
        self.taken.add(position);
        if ledger.covers(position) {
            return Ok(());
        }
        let start = buffer.len();
        let mapped = self.mapper.map(chunk, index, buffer)?;
        if let Some(draft) = self.superseded(&mapped, buffer) {
            skipped.add(&draft.route, &Why::Compacted);
            self.made.push(Made::LeftOut(draft.key_hash));
            buffer.truncate(start);
            // What supersedes it may be done before a crash, and never comes again.
            ledger.settle(position);
            return Ok(());
        }
        match mapped {
            Mapped::Event(draft) => {
                self.made.push(Made::Draft(ledger.track(position), draft, None));
            }
            Mapped::Rejected { draft, field, reason } => {
                let failure = Box::new(mapping_failure(&field, &reason));
                self.made.push(Made::Draft(ledger.track(position), draft, Some(failure)));
            }
            Mapped::Skipped { route, reason } => skipped.add(&route, &Why::Rule(reason)),
            Mapped::Unrouted => {}
        }
        Ok(())
    }

    /// Returns a change that a later one makes needless.
    fn superseded<'a>(&self, mapped: &'a Mapped, buffer: &[u8]) -> Option<&'a Draft> {
        let compaction = self.compaction.as_ref()?;
        let (draft, refused) = match mapped {
            Mapped::Event(draft) => (draft, false),
            Mapped::Rejected { draft, .. } => (draft, true),
            Mapped::Unrouted | Mapped::Skipped { .. } => return None,
        };
        // Which route it is counts only for what supersedes.
        let change = compact::Change::of(draft, buffer, 0, refused);
        compaction.is_superseded(&change).then_some(draft)
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
            Mapped::Rejected { draft, field, reason } => {
                Again::Rejected(draft.envelope(&buffer), mapping_failure(&field, &reason))
            }
            Mapped::Unrouted | Mapped::Skipped { .. } => Again::Unwanted,
        })
    }
}

/// What a change that was set aside is now.
#[derive(Debug)]
pub(super) enum Again {
    Event(Envelope),
    Rejected(Envelope, Failure),
    /// No route takes it any more.
    Unwanted,
}

/// Returns about how much the bodies of so many changes of a chunk take, so that their buffer need
/// not grow step by step: a body is often twice as long as its frame.
fn room(chunk: &Chunk, changes: u32) -> usize {
    let frame = chunk.frames.len() / chunk.entries.len().max(1);
    frame.saturating_mul(2).saturating_mul(changes as usize).min(SLICE_BYTES)
}

fn mapping_failure(field: &str, reason: &mapping::Reason) -> Failure {
    Failure::new(Category::Rejected, format!("field `{field}`: {reason}"))
}

/// Why an event is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    Rule(Skip),
    Compacted,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(skip) => skip.fmt(f),
            Self::Compacted => f.write_str("compacted"),
        }
    }
}

/// Skips of one slice, so that a skipped change costs no allocation.
#[derive(Debug, Default)]
struct Skipped(Vec<(Arc<RouteLabel>, Why, u64)>);

impl Skipped {
    fn add(&mut self, route: &Arc<RouteLabel>, reason: &Why) {
        let same = self.0.iter_mut().find(|(r, why, _)| Arc::ptr_eq(r, route) && why == reason);
        match same {
            Some((_, _, count)) => *count += 1,
            None => self.0.push((Arc::clone(route), reason.clone(), 1)),
        }
    }

    /// Returns the routes of outboxes whose rows were updated.
    fn outbox_updates(&self) -> impl Iterator<Item = &str> {
        let update = Why::Rule(Skip::Outbox(Operation::Update));
        self.0
            .iter()
            .filter(move |(_, why, _)| *why == update)
            .map(|(route, ..)| route.name.as_str())
    }

    fn count(self, progress: &SinkProgress) {
        if self.0.is_empty() {
            return;
        }
        let mut sums: BTreeMap<(String, String), u64> = BTreeMap::new();
        for (route, why, count) in self.0 {
            *sums.entry((route.name.clone(), why.to_string())).or_default() += count;
        }
        progress.with_snapshot(|snapshot| {
            for (label, count) in sums {
                *snapshot.counters.skipped.entry(label).or_default() += count;
            }
        });
    }
}
