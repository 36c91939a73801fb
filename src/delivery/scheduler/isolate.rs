//! One bad event stops nothing else: how it is found, what becomes of it, and when it is not the
//! events that are bad.

use std::sync::Arc;
use std::time::Duration;

use super::super::breaker::HaltReason;
use super::super::lane::{Flight, Lane, Piece, Tracked, keys};
use super::super::parked::LetterState;
use super::super::settings::OnDead;
use super::answer::{Heard, unknown};
use super::{Effect, ISOLATION_REQUESTS_MAX, ISOLATION_WINDOW, Reopened, Scheduler};
use crate::chunk::Operation;
use crate::failure::Category;
use crate::sink::Failure;

impl Scheduler {
    /// The sink accepted something after a suspect failed: the suspect is at fault. It is parted,
    /// or set aside if it is alone.
    pub(super) fn vindicated(&mut self, heard: Heard, effects: &mut Vec<Effect>) {
        for index in std::mem::take(&mut self.suspects) {
            let Some(lane) = self.lanes.get_mut(index) else { continue };
            let in_flight = lane.flight.is_some_and(|flight| flight.piece == 0);
            let Some(piece) = lane.pieces.front().filter(|piece| piece.is_suspect()) else {
                continue;
            };
            if in_flight || piece.last_sent > heard.number || lane.flight.is_some() {
                self.suspects.insert(index);
                continue;
            }
            lane.not_before = heard.now;
            if let Some(piece) = self.take_piece(index, 0) {
                self.isolate(index, 0, piece, None, heard, effects);
            }
            self.list_with_joins(index);
        }
    }

    /// Parts a piece that failed while the sink is up; one event alone goes on by itself.
    pub(super) fn isolate(
        &mut self,
        index: usize,
        place: usize,
        piece: Piece,
        failure: Option<Failure>,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        if piece.len() > 1 {
            let parts = self.part(piece, heard.now);
            if let Some(lane) = self.lanes.get_mut(index) {
                lane.put_pieces(place, parts);
            }
            return;
        }
        let sent = piece.failures;
        let attempts = sent.min(2);
        let failure = failure.or_else(|| piece.last_failure.clone()).unwrap_or_else(unknown);
        let joins = piece.joins;
        for event in piece.into_events() {
            self.release(joins, event.ordinal);
            let is_exhausted = attempts >= self.settings.retry.max_attempts;
            if is_exhausted {
                self.bury(event, Category::Exhausted, failure.clone(), attempts, heard, effects);
                continue;
            }
            self.left(&event);
            let mut entry = self.entry_of(&event, LetterState::Retrying, attempts);
            entry.last_sent = heard.number;
            entry.sent = sent;
            let id = event.envelope.id;
            self.parked.add(id, entry, heard.now);
            let due = heard.now.saturating_add(self.backoff.delay(attempts, heard.jitter));
            self.parked.wait(id, due);
            let category = Category::Transient;
            let failure = failure.clone();
            let state = LetterState::Retrying;
            // Before its followers: what is stored first survives a crash between the two.
            let first = event.clone();
            effects.push(Effect::SetAside { event, state, category, failure, attempts });
            self.park_followers(keys(&first.envelope), first.ordinal + 1, heard.now, effects);
        }
    }

    /// Halves a piece within the budget; past it, every event goes alone.
    pub(super) fn part(&mut self, piece: Piece, now: Duration) -> Vec<Piece> {
        let (since, requests) = &mut self.isolation;
        if *requests == 0 || now.saturating_sub(*since) > ISOLATION_WINDOW {
            (*since, *requests) = (now, 0);
        }
        *requests = requests.saturating_add(2);
        let size = if *requests > ISOLATION_REQUESTS_MAX { 1 } else { piece.len().div_ceil(2) };
        piece.split(size)
    }

    /// The far side refuses a piece: it is parted until the bad event stands alone.
    pub(super) fn rejected_piece(
        &mut self,
        index: usize,
        flight: Flight,
        failure: Failure,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        if self.rejection_answers_probe(index, flight.piece, heard) {
            return;
        }
        let Some(piece) = self.take_piece(index, flight.piece) else { return };
        if piece.len() > 1 {
            self.rejections = self.rejections.saturating_add(1);
            self.isolate(index, flight.piece, piece, Some(failure.clone()), heard, effects);
        } else {
            let attempts = piece.failures.saturating_add(1);
            let joins = piece.joins;
            for event in piece.into_events() {
                self.release(joins, event.ordinal);
                self.reject(event, failure.clone(), attempts, heard, effects);
            }
        }
        self.look_for_misconfiguration(&failure, heard, effects);
    }

    /// A rejection as the answer to a probe. Returns whether the piece stays where it is.
    pub(super) fn rejection_answers_probe(
        &mut self,
        index: usize,
        place: usize,
        heard: Heard,
    ) -> bool {
        if !heard.breaker_probe {
            return false;
        }
        match self.breaker.halted() {
            // It does not say any more that the set-up is wrong.
            Some(HaltReason::Setup(_)) => {
                self.breaker.accepted(true);
                self.list_all();
                false
            }
            Some(HaltReason::Misconfigured(_) | HaltReason::TooManyDead) => {
                self.count_failure(index, place, None, heard);
                self.breaker.inconclusive(heard.now);
                true
            }
            None => {
                self.breaker.inconclusive(heard.now);
                false
            }
        }
    }

    pub(super) fn reject(
        &mut self,
        event: Tracked,
        failure: Failure,
        attempts: u32,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        if !self.returned.remove(&event.envelope.id) {
            self.rejections = self.rejections.saturating_add(1);
            if self.settings.on_dead == OnDead::Continue {
                self.rejected.push(event.clone());
            }
        }
        self.bury(event, Category::Rejected, failure, attempts, heard, effects);
    }

    /// Makes an event of a lane a dead letter.
    pub(super) fn bury(
        &mut self,
        event: Tracked,
        category: Category,
        failure: Failure,
        attempts: u32,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        self.left(&event);
        let state = LetterState::Dead;
        let first = (self.settings.on_dead == OnDead::Block).then(|| event.clone());
        effects.push(Effect::SetAside { event, state, category, failure, attempts });
        if let Some(first) = first {
            let mut entry = self.entry_of(&first, state, attempts);
            // One that its mapping refused overtook what is before it; what is behind it must not,
            // whatever a person does to this one.
            entry.waits = self.mark_before(first.envelope.id, entry.keys, first.ordinal);
            entry.apart = entry.waits > 0;
            self.parked.add(first.envelope.id, entry, heard.now);
            self.park_followers(keys(&first.envelope), first.ordinal + 1, heard.now, effects);
        }
        self.died(heard.now);
    }

    /// An event that its mapping refused: a dead letter that never saw a lane.
    pub fn refuse(
        &mut self,
        event: Tracked,
        failure: Failure,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        if self.is_settled(event.envelope.id) {
            effects.push(Effect::Safe { ordinal: event.ordinal });
            return;
        }
        self.came_back(&event);
        let heard = Heard { now, jitter: 0.0, number: 0, breaker_probe: false };
        self.bury(event, Category::Rejected, failure, 0, heard, effects);
        self.pass_fences(now, effects);
    }

    pub(super) fn died(&mut self, now: Duration) {
        self.dead = self.dead.saturating_add(1);
        if self.dead > self.settings.max_dead && self.breaker.halted().is_none() {
            self.breaker.halt(HaltReason::TooManyDead, now);
        }
    }

    /// Tells how many dead letters are stored: an operator may have removed some.
    pub fn set_dead(&mut self, dead: u64, now: Duration) {
        self.dead = dead;
        if dead <= self.settings.max_dead {
            self.breaker.dead_letters_fit();
            self.list_all();
        } else if self.breaker.halted().is_none() {
            self.breaker.halt(HaltReason::TooManyDead, now);
        }
    }

    /// So many rejections without one acceptance: the set-up is wrong. What they set aside
    /// returns to its lanes.
    pub(super) fn look_for_misconfiguration(
        &mut self,
        failure: &Failure,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        if self.rejections < self.rejections_max {
            return;
        }
        self.rejections = 0;
        self.halt(HaltReason::Misconfigured(failure.message.clone()), heard);
        let mut events = std::mem::take(&mut self.rejected);
        events.retain(|event| self.may_come_back(event));
        if events.is_empty() {
            return;
        }
        self.dead = self.dead.saturating_sub(events.len() as u64);
        let named = events.iter().map(|event| Reopened {
            ordinal: event.ordinal,
            id: event.envelope.id,
            route: Arc::clone(&event.envelope.route),
            is_beside: event.beside,
        });
        let named: Vec<Reopened> = named.collect();
        self.returned.extend(named.iter().map(|event| event.id));
        effects.push(Effect::Reopen { events: named });
        self.put_back(events, heard.now, effects);
    }

    /// Whether nothing of its keys that came later was sent already; else it stays refused.
    pub(super) fn may_come_back(&self, event: &Tracked) -> bool {
        let envelope = &event.envelope;
        let (table, id) = (envelope.table_tag(), envelope.id);
        if self.is_truncating(table, id) {
            return false;
        }
        if envelope.operation == Operation::Truncate {
            return !self.parked.is_sending_of(table)
                && !self.lanes.iter().any(|lane| lane.is_sending_of(table));
        }
        !self.parked.is_sending(keys(envelope))
            && !self.lanes.iter().any(|lane| lane.is_sending(keys(envelope)))
    }

    /// Puts events back at their places in the stream: everything that is not in flight is taken
    /// out of the lanes and comes again, in order.
    pub(super) fn put_back(
        &mut self,
        mut events: Vec<Tracked>,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        events.iter().for_each(|event| self.came_back(event));
        for index in 0..self.lanes.len() {
            let drained = self.lanes.get_mut(index).map(Lane::drain).unwrap_or_default();
            for (event, joins) in drained {
                self.release(joins, event.ordinal);
                events.push(event);
            }
        }
        events.extend(self.take_fenced());
        events.sort_by_key(|event| event.ordinal);
        let Some(first) = events.first().map(|event| event.envelope.id) else { return };
        self.lanes.iter_mut().for_each(|lane| lane.drop_marks(first));
        self.ahead.extend(self.parked.hold_back(first));
        self.drop_fences(&events, first);
        self.suspects.clear();
        self.behind = events.into();
        self.pass_fences(now, effects);
        self.list_all();
    }
}
