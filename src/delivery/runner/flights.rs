//! What is under way: requests, loads and writes, and what each of them brings back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;

use super::super::scheduler::{Dispatch, DispatchId, What};
use super::super::view::micros;
use super::original::load;
use super::{Error, LANDED_MAX, Landed, Runner};
use crate::failure::{Category, chain};
use crate::lsn::{EventId, Timestamp};
use crate::sink::{Answer, Batch, Failure};

impl Runner {
    /// Sends a request.
    pub(super) fn send(&mut self, dispatch: Dispatch) {
        let Dispatch { id, what } = dispatch;
        match what {
            What::Batch(batch) => self.deliver(id, batch),
            What::Stored(event) => self.load(id, event),
        }
    }

    pub(super) fn deliver(&mut self, id: DispatchId, batch: Arc<Batch>) {
        let sink = Arc::clone(&self.sink);
        sink.settled(self.progress.settled());
        let limit = self.settings.timeout;
        let events = batch.events.len() as u64;
        self.unanswered += events;
        let attempt = || self.scheduler.attempt(id);
        let span = self.tracer.as_ref().and_then(|tracer| tracer.begin(&batch, attempt()));
        self.flights.push(Box::pin(async move {
            let sent = Instant::now();
            let asked = tokio::time::timeout(limit, sink.reply(&batch));
            let asked = match &span {
                Some(span) => span.call.within(asked).await,
                None => asked.await,
            };
            let reply = asked.unwrap_or_else(|_| Answer::Failed(timed_out(limit)).into());
            if let Some(span) = span {
                span.end(&batch, &reply.answer);
            }
            Landed::Answered { id, events, reply, took: sent.elapsed() }
        }));
    }

    /// Loads the original of a stored event, to try it again.
    pub(super) fn load(&mut self, id: DispatchId, event: EventId) {
        let (state, journal) = (self.state.clone(), Arc::clone(&self.journal));
        let (row, routes) = (self.ward.row(event), self.operator.versions().routes.clone());
        self.flights.push(Box::pin(async move {
            let found = match row {
                Some(row) => load(&state, journal, row, event, routes).await,
                None => Ok(None),
            };
            Landed::Loaded { id, event, found }
        }));
    }

    /// Takes this and what else has come back by now: one look at what to do next serves all.
    pub(super) fn all_landed(&mut self, first: Landed) -> Result<(), Error> {
        self.landed(first)?;
        for _ in 1..LANDED_MAX {
            let next = futures_util::FutureExt::now_or_never(self.flights.next());
            let Some(landed) = next.flatten() else { break };
            self.landed(landed)?;
        }
        Ok(())
    }

    pub(super) fn landed(&mut self, landed: Landed) -> Result<(), Error> {
        let now = self.now();
        self.ask_for_audit(now);
        match landed {
            Landed::Answered { id, events, reply, took } => {
                self.unanswered = self.unanswered.saturating_sub(events);
                self.view.answered(&reply.answer, took);
                let took_us = micros(took);
                self.answered_in =
                    (Timestamp::now().unix_micros().saturating_sub_unsigned(took_us), took_us);
                if let Some(pause) = reply.pause {
                    self.scheduler.pause(pause, now, &mut self.effects);
                }
                self.answered(id, reply.answer, now);
            }
            Landed::Loaded { id, event, found } => self.again(id, event, found, now)?,
            Landed::Written(outcome) => self.written(outcome, now),
            Landed::Counted(Ok(dead)) => self.scheduler.set_dead(dead, now),
            Landed::Counted(Err(error)) => {
                tracing::warn!(sink = %self.name, error = chain(&error), "dead letters can't be counted");
            }
        }
        Ok(())
    }

    pub(super) fn answered(&mut self, id: DispatchId, answer: Answer, now: Duration) {
        let loaded = id.stored().and_then(|event| self.loaded.remove(&event));
        self.scheduler.answered(id, answer, now, fastrand::f64(), &mut self.effects);
        self.apply(now, loaded);
    }
}

fn timed_out(limit: Duration) -> Failure {
    Failure::new(Category::Transient, format!("no answer within {limit:?}"))
}
