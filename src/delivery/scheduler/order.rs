//! What keeps the order of the stream between lanes, events that were set aside, and TRUNCATE.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::dead_letter::Stored;
use super::super::lane::{Lane, keys};
use super::super::parked::{Again, Entry, LetterState};
use super::super::settings::OnDead;
use super::{Effect, Scheduler};
use crate::chunk::Operation;
use crate::lsn::{EventId, Position};
use crate::progress::ledger::Ordinal;

impl Scheduler {
    /// Takes back an event that an earlier run stored. Before the first push; `read` is the
    /// position from which on the stream comes again.
    ///
    /// What the stream brings again may be older: the event is tried once the stream is past it.
    pub(in crate::delivery) fn restore(&mut self, stored: &Stored, read: Position) {
        let Stored { id, keys, state, attempts, is_truncate, .. } = *stored;
        let route = &stored.route;
        if state == LetterState::Dead && self.settings.on_dead == OnDead::Continue {
            self.settled.insert(id);
            return;
        }
        let is_again = state == LetterState::Replaying;
        let mut entry = Entry::new(state, keys, if is_again { 0 } else { attempts });
        let Stored { replays, forced, .. } = *stored;
        entry.again = is_again.then_some(Again { replays, forced, overtaken: false });
        entry.stored = true;
        entry.held = self.held.contains(route.as_str());
        entry.route = Some(self.name_of(route));
        if state != LetterState::Dead {
            if id.position >= read {
                entry.waits = 1;
                self.ahead.insert(id);
            } else if is_truncate {
                self.truncating = Some(id);
            }
        }
        self.parked.add(id, entry, Duration::ZERO);
    }

    /// The next event of the stream, of this key, is not sent.
    pub(in crate::delivery) fn leave_out(&mut self, key_hash: u64) {
        let lane = self.lane_of(key_hash);
        self.lanes.get_mut(lane).into_iter().for_each(Lane::leave_out);
    }

    /// Everything below `read` was pushed.
    pub fn passed(&mut self, read: Position, now: Duration) {
        self.read = self.read.max(read);
        self.let_go(now);
    }

    /// Lets what an earlier run stored be tried, as far as the stream has come into the lanes.
    pub(super) fn let_go(&mut self, now: Duration) {
        if self.ahead.is_empty() {
            return;
        }
        let front = self.barrier.front().map(|event| event.envelope.id);
        let barrier = front.into_iter().chain(self.truncating).min();
        while let Some(id) = self.ahead.first().copied().filter(|id| id.position < self.read) {
            if barrier.is_some_and(|barrier| barrier < id) {
                return;
            }
            // A TRUNCATE comes after everything that the stream brought again before it.
            if self.truncating == Some(id) && !self.is_alone(id) {
                return;
            }
            self.ahead.pop_first();
            let found = self.parked.get(id).map(|entry| (entry.keys, entry.was_held));
            if let Some((keys, was_held)) = found {
                let marks = if was_held {
                    self.mark_lanes(id, keys, self.pushed)
                } else {
                    self.mark(id, keys, self.pushed)
                };
                self.parked.get_mut(id).into_iter().for_each(|entry| entry.waits += marks);
                self.parked.waited(id, now);
            }
        }
    }

    /// Marks the place of a re-keyed event in the lanes of its keys; returns how many of them
    /// have something before it.
    pub(super) fn mark(&mut self, id: EventId, keys: [Option<u64>; 2], ordinal: Ordinal) -> u32 {
        let [Some(_), Some(_)] = keys else { return 0 };
        self.mark_lanes(id, keys, ordinal)
    }

    /// As [`Scheduler::mark`], of any event.
    pub(super) fn mark_lanes(
        &mut self,
        id: EventId,
        keys: [Option<u64>; 2],
        ordinal: Ordinal,
    ) -> u32 {
        let mut marks = 0;
        let lanes = keys.into_iter().flatten().map(|key| self.lane_of(key));
        for index in lanes.collect::<BTreeSet<_>>() {
            if self.lanes.get_mut(index).is_some_and(|lane| lane.mark(ordinal, id)) {
                marks += 1;
            }
        }
        marks
    }

    /// Lets go what was set aside and waits for a lane that has come to its place.
    pub(super) fn pass_marks(&mut self, index: usize, now: Duration) {
        while let Some(id) = self.lanes.get_mut(index).and_then(Lane::pass_mark) {
            self.parked.waited(id, now);
            self.list_waiting_joins();
        }
    }

    /// Lets a TRUNCATE through once everything before it is done, and what is behind it after.
    pub(super) fn pass_barrier(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if let Some(truncate) = self.truncating {
            if !self.is_drained(truncate) {
                return self.let_go(now);
            }
            self.truncating = None;
        }
        while let Some(front) = self.barrier.front() {
            let id = front.envelope.id;
            let is_truncate = front.envelope.operation == Operation::Truncate;
            if is_truncate && !self.is_drained(id) {
                break;
            }
            let Some(event) = self.barrier.pop_front() else { break };
            self.admit(event, now, effects);
            if is_truncate && !self.is_drained(id) {
                self.truncating = Some(id);
                break;
            }
        }
        self.let_go(now);
    }

    /// Whether nothing is left to send of what comes before a TRUNCATE, and of itself.
    pub(super) fn is_drained(&self, truncate: EventId) -> bool {
        let in_lanes = self.events.saturating_sub(self.barrier.len());
        in_lanes == 0 && self.in_flight == 0 && !self.waits_aside(|id| id <= truncate)
    }

    /// Whether nothing is left to send of what comes before a TRUNCATE that was set aside.
    fn is_alone(&self, truncate: EventId) -> bool {
        let in_lanes = self.events.saturating_sub(self.barrier.len());
        in_lanes == 0 && self.in_flight == 0 && !self.waits_aside(|id| id < truncate)
    }

    /// Whether something that was set aside, of what is `within`, is still to be sent.
    fn waits_aside(&self, within: impl Fn(EventId) -> bool + Copy) -> bool {
        self.parked.is_moving(within) || self.parked.is_held(within)
    }

    /// The event that made another lane wait is out of the way.
    pub(super) fn release(&mut self, joins: Option<usize>, ordinal: Ordinal) {
        let Some(other) = joins else { return };
        self.joined = self.joined.saturating_sub(1);
        if let Some(lane) = self.lanes.get_mut(other) {
            lane.release(ordinal);
        }
        self.list(other);
    }

    /// Takes everything of these keys from the ordinal `from` on out of the lanes, and what shares
    /// a key with that, and so on.
    pub(super) fn park_followers(
        &mut self,
        of: impl Iterator<Item = u64>,
        from: Ordinal,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let mut work: Vec<(u64, Ordinal)> = of.map(|key| (key, from)).collect();
        let mut taken = Vec::new();
        while let Some((key, from)) = work.pop() {
            let own = self.lane_of(key);
            for index in 0..self.lanes.len() {
                if index != own && self.joined == 0 {
                    continue;
                }
                let Some(lane) = self.lanes.get_mut(index) else { continue };
                for (event, joins) in lane.take_key(key, from) {
                    let more = keys(&event.envelope).filter(|other| *other != key);
                    work.extend(more.map(|other| (other, event.ordinal + 1)));
                    self.release(joins, event.ordinal);
                    self.left(&event);
                    taken.push(event);
                }
                self.list(index);
            }
        }
        taken.sort_by_key(|event| event.ordinal);
        taken.into_iter().for_each(|event| self.park(event, now, effects));
    }
}
