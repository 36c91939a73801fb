//! What an answer means: the five categories of a failure, and what they do to the lane and the
//! breaker.

use std::collections::HashSet;
use std::time::Duration;

use super::super::breaker::HaltReason;
use super::super::lane::{Flight, Piece, keys};
use super::super::ramp::Sign;
use super::super::record::Sent;
use super::{DispatchId, Effect, Origin, Scheduler};
use crate::chunk::Operation;
use crate::failure::Category;
use crate::sink::{Answer, Failure};

/// An answer and its circumstances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) now: Duration,
    pub(super) jitter: f64,
    pub(super) number: u64,
    pub(super) breaker_probe: bool,
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
        let sign = Sign::of(&answer, id.stored().is_some());
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
        self.ramp.heard(sign, number, self.numbers);
        if sign == Sign::Accepted {
            let retry = id.stored().is_some_and(|event| self.parked.is_retry(event));
            self.budget.accepted(retry, now);
        }
        if std::mem::take(&mut self.is_cornered) && sign != Sign::Accepted {
            self.park_joins(now, effects);
        }
        self.pass_fences(now, effects);
    }

    pub(super) fn lane_answered(
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

    pub(super) fn failed(
        &mut self,
        index: usize,
        flight: Flight,
        failure: Failure,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        match failure.category {
            Category::Transient | Category::Exhausted => {
                self.count_outage(&failure);
                self.count_failure(index, flight.piece, Some(failure), heard);
                self.transient(index, flight, heard);
            }
            Category::Throttled => self.throttled(&failure, heard, effects),
            Category::Setup => self.halt(HaltReason::Setup(failure.message), heard),
            Category::Rejected => self.rejected_piece(index, flight, failure, heard, effects),
        }
    }

    /// The sink took something: it is up.
    pub(super) fn accepted(&mut self, heard: Heard, effects: &mut Vec<Effect>) {
        self.rejections = 0;
        self.rejected.clear();
        self.throttles = 0;
        self.outage = None;
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

    /// A failure that waiting mends.
    pub(super) fn transient(&mut self, index: usize, flight: Flight, heard: Heard) {
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

    /// What the reason of an open breaker is made of.
    pub(super) fn count_outage(&mut self, failure: &Failure) {
        let (failures, last) = self.outage.get_or_insert_default();
        *failures = failures.saturating_add(1);
        last.clone_from(&failure.message);
    }

    pub(super) fn count_failure(
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
    pub(super) fn throttled(&mut self, failure: &Failure, heard: Heard, effects: &mut Vec<Effect>) {
        self.throttles = self.throttles.saturating_add(1);
        let until = match failure.retry_after {
            Some(told) => heard.now.saturating_add(told),
            None => {
                let guess = self.backoff.delay(self.throttles, heard.jitter);
                let until = heard.now.saturating_add(guess);
                self.throttled_until = self.throttled_until.max(until);
                until
            }
        };
        self.told_to_wait(until, heard.now);
        effects.push(Effect::Wait { until });
        if heard.breaker_probe {
            self.breaker.inconclusive(heard.now);
        }
    }

    /// The far side's rate limit is used up, whatever it answered. Uses up no attempt.
    pub fn pause(&mut self, told: Duration, now: Duration, effects: &mut Vec<Effect>) {
        let until = now.saturating_add(told);
        self.told_to_wait(until, now);
        effects.push(Effect::Wait { until });
    }

    /// The far side asked this sink, or another of its host, for time until then. Believed up to
    /// `retry_after_max`.
    pub fn told_to_wait(&mut self, until: Duration, now: Duration) {
        let wait = self.backoff.believed(until.saturating_sub(now));
        self.throttled_until = self.throttled_until.max(now.saturating_add(wait));
    }

    pub(super) fn halt(&mut self, reason: HaltReason, heard: Heard) {
        self.breaker.halt(reason, heard.now);
        self.list_all();
    }

    /// One outcome an event.
    pub(super) fn per_event(
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
        let accepted = outcomes.iter().any(Result::is_ok);
        let Some(worst) = worst else {
            let answer = if fits { Answer::Acknowledged } else { Answer::Failed(unknown()) };
            return self.lane_answered(index, flight, answer, heard, effects);
        };
        if !fits || outcomes.iter().all(|outcome| outcome.as_ref().err() == Some(&worst)) {
            return self.failed(index, flight, worst, heard, effects);
        }
        let Some(piece) = self.take_piece(index, flight.piece) else { return };
        // One that another lane waits for is always alone, and one outcome is no mixture.
        let (failures, last_sent) = (piece.failures, piece.last_sent);
        let (mut left, mut done, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        let mut left_keys: HashSet<u64> = HashSet::new();
        for (event, outcome) in piece.into_events().zip(outcomes) {
            // What is newer than an event that comes again comes again behind it.
            let is_behind = keys(&event.envelope).any(|key| left_keys.contains(&key));
            match outcome {
                Ok(()) if !is_behind => done.push(event),
                Err(failure) if failure.category == Category::Rejected => {
                    refused.push((event, failure));
                }
                Ok(()) | Err(_) => {
                    left_keys.extend(keys(&event.envelope));
                    left.push(event);
                }
            }
        }
        if !left.is_empty()
            && let Some(lane) = self.lanes.get_mut(index)
        {
            let piece = Piece::rest(left, failures, last_sent);
            lane.put_pieces(flight.piece, vec![piece]);
            if worst.category == Category::Transient {
                self.count_failure(index, flight.piece, Some(worst.clone()), heard);
                self.suspects.insert(index);
            }
        }
        // Once what is left is in its lane again: with `block` it waits behind these.
        for (event, failure) in refused {
            self.reject(event, failure, failures + 1, heard, effects);
        }
        // After these: what was taken may be newer than they are.
        if !done.is_empty() {
            self.done(Piece::rest(done, failures, last_sent), effects);
        }
        if accepted {
            self.accepted(heard, effects);
        } else {
            self.look_for_misconfiguration(&worst, heard, effects);
        }
        match worst.category {
            Category::Setup => self.halt(HaltReason::Setup(worst.message), heard),
            Category::Throttled => self.throttled(&worst, heard, effects),
            Category::Transient | Category::Exhausted if !accepted => {
                self.count_outage(&worst);
                self.breaker.failed(heard.now, heard.breaker_probe);
            }
            Category::Rejected if !accepted && heard.breaker_probe => {
                self.breaker.inconclusive(heard.now);
            }
            Category::Transient | Category::Rejected | Category::Exhausted => {}
        }
    }

    pub(super) fn done(&mut self, piece: Piece, effects: &mut Vec<Effect>) {
        self.left_piece(&piece);
        let Piece { ordinals, places, batch, joins, failures, .. } = piece;
        ordinals.first().into_iter().for_each(|ordinal| self.release(joins, *ordinal));
        let first = batch.events.first();
        if let Some(truncate) = first.filter(|event| event.operation == Operation::Truncate) {
            self.parked.overtake_table(truncate.table_tag(), truncate.id);
        }
        let lane = batch.events.first().map_or(0, |event| self.lane_of(event.key_hash));
        let sent = Sent {
            lane: u32::try_from(lane).unwrap_or_default(),
            lanes: u32::try_from(self.lanes.len()).unwrap_or_default(),
            attempts: failures.saturating_add(1),
            places,
        };
        effects.push(Effect::Acknowledged { ordinals, batch, sent });
    }

    pub(super) fn take_piece(&mut self, index: usize, place: usize) -> Option<Piece> {
        self.lanes.get_mut(index)?.take_piece(place)
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

/// Stands for an answer that was not understood.
pub(super) fn unknown() -> Failure {
    Failure {
        category: Category::Transient,
        message: "the sink's answer did not fit the batch".to_owned(),
        retry_after: None,
        status: None,
        answer: None,
    }
}
