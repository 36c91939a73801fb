//! [`Parked`]: events that left their lane, and which of them may be tried (pure).

#[cfg(test)]
mod check;
mod due;
mod entry;
mod operator;
mod tables;
mod wait;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::due::Due;
pub use self::entry::LetterState;
pub(super) use self::entry::{Again, Entry};
use self::operator::count_held;
use self::tables::Tables;
use crate::envelope::TableTag;
use crate::lsn::{EventId, Position};

/// Events outside their lanes, in order per key.
///
/// Invariant: an event is tried only when it is the first of all its keys, and when no TRUNCATE of
/// its table is before it; a TRUNCATE only when it is the first of its table.
#[derive(Debug, Default)]
pub(super) struct Parked {
    entries: HashMap<EventId, Entry>,
    queues: HashMap<u64, VecDeque<EventId>>,
    tables: Tables,
    /// The keys of what is busy.
    busy_keys: HashSet<u64>,
    /// The tables of each TRUNCATE that is busy.
    busy_tables: HashSet<TableTag>,
    due: Due,
    /// Where those lie that wait as references.
    blocked: BTreeSet<Position>,
    retrying: u64,
    /// Where those lie that go on trying by themselves.
    retrying_at: BTreeSet<Position>,
    replaying: usize,
    /// How many wait of each route that is held; only where some do.
    held: BTreeMap<Arc<str>, u64>,
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn contains(&self, id: EventId) -> bool {
        self.entries.contains_key(&id)
    }

    pub(super) fn holds_key(&self, key: u64) -> bool {
        self.queues.contains_key(&key)
    }

    /// Whether a TRUNCATE of the table that is older than `id` is here.
    pub(super) fn truncates_before(&self, table: TableTag, id: EventId) -> bool {
        self.tables.has_truncate_before(table, id)
    }

    /// Whether events of each of the keys that are older than `id` are here.
    pub(super) fn has_before_of(&self, keys: [Option<u64>; 2], id: EventId) -> bool {
        let first = |key| self.queues.get(&key).and_then(VecDeque::front);
        // One that waits for a lane itself may be discarded before the lane has come there.
        let waits = |id: &EventId| self.entries.get(id).is_some_and(|entry| entry.waits > 0);
        let is_before = |first: &EventId| *first < id && !waits(first);
        keys.into_iter().flatten().all(|key| first(key).is_some_and(is_before))
    }

    /// Whether an event of the table that is older than `id` is here.
    pub(super) fn has_before(&self, table: TableTag, id: EventId) -> bool {
        self.tables.has_before(table, id)
    }

    /// Whether a TRUNCATE of the table that is newer than `id` is being sent.
    pub(super) fn is_truncating(&self, table: TableTag, id: EventId) -> bool {
        // One that is sent is the first of its table, but for what was added since.
        let is_sent = |id| self.entries.get(&id).is_some_and(|entry| entry.busy);
        self.tables.truncates_after(table, id).next().is_some_and(is_sent)
    }

    /// Returns how many go on trying by themselves, those that a person has sent again as well.
    pub(super) const fn retrying(&self) -> u64 {
        self.retrying + self.replaying as u64
    }

    /// Whether some event here will still be tried, now or once what is before it is done. What is
    /// left otherwise waits for a person.
    pub(super) fn is_moving(&self) -> bool {
        let moves = |id: &EventId| {
            let entry = self.entries.get(id);
            let entry = entry.filter(|entry| entry.state != LetterState::Dead && !entry.held);
            entry.is_some_and(|entry| self.is_first(*id, entry))
        };
        self.queues.values().filter_map(VecDeque::front).any(moves)
    }

    pub(super) fn get(&self, id: EventId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(super) fn blocked(&self) -> u64 {
        self.blocked.len() as u64
    }

    /// Returns the lowest position that is kept as a reference only.
    pub(super) fn pinned_from(&self) -> Option<Position> {
        self.blocked.first().copied()
    }

    /// Returns the lowest position of what goes on trying by itself, or waits behind another.
    pub(super) fn waiting_from(&self) -> Option<Position> {
        [self.blocked.first(), self.retrying_at.first()].into_iter().flatten().min().copied()
    }

    pub(super) fn get_mut(&mut self, id: EventId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    /// Adds an event at its place among those of its keys.
    pub(super) fn add(&mut self, id: EventId, entry: Entry, now: Duration) {
        if self.entries.contains_key(&id) {
            return;
        }
        for key in entry.keys.into_iter().flatten() {
            let queue = self.queues.entry(key).or_default();
            let place = queue.partition_point(|other| *other < id);
            // What was the first of its key is that no longer.
            if place == 0
                && let Some(first) = queue.front()
                && let Some(entry) = self.entries.get(first)
            {
                self.due.remove(entry.due, *first);
            }
            queue.insert(place, id);
        }
        let table = entry.table();
        if let Some(truncate) = self.tables.leading_truncate(table).filter(|other| *other > id) {
            self.not_due(truncate);
        }
        self.tables.add(table, id, entry.truncates);
        if entry.truncates {
            let behind: Vec<EventId> = self.tables.after(table, id).collect();
            behind.into_iter().for_each(|id| self.not_due(id));
        }
        self.enter(entry.state, id);
        count_held(&mut self.held, &entry, true);
        self.entries.insert(id, entry);
        self.look_at(id, now);
    }

    /// Takes it out of those that are tried at their time.
    fn not_due(&mut self, id: EventId) {
        if let Some(entry) = self.entries.get(&id) {
            self.due.remove(entry.due, id);
        }
    }

    /// Whether an event of one of these keys is being sent.
    pub(super) fn is_sending(&self, mut keys: impl Iterator<Item = u64>) -> bool {
        keys.any(|key| self.busy_keys.contains(&key))
    }

    /// Whether an event of this table is being sent.
    pub(super) fn is_sending_of(&self, table: TableTag) -> bool {
        self.busy_keys.iter().any(|key| TableTag::of(*key) == table)
    }

    /// Its row is on disk.
    pub(super) fn stored(&mut self, id: EventId, now: Duration) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.stored = true;
            let due = entry.due.max(now);
            self.look_at(id, due);
        }
    }

    /// It is tried again at `due`.
    pub(super) fn wait(&mut self, id: EventId, due: Duration) {
        self.rest(id);
        self.look_at(id, due);
        self.look_at_first(id, due);
    }

    /// It failed, at the head of its keys, and is tried again at `due`.
    pub(super) fn retry(&mut self, id: EventId, due: Duration) {
        let is_replayed = self.entries.get(&id).is_some_and(|entry| entry.again.is_some());
        let state = if is_replayed { LetterState::Replaying } else { LetterState::Retrying };
        self.set_state(id, state);
        self.wait(id, due);
    }

    /// It is given up, and what is behind it waits for a person.
    pub(super) fn bury(&mut self, id: EventId, now: Duration) {
        self.set_state(id, LetterState::Dead);
        if let Some(entry) = self.entries.get_mut(&id) {
            self.due.remove(entry.due, id);
        }
        self.rest(id);
        self.look_at_first(id, now);
    }

    /// It is done, or dead with nothing waiting for it: the next of its keys may be tried.
    pub(super) fn remove(&mut self, id: EventId, now: Duration) {
        self.set_state(id, LetterState::Dead);
        self.rest(id);
        let Some(entry) = self.entries.remove(&id) else { return };
        self.due.remove(entry.due, id);
        let mut next = Vec::new();
        for key in entry.keys.into_iter().flatten() {
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            if let Ok(place) = queue.binary_search(&id) {
                queue.remove(place);
            }
            match queue.front() {
                Some(first) => next.push(*first),
                None => {
                    self.queues.remove(&key);
                }
            }
        }
        let table = entry.table();
        self.tables.remove(table, id);
        if entry.truncates {
            next.extend(self.tables.leading(table));
        }
        next.extend(self.tables.leading_truncate(table));
        next.into_iter().for_each(|first| self.look_again_at(first, now));
    }

    /// Looks at an event that may have become the first, without forgetting when it is due.
    fn look_again_at(&mut self, id: EventId, now: Duration) {
        let due = self.entries.get(&id).map_or(now, |entry| entry.due.max(now));
        self.look_at(id, due);
    }

    /// Returns the event that is due, and takes it out of the waiting ones. `retries`: one that
    /// failed before may go.
    pub(super) fn take_due(&mut self, now: Duration, retries: bool) -> Option<EventId> {
        let (due, id) = self.due.next(now, retries)?;
        self.due.remove(due, id);
        let entry = self.entries.get_mut(&id)?;
        entry.busy = true;
        self.busy_keys.extend(entry.keys.into_iter().flatten());
        if entry.truncates {
            self.busy_tables.insert(entry.table());
        }
        Some(id)
    }

    /// It is not busy any more.
    fn rest(&mut self, id: EventId) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.busy) else { return };
        entry.busy = false;
        for key in entry.keys.into_iter().flatten() {
            self.busy_keys.remove(&key);
        }
        if entry.truncates {
            self.busy_tables.remove(&entry.table());
        }
    }

    /// Looks at what is in front of an event: it may have waited for that to rest.
    fn look_at_first(&mut self, id: EventId, now: Duration) {
        let Some(entry) = self.entries.get(&id) else { return };
        let (keys, table) = (entry.keys, entry.table());
        // What is older of its table may have waited for it; what comes first of its keys, too.
        let older = entry.truncates.then(|| self.tables.before(table, id));
        let firsts = keys.into_iter().flatten().filter_map(|key| self.queues.get(&key)?.front());
        let firsts = firsts.copied().filter(|first| *first != id);
        let waiting: Vec<EventId> = older.into_iter().flatten().chain(firsts).collect();
        for other in waiting {
            let due = self.entries.get(&other).map_or(now, |entry| entry.due);
            self.look_at(other, due);
        }
    }

    pub(super) fn is_due(&self, now: Duration, retries: bool) -> bool {
        self.due.next(now, retries).is_some()
    }

    /// Whether the event failed before.
    pub(super) fn is_retry(&self, id: EventId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.state == LetterState::Retrying)
    }

    /// Returns when the next one that may not go yet may. `retries_at`: when one that failed
    /// before may, if not now.
    pub(super) fn wake_at(&self, now: Duration, retries_at: Option<Duration>) -> Option<Duration> {
        let later = (now.saturating_add(Duration::from_nanos(1)), EventId::FIRST);
        let next = |queue: &BTreeSet<_>| queue.range(later..).next().map(|(due, _)| *due);
        let is_held = self.due.again.first().is_some_and(|(due, _)| *due <= now);
        let held = retries_at.filter(|_| is_held);
        [next(&self.due.first), next(&self.due.again), held].into_iter().flatten().min()
    }

    fn set_state(&mut self, id: EventId, state: LetterState) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        count_held(&mut self.held, entry, false);
        let before = std::mem::replace(&mut entry.state, state);
        count_held(&mut self.held, entry, true);
        self.leave(before, id);
        self.enter(state, id);
    }

    fn enter(&mut self, state: LetterState, id: EventId) {
        match state {
            LetterState::Blocked => {
                self.blocked.insert(id.position);
            }
            LetterState::Retrying => {
                self.retrying += 1;
                self.retrying_at.insert(id.position);
            }
            LetterState::Replaying => self.replaying += 1,
            LetterState::Dead => {}
        }
    }

    fn leave(&mut self, state: LetterState, id: EventId) {
        match state {
            LetterState::Blocked => {
                self.blocked.remove(&id.position);
            }
            LetterState::Retrying => {
                self.retrying -= 1;
                self.retrying_at.remove(&id.position);
            }
            LetterState::Replaying => self.replaying -= 1,
            LetterState::Dead => {}
        }
    }

    /// Makes an event due that is the first of its keys.
    fn look_at(&mut self, id: EventId, due: Duration) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        self.due.remove(entry.due, id);
        entry.due = due;
        let is_kept = entry.state == LetterState::Dead || entry.held;
        if is_kept || !entry.stored || entry.busy || entry.waits > 0 {
            return;
        }
        let Some(entry) = self.entries.get(&id) else { return };
        let is_free = entry.keys.into_iter().flatten().all(|key| !self.busy_keys.contains(&key))
            && (self.busy_tables.is_empty() || !self.busy_tables.contains(&entry.table()));
        if is_free && self.is_first(id, entry) {
            self.due.insert(entry.state, due, id);
        }
    }

    fn is_first(&self, id: EventId, entry: &Entry) -> bool {
        let table = entry.table();
        if entry.truncates && self.tables.has_before(table, id)
            || self.tables.has_truncate_before(table, id)
        {
            return false;
        }
        let is_first =
            |key| self.queues.get(&key).and_then(VecDeque::front).is_some_and(|first| *first == id);
        entry.keys.into_iter().flatten().all(is_first)
    }
}
