//! [`Scheduler`]: what is sent next, and what an answer means (pure; time and chance are
//! arguments).

mod answer;
mod aside;
mod effect;
mod fence;
mod isolate;
mod operator;
mod order;
mod send;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::effect::Origin;
pub use self::effect::{Dispatch, DispatchId, Effect, Reopened, What};
use self::fence::Fence;
use super::backoff::Backoff;
use super::breaker::{Breaker, BreakerState, HaltReason};
use super::budget::Budget;
use super::lane::{Flight, Lane, Piece, Tracked, keys, weight};
use super::pace::Pace;
use super::parked::{Entry, LetterState, Parked};
use super::ramp::Ramp;
use super::settings::Settings;
use crate::chunk::Operation;
use crate::envelope::TableTag;
use crate::lsn::{EventId, Position};
use crate::progress::ledger::Ordinal;
use crate::sink::Failure;

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
    settings: Settings,
    lanes: Vec<Lane>,
    /// Lanes to look at.
    ready: VecDeque<usize>,
    /// Lanes to look at later.
    timers: BTreeSet<(Duration, usize)>,
    parked: Parked,
    /// Dead letters of an earlier run that the stream brings again.
    settled: HashSet<EventId>,
    /// Events of an earlier run that the stream has not come to yet.
    ahead: BTreeSet<EventId>,
    /// Everything below was pushed.
    read: Position,
    /// The ordinal behind the last event that was pushed.
    pushed: Ordinal,
    breaker: Breaker,
    backoff: Backoff,
    budget: Budget,
    pace: Pace,
    ramp: Ramp,
    /// A rate limit forbids sending until then.
    paced_until: Duration,
    /// The far side asked for time until then.
    throttled_until: Duration,
    throttles: u32,
    /// Each TRUNCATE that is under way, one of a table.
    fences: BTreeMap<TableTag, Fence>,
    /// What waits in line behind them, where one request is sent at a time.
    behind: VecDeque<Tracked>,
    numbers: u64,
    /// When it was last asked what to send.
    looked_at: Duration,
    in_flight: u32,
    parked_in_flight: u32,
    /// The last request was a stored event's: now a lane's turn.
    lanes_turn: bool,
    /// Lanes whose first piece is a suspect.
    suspects: BTreeSet<usize>,
    /// Failures that waiting mends since the sink last accepted something, and the last of them.
    outage: Option<(u32, String)>,
    /// The number of the last request that was accepted.
    accepted_last: u64,
    /// See [`REJECTIONS_MAX`].
    rejections_max: u32,
    /// Rejections since then, and what they set aside.
    rejections: u32,
    rejected: Vec<Tracked>,
    /// What came back to its lane as the set-up seemed wrong. Refused again by a sink that has taken
    /// something, it is at fault itself.
    returned: HashSet<EventId>,
    /// Requests that went into isolation since then.
    isolation: (Duration, u32),
    dead: u64,
    /// Events in lanes, and behind a TRUNCATE.
    events: usize,
    bytes: u64,
    /// Events in lanes that another lane has to come to as well.
    joined: u64,
    waiting_joins: BTreeSet<usize>,
    /// An event that keeps failing found no other to show whether the sink is up, where events that
    /// two lanes have to come to may be in the way.
    is_cornered: bool,
    probe_turn: usize,
    /// The number of the breaker's probe.
    probe_number: u64,
    /// Why a person has stopped the sink.
    paused: Option<String>,
    /// Routes that a person holds: their events wait as references.
    held: HashSet<Arc<str>>,
    /// The names of routes, one of each.
    names: HashSet<Arc<str>>,
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
            ahead: BTreeSet::new(),
            read: Position::ZERO,
            pushed: 0,
            breaker: Breaker::new(settings),
            backoff: Backoff::new(&settings.retry),
            budget: Budget::default(),
            pace: Pace::new(&settings.rate_limit, &settings.batch),
            ramp: Ramp::new(settings.concurrency),
            paced_until: Duration::ZERO,
            throttled_until: Duration::ZERO,
            throttles: 0,
            fences: BTreeMap::new(),
            behind: VecDeque::new(),
            numbers: 0,
            looked_at: Duration::ZERO,
            in_flight: 0,
            parked_in_flight: 0,
            lanes_turn: false,
            suspects: BTreeSet::new(),
            outage: None,
            accepted_last: 0,
            rejections_max: REJECTIONS_MAX,
            rejections: 0,
            rejected: Vec::new(),
            returned: HashSet::new(),
            isolation: (Duration::ZERO, 0),
            dead: 0,
            events: 0,
            bytes: 0,
            joined: 0,
            waiting_joins: BTreeSet::new(),
            is_cornered: false,
            probe_turn: 0,
            probe_number: 0,
            paused: None,
            held: HashSet::new(),
            names: HashSet::new(),
            settings: settings.clone(),
        }
    }

    /// Takes the next event of the stream.
    pub fn push(&mut self, mut event: Tracked, now: Duration, effects: &mut Vec<Effect>) {
        let id = event.envelope.id;
        if self.is_settled(id) {
            effects.push(Effect::Safe { ordinal: event.ordinal });
            return;
        }
        self.pushed = event.ordinal + 1;
        self.events += 1;
        self.bytes += weight(&event.envelope);
        let lane = self.lane_of(event.envelope.key_hash);
        self.lanes.get_mut(lane).into_iter().for_each(|lane| lane.give_place(&mut event));
        if self.behind.is_empty() && !self.waits_in_line() {
            self.place(event, now, effects);
        } else {
            self.behind.push_back(event);
        }
    }

    /// Whether an earlier run stored the event, so that it is not to be sent from the stream.
    pub(super) fn is_settled(&self, id: EventId) -> bool {
        (!self.parked.is_empty() && self.parked.contains(id))
            || (!self.settled.is_empty() && self.settled.contains(&id))
    }

    /// Puts an event into its lane.
    fn enter(&mut self, event: Tracked, now: Duration) {
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
        let (id, ordinal) = (event.envelope.id, event.ordinal);
        if self.parked.contains(id) {
            // A replay brought it a second time: what is there has its marks already.
            return effects.push(Effect::Park { event });
        }
        let mut entry = self.entry_of(&event, LetterState::Blocked, 0);
        entry.apart = entry.held || !self.parked.has_before_of(entry.keys, id);
        entry.waits = match (entry.truncates, entry.apart) {
            (true, _) => self.mark_every_lane(id, ordinal),
            // What is before it of its keys may be in a lane still.
            (false, true) => self.mark_apart(id, entry.keys, ordinal),
            (false, false) => self.mark(id, entry.keys, ordinal),
        };
        self.parked.add(id, entry, now);
        effects.push(Effect::Park { event });
    }

    /// Returns what is known of an event that leaves its lane.
    pub(super) fn entry_of(&mut self, event: &Tracked, state: LetterState, attempts: u32) -> Entry {
        let envelope = &event.envelope;
        let keys =
            [Some(envelope.key_hash), other_key(envelope.key_hash, envelope.before_key_hash)];
        let mut entry = Entry::new(state, keys, attempts);
        entry.truncates = envelope.operation == Operation::Truncate;
        entry.held = self.is_held(&envelope.route.name);
        entry.route = Some(self.name_of(&envelope.route.name));
        entry
    }

    /// An event is in no lane any more.
    pub(super) fn left(&mut self, event: &Tracked) {
        self.events = self.events.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(weight(&event.envelope));
        self.returned.remove(&event.envelope.id);
        if event.envelope.operation == Operation::Truncate {
            self.fence_left(event.envelope.table_tag(), event.envelope.id);
        }
    }

    pub(super) fn left_piece(&mut self, piece: &Piece) {
        self.events = self.events.saturating_sub(piece.len());
        self.bytes = self.bytes.saturating_sub(piece.bytes());
        if !self.returned.is_empty() {
            piece.batch.events.iter().for_each(|event| {
                self.returned.remove(&event.id);
            });
        }
        // A TRUNCATE goes alone.
        let first = piece.batch.events.first();
        if let Some(event) = first.filter(|event| event.operation == Operation::Truncate) {
            self.fence_left(event.table_tag(), event.id);
        }
    }

    pub(super) fn came_back(&mut self, event: &Tracked) {
        self.events += 1;
        self.bytes += weight(&event.envelope);
    }

    /// Returns how often what a request that is under way sends was sent by now, from 1. A part of
    /// a batch that was parted counts anew.
    #[must_use]
    pub fn attempt(&self, id: DispatchId) -> u32 {
        let failures = match id.from {
            Origin::Lane(index) => self.lanes.get(index).and_then(|lane| {
                let flight = lane.flight.as_ref().filter(|flight| flight.number == id.number)?;
                Some(lane.pieces.get(flight.piece)?.failures)
            }),
            Origin::Parked(event) => self.parked.get(event).map(|entry| entry.attempts),
        };
        failures.unwrap_or_default().saturating_add(1)
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
        self.list_waiting_joins();
    }

    fn list_waiting_joins(&mut self) {
        let waiting = std::mem::take(&mut self.waiting_joins);
        waiting.into_iter().for_each(|other| self.list(other));
    }

    /// Returns how many events are in lanes, and their bytes.
    #[must_use]
    pub const fn holds(&self) -> (usize, u64) {
        (self.events, self.bytes)
    }

    /// Returns the events that are in lanes, or wait at a TRUNCATE.
    pub(in crate::delivery) fn ordinals(&self) -> impl Iterator<Item = Ordinal> {
        let lanes = self.lanes.iter().flat_map(Lane::ordinals);
        let fenced = self.fences.values().flat_map(Fence::queue).chain(&self.behind);
        lanes.chain(fenced.map(|event| event.ordinal))
    }

    /// Whether so many events wait behind others that the lanes have to wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        // Those of an earlier run may have to wait for the stream themselves.
        let is_awaited = self.ahead.last().is_some_and(|id| id.position >= self.read);
        self.parked.blocked() >= self.settings.max_blocked && !is_awaited
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

    /// Returns the lowest position that the journal must keep beside what is not done: of what is
    /// kept as a reference into it, and of dead letters that may yet be taken back.
    #[must_use]
    pub fn pinned_from(&self) -> Option<Position> {
        let rejected = self.rejected.iter().map(|event| event.envelope.id.position);
        rejected.chain(self.parked.pinned_from()).min()
    }

    /// Returns the lowest position of what left its lane and is neither done nor dead.
    #[must_use]
    pub fn waiting_from(&self) -> Option<Position> {
        self.parked.waiting_from()
    }

    /// Whether an event outside its lane will still be tried.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.parked.is_moving()
    }

    /// Returns the breaker's state, and why the sink is halted.
    #[must_use]
    pub const fn breaker(&self) -> (BreakerState, Option<&HaltReason>) {
        (self.breaker.state(), self.breaker.halted())
    }

    /// Returns how many requests failed since one was accepted, and what the last answer was.
    #[must_use]
    pub fn outage(&self) -> Option<(u32, &str)> {
        self.outage.as_ref().map(|(failures, last)| (*failures, last.as_str()))
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
mod chaos;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod pacing;
#[cfg(test)]
mod tests;
