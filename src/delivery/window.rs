//! [`Window`]: a part of the journal that an operator has sent to a sink again.
//!
//! It goes through the sink's own lanes, beside the stream: order per key, limits, breaker and
//! dead letters are those of any event. The ledger knows its events as done.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::settings::Rate;
use crate::chunk::{Chunk, Entry, Operation};
use crate::journal::{self, Cursor, record};
use crate::lsn::Position;
use crate::mapping::{self, Draft, Mapped, Mapping, SinkMapper, TablePattern};

/// Changes looked at before the stream and the answers have their turn again.
pub(super) const SLICE_CHANGES: usize = 512;

/// Keys of the stream that are remembered while a window is sent; past it the stream waits.
pub(super) const LIVE_KEYS_MAX: usize = 1 << 20;

/// What is to be sent again.
#[derive(Debug)]
pub struct WindowOrder {
    /// The request's number.
    pub request: i64,
    /// Where to begin to read.
    pub from: Position,
    /// Which changes.
    pub window: journal::Window,
    /// In these ranges alone, rising and apart; none: everywhere.
    pub ranges: Vec<(Position, Position)>,
    /// Of these routes; none: of all.
    pub routes: BTreeSet<String>,
    /// Of this table; none: of all.
    pub table: Option<TablePattern>,
    /// With these values in the key: column and JSON text of each.
    pub key: BTreeMap<String, Box<RawValue>>,
    /// Versions of mappings that are to be used in place of today's.
    pub mappings: Vec<Arc<Mapping>>,
    /// So many events at most.
    pub rate: Option<Rate>,
    /// Sent with each of them, so that the receiver can tell replays apart; 0: it gets them for
    /// the first time.
    pub number: u32,
    /// Where it is told how far this is.
    pub told: Told,
}

/// How far a window is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Everything of the window below was sent again. In print.
    pub at: String,
    /// Events that were handed to the sink.
    pub sent: u64,
    /// Of those, what it took.
    pub delivered: u64,
    /// Of those, what became dead letters or retries by itself.
    pub set_aside: u64,
    /// What was left out: it waits among the dead letters, or is a TRUNCATE.
    pub left_out: u64,
    /// What a rule skips.
    pub not_wanted: u64,
    /// What the mapping refuses.
    pub refused: u64,
    /// It has ended; with why, where that is not the end of the window.
    pub ended: bool,
    /// See `ended`.
    pub failed: Option<String>,
}

/// [`Progress`], shared with whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<(Progress, Position)>>);

impl Told {
    /// Returns how far it is, and the position below which all was sent again.
    #[must_use]
    pub fn now(&self) -> (Progress, Position) {
        self.lock().clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.lock().0);
    }

    fn lock(&self) -> MutexGuard<'_, (Progress, Position)> {
        // A panic elsewhere leaves numbers, not broken invariants.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A window under way.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) order: WindowOrder,
    cursor: Cursor,
    mapper: SinkMapper,
    current: Option<(Arc<Chunk>, usize)>,
    /// It is read up to here.
    to: Position,
    /// In a further pass: these keys alone.
    only: Option<HashSet<u64>>,
    /// Keys of the stream since the pass began.
    live: HashSet<u64>,
    /// Keys of which something older was sent again behind something newer of the stream.
    overwritten: HashSet<u64>,
    /// When the next event may go, at the rate that was asked for.
    pub(super) next_at: Duration,
    /// Events that were handed over and are not settled.
    under_way: BTreeSet<Position>,
}

/// What a slice of the window holds.
#[derive(Debug, Default)]
pub(super) struct Slice {
    /// To be sent, with the buffer that its body lies in.
    pub(super) drafts: Vec<(Draft, Vec<u8>)>,
    /// Skipped by a rule.
    pub(super) not_wanted: u64,
    /// Refused by the mapping.
    pub(super) refused: u64,
    /// Never sent again.
    pub(super) left_out: u64,
}

impl Window {
    pub(super) fn new(
        order: WindowOrder,
        cursor: Cursor,
        mapper: SinkMapper,
        to: Position,
    ) -> Self {
        let window = Self {
            order,
            cursor,
            mapper,
            current: None,
            to,
            only: None,
            live: HashSet::new(),
            overwritten: HashSet::new(),
            next_at: Duration::ZERO,
            under_way: BTreeSet::new(),
        };
        window.tell();
        window
    }

    /// Whether everything was handed over.
    pub(super) fn is_read(&self) -> bool {
        self.current.is_none() && self.cursor.position() >= self.to
    }

    /// Whether everything is settled as well.
    pub(super) fn is_settled(&self) -> bool {
        self.is_read() && self.under_way.is_empty()
    }

    pub(super) const fn needs_chunk(&self) -> bool {
        self.current.is_none()
    }

    /// Whether the stream has to wait, as too much of it would have to be remembered.
    pub(super) fn holds_stream(&self) -> bool {
        self.live.len() >= LIVE_KEYS_MAX
    }

    /// The lowest position that it still needs from the journal.
    pub(super) fn needed_from(&self) -> Position {
        let reading = match &self.current {
            Some((chunk, next)) => chunk.entries.get(*next).map(|entry| chunk.position(entry)),
            None => Some(self.cursor.position()),
        };
        self.under_way.first().copied().into_iter().chain(reading).min().unwrap_or_default()
    }

    /// Waits for the next chunk.
    ///
    /// Cancel safety: safe.
    pub(super) async fn next_chunk(&mut self) -> Result<(), journal::Error> {
        let chunk = self.cursor.next().await?;
        self.current = Some((chunk, 0));
        Ok(())
    }

    /// Maps the next changes, `limit` of those that are wanted.
    pub(super) fn slice(&mut self, limit: usize) -> Result<Slice, mapping::Error> {
        let mut slice = Slice::default();
        let Some((chunk, mut next)) = self.current.take() else { return Ok(slice) };
        let mut seen = 0;
        while let Some(entry) = chunk.entries.get(next) {
            if seen >= SLICE_CHANGES || slice.drafts.len() >= limit {
                self.current = Some((chunk, next));
                return Ok(slice);
            }
            let position = chunk.position(entry);
            next += 1;
            seen += 1;
            if position >= self.to {
                break;
            }
            if position < self.order.from || !self.wants(&chunk, entry) {
                continue;
            }
            if entry.operation == Operation::Truncate {
                slice.left_out += 1;
                continue;
            }
            self.map(&chunk, entry, &mut slice)?;
        }
        Ok(slice)
    }

    fn wants(&self, chunk: &Chunk, entry: &Entry) -> bool {
        let is_of = |table: &TablePattern| {
            chunk.relation(entry).is_some_and(|relation| table.matches(relation))
        };
        let position = chunk.position(entry);
        let ranges = &self.order.ranges;
        let in_range = |(start, end): &(Position, Position)| (*start..*end).contains(&position);
        (ranges.is_empty() || ranges.iter().any(in_range))
            && self.order.window.holds(chunk, entry)
            && self.order.table.as_ref().is_none_or(is_of)
    }

    /// Maps one change out of a chunk of its own: an event that waits must not keep a whole one.
    fn map(
        &mut self,
        chunk: &Chunk,
        entry: &Entry,
        slice: &mut Slice,
    ) -> Result<(), mapping::Error> {
        let alone = Arc::new(record::extract(chunk, entry));
        let mut buffer = Vec::new();
        let (draft, is_refused) = match self.mapper.map(&alone, 0, &mut buffer)? {
            Mapped::Event(draft) => (draft, false),
            Mapped::Rejected { draft, .. } => (draft, true),
            Mapped::Skipped { .. } => {
                slice.not_wanted += 1;
                return Ok(());
            }
            Mapped::Unrouted => return Ok(()),
        };
        let key = draft.key.clone().and_then(|key| buffer.get(key));
        let of_pass = |only: &HashSet<u64>| {
            only.contains(&draft.key_hash)
                || draft.before_key_hash.is_some_and(|key| only.contains(&key))
        };
        let routes = &self.order.routes;
        let is_of = routes.is_empty() || routes.contains(&draft.route.name);
        if !is_of || !has_key(key, &self.order.key) || !self.only.as_ref().is_none_or(of_pass) {
            return Ok(());
        }
        if is_refused {
            slice.refused += 1;
        } else {
            slice.drafts.push((draft, buffer));
        }
        Ok(())
    }

    /// An event was handed over.
    pub(super) fn sent(&mut self, position: Position, keys: impl Iterator<Item = u64>) {
        self.under_way.insert(position);
        for key in keys {
            if self.live.contains(&key) {
                self.overwritten.insert(key);
            }
        }
    }

    /// Events that are being sent again came to an end, or back to their lanes. Returns whether
    /// it was one of these.
    pub(super) fn settle(&mut self, position: Position, is_back: bool) -> bool {
        if is_back { self.under_way.insert(position) } else { self.under_way.remove(&position) }
    }

    /// The stream brought an event of these keys.
    pub(super) fn passed(&mut self, keys: impl Iterator<Item = u64>) {
        self.live.extend(keys);
    }

    /// Begins a further pass, up to `to`, where something older was sent again behind something
    /// newer: what is newest of those keys has to come last. False where there is no need.
    pub(super) fn begin_pass(&mut self, to: Position) -> bool {
        if self.overwritten.is_empty() {
            return false;
        }
        self.only = Some(std::mem::take(&mut self.overwritten));
        self.live.clear();
        self.order.window.to = None;
        self.order.ranges.clear();
        self.order.from = self.to;
        self.to = to;
        true
    }

    /// Reads from here again.
    pub(super) fn go_back(&mut self, cursor: Cursor) {
        self.cursor = cursor;
    }

    /// Tells how far it is.
    pub(super) fn tell(&self) {
        let at = self.needed_from();
        let mut told = self.order.told.lock();
        told.0.at = at.to_string();
        told.1 = at;
    }
}

/// Whether an event's key, as JSON, has these values by column; digits are compared as they stand.
#[must_use]
pub fn has_key(key: Option<&[u8]>, wanted: &BTreeMap<String, Box<RawValue>>) -> bool {
    if wanted.is_empty() {
        return true;
    }
    let Some(key) = key.and_then(|key| std::str::from_utf8(key).ok()) else { return false };
    let Ok(key) = serde_json::from_str::<BTreeMap<&str, &RawValue>>(key) else { return false };
    wanted
        .iter()
        .all(|(name, value)| key.get(name.as_str()).is_some_and(|found| found.get() == value.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_compared_by_its_columns_as_they_stand() {
        let wanted = |text: &str| serde_json::from_str(text).unwrap();
        let key = Some(&b"{\"id\":42,\"region\":\"eu\"}"[..]);
        for (text, fits) in [
            ("{}", true),
            ("{\"id\":42}", true),
            ("{\"region\":\"eu\", \"id\":42}", true),
            ("{\"id\":\"42\"}", false),
            ("{\"id\":42.0}", false),
            ("{\"other\":1}", false),
        ] {
            assert_eq!(has_key(key, &wanted(text)), fits, "{text}");
        }
        assert!(!has_key(None, &wanted("{\"id\":42}")));
        assert!(!has_key(Some(b"null"), &wanted("{\"id\":42}")));
    }
}
