//! What follows from answers and transactions.

use std::sync::Arc;
use std::time::Duration;

use super::super::dead_letter::{Letter, Verdict};
use super::super::lane::{Tracked, keys};
use super::super::parked::LetterState;
use super::super::reader::Again;
use super::super::record::{Delivered, Record};
use super::super::scheduler::{DispatchId, Effect};
use super::super::settings::OnDead;
use super::super::ward::{Outcome, Write, Written};
use super::operator::is_keyless;
use super::original::{Found, Loaded, copy};
use super::{Error, Landed, Runner, STATE_RETRY};
use crate::chunk::Operation;
use crate::envelope::RouteLabel;
use crate::failure::chain;
use crate::lsn::{EventId, Timestamp};
use crate::progress::ledger::Reached;
use crate::sink::{Answer, Batch, Failure};

impl Runner {
    /// A stored event was loaded: it is mapped again and sent.
    pub(super) fn again(
        &mut self,
        id: DispatchId,
        event: EventId,
        found: Result<Found, Failure>,
        now: Duration,
    ) -> Result<(), Error> {
        if self.scheduler.is_overtaken(event) {
            self.scheduler.stays_dead(id, now, &mut self.effects);
            self.apply(now, None);
            return Ok(());
        }
        let mut loaded = match found {
            Ok(Some(loaded)) => loaded,
            Ok(None) => {
                self.scheduler.withdraw(id, now, &mut self.effects);
                self.apply(now, None);
                return Ok(());
            }
            Err(failure) => {
                self.answered(id, Answer::Failed(failure), now);
                return Ok(());
            }
        };
        let again = self
            .reader
            .again(self.operator.mapper(loaded.mapping.as_ref()), &loaded.chunk, loaded.entry)
            .map_err(|source| Error::Mapping { sink: self.name.to_string(), source })?;
        match again {
            Again::Event(envelope) => {
                self.view.keep(event, &envelope);
                loaded.sent = Some(Box::new(envelope.clone()));
                self.loaded.insert(event, loaded);
                let replay = self.scheduler.replays(event);
                self.deliver(id, Arc::new(Batch { events: vec![envelope], replay }));
            }
            Again::Rejected(envelope, failure) => {
                self.view.keep(event, &envelope);
                loaded.sent = Some(Box::new(envelope));
                self.loaded.insert(event, loaded);
                self.answered(id, Answer::Failed(failure), now);
            }
            Again::Unwanted => {
                self.scheduler.withdraw(id, now, &mut self.effects);
                self.apply(now, None);
            }
        }
        Ok(())
    }

    /// Does what follows from an answer.
    pub(super) fn apply(&mut self, now: Duration, mut loaded: Option<Loaded>) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Acknowledged { ordinals, batch, sent } => {
                    let (started_us, took_us) = self.answered_in;
                    let (events, sent, replay) = (&batch.events[..], &sent, batch.replay);
                    let delivered = Delivered { events, sent, replay, started_us, took_us };
                    self.acknowledge(ordinals, &delivered);
                    self.view.delivered(&batch);
                    self.window_delivered(&batch.events);
                    self.progress.notify();
                }
                Effect::Safe { ordinal } => {
                    self.progress.with_ledger(|ledger| ledger.acknowledge(ordinal));
                }
                Effect::SetAside { event, state, category, failure, attempts } => {
                    if event.beside {
                        self.window_set_aside(event.envelope.id.position, false);
                    }
                    self.view.set_aside(&event.envelope, state, category, &failure, now);
                    if state == LetterState::Dead && !is_keyless(&event.envelope) {
                        self.operator.died(keys(&event.envelope), event.envelope.id);
                    }
                    let verdict = Verdict { category, failure, attempts, at: Timestamp::now() };
                    self.put(event, state, Some(verdict));
                }
                Effect::Park { event } => {
                    if event.beside {
                        self.window_set_aside(event.envelope.id.position, false);
                    }
                    self.put(event, LetterState::Blocked, None);
                }
                Effect::Tried { id, keys, state, category, failure, attempts } => {
                    self.view.tried(id, state, category, &failure, now);
                    let verdict = Verdict { category, failure, attempts, at: Timestamp::now() };
                    self.tried(id, keys, state, verdict, loaded.take());
                }
                Effect::Accepted { id, keys, attempts } => {
                    self.accepted(id, keys, attempts, loaded.take(), now);
                }
                Effect::Withdrawn { id } => self.withdrawn(id, now),
                Effect::Refused { id } => {
                    self.view.retry_done(id, false);
                    if let Some(row) = self.ward.row(id) {
                        self.ward.add(Write::Refuse { id, row });
                    }
                }
                // A time that no clock reaches is nonsense.
                Effect::Wait { until } => {
                    if let Some(until) = self.started.checked_add(until) {
                        self.gate.tell(until);
                    }
                }
                Effect::Reopen { events } => {
                    self.view.reopened(&events);
                    for event in events.iter().filter(|event| event.is_beside) {
                        self.window_set_aside(event.id.position, true);
                    }
                    self.ward.add(Write::Reopen { events, reached: Reached::default() });
                }
            }
        }
        if self.effects.is_empty() {
            self.effects = effects;
        } else {
            self.apply(now, None);
        }
    }

    /// No route takes a stored event any more.
    fn withdrawn(&mut self, id: EventId, now: Duration) {
        self.view.retry_done(id, false);
        match self.ward.row(id) {
            Some(row) => self.ward.add(Write::Withdraw { id, row }),
            None => self.scheduler.resolved(id, now, &mut self.effects),
        }
    }

    /// A stored event was tried again, without success.
    fn tried(
        &mut self,
        id: EventId,
        keys: [Option<u64>; 2],
        state: LetterState,
        verdict: Verdict,
        loaded: Option<Loaded>,
    ) {
        let Some(row) = self.ward.row(id) else { return };
        let original = loaded.as_ref().and_then(|loaded| self.copy(loaded));
        let sent = loaded.and_then(|loaded| loaded.sent);
        if state == LetterState::Dead {
            // Of a table without a key it costs a look that finds nothing.
            self.operator.died(keys.into_iter().flatten(), id);
            if self.settings.on_dead == OnDead::Continue {
                self.ward.forget(id);
            }
        }
        let verdict = Box::new(verdict);
        self.ward.add(Write::Tried { id, row, state, original, sent, verdict });
    }

    /// A stored event was accepted.
    fn accepted(
        &mut self,
        id: EventId,
        keys: [Option<u64>; 2],
        attempts: u32,
        loaded: Option<Loaded>,
        now: Duration,
    ) {
        let route = self.view.retry_done(id, true);
        let row = self.ward.row(id);
        if let Some(row) = row {
            let record = route.map(|route| Box::new(self.record(id, route, attempts)));
            self.ward.add(Write::Delete { id, row, at_us: Timestamp::now().unix_micros(), record });
        }
        let sent = loaded.and_then(|loaded| loaded.sent);
        let newer = match sent.filter(|sent| sent.operation == Operation::Truncate) {
            Some(truncate) => self.operator.newer(std::slice::from_ref(&*truncate)),
            None => self.operator.newer_of(keys.into_iter().flatten(), id),
        };
        if !newer.is_empty() {
            self.note(newer, Vec::new());
        }
        if row.is_none() {
            let sink = &*self.name;
            tracing::warn!(sink, event = %id, "an event was accepted that was discarded meanwhile");
            self.scheduler.resolved(id, now, &mut self.effects);
        }
    }

    /// Copies the original of a stored event, as the journal writes it.
    fn copy(&self, loaded: &Loaded) -> Option<Vec<u8>> {
        copy(&loaded.chunk, loaded.entry).inspect_err(|error| self.view.cannot_copy(error)).ok()
    }

    /// What is kept of a stored event that was delivered.
    fn record(&self, id: EventId, route: Arc<RouteLabel>, attempts: u32) -> Record {
        let (started_us, took_us) = self.answered_in;
        Record {
            lane: None,
            lanes: self.settings.concurrency.max(1),
            first: id.position,
            last: id.position,
            count: 1,
            requests: 1,
            routes: vec![route],
            attempts,
            replay: self.scheduler.replays(id),
            started_us,
            took_us,
        }
    }

    /// Has an event stored.
    pub(super) fn put(&mut self, event: Tracked, state: LetterState, verdict: Option<Verdict>) {
        let Tracked { ordinal, envelope, replay, .. } = event;
        let replayed = replay > 0;
        let is_reference = state == LetterState::Blocked && self.journal_keeps;
        let original = if is_reference {
            None
        } else {
            copy(&envelope.chunk, envelope.entry)
                .inspect_err(|error| self.view.cannot_copy(error))
                .ok()
        };
        let letter = Box::new(Letter { envelope, original, state, verdict, replayed });
        self.ward.add(Write::Put { ordinal, letter });
    }

    /// A transaction ended.
    pub(super) fn written(&mut self, outcome: Outcome, now: Duration) {
        let ran = match outcome {
            Ok(ran) => ran,
            Err(error) => {
                tracing::error!(sink = %self.name, error = chain(&error), "dead letters can't be stored, trying again");
                if let Some(write) = self.ward.again() {
                    self.flights.push(Box::pin(async move {
                        tokio::time::sleep(STATE_RETRY).await;
                        Landed::Written(write.await)
                    }));
                }
                return;
            }
        };
        let written = self.ward.finish(ran);
        self.progress.with_ledger(|ledger| {
            for done in &written {
                match done {
                    Written::Put { ordinal, .. } => ledger.acknowledge(*ordinal),
                    Written::Noted { ordinals } => {
                        ordinals.iter().for_each(|ordinal| ledger.acknowledge(*ordinal));
                    }
                    _ => {}
                }
            }
        });
        for done in written {
            match done {
                Written::Put { id, .. } if self.scheduler.is_parked(id) => {
                    self.scheduler.stored(id, now);
                }
                Written::Put { id, .. } => self.ward.forget(id),
                Written::Noted { .. } => self.noted(),
                Written::Begun(begun) => self.begun(begun),
                Written::Fed(stored) => self.fed(&stored, now),
                Written::Discarded(discarded) => self.discarded(&discarded, now),
                Written::Deleted { id } => {
                    self.view.resolved();
                    self.scheduler.resolved(id, now, &mut self.effects);
                }
            }
        }
        self.progress.notify();
        self.apply(now, None);
    }
}
