//! What is sent next.

use std::sync::Arc;
use std::time::Duration;

use super::super::lane::{Flight, Next};
use super::{Dispatch, DispatchId, Origin, Scheduler, What};
use crate::progress::ledger::Ordinal;

impl Scheduler {
    /// Returns the next request to send, if there is one now.
    pub fn next(&mut self, now: Duration) -> Option<Dispatch> {
        self.looked_at = now;
        if self.paused.is_some() {
            return None;
        }
        let lanes = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let is_down = !self.breaker.is_closed();
        if is_down {
            self.ramp.restart(self.numbers);
        }
        // What an outage left under way does not hold up the probe.
        let limit = if is_down { lanes } else { self.ramp.limit() };
        if self.in_flight >= limit || now < self.paced_until || now < self.throttled_until {
            return None;
        }
        if is_down {
            return self.next_probe(now);
        }
        if !self.lanes_turn
            && self.parked_in_flight < (limit / 2).max(1)
            && let Some(dispatch) = self.next_parked(now, false)
        {
            return Some(dispatch);
        }
        self.lanes_turn = false;
        while let Some((_, index)) = self.timers.first().filter(|(at, _)| *at <= now).copied() {
            self.timers.pop_first();
            self.list(index);
        }
        while let Some(index) = self.ready.pop_front() {
            if let Some(lane) = self.lanes.get_mut(index) {
                lane.listed = false;
            }
            match self.next_of(index, now) {
                Looked::Sent(dispatch) => return Some(dispatch),
                Looked::Nothing => {}
                Looked::Paced => {
                    self.list(index);
                    return None;
                }
            }
        }
        if self.parked_in_flight < (limit / 2).max(1) { self.next_parked(now, false) } else { None }
    }

    /// Returns when to call [`Scheduler::next`] again though nothing happened, once it returned
    /// none. What became due since then lies in the past: to look at it is due as well.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        let now = self.looked_at;
        if self.paused.is_some() {
            return None;
        }
        let forbidden = self.paced_until.max(self.throttled_until);
        if forbidden > now {
            return Some(forbidden);
        }
        let mut retries_at = self.budget.wait(now);
        if !self.breaker.is_closed() {
            if !self.breaker.lacks_probe(now) {
                return self.breaker.wake_at().filter(|at| *at > now);
            }
            // Nothing was there to probe with; what comes first is the probe.
            retries_at = None;
        }
        let later = now.saturating_add(Duration::from_nanos(1));
        let timer = self.timers.range((later, 0)..).next().map(|(at, _)| *at);
        timer.into_iter().chain(self.parked.wake_at(now, retries_at)).min()
    }

    /// Sends an event that was set aside. A probe goes whatever the budget says.
    fn next_parked(&mut self, now: Duration, probe: bool) -> Option<Dispatch> {
        let retries = probe || self.budget.wait(now).is_none();
        if !self.parked.is_due(now, retries) {
            return None;
        }
        if !self.pass_pace(now, 1, 0) {
            return None;
        }
        let id = self.parked.take_due(now, retries)?;
        if self.parked.is_retry(id) {
            self.budget.spend(now);
        }
        self.numbers += 1;
        if let Some(entry) = self.parked.get_mut(id) {
            entry.last_sent = self.numbers;
        }
        self.in_flight += 1;
        self.parked_in_flight += 1;
        self.lanes_turn = true;
        let id = DispatchId { number: self.numbers, from: Origin::Parked(id) };
        let DispatchId { from: Origin::Parked(event), .. } = id else { return None };
        Some(Dispatch { id, what: What::Stored(event) })
    }

    fn pass_pace(&mut self, now: Duration, events: u64, bytes: u64) -> bool {
        if !self.pace.is_limited() {
            return true;
        }
        match self.pace.pass(now, events, bytes) {
            Ok(()) => true,
            Err(at) => {
                self.paced_until = at;
                false
            }
        }
    }

    /// Looks what a lane has to send.
    fn next_of(&mut self, index: usize, now: Duration) -> Looked {
        self.pass_marks(index, now);
        let Some(lane) = self.lanes.get_mut(index) else { return Looked::Nothing };
        match lane.next(now, &self.settings.batch) {
            Next::Nothing => Looked::Nothing,
            Next::Later(at) => {
                self.timers.insert((at, index));
                Looked::Nothing
            }
            Next::Again => self.send_piece(index, 0, now, false),
            Next::Fresh { events, bytes } => self.send_fresh(index, events, bytes, now),
            Next::Joins { lane: other, ordinal } => self.send_joined(index, other, ordinal, now),
            Next::Probe => {
                let at = lane.not_before;
                self.timers.insert((at, index));
                match self.probe_of(index, false) {
                    Some(piece) => self.send_piece(index, piece, now, true),
                    None => {
                        self.is_cornered |= self.joined > 0;
                        if self.pass_marks_of_others(index, now) {
                            self.list(index);
                        }
                        Looked::Nothing
                    }
                }
            }
        }
    }

    fn send_fresh(&mut self, index: usize, events: u64, bytes: u64, now: Duration) -> Looked {
        if !self.pass_pace(now, events, bytes) {
            return Looked::Paced;
        }
        let Some(lane) = self.lanes.get_mut(index) else { return Looked::Nothing };
        lane.form(events);
        self.launch(index, 0, false)
    }

    fn send_joined(
        &mut self,
        index: usize,
        other: usize,
        ordinal: Ordinal,
        now: Duration,
    ) -> Looked {
        let there = self.lanes.get(other).is_some_and(|lane| lane.is_at(ordinal));
        if !there {
            // The other lane lists this one when it comes there.
            self.waiting_joins.insert(index);
            return Looked::Nothing;
        }
        if !self.pass_pace(now, 1, 0) {
            return Looked::Paced;
        }
        self.waiting_joins.remove(&index);
        if let Some(lane) = self.lanes.get_mut(other) {
            lane.held = Some(ordinal);
        }
        let Some(lane) = self.lanes.get_mut(index) else { return Looked::Nothing };
        lane.form(1);
        self.launch(index, 0, false)
    }

    fn send_piece(&mut self, index: usize, piece: usize, now: Duration, probe: bool) -> Looked {
        let found = self.lanes.get(index).and_then(|lane| lane.pieces.get(piece));
        let Some((events, bytes)) = found.map(|piece| (piece.len() as u64, piece.bytes())) else {
            return Looked::Nothing;
        };
        if !self.pass_pace(now, events, bytes) {
            return Looked::Paced;
        }
        self.launch(index, piece, probe)
    }

    /// Sends a piece.
    fn launch(&mut self, index: usize, piece: usize, suspect_probe: bool) -> Looked {
        let Some(lane) = self.lanes.get_mut(index) else { return Looked::Nothing };
        let Some(sent) = lane.pieces.get_mut(piece) else { return Looked::Nothing };
        self.numbers += 1;
        let number = self.numbers;
        sent.last_sent = number;
        let batch = Arc::clone(&sent.batch);
        lane.flight = Some(Flight { piece, number, suspect_probe });
        self.in_flight += 1;
        let id = DispatchId { number, from: Origin::Lane(index) };
        Looked::Sent(Dispatch { id, what: What::Batch(batch) })
    }

    /// Finds a probe of another key in a lane whose first piece is a suspect.
    fn probe_of(&mut self, index: usize, again: bool) -> Option<usize> {
        self.lanes.get_mut(index)?.probe(again)
    }

    /// Sends one request with real work to a sink that is not known to be up: of a key that did
    /// not fail, where there is one.
    fn next_probe(&mut self, now: Duration) -> Option<Dispatch> {
        if !self.breaker.wants_probe(now) {
            return None;
        }
        let count = self.lanes.len();
        // What that lets go may belong to a lane that was looked at already.
        (0..count).for_each(|index| self.pass_marks(index, now));
        self.probe_turn = (self.probe_turn + 1) % count.max(1);
        let turn = self.probe_turn;
        let order = move || (0..count).map(move |offset| (turn + offset) % count);
        for class in [Class::Fresh, Class::OtherKey, Class::Any] {
            for index in order() {
                match self.probe_from(index, class, now) {
                    Looked::Sent(dispatch) => return Some(self.mark_probe(dispatch)),
                    Looked::Paced => return None,
                    Looked::Nothing => {}
                }
            }
        }
        let dispatch = self.next_parked(now, true)?;
        Some(self.mark_probe(dispatch))
    }

    fn probe_from(&mut self, index: usize, class: Class, now: Duration) -> Looked {
        self.pass_marks(index, now);
        let Some(lane) =
            self.lanes.get(index).filter(|lane| lane.flight.is_none() && lane.held.is_none())
        else {
            return Looked::Nothing;
        };
        let untried = lane.pieces.front().is_none_or(|piece| piece.failures == 0);
        match class {
            Class::Fresh if untried => match lane.next(now, &self.settings.batch) {
                Next::Later(at) => {
                    self.timers.insert((at, index));
                    Looked::Nothing
                }
                Next::Probe | Next::Nothing => Looked::Nothing,
                // Where all was refused, one bad event must not speak for the others of a batch.
                Next::Fresh { .. } if self.breaker.is_misconfigured() => {
                    self.send_fresh(index, 1, 0, now)
                }
                _ => self.next_of(index, now),
            },
            Class::OtherKey if !untried => match self.probe_of(index, false) {
                Some(piece) => self.send_piece(index, piece, now, false),
                None => Looked::Nothing,
            },
            Class::Any if !untried => {
                self.is_cornered |= self.joined > 0;
                let piece = self.least_tried(index);
                self.send_piece(index, piece, now, false)
            }
            _ => Looked::Nothing,
        }
    }

    /// The first piece, or one of another key that failed less often.
    fn least_tried(&mut self, index: usize) -> usize {
        let Some(other) = self.probe_of(index, true) else { return 0 };
        let failures = |piece: usize| {
            self.lanes.get(index).and_then(|lane| lane.pieces.get(piece)).map(|p| p.failures)
        };
        if failures(other) < failures(0) { other } else { 0 }
    }

    fn mark_probe(&mut self, dispatch: Dispatch) -> Dispatch {
        self.breaker.probing();
        self.probe_number = dispatch.id.number;
        dispatch
    }
}

/// Which lanes may give the breaker's probe.
#[derive(Clone, Copy, Debug)]
enum Class {
    /// Such as have nothing that failed.
    Fresh,
    /// An event of another key than the one that failed.
    OtherKey,
    /// What failed, again.
    Any,
}

enum Looked {
    Sent(Dispatch),
    Nothing,
    Paced,
}
