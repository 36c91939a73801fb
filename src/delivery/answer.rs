//! What an answer means: the five categories of a failure, and whether the event or the sink is
//! at fault (pure).

use std::time::Duration;

use super::breaker::HaltReason;
use super::lane::{Flight, Piece, Tracked};
use super::parked::{Entry, LetterState};
use super::scheduler::{
    DispatchId, Effect, ISOLATION_REQUESTS_MAX, ISOLATION_WINDOW, Origin, REJECTIONS_MAX,
    Scheduler, other_key,
};
use super::settings::OnDead;
use crate::failure::Category;
use crate::lsn::EventId;
use crate::sink::{Answer, Failure};

/// An answer and its circumstances.
#[derive(Clone, Copy, Debug)]
struct Heard {
    now: Duration,
    jitter: f64,
    number: u64,
    breaker_probe: bool,
}

impl Scheduler {
    /// Takes the answer to a request. `jitter` lies in 0..1.
    pub fn answered(
        &mut self,
        id: DispatchId,
        answer: Answer,
        now: Duration,
        jitter: f64,
        effects: &mut Vec<Effect>,
    ) {
        let number = id.number;
        let heard = Heard { now, jitter, number, breaker_probe: number == self.probe_number };
        match id.from {
            Origin::Lane(index) => {
                let Some(flight) = self.landed(index, number) else { return };
                self.lane_answered(index, flight, answer, heard, effects);
                self.list_with_joins(index);
            }
            Origin::Parked(event) => {
                self.landed_parked();
                self.parked_answered(event, answer, heard, effects);
            }
        }
        self.pass_barrier(now, effects);
    }

    fn lane_answered(
        &mut self,
        index: usize,
        flight: Flight,
        answer: Answer,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        match answer {
            Answer::Acknowledged => {
                if let Some(piece) = self.take_piece(index, flight.piece) {
                    self.done(piece, effects);
                }
                self.accepted(heard, effects);
            }
            Answer::Failed(failure) => self.failed(index, flight, failure, heard, effects),
            Answer::PerEvent(outcomes) => {
                self.per_event(index, flight, outcomes, heard, effects);
            }
        }
    }

    fn failed(
        &mut self,
        index: usize,
        flight: Flight,
        failure: Failure,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        match failure.category {
            Category::Transient | Category::Exhausted => {
                self.count_failure(index, flight.piece, Some(failure), heard);
                self.transient(index, flight, heard);
            }
            Category::Throttled => self.throttled(&failure, heard),
            Category::Setup => self.halt(HaltReason::Setup(failure.message), heard),
            Category::Rejected => self.rejected_piece(index, flight, failure, heard, effects),
        }
    }

    /// The sink took something: it is up.
    fn accepted(&mut self, heard: Heard, effects: &mut Vec<Effect>) {
        self.rejections = 0;
        self.rejected.clear();
        self.throttles = 0;
        self.accepted_last = self.accepted_last.max(heard.number);
        let was_closed = self.breaker.is_closed();
        self.breaker.accepted(heard.breaker_probe);
        if self.breaker.is_closed() {
            if !was_closed {
                self.list_all();
            }
            if !self.suspects.is_empty() {
                self.vindicated(heard, effects);
            }
        }
    }

    /// The sink accepted something after a suspect failed: the suspect is at fault. It is parted,
    /// or set aside if it is alone.
    fn vindicated(&mut self, heard: Heard, effects: &mut Vec<Effect>) {
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
    fn isolate(
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
        let attempts = piece.failures.min(2);
        let failure = failure.or_else(|| piece.last_failure.clone()).unwrap_or_else(unknown);
        let joins = piece.joins;
        for event in piece.into_events() {
            self.release(joins, None);
            let is_exhausted = attempts >= self.settings.retry.max_attempts;
            if is_exhausted {
                self.bury(event, Category::Exhausted, failure.clone(), attempts, heard, effects);
                continue;
            }
            self.left(&event);
            let mut entry = Entry::new(LetterState::Retrying, both_keys(&event), attempts);
            entry.last_sent = heard.number;
            let id = event.envelope.id;
            self.parked.add(id, entry, heard.now);
            let due = heard.now.saturating_add(self.backoff.delay(attempts, heard.jitter));
            self.parked.wait(id, due);
            self.park_followers(&event, heard.now, effects);
            let category = Category::Transient;
            let failure = failure.clone();
            let state = LetterState::Retrying;
            effects.push(Effect::SetAside { event, state, category, failure, attempts });
        }
    }

    /// Halves a piece within the budget; past it, every event goes alone.
    fn part(&mut self, piece: Piece, now: Duration) -> Vec<Piece> {
        let (since, requests) = &mut self.isolation;
        if *requests == 0 || now.saturating_sub(*since) > ISOLATION_WINDOW {
            (*since, *requests) = (now, 0);
        }
        *requests = requests.saturating_add(2);
        let size = if *requests > ISOLATION_REQUESTS_MAX { 1 } else { piece.len().div_ceil(2) };
        piece.split(size)
    }

    /// A failure that waiting mends.
    fn transient(&mut self, index: usize, flight: Flight, heard: Heard) {
        let Some(lane) = self.lanes.get(index) else { return };
        let was_fresh = lane.pieces.get(flight.piece).is_some_and(|piece| piece.failures <= 1);
        let is_suspect = lane.pieces.front().is_some_and(Piece::is_suspect);
        let other_suspect = self.suspects.iter().any(|other| {
            let first = self.lanes.get(*other).and_then(|lane| lane.pieces.front());
            *other != index && first.is_some_and(|piece| piece.last_sent < heard.number)
        });
        if is_suspect {
            self.suspects.insert(index);
        }
        let tells = flight.suspect_probe || (other_suspect && was_fresh);
        if tells && self.breaker.is_closed() {
            self.breaker.open(heard.now);
        } else {
            self.breaker.failed(heard.now, heard.breaker_probe);
        }
    }

    fn count_failure(
        &mut self,
        index: usize,
        place: usize,
        failure: Option<Failure>,
        heard: Heard,
    ) {
        let Some(lane) = self.lanes.get_mut(index) else { return };
        let Some(piece) = lane.pieces.get_mut(place) else { return };
        piece.failures = piece.failures.saturating_add(1);
        piece.last_failure = failure.or_else(|| piece.last_failure.take());
        if place == 0 {
            let delay = self.backoff.delay(piece.failures, heard.jitter);
            lane.not_before = heard.now.saturating_add(delay);
        }
    }

    /// The far side asked for time. That is no failure and uses up no attempt.
    fn throttled(&mut self, failure: &Failure, heard: Heard) {
        self.throttles = self.throttles.saturating_add(1);
        let told = self.backoff.told(failure.retry_after);
        let wait = told.unwrap_or_else(|| self.backoff.delay(self.throttles, heard.jitter));
        self.throttled_until = self.throttled_until.max(heard.now.saturating_add(wait));
        if heard.breaker_probe {
            self.breaker.inconclusive(heard.now);
        }
    }

    fn halt(&mut self, reason: HaltReason, heard: Heard) {
        self.breaker.halt(reason, heard.now);
        self.list_all();
    }

    /// The far side refuses a piece: it is parted until the bad event stands alone.
    fn rejected_piece(
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
        self.rejections = self.rejections.saturating_add(1);
        if piece.len() > 1 {
            self.isolate(index, flight.piece, piece, Some(failure.clone()), heard, effects);
        } else {
            let attempts = piece.failures.saturating_add(1);
            let joins = piece.joins;
            for event in piece.into_events() {
                self.release(joins, None);
                self.reject(event, failure.clone(), attempts, heard, effects);
            }
        }
        self.look_for_misconfiguration(&failure, heard, effects);
    }

    /// A rejection as the answer to a probe. Returns whether the piece stays where it is.
    fn rejection_answers_probe(&mut self, index: usize, place: usize, heard: Heard) -> bool {
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

    fn reject(
        &mut self,
        event: Tracked,
        failure: Failure,
        attempts: u32,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        if self.settings.on_dead == OnDead::Continue {
            self.rejected.push(event.clone());
        }
        self.bury(event, Category::Rejected, failure, attempts, heard, effects);
    }

    /// Makes an event of a lane a dead letter.
    fn bury(
        &mut self,
        event: Tracked,
        category: Category,
        failure: Failure,
        attempts: u32,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        self.left(&event);
        if self.settings.on_dead == OnDead::Block {
            let entry = Entry::new(LetterState::Dead, both_keys(&event), attempts);
            self.parked.add(event.envelope.id, entry, heard.now);
            self.park_followers(&event, heard.now, effects);
        }
        let state = LetterState::Dead;
        effects.push(Effect::SetAside { event, state, category, failure, attempts });
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
    }

    fn died(&mut self, now: Duration) {
        self.dead = self.dead.saturating_add(1);
        if self.dead > self.settings.max_dead && self.breaker.halted().is_none() {
            self.breaker.halt(HaltReason::TooManyDead, now);
        }
    }

    /// Tells how many dead letters are stored: an operator may have removed some.
    pub fn set_dead(&mut self, dead: u64) {
        self.dead = dead;
        if dead <= self.settings.max_dead {
            self.breaker.dead_letters_fit();
            self.list_all();
        }
    }

    /// So many rejections without one acceptance: the set-up is wrong. What they set aside
    /// returns to its lanes.
    fn look_for_misconfiguration(
        &mut self,
        failure: &Failure,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        if self.rejections < REJECTIONS_MAX {
            return;
        }
        self.rejections = 0;
        self.halt(HaltReason::Misconfigured(failure.message.clone()), heard);
        let mut events = std::mem::take(&mut self.rejected);
        if events.is_empty() {
            return;
        }
        events.sort_by_key(|event| event.ordinal);
        self.dead = self.dead.saturating_sub(events.len() as u64);
        let named = events.iter().map(|event| (event.ordinal, event.envelope.id)).collect();
        effects.push(Effect::Reopen { events: named });
        self.put_back(events);
    }

    /// One outcome an event.
    fn per_event(
        &mut self,
        index: usize,
        flight: Flight,
        outcomes: Vec<Result<(), Failure>>,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        let fits = self
            .lanes
            .get(index)
            .and_then(|lane| lane.pieces.get(flight.piece))
            .is_some_and(|piece| piece.len() == outcomes.len());
        let worst = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        let worst = worst.max_by_key(|failure| severity(failure.category)).cloned();
        let Some(worst) = worst else {
            let answer = if fits { Answer::Acknowledged } else { Answer::Failed(unknown()) };
            return self.lane_answered(index, flight, answer, heard, effects);
        };
        if !fits || outcomes.iter().all(|outcome| outcome.as_ref().err() == Some(&worst)) {
            return self.failed(index, flight, worst, heard, effects);
        }
        let Some(piece) = self.take_piece(index, flight.piece) else { return };
        let (failures, joins, last_sent) = (piece.failures, piece.joins, piece.last_sent);
        let (mut left, mut accepted) = (Vec::new(), false);
        for (event, outcome) in piece.into_events().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    accepted = true;
                    self.done(Piece::alone(event), effects);
                }
                Err(failure) if failure.category == Category::Rejected => {
                    self.rejections = self.rejections.saturating_add(1);
                    self.reject(event, failure, failures + 1, heard, effects);
                }
                Err(_) => left.push(event),
            }
        }
        if left.is_empty() {
            self.release(joins, None);
        } else if let Some(lane) = self.lanes.get_mut(index) {
            let piece = Piece::rest(left, failures, last_sent, joins);
            lane.put_pieces(flight.piece, vec![piece]);
            if worst.category == Category::Transient {
                self.count_failure(index, flight.piece, Some(worst.clone()), heard);
                self.suspects.insert(index);
            }
        }
        if accepted {
            self.accepted(heard, effects);
        } else {
            self.look_for_misconfiguration(&worst, heard, effects);
        }
        match worst.category {
            Category::Setup => self.halt(HaltReason::Setup(worst.message), heard),
            Category::Throttled => self.throttled(&worst, heard),
            Category::Transient | Category::Rejected | Category::Exhausted => {}
        }
    }

    fn done(&mut self, piece: Piece, effects: &mut Vec<Effect>) {
        self.left_piece(&piece);
        self.release(piece.joins, None);
        let Piece { ordinals, batch, .. } = piece;
        effects.push(Effect::Acknowledged { ordinals, batch });
    }

    fn take_piece(&mut self, index: usize, place: usize) -> Option<Piece> {
        self.lanes.get_mut(index)?.take_piece(place)
    }

    /// A stored event was tried again.
    fn parked_answered(
        &mut self,
        id: EventId,
        answer: Answer,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        let failure = match answer {
            Answer::Acknowledged => None,
            Answer::Failed(failure) => Some(failure),
            Answer::PerEvent(outcomes) => outcomes.into_iter().find_map(Result::err),
        };
        let Some(failure) = failure else {
            effects.push(Effect::Accepted { id });
            return self.accepted(heard, effects);
        };
        match failure.category {
            Category::Transient | Category::Exhausted => {
                self.parked_failed(id, failure, heard, effects);
            }
            Category::Throttled => {
                self.throttled(&failure, heard);
                self.parked.wait(id, self.throttled_until);
            }
            Category::Setup => {
                self.halt(HaltReason::Setup(failure.message), heard);
                self.parked.wait(id, heard.now);
            }
            Category::Rejected => {
                if heard.breaker_probe {
                    self.breaker.inconclusive(heard.now);
                }
                self.give_up(id, Category::Rejected, failure, heard, effects);
            }
        }
    }

    fn parked_failed(
        &mut self,
        id: EventId,
        failure: Failure,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        // Its own failures say nothing of the sink, unless they answer a probe.
        let is_up = self.breaker.is_closed();
        if heard.breaker_probe {
            self.breaker.failed(heard.now, true);
        }
        let Some(entry) = self.parked.get_mut(id) else { return };
        let answered = failure.status.is_some() || self.accepted_last > entry.last_seen;
        entry.last_seen = heard.number;
        entry.failures = entry.failures.saturating_add(1);
        if is_up && answered {
            entry.attempts = entry.attempts.saturating_add(1);
        }
        let (attempts, failures) = (entry.attempts, entry.failures);
        if attempts >= self.settings.retry.max_attempts {
            return self.give_up(id, Category::Exhausted, failure, heard, effects);
        }
        let due = heard.now.saturating_add(self.backoff.delay(failures, heard.jitter));
        self.parked.retry(id, due);
        let (state, category) = (LetterState::Retrying, Category::Transient);
        effects.push(Effect::Tried { id, state, category, failure, attempts });
    }

    fn give_up(
        &mut self,
        id: EventId,
        category: Category,
        failure: Failure,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        let attempts = self.parked.get_mut(id).map_or(0, |entry| entry.attempts);
        match self.settings.on_dead {
            OnDead::Continue => self.parked.remove(id, heard.now),
            OnDead::Block => self.parked.bury(id),
        }
        let state = LetterState::Dead;
        effects.push(Effect::Tried { id, state, category, failure, attempts });
        self.died(heard.now);
    }

    /// A stored event can't be tried any more: its row is gone, or no route takes it. Its row
    /// goes, then [`Scheduler::resolved`] is called.
    pub fn withdraw(&mut self, id: DispatchId, now: Duration, effects: &mut Vec<Effect>) {
        let Origin::Parked(event) = id.from else { return };
        self.landed_parked();
        if id.number == self.probe_number {
            self.breaker.inconclusive(now);
        }
        effects.push(Effect::Accepted { id: event });
    }

    /// An event that was set aside is on disk: it may be loaded.
    pub fn stored(&mut self, id: EventId, now: Duration) {
        self.parked.stored(id, now);
    }

    /// The row of an event that was accepted, or that a person discarded, is gone: the next of
    /// its key may go.
    pub fn resolved(&mut self, id: EventId, now: Duration, effects: &mut Vec<Effect>) {
        self.parked.remove(id, now);
        self.pass_barrier(now, effects);
    }

    /// Puts events back in front of their lanes.
    fn put_back(&mut self, events: Vec<Tracked>) {
        let mut by_lane: Vec<Vec<Piece>> = Vec::new();
        by_lane.resize_with(self.lanes.len(), Vec::new);
        for event in events {
            self.came_back(&event);
            let lane = self.lane_of(event.envelope.key_hash);
            if let Some(pieces) = by_lane.get_mut(lane) {
                pieces.push(Piece::suspect(event));
            }
        }
        for (lane, pieces) in self.lanes.iter_mut().zip(by_lane) {
            lane.put_back(pieces);
        }
        self.list_all();
    }
}

/// Which failure of several decides.
const fn severity(category: Category) -> u8 {
    match category {
        Category::Rejected => 0,
        Category::Transient | Category::Exhausted => 1,
        Category::Throttled => 2,
        Category::Setup => 3,
    }
}

fn both_keys(event: &Tracked) -> [Option<u64>; 2] {
    let envelope = &event.envelope;
    [Some(envelope.key_hash), other_key(envelope.key_hash, envelope.before_key_hash)]
}

/// Stands for an answer that was not understood.
fn unknown() -> Failure {
    Failure {
        category: Category::Transient,
        message: "the sink's answer did not fit the batch".to_owned(),
        retry_after: None,
        status: None,
        answer: None,
    }
}
