//! What keeps the order of the stream between lanes and events that were set aside.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::dead_letter::Stored;
use super::super::lane::{Lane, Tracked, keys};
use super::super::parked::{Again, Entry, LetterState};
use super::super::settings::OnDead;
use super::{Effect, Scheduler};
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
        let is_let_go = state == LetterState::Dead && self.settings.on_dead == OnDead::Continue;
        if is_let_go || stored.is_discarded {
            self.settled.insert(id);
            return;
        }
        let is_again = state == LetterState::Replaying;
        let mut entry = Entry::new(state, keys, if is_again { 0 } else { attempts });
        let Stored { replays, forced, .. } = *stored;
        entry.again = is_again.then_some(Again { replays, forced, overtaken: false });
        entry.stored = true;
        entry.truncates = is_truncate;
        entry.held = self.held.contains(route.as_str());
        entry.route = Some(self.name_of(route));
        if id.position >= read {
            entry.waits = 1;
            self.ahead.insert(id);
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
        let come = self.ahead.iter().copied().take_while(|id| id.position < self.read);
        let come: Vec<EventId> = come.collect();
        for id in come {
            let found = self.parked.get(id);
            let found =
                found.map(|entry| (entry.table(), entry.keys, entry.truncates, entry.apart));
            let Some((table, keys, truncates, apart)) = found else {
                self.ahead.remove(&id);
                continue;
            };
            if self.is_at_fence(table, id) {
                continue;
            }
            self.ahead.remove(&id);
            let marks = match (truncates, apart) {
                // It comes after everything that the stream brought again before it.
                (true, _) => self.mark_every_lane(id, self.pushed),
                (false, true) => self.mark_apart(id, keys, self.pushed),
                (false, false) => self.mark(id, keys, self.pushed),
            };
            self.parked.get_mut(id).into_iter().for_each(|entry| entry.waits += marks);
            self.parked.waited(id, now);
        }
    }

    /// Marks the place of an event in every lane; returns how many of them have something before
    /// it.
    pub(super) fn mark_every_lane(&mut self, id: EventId, ordinal: Ordinal) -> u32 {
        let marked = self.lanes.iter_mut().map(|lane| u32::from(lane.mark(ordinal, id)));
        marked.sum()
    }

    /// Marks the place of a re-keyed event in the lanes of its keys; returns how many of them
    /// have something before it.
    pub(super) fn mark(&mut self, id: EventId, keys: [Option<u64>; 2], ordinal: Ordinal) -> u32 {
        let [Some(_), Some(_)] = keys else { return 0 };
        self.mark_before(id, keys, ordinal)
    }

    /// As [`Scheduler::mark`], of an event of whose keys others may be in a lane still.
    pub(super) fn mark_apart(
        &mut self,
        id: EventId,
        keys: [Option<u64>; 2],
        ordinal: Ordinal,
    ) -> u32 {
        self.mark_lanes(keys, |lane| lane.mark_end(ordinal, id))
    }

    /// As [`Scheduler::mark_apart`], behind what is older only.
    pub(super) fn mark_before(
        &mut self,
        id: EventId,
        keys: [Option<u64>; 2],
        ordinal: Ordinal,
    ) -> u32 {
        self.mark_lanes(keys, |lane| lane.mark(ordinal, id))
    }

    fn mark_lanes(&mut self, keys: [Option<u64>; 2], mark: impl Fn(&mut Lane) -> bool) -> u32 {
        let lanes = keys.into_iter().flatten().map(|key| self.lane_of(key));
        let lanes: BTreeSet<usize> = lanes.collect();
        let mut marked = |index: usize| self.lanes.get_mut(index).is_some_and(&mark);
        lanes.into_iter().map(|index| u32::from(marked(index))).sum()
    }

    /// Lets go what was set aside and waits for a lane that has come to its place.
    pub(super) fn pass_marks(&mut self, index: usize, now: Duration) {
        while let Some(id) = self.lanes.get_mut(index).and_then(Lane::pass_mark) {
            if !self.fence_waited(id, now) {
                self.parked.waited(id, now);
            }
            self.list_waiting_joins();
        }
    }

    /// Lets go what waits for a lane whose first piece is a suspect, and is of other keys than what
    /// is there: it shows whether the sink is up. Returns whether there was something.
    pub(super) fn pass_marks_of_others(&mut self, index: usize, now: Duration) -> bool {
        let (parked, fences) = (&self.parked, &self.fences);
        let Some(lane) = self.lanes.get_mut(index) else { return false };
        let passed = lane.pass_marks_by(|id, before, tables| match parked.get(id) {
            Some(entry) if !entry.truncates => {
                entry.keys.into_iter().flatten().any(|key| before.contains(&key))
            }
            Some(entry) => tables.contains(&entry.table()),
            None => fences.iter().any(|(table, f)| f.is_of(id) && tables.contains(table)),
        });
        for id in &passed {
            if !self.fence_waited(*id, now) {
                self.parked.waited(*id, now);
            }
        }
        self.list_waiting_joins();
        !passed.is_empty()
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
        let taken = self.take_followers(of.map(|key| (key, from)).collect());
        self.park_all(taken, now, effects);
    }

    /// Sets those events aside that two lanes have to come to, and what follows them: what is
    /// behind them of other keys may show whether the sink is up.
    pub(super) fn park_joins(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let mut work = Vec::new();
        let mut taken = Vec::new();
        for index in 0..self.lanes.len() {
            let joins = self.lanes.get_mut(index).map(Lane::take_joins).unwrap_or_default();
            for (event, joins) in joins {
                work.extend(keys(&event.envelope).map(|key| (key, event.ordinal + 1)));
                self.release(joins, event.ordinal);
                self.left(&event);
                taken.push(event);
            }
            self.list(index);
        }
        taken.extend(self.take_followers(work));
        self.park_all(taken, now, effects);
    }

    fn take_followers(&mut self, mut work: Vec<(u64, Ordinal)>) -> Vec<Tracked> {
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
        taken
    }

    fn park_all(&mut self, mut events: Vec<Tracked>, now: Duration, effects: &mut Vec<Effect>) {
        events.sort_by_key(|event| event.ordinal);
        events.into_iter().for_each(|event| self.park(event, now, effects));
    }
}
