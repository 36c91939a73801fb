//! What follows from answers and transactions.

use std::sync::Arc;
use std::time::Duration;

use super::super::dead_letter::{Letter, Verdict};
use super::super::lane::Tracked;
use super::super::parked::LetterState;
use super::super::reader::Again;
use super::super::scheduler::{DispatchId, Effect};
use super::super::settings::OnDead;
use super::super::view::now_micros;
use super::super::ward::{Outcome, Write, Written};
use super::original::{Found, copy};
use super::{Error, Landed, Runner, STATE_RETRY};
use crate::chunk::Chunk;
use crate::failure::chain;
use crate::lsn::EventId;
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
        let original = match found {
            Ok(Some(original)) => original,
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
            .again(&original.0, original.1)
            .map_err(|source| Error::Mapping { sink: self.name.to_string(), source })?;
        self.loaded.insert(event, original);
        match again {
            Again::Event(envelope) => {
                self.view.keep(event, &envelope);
                self.deliver(id, Arc::new(Batch { events: vec![envelope], replay: 0 }));
            }
            Again::Rejected(failure) => self.answered(id, Answer::Failed(failure), now),
            Again::Unwanted => {
                self.loaded.remove(&event);
                self.scheduler.withdraw(id, now, &mut self.effects);
                self.apply(now, None);
            }
        }
        Ok(())
    }

    /// Does what follows from an answer.
    pub(super) fn apply(&mut self, now: Duration, original: Option<(Arc<Chunk>, u32)>) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Acknowledged { ordinals, batch } => {
                    self.progress.with_ledger(|ledger| {
                        ordinals.iter().for_each(|ordinal| ledger.acknowledge(*ordinal));
                    });
                    self.view.delivered(&batch.events);
                    self.progress.notify();
                }
                Effect::Safe { ordinal } => {
                    self.progress.with_ledger(|ledger| ledger.acknowledge(ordinal));
                }
                Effect::SetAside { event, state, category, failure, attempts } => {
                    self.view.set_aside(&event.envelope, state, category, &failure, now);
                    let verdict = Verdict { category, failure, attempts, at_us: now_micros() };
                    self.put(event, state, Some(verdict));
                }
                Effect::Park { event } => self.put(event, LetterState::Blocked, None),
                Effect::Tried { id, state, category, failure, attempts } => {
                    let Some(row) = self.ward.row(id) else { continue };
                    self.view.tried(id, state, category, &failure, now);
                    let original = original.as_ref().and_then(|(chunk, entry)| {
                        copy(chunk, *entry).inspect_err(|error| self.view.cannot_copy(error)).ok()
                    });
                    if state == LetterState::Dead && self.settings.on_dead == OnDead::Continue {
                        self.ward.forget(id);
                    }
                    let verdict = Verdict { category, failure, attempts, at_us: now_micros() };
                    let verdict = Box::new(verdict);
                    self.ward.add(Write::Tried { id, row, state, original, verdict });
                }
                Effect::Accepted { id } => match self.ward.row(id) {
                    Some(row) => {
                        self.view.retry_done(id, original.is_some());
                        self.ward.add(Write::Delete { id, row });
                    }
                    None => {
                        tracing::error!(sink = %self.name, event = %id, "a stored event has no row");
                    }
                },
                // A time that no clock reaches is nonsense.
                Effect::Wait { until } => {
                    if let Some(until) = self.started.checked_add(until) {
                        self.gate.tell(until);
                    }
                }
                Effect::Reopen { events } => {
                    self.view.reopened(&events);
                    self.ward.add(Write::Reopen { events, reached: Reached::default() });
                }
            }
        }
        self.effects = effects;
    }

    /// Has an event stored.
    pub(super) fn put(&mut self, event: Tracked, state: LetterState, verdict: Option<Verdict>) {
        let Tracked { ordinal, envelope } = event;
        let is_reference = state == LetterState::Blocked && self.journal_keeps;
        let original = if is_reference {
            None
        } else {
            copy(&envelope.chunk, envelope.entry)
                .inspect_err(|error| self.view.cannot_copy(error))
                .ok()
        };
        let letter = Box::new(Letter { envelope, original, state, verdict });
        self.ward.add(Write::Put { ordinal, letter });
    }

    /// A transaction ended.
    pub(super) fn written(&mut self, outcome: Outcome, now: Duration) {
        let rows = match outcome {
            Ok(rows) => rows,
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
        let written = self.ward.finish(rows);
        self.progress.with_ledger(|ledger| {
            for done in &written {
                if let Written::Put { ordinal, .. } = done {
                    ledger.acknowledge(*ordinal);
                }
            }
        });
        for done in written {
            match done {
                Written::Put { id, .. } if self.scheduler.is_parked(id) => {
                    self.scheduler.stored(id, now);
                }
                Written::Put { id, .. } => self.ward.forget(id),
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
