//! [`Parked`]: events that left their lane, and which of them may be tried (pure).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::lsn::{EventId, Position};

/// What is to become of an event that was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LetterState {
    /// It goes on trying by itself.
    Retrying,
    /// It waits behind another of its key.
    Blocked,
    /// A person has to look at it.
    Dead,
}

impl LetterState {
    /// Returns the word used in `dlq list`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retrying => "retrying",
            Self::Blocked => "blocked",
            Self::Dead => "dead",
        }
    }
}

/// An event outside its lane.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) state: LetterState,
    pub(super) keys: [Option<u64>; 2],
    pub(super) attempts: u32,
    pub(super) failures: u32,
    /// The request that sent it last.
    pub(super) last_sent: u64,
    /// The last request before its last failure was counted.
    pub(super) last_seen: u64,
    /// Its row is on disk: it can be loaded.
    pub(super) stored: bool,
    /// It is being sent, or its row is being removed.
    pub(super) busy: bool,
    /// Lanes, and the stream, that have not come to its place yet: events of its keys that are
    /// older than it may be there.
    pub(super) waits: u32,
    due: Duration,
}

impl Entry {
    pub(super) const fn new(state: LetterState, keys: [Option<u64>; 2], attempts: u32) -> Self {
        Self {
            state,
            keys,
            attempts,
            failures: attempts,
            last_sent: 0,
            last_seen: 0,
            stored: false,
            busy: false,
            waits: 0,
            due: Duration::ZERO,
        }
    }
}

/// Events that are tried at their time.
#[derive(Debug, Default)]
struct Due {
    /// Such as were never tried.
    first: BTreeSet<(Duration, EventId)>,
    /// Such as failed.
    again: BTreeSet<(Duration, EventId)>,
}

impl Due {
    fn insert(&mut self, state: LetterState, due: Duration, id: EventId) {
        let queue = if state == LetterState::Retrying { &mut self.again } else { &mut self.first };
        queue.insert((due, id));
    }

    fn remove(&mut self, due: Duration, id: EventId) {
        self.first.remove(&(due, id));
        self.again.remove(&(due, id));
    }

    fn next(&self, now: Duration, retries: bool) -> Option<(Duration, EventId)> {
        let again = self.again.first().filter(|_| retries);
        self.first.first().into_iter().chain(again).min().filter(|(due, _)| *due <= now).copied()
    }
}

/// Events outside their lanes, in order per key.
///
/// Invariant: an event is tried only when it is the first of all its keys.
#[derive(Debug, Default)]
pub(super) struct Parked {
    entries: HashMap<EventId, Entry>,
    queues: HashMap<u64, VecDeque<EventId>>,
    due: Due,
    /// Where those lie that wait as references.
    blocked: BTreeSet<Position>,
    retrying: u64,
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

    pub(super) const fn retrying(&self) -> u64 {
        self.retrying
    }

    /// Whether some event here, up to `last`, will still be tried, now or once what is before it
    /// is done. What is left otherwise waits behind a dead one for a person.
    pub(super) fn is_moving(&self, last: EventId) -> bool {
        let moves = |id: &EventId| {
            let entry = self.entries.get(id).filter(|entry| entry.state != LetterState::Dead);
            *id <= last && entry.is_some_and(|entry| self.is_first(*id, entry))
        };
        self.queues.values().filter_map(VecDeque::front).any(moves)
    }

    pub(super) fn blocked(&self) -> u64 {
        self.blocked.len() as u64
    }

    /// Returns the lowest position that is kept as a reference only.
    pub(super) fn pinned_from(&self) -> Option<Position> {
        self.blocked.first().copied()
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
            queue.insert(place, id);
        }
        match entry.state {
            LetterState::Blocked => {
                self.blocked.insert(id.position);
            }
            LetterState::Retrying => self.retrying += 1,
            LetterState::Dead => {}
        }
        self.entries.insert(id, entry);
        self.look_at(id, now);
    }

    /// Has every event behind `id` that is still to be tried wait once, and returns them.
    pub(super) fn hold_back(&mut self, id: EventId) -> Vec<EventId> {
        let mut held = Vec::new();
        for (other, entry) in &mut self.entries {
            if *other > id && entry.state != LetterState::Dead && !entry.busy {
                entry.waits = 1;
                self.due.remove(entry.due, *other);
                held.push(*other);
            }
        }
        held
    }

    /// Whether an event of one of these keys is being sent.
    pub(super) fn is_sending(&self, mut keys: impl Iterator<Item = u64>) -> bool {
        let busy = |id: &EventId| self.entries.get(id).is_some_and(|entry| entry.busy);
        keys.any(|key| self.queues.get(&key).and_then(VecDeque::front).is_some_and(busy))
    }

    /// A lane, or the stream, has come to its place.
    pub(super) fn waited(&mut self, id: EventId, now: Duration) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.waits = entry.waits.saturating_sub(1);
            let due = entry.due.max(now);
            self.look_at(id, due);
        }
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
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.busy = false;
            self.look_at(id, due);
        }
    }

    /// It failed, at the head of its keys, and is tried again at `due`.
    pub(super) fn retry(&mut self, id: EventId, due: Duration) {
        self.set_state(id, LetterState::Retrying);
        self.wait(id, due);
    }

    /// It is given up, and what is behind it waits for a person.
    pub(super) fn bury(&mut self, id: EventId) {
        self.set_state(id, LetterState::Dead);
        if let Some(entry) = self.entries.get_mut(&id) {
            self.due.remove(entry.due, id);
            entry.busy = false;
        }
    }

    /// It is done, or dead with nothing waiting for it: the next of its keys may be tried.
    pub(super) fn remove(&mut self, id: EventId, now: Duration) {
        self.set_state(id, LetterState::Dead);
        let Some(entry) = self.entries.remove(&id) else { return };
        self.due.remove(entry.due, id);
        let mut next = Vec::new();
        for key in entry.keys.into_iter().flatten() {
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            queue.retain(|other| *other != id);
            match queue.front() {
                Some(first) => next.push(*first),
                None => {
                    self.queues.remove(&key);
                }
            }
        }
        next.into_iter().for_each(|first| self.look_at(first, now));
    }

    /// Returns the event that is due, and takes it out of the waiting ones. `retries`: one that
    /// failed before may go.
    pub(super) fn take_due(&mut self, now: Duration, retries: bool) -> Option<EventId> {
        let (due, id) = self.due.next(now, retries)?;
        self.due.remove(due, id);
        self.entries.get_mut(&id)?.busy = true;
        Some(id)
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
        match entry.state {
            LetterState::Blocked => {
                self.blocked.remove(&id.position);
            }
            LetterState::Retrying => self.retrying -= 1,
            LetterState::Dead => {}
        }
        entry.state = state;
        match state {
            LetterState::Blocked => {
                self.blocked.insert(id.position);
            }
            LetterState::Retrying => self.retrying += 1,
            LetterState::Dead => {}
        }
    }

    /// Makes an event due that is the first of its keys.
    fn look_at(&mut self, id: EventId, due: Duration) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        self.due.remove(entry.due, id);
        entry.due = due;
        if entry.state == LetterState::Dead || !entry.stored || entry.busy || entry.waits > 0 {
            return;
        }
        let state = entry.state;
        if self.entries.get(&id).is_some_and(|entry| self.is_first(id, entry)) {
            self.due.insert(state, due, id);
        }
    }

    fn is_first(&self, id: EventId, entry: &Entry) -> bool {
        let is_first =
            |key| self.queues.get(&key).and_then(VecDeque::front).is_some_and(|first| *first == id);
        entry.keys.into_iter().flatten().all(is_first)
    }
}
