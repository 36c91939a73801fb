//! What becomes of events that were set aside and are tried again.

use std::time::Duration;

use super::super::breaker::HaltReason;
use super::super::parked::LetterState;
use super::super::settings::OnDead;
use super::answer::Heard;
use super::{DispatchId, Effect, Origin, Scheduler};
use crate::failure::Category;
use crate::lsn::EventId;
use crate::sink::{Answer, Failure};

impl Scheduler {
    /// A stored event was tried again.
    pub(super) fn parked_answered(
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
            let entry = self.parked.get(id);
            let (keys, sent) = entry.map_or(([None; 2], 0), |entry| (entry.keys, entry.sent));
            self.parked.took_truncate(id);
            effects.push(Effect::Accepted { id, keys, attempts: sent.saturating_add(1) });
            return self.accepted(heard, effects);
        };
        if self.parked.is_discarded(id) {
            self.failed_for_nobody(&failure, heard, effects);
            return self.parked.remove(id, heard.now);
        }
        match failure.category {
            Category::Transient | Category::Exhausted => {
                self.parked_failed(id, failure, heard, effects);
            }
            Category::Throttled => {
                self.throttled(&failure, heard, effects);
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

    /// What an answer says of the sink, where nobody wants the event any more.
    fn failed_for_nobody(&mut self, failure: &Failure, heard: Heard, effects: &mut Vec<Effect>) {
        match failure.category {
            Category::Throttled => self.throttled(failure, heard, effects),
            Category::Setup => self.halt(HaltReason::Setup(failure.message.clone()), heard),
            _ if !heard.breaker_probe => {}
            Category::Transient | Category::Exhausted => {
                self.count_outage(failure);
                self.breaker.failed(heard.now, true);
            }
            Category::Rejected => self.breaker.inconclusive(heard.now),
        }
    }

    pub(super) fn parked_failed(
        &mut self,
        id: EventId,
        failure: Failure,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        // Its own failures say nothing of the sink, unless they answer a probe.
        let is_up = self.breaker.is_closed();
        if heard.breaker_probe {
            self.count_outage(&failure);
            self.breaker.failed(heard.now, true);
        }
        let Some(entry) = self.parked.get_mut(id) else { return };
        // A sink that is down answers for itself; one that is up and breaks over this event, or
        // took others meanwhile, does not want the event.
        let is_down = matches!(failure.status, None | Some(408 | 425 | 502..=504));
        let answered = !is_down || self.accepted_last > entry.last_seen;
        entry.last_seen = heard.number;
        entry.failures = entry.failures.saturating_add(1);
        entry.sent = entry.sent.saturating_add(1);
        if is_up && answered {
            entry.attempts = entry.attempts.saturating_add(1);
        }
        let (attempts, failures, keys) = (entry.attempts, entry.failures, entry.keys);
        let is_replayed = entry.again.is_some();
        if attempts >= self.settings.retry.max_attempts {
            return self.give_up(id, Category::Exhausted, failure, heard, effects);
        }
        let due = heard.now.saturating_add(self.backoff.delay(failures, heard.jitter));
        self.parked.retry(id, due);
        let state = if is_replayed { LetterState::Replaying } else { LetterState::Retrying };
        let category = Category::Transient;
        effects.push(Effect::Tried { id, keys, state, category, failure, attempts });
    }

    pub(super) fn give_up(
        &mut self,
        id: EventId,
        category: Category,
        failure: Failure,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) {
        let entry = self.parked.get(id);
        let (attempts, keys) = entry.map_or((0, [None; 2]), |entry| (entry.attempts, entry.keys));
        match self.settings.on_dead {
            OnDead::Continue => self.parked.remove(id, heard.now),
            OnDead::Block => self.parked.bury(id, heard.now),
        }
        let state = LetterState::Dead;
        effects.push(Effect::Tried { id, keys, state, category, failure, attempts });
        self.died(heard.now);
    }

    /// A stored event can't be tried any more: its row is gone, or no route takes it. The row is
    /// settled, then [`Scheduler::resolved`] is called.
    pub fn withdraw(&mut self, id: DispatchId, now: Duration, effects: &mut Vec<Effect>) {
        let Origin::Parked(event) = id.from else { return };
        self.landed_parked();
        if id.number == self.probe_number {
            self.breaker.inconclusive(now);
        }
        effects.push(Effect::Withdrawn { id: event });
    }

    /// An event that was set aside is on disk: it may be loaded.
    pub fn stored(&mut self, id: EventId, now: Duration) {
        self.parked.stored(id, now);
    }

    /// A person has discarded an event that was set aside: it is not sent any more, and the next of
    /// its key may go, once what is under way has landed.
    pub fn discarded(&mut self, id: EventId, now: Duration, effects: &mut Vec<Effect>) {
        self.rejected.retain(|event| event.envelope.id != id);
        if id.position >= self.read {
            // The stream brings it again.
            self.settled.insert(id);
        }
        self.parked.discard(id, now);
        self.pass_fences(now, effects);
    }

    /// The row of an event that was accepted, or can't be tried any more, is settled: the next of
    /// its key may go.
    pub fn resolved(&mut self, id: EventId, now: Duration, effects: &mut Vec<Effect>) {
        self.parked.remove(id, now);
        self.pass_fences(now, effects);
    }
}
