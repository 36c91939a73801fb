//! What a person asks of a sink whose receiver comes and asks, and what was acknowledged of keys
//! that have dead letters.

use std::sync::Arc;

use tokio::time::Instant;

use super::desk::{Noting, Returned};
use super::poller::{Poller, STATE_RETRY};
use crate::delivery::dead_letter::{self, Stored, Verdict};
use crate::delivery::orders::Order;
use crate::delivery::parked::LetterState;
use crate::delivery::reader::Again;
use crate::delivery::record::Record;
use crate::delivery::runner::{Error, original};
use crate::delivery::view::count_delivered;
use crate::delivery::ward::{FEED_MAX, Write, Written};
use crate::envelope::Envelope;
use crate::failure::{Category, chain};
use crate::lsn::{EventId, Position, Timestamp};
use crate::mapping::{Mapping, SinkMapper};
use crate::sink::Failure;

/// How often it is tried to read a dead letter.
const LOADS_MAX: u32 = 3;

/// The mapper of another version, and which that is.
type Older = Option<(Arc<Mapping>, SinkMapper)>;

impl Poller {
    /// Does what a person asks.
    ///
    /// # Errors
    /// As [`Poller::feed`].
    pub(super) async fn ordered(&mut self, order: Order) -> Result<(), Error> {
        match order {
            Order::Replay(what, asked) => {
                self.note().await;
                self.ward.add(Write::Begin(what));
                for written in self.write().await {
                    if let Written::Begun(begun) = written {
                        self.feeds |= begun.begun > 0;
                        self.joins |= begun.begun > 0;
                        // Whoever asked is told when the next question gets it.
                        self.feed().await?;
                        let _gone = asked.send(begun);
                        break;
                    }
                }
            }
            Order::Discard(filter, reason, asked) => {
                self.ward.add(Write::Discard { filter, reason });
                for written in self.write().await {
                    if let Written::Discarded(discarded) = written {
                        let ids: Vec<EventId> = discarded.held.iter().map(|(id, _)| *id).collect();
                        self.polled.desk().discard(&ids);
                        let _gone = asked.send(discarded.count);
                        break;
                    }
                }
            }
            // Nothing is sent: whoever asked is told so.
            Order::Window(..) | Order::Pause(..) | Order::Hold(..) => {}
        }
        self.count().await;
        Ok(())
    }

    /// Lays out the next dead letters that are sent again: once nothing of those before is left,
    /// or at once where a person has asked for more.
    pub(super) async fn feed(&mut self) -> Result<(), Error> {
        if !self.feeds || !(self.joins || self.polled.desk().is_cleared()) {
            return Ok(());
        }
        self.joins = false;
        self.ward.add(Write::Feed { from: Position::ZERO });
        let mut stored = Vec::new();
        for written in self.write().await {
            if let Written::Fed(fed) = written {
                stored = fed;
            }
        }
        self.feeds = !stored.is_empty();
        let (mut returned, mut bytes, mut older) = (Vec::new(), 0_u64, None);
        let last = stored.last().filter(|_| stored.len() >= FEED_MAX);
        let mut rest = last.map(|stored| stored.id.position.next());
        for stored in &stored {
            if bytes >= self.bytes_max {
                rest = Some(stored.id.position);
                break;
            }
            let Some(one) = self.load(stored, &mut older).await? else { continue };
            bytes += u64::try_from(one.body.len()).unwrap_or(u64::MAX);
            returned.push(one);
        }
        self.write().await;
        stored.iter().for_each(|stored| self.ward.forget(stored.id));
        let number = Timestamp::now().unix_micros().unsigned_abs();
        self.polled.lay_again(number, returned, rest);
        self.count().await;
        Ok(())
    }

    /// Maps a stored event again. What its mapping refuses is dead again; what no route takes any
    /// more stays so.
    async fn load(
        &mut self,
        stored: &Stored,
        older: &mut Older,
    ) -> Result<Option<Returned>, Error> {
        let (id, row) = (stored.id, stored.row);
        let journal = Arc::clone(&self.polled.0.journal);
        let mut tries = 1;
        let loaded = loop {
            let routes = self.polled.0.recipe.routes.clone();
            match original::load(&self.state, Arc::clone(&journal), row, id, routes).await {
                Ok(Some(loaded)) => break loaded,
                Ok(None) => return Ok(None),
                // It must not hold up the others for ever: dead again, it is not lost.
                Err(failure) if failure.category == Category::Transient && tries < LOADS_MAX => {
                    tries += 1;
                    tracing::warn!(
                        sink = %self.name, event = %id, reason = failure.message,
                        "a dead letter can't be read, trying again"
                    );
                    tokio::time::sleep(STATE_RETRY).await;
                }
                Err(failure) => {
                    self.refuse_again(stored, None, failure);
                    return Ok(None);
                }
            }
        };
        let is_same = |(known, _): &(Arc<Mapping>, SinkMapper)| {
            loaded.mapping.as_ref().is_some_and(|wanted| **wanted == **known)
        };
        if !older.as_ref().is_some_and(is_same) {
            let recipe = &self.polled.0.recipe;
            *older = loaded.mapping.clone().map(|mapping| {
                let mapper = recipe.mapper_at(&mapping);
                (mapping, mapper)
            });
        }
        let mapper = older.as_mut().map(|(_, mapper)| mapper);
        let again = self
            .reader
            .again(mapper, &loaded.chunk, loaded.entry)
            .map_err(|source| Error::Mapping { sink: self.name.to_string(), source })?;
        match again {
            Again::Event(envelope) => {
                let keys = super::keys_of(&envelope);
                let table = envelope.table().filter(|_| keys != [None; 2]);
                Ok(Some(Returned {
                    row,
                    id,
                    keys,
                    table,
                    forced: stored.forced,
                    replays: stored.replays,
                    body: envelope.body,
                    route: envelope.route,
                    commit_time: envelope.commit_time,
                }))
            }
            Again::Rejected(envelope, failure) => {
                self.view.keep(id, &envelope);
                self.refuse_again(stored, Some(Box::new(envelope)), failure);
                Ok(None)
            }
            Again::Unwanted => {
                self.ward.add(Write::Withdraw { id, row });
                Ok(None)
            }
        }
    }

    fn refuse_again(&mut self, stored: &Stored, sent: Option<Box<Envelope>>, failure: Failure) {
        let (id, row) = (stored.id, stored.row);
        let (category, state) = (Category::Rejected, LetterState::Dead);
        self.view.tried(id, state, category, &failure, self.started.elapsed());
        let at = Timestamp::now();
        let verdict = Box::new(Verdict { category, failure, attempts: stored.attempts, at });
        self.ward.add(Write::Tried { id, row, state, original: None, sent, verdict });
    }

    /// Notes what was acknowledged of keys that have dead letters: it counts only then.
    pub(super) async fn note(&mut self) {
        let notings = self.polled.desk().begin_noting();
        if notings.is_empty() {
            return;
        }
        for noting in notings {
            self.note_step(noting).await;
        }
        self.polled.noted();
        self.progress.notify();
        self.count().await;
    }

    async fn note_step(&mut self, noting: Noting) {
        let at_us = Timestamp::now().unix_micros();
        let newer = |newer| Write::Newer { newer, ordinals: Vec::new(), at_us };
        if !noting.newer.is_empty() {
            self.ward.add(newer(noting.newer));
            self.write().await;
        }
        // Before a row goes all that was acknowledged counts as done: what is older than it must
        // not come again alone.
        self.polled.settle(&noting.events);
        // One by one: where a transaction ends between two of them, none is noted as older than
        // the next without being delivered.
        for (letters, one) in &noting.returned {
            let record = Some(Box::new(record(one, at_us)));
            self.ward.add(newer(letters.clone()));
            self.ward.add(Write::Delete { id: one.id, row: one.row, at_us, record });
        }
        for one in &noting.overtaken {
            self.ward.add(Write::Refuse { id: one.id, row: one.row });
        }
        self.write().await;
        let delivered = noting.returned.iter().map(|(_, one)| (&one.route, one.commit_time));
        count_delivered(&self.progress, delivered);
    }

    /// Writes everything that is to be written, however often that takes.
    pub(super) async fn write(&mut self) -> Vec<Written> {
        let mut all = Vec::new();
        while let Some(write) = self.ward.start(&self.progress) {
            let mut outcome = write.await;
            while let Err(error) = &outcome {
                tracing::error!(sink = %self.name, error = chain(error), "dead letters can't be stored, trying again");
                tokio::time::sleep(STATE_RETRY).await;
                let Some(again) = self.ward.again() else { return all };
                outcome = again.await;
            }
            all.extend(self.ward.finish(outcome.unwrap_or_default()));
        }
        all
    }

    /// Counts the dead letters, and looks what of the journal they need: either may have changed.
    pub(super) async fn count(&mut self) {
        let name = Arc::clone(&self.name);
        let read = self.state.read(move |connection| {
            let pinned_from = dead_letter::pinned_from(connection, &name)?;
            Ok((dead_letter::count_dead(connection, &name)?, pinned_from))
        });
        match read.await {
            Ok((dead, pinned_from)) => {
                self.dead = dead;
                self.pinned_from = pinned_from;
            }
            Err(error) => {
                tracing::warn!(sink = %self.name, error = chain(&error), "dead letters can't be counted");
                self.recount_at = Instant::now().checked_add(STATE_RETRY);
            }
        }
    }
}

/// What is kept of a dead letter that was fetched after all.
fn record(one: &Returned, at_us: i64) -> Record {
    Record {
        lane: None,
        lanes: 1,
        first: one.id.position,
        last: one.id.position,
        count: 1,
        requests: 1,
        routes: vec![Arc::clone(&one.route)],
        attempts: 1,
        replay: one.replays,
        started_us: at_us,
        took_us: 0,
    }
}
