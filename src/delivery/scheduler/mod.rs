//! [`Scheduler`]: what is sent next, and what an answer means (pure; time and chance are
//! arguments).

mod send;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::breaker::{Breaker, BreakerState, HaltReason};
use super::lane::{Flight, Lane, Piece, Tracked, keys, weight};
use super::pace::Pace;
use super::parked::{Entry, LetterState, Parked};
use super::settings::{OnDead, Settings};
use crate::chunk::Operation;
use crate::failure::Category;
use crate::lsn::{EventId, Position};
use crate::progress::ledger::Ordinal;
use crate::sink::{Batch, Failure};

/// Names a request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DispatchId {
    pub(super) number: u64,
    pub(super) from: Origin,
}

impl DispatchId {
    /// Returns the stored event that the request tries again, if it does.
    #[must_use]
    pub const fn stored(self) -> Option<EventId> {
        match self.from {
            Origin::Parked(id) => Some(id),
            Origin::Lane(_) => None,
        }
    }
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Lane(usize),
    Parked(EventId),
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// To be given back with the answer.
    pub id: DispatchId,
    /// What to send.
    pub what: What,
}

/// What a request holds.
#[derive(Clone, Debug)]
pub enum What {
    /// These events.
    Batch(Arc<Batch>),
    /// An event that was set aside and has to be loaded first.
    Stored(EventId),
}

/// What follows from an answer, for the runner to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// The far side has these events.
    Acknowledged {
        /// Their numbers in the ledger.
        ordinals: Vec<Ordinal>,
        /// What was sent.
        batch: Arc<Batch>,
    },
    /// Stored already by an earlier run: done as far as the ledger is concerned.
    Safe {
        /// Its number in the ledger.
        ordinal: Ordinal,
    },
    /// To be stored among the dead letters; done once that is on disk.
    SetAside {
        /// The event.
        event: Tracked,
        /// Retrying, or dead.
        state: LetterState,
        /// Why.
        category: Category,
        /// The last answer.
        failure: Failure,
        /// How often it was tried.
        attempts: u32,
    },
    /// To be stored as a reference behind another event of its key.
    Park {
        /// The event.
        event: Tracked,
    },
    /// A stored event was tried again, without success.
    Tried {
        /// Which.
        id: EventId,
        /// Retrying, or dead.
        state: LetterState,
        /// Why.
        category: Category,
        /// The last answer.
        failure: Failure,
        /// How often it was tried.
        attempts: u32,
    },
    /// A stored event was accepted: its row goes, then [`Scheduler::resolved`] is called.
    Accepted {
        /// Which.
        id: EventId,
    },
    /// These dead letters were none: the rows go, the ledger takes them back.
    Reopen {
        /// The events, which are in their lanes again.
        events: Vec<(Ordinal, EventId)>,
    },
}

/// Rejections in a row, without one acceptance, that mean that the set-up is wrong, not the data.
pub(super) const REJECTIONS_MAX: u32 = 100;
/// Requests that may go into finding the bad event of a batch within [`ISOLATION_WINDOW`].
pub(super) const ISOLATION_REQUESTS_MAX: u32 = 64;
/// See [`ISOLATION_REQUESTS_MAX`].
pub(super) const ISOLATION_WINDOW: Duration = Duration::from_secs(300);

/// Decides what a sink is sent, and when.
///
/// Invariant: two events of one key are sent in the order in which they were pushed, each after
/// the one before it is accepted, dead, or stored in front of it.
#[derive(Debug)]
pub struct Scheduler {
    pub(super) settings: Settings,
    pub(super) lanes: Vec<Lane>,
    /// Lanes to look at.
    ready: VecDeque<usize>,
    /// Lanes to look at later.
    timers: BTreeSet<(Duration, usize)>,
    pub(super) parked: Parked,
    /// Dead letters of an earlier run that the stream brings again.
    settled: HashSet<EventId>,
    pub(super) breaker: Breaker,
    pub(super) backoff: Backoff,
    pace: Pace,
    /// A rate limit forbids sending until then.
    paced_until: Duration,
    /// The far side asked for time until then.
    pub(super) throttled_until: Duration,
    pub(super) throttles: u32,
    /// What waits behind a TRUNCATE, the TRUNCATE first.
    barrier: VecDeque<Tracked>,
    numbers: u64,
    pub(super) in_flight: u32,
    parked_in_flight: u32,
    /// The last request was a stored event's: now a lane's turn.
    lanes_turn: bool,
    /// Lanes whose first piece is a suspect.
    pub(super) suspects: BTreeSet<usize>,
    /// The number of the last request that was accepted.
    pub(super) accepted_last: u64,
    /// Rejections since then, and what they set aside.
    pub(super) rejections: u32,
    pub(super) rejected: Vec<Tracked>,
    /// Requests that went into isolation since then.
    pub(super) isolation: (Duration, u32),
    pub(super) dead: u64,
    /// Events in lanes, and behind a barrier.
    events: usize,
    bytes: u64,
    /// Events in lanes that another lane has to come to as well.
    joined: u64,
    waiting_joins: BTreeSet<usize>,
    /// A TRUNCATE is in its lane; what is behind it waits.
    truncating: bool,
    probe_turn: usize,
    /// The number of the breaker's probe.
    pub(super) probe_number: u64,
}

impl Scheduler {
    /// Starts with nothing to do.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let count = usize::try_from(settings.concurrency.max(1)).unwrap_or(1);
        Self {
            lanes: std::iter::repeat_with(Lane::default).take(count).collect(),
            ready: VecDeque::new(),
            timers: BTreeSet::new(),
            parked: Parked::default(),
            settled: HashSet::new(),
            breaker: Breaker::new(settings),
            backoff: Backoff::new(&settings.retry),
            pace: Pace::new(&settings.rate_limit, &settings.batch),
            paced_until: Duration::ZERO,
            throttled_until: Duration::ZERO,
            throttles: 0,
            barrier: VecDeque::new(),
            numbers: 0,
            in_flight: 0,
            parked_in_flight: 0,
            lanes_turn: false,
            suspects: BTreeSet::new(),
            accepted_last: 0,
            rejections: 0,
            rejected: Vec::new(),
            isolation: (Duration::ZERO, 0),
            dead: 0,
            events: 0,
            bytes: 0,
            joined: 0,
            waiting_joins: BTreeSet::new(),
            truncating: false,
            probe_turn: 0,
            probe_number: 0,
            settings: settings.clone(),
        }
    }

    /// Takes back an event that an earlier run stored. In stream order, before the first push.
    pub fn restore(
        &mut self,
        id: EventId,
        keys: [Option<u64>; 2],
        state: LetterState,
        attempts: u32,
        now: Duration,
    ) {
        if state == LetterState::Dead && self.settings.on_dead == OnDead::Continue {
            self.settled.insert(id);
            return;
        }
        let mut entry = Entry::new(state, keys, attempts);
        entry.stored = true;
        self.parked.add(id, entry, now);
    }

    /// Takes the next event of the stream.
    pub fn push(&mut self, event: Tracked, now: Duration, effects: &mut Vec<Effect>) {
        if self.is_settled(event.envelope.id) {
            effects.push(Effect::Safe { ordinal: event.ordinal });
            return;
        }
        self.events += 1;
        self.bytes += weight(&event.envelope);
        if !self.barrier.is_empty() || event.envelope.operation == Operation::Truncate {
            self.barrier.push_back(event);
            self.pass_barrier(now, effects);
            return;
        }
        self.admit(event, now, effects);
    }

    /// Whether an earlier run stored the event, so that it is not to be sent from the stream.
    pub(super) fn is_settled(&self, id: EventId) -> bool {
        (!self.parked.is_empty() && self.parked.contains(id))
            || (!self.settled.is_empty() && self.settled.contains(&id))
    }

    /// Puts an event into its lane, or behind what was set aside of its key.
    fn admit(&mut self, event: Tracked, now: Duration, effects: &mut Vec<Effect>) {
        if !self.parked.is_empty() && keys(&event.envelope).any(|key| self.parked.holds_key(key)) {
            self.left(&event);
            self.park(event, now, effects);
            return;
        }
        let lane = self.lane_of(event.envelope.key_hash);
        let old = event.envelope.before_key_hash.map(|key| self.lane_of(key));
        let joins = old.filter(|old| *old != lane);
        if let Some(old) = joins {
            self.joined += 1;
            if let Some(other) = self.lanes.get_mut(old) {
                other.push_hold(event.ordinal);
            }
        }
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.push(event, now, joins);
        }
        self.list(lane);
    }

    pub(super) fn lane_of(&self, key: u64) -> usize {
        let count = self.lanes.len() as u64;
        usize::try_from(key % count.max(1)).unwrap_or(0)
    }

    /// Marks a lane as one to look at.
    pub(super) fn list(&mut self, index: usize) {
        if let Some(lane) = self.lanes.get_mut(index)
            && !lane.listed
        {
            lane.listed = true;
            self.ready.push_back(index);
        }
    }

    pub(super) fn list_all(&mut self) {
        (0..self.lanes.len()).for_each(|index| self.list(index));
    }

    /// Stores an event behind others of its key.
    pub(super) fn park(&mut self, event: Tracked, now: Duration, effects: &mut Vec<Effect>) {
        let envelope = &event.envelope;
        let keys =
            [Some(envelope.key_hash), other_key(envelope.key_hash, envelope.before_key_hash)];
        self.parked.add(envelope.id, Entry::new(LetterState::Blocked, keys, 0), now);
        effects.push(Effect::Park { event });
    }

    /// An event is in no lane any more.
    pub(super) fn left(&mut self, event: &Tracked) {
        self.events = self.events.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(weight(&event.envelope));
    }

    pub(super) fn left_piece(&mut self, piece: &Piece) {
        self.events = self.events.saturating_sub(piece.len());
        self.bytes = self.bytes.saturating_sub(piece.bytes());
    }

    pub(super) fn came_back(&mut self, event: &Tracked) {
        self.events += 1;
        self.bytes += weight(&event.envelope);
    }

    /// The event that made another lane wait is out of the way.
    pub(super) fn release(&mut self, joins: Option<usize>, ordinal: Option<Ordinal>) {
        let Some(other) = joins else { return };
        self.joined = self.joined.saturating_sub(1);
        if let Some(lane) = self.lanes.get_mut(other) {
            match ordinal {
                Some(ordinal) if !lane.held => lane.drop_hold(ordinal),
                _ => lane.release(),
            }
        }
        self.list(other);
    }

    /// Takes everything behind `first` that shares a key with it out of the lanes, and what
    /// shares a key with that, and so on.
    pub(super) fn park_followers(
        &mut self,
        first: &Tracked,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let mut work: Vec<(u64, Ordinal)> =
            keys(&first.envelope).map(|key| (key, first.ordinal)).collect();
        let mut taken = Vec::new();
        while let Some((key, after)) = work.pop() {
            let own = self.lane_of(key);
            for index in 0..self.lanes.len() {
                if index != own && self.joined == 0 {
                    continue;
                }
                let Some(lane) = self.lanes.get_mut(index) else { continue };
                for (event, joins) in lane.take_key(key, after) {
                    let more = keys(&event.envelope).filter(|other| *other != key);
                    work.extend(more.map(|other| (other, event.ordinal)));
                    self.release(joins, Some(event.ordinal));
                    self.left(&event);
                    taken.push(event);
                }
                self.list(index);
            }
        }
        taken.sort_by_key(|event| event.ordinal);
        taken.into_iter().for_each(|event| self.park(event, now, effects));
    }

    /// Lets a TRUNCATE through once everything before it is done, and what is behind it after.
    pub(super) fn pass_barrier(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.barrier.is_empty() {
            return;
        }
        if self.truncating {
            if !self.is_drained() {
                return;
            }
            self.truncating = false;
        }
        while let Some(front) = self.barrier.front() {
            let is_truncate = front.envelope.operation == Operation::Truncate;
            if is_truncate && !self.is_drained() {
                return;
            }
            let Some(event) = self.barrier.pop_front() else { return };
            self.admit(event, now, effects);
            if is_truncate && !self.is_drained() {
                self.truncating = true;
                return;
            }
        }
    }

    /// Whether nothing is left to send but what waits behind a TRUNCATE.
    fn is_drained(&self) -> bool {
        self.events == self.barrier.len() && self.in_flight == 0 && self.parked.retrying() == 0
    }

    /// A request is no longer under way. Returns what it was.
    pub(super) fn landed(&mut self, index: usize, number: u64) -> Option<Flight> {
        let lane = self.lanes.get_mut(index)?;
        let flight = lane.flight.take_if(|flight| flight.number == number)?;
        self.in_flight = self.in_flight.saturating_sub(1);
        Some(flight)
    }

    pub(super) fn landed_parked(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.parked_in_flight = self.parked_in_flight.saturating_sub(1);
    }

    /// Looks again at the lane, and at those that wait for it to come to their event.
    pub(super) fn list_with_joins(&mut self, index: usize) {
        self.list(index);
        let waiting = std::mem::take(&mut self.waiting_joins);
        waiting.into_iter().for_each(|other| self.list(other));
    }

    /// Returns how many events are in lanes, and their bytes.
    #[must_use]
    pub const fn holds(&self) -> (usize, u64) {
        (self.events, self.bytes)
    }

    /// Whether so many events wait behind others that the lanes have to wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.parked.blocked() >= self.settings.max_blocked
    }

    /// Returns how many requests are under way.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Returns how many events are retrying by themselves, and how many wait behind others.
    #[must_use]
    pub fn parked_counts(&self) -> (u64, u64) {
        (self.parked.retrying(), self.parked.blocked())
    }

    /// Returns the lowest position that is kept as a reference into the journal only.
    #[must_use]
    pub fn pinned_from(&self) -> Option<Position> {
        self.parked.pinned_from()
    }

    /// Returns the breaker's state, and why the sink is halted.
    #[must_use]
    pub const fn breaker(&self) -> (BreakerState, Option<&HaltReason>) {
        (self.breaker.state(), self.breaker.halted())
    }

    /// Whether an event waits outside its lane.
    #[must_use]
    pub fn is_parked(&self, id: EventId) -> bool {
        self.parked.contains(id)
    }

    /// Returns how many dead letters the sink has.
    #[must_use]
    pub const fn dead_letters(&self) -> u64 {
        self.dead
    }

    /// Whether the sink is halted because of their number.
    #[must_use]
    pub const fn has_too_many_dead(&self) -> bool {
        matches!(self.breaker.halted(), Some(HaltReason::TooManyDead))
    }

    /// Returns an event that fails in its lane, and the last answer to it.
    #[must_use]
    pub fn failing(&self) -> Option<(EventId, &Failure)> {
        let fronts = self.lanes.iter().filter_map(|lane| lane.pieces.front());
        fronts
            .filter(|piece| piece.failures > 0)
            .find_map(|piece| Some((piece.batch.events.first()?.id, piece.last_failure.as_ref()?)))
    }

    /// Whether some event is being tried again, in its lane or outside of it.
    #[must_use]
    pub fn is_retrying(&self) -> bool {
        self.parked.retrying() > 0
            || self.lanes.iter().any(|lane| lane.pieces.front().is_some_and(|p| p.failures > 0))
    }
}

/// The old key, where it is another.
pub(super) fn other_key(key: u64, before: Option<u64>) -> Option<u64> {
    before.filter(|before| *before != key)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod chaos;
