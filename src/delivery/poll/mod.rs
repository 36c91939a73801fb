//! Sinks that come and ask: [`Poller`] lays events out, [`Polled`] hands them to whoever asks.
//!
//! No lanes, no retries, no breaker: the receiver comes when it likes, and what it asks for next
//! tells what it has. Knows nothing of how it asks.

mod again;
mod cursor;
mod desk;
mod operator;
mod poller;
mod shelf;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::cursor::{Cursor, Tray};
use self::desk::{Desk, Returned};
pub use self::poller::{PollParts, Poller};
use self::shelf::{Ready, Shelf};
use super::handle::SinkProgress;
use super::record::{Delivered, Sent};
use super::runner::is_keyless;
use super::settings::BatchLimits;
use super::view::count_delivered;
use crate::envelope::Envelope;
use crate::journal::Journal;
use crate::lsn::{EventId, Lsn, Position, Timestamp};
use crate::mapping::{Format, Mapping, Route, SinkMapper, SourceLabel, routes_at};
use crate::progress::decoded::Taken;
use crate::progress::ledger::Ordinal;

/// The longest wait for an event.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Events of a page where nobody says how many.
const LIMIT: usize = 100;
/// An answer without an event is given so late at most while the journal holds some that were not
/// read yet: who asks until there is nothing would else stop too early.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
/// Between two looks at how far the server's log goes, while that is not known.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// This and everything before it has arrived; none: go on behind what was acknowledged.
    pub after: Option<Cursor>,
    /// Events at most; none: the usual.
    pub limit: Option<usize>,
    /// How long to wait for an event where there is none.
    pub wait: Duration,
}

/// What is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In commit order. Dead letters that a person has sent again stand in pages of their own.
    pub events: Vec<Bytes>,
    /// To be given back as `after`: acknowledges what stands here.
    pub next: Cursor,
}

/// Why nothing is handed out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The cursor lies ahead of the server's log.
    #[error("the cursor is from the future: the server's log ends at {end}")]
    Future {
        /// Where it ends.
        end: Lsn,
    },
    /// The journal does not have it any more.
    #[error(
        "what came after this cursor is no longer in the journal, which begins at {begin}; what is \
         not acknowledged is still there: ask without \"after\""
    )]
    Gone {
        /// Where it begins.
        begin: Position,
    },
    /// The sink was let go, or the run is about to end.
    #[error("{reason}")]
    Closed {
        /// Why.
        reason: String,
    },
    /// The journal can't be read, or what it holds not be understood.
    #[error("the journal can't be read: {reason}")]
    Broken {
        /// What is the matter.
        reason: String,
    },
}

/// A sink as its receivers see it. Cloned freely; any number may ask at the same time.
#[derive(Clone, Debug)]
pub struct Polled(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    progress: SinkProgress,
    limits: BatchLimits,
    journal: Arc<Journal>,
    recipe: Recipe,
    desk: Mutex<Desk>,
    /// Something was laid out or passed.
    grown: Notify,
    /// Something was acknowledged.
    room: Notify,
    /// Nothing is laid out any more.
    closed: CancellationToken,
}

/// What a mapper is made of.
#[derive(Clone, Debug)]
struct Recipe {
    routes: Vec<Arc<Route>>,
    label: SourceLabel,
    format: Format,
}

impl Recipe {
    fn mapper(&self) -> SinkMapper {
        SinkMapper::new(self.routes.clone(), &self.label, self.format)
    }

    /// As [`Recipe::mapper`], with this version of a mapping in place of today's.
    fn mapper_at(&self, mapping: &Arc<Mapping>) -> SinkMapper {
        SinkMapper::new(routes_at(&self.routes, mapping), &self.label, self.format)
    }
}

impl Polled {
    /// Acknowledges what the receiver says it has, and hands out what follows. The same question
    /// has the same answer until a later one acknowledges more. `server_end` tells where the
    /// server's log ends, once that is known.
    ///
    /// A cursor may lie ahead of the journal: it was handed out before a crash that took the
    /// journal's unsynced end. The stream brings that again, and it counts as acknowledged then.
    ///
    /// Cancel safety: what was acknowledged stays so; what was not handed out stays there.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn fetch(
        &self,
        asked: Asked,
        server_end: impl Fn() -> Option<Lsn> + Send,
    ) -> Result<Page, Refusal> {
        self.is_open()?;
        let begun = Instant::now();
        let deadline = begun + asked.wait.min(WAIT_MAX);
        let most = usize::try_from(self.0.limits.max_events).unwrap_or(usize::MAX);
        let limit = asked.limit.unwrap_or(LIMIT).clamp(1, most.max(1));
        if let Some(tray) = asked.after.and_then(|cursor| cursor.tray) {
            self.desk().fetched(tray);
            self.0.room.notify_one();
        }
        let after = asked.after.map(|cursor| cursor.after);
        if let Some(after) = after {
            let from = after.position.next();
            if from < self.desk().shelf.from() {
                if let Some(page) = self.again(after, limit).await? {
                    return Ok(page);
                }
            } else if from <= self.0.journal.end() {
                self.acknowledge(from);
            } else {
                let by = deadline.max(begun + CATCH_UP_MAX);
                let Some(end) = self.known_end(by, server_end).await else {
                    return Ok(Page { events: Vec::new(), next: after.into() });
                };
                if after.position.commit_lsn > end {
                    return Err(Refusal::Future { end });
                }
                self.acknowledge(from);
            }
        }
        self.page(after, limit, deadline, begun + CATCH_UP_MAX).await
    }

    /// Waits until it is known where the server's log ends; none at the deadline.
    async fn known_end(
        &self,
        deadline: Instant,
        server_end: impl Fn() -> Option<Lsn> + Send,
    ) -> Option<Lsn> {
        loop {
            let end = server_end();
            if end.is_some() || Instant::now() >= deadline || self.0.closed.is_cancelled() {
                return end;
            }
            tokio::time::sleep(LOOK_EVERY.min(deadline - Instant::now())).await;
        }
    }

    /// Hands out what lies there; waits until something does.
    async fn page(
        &self,
        after: Option<EventId>,
        limit: usize,
        deadline: Instant,
        caught_up_by: Instant,
    ) -> Result<Page, Refusal> {
        let goal = self.0.journal.end();
        loop {
            let grown = self.0.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            let until = {
                let mut desk = self.desk();
                let bytes_max = self.0.limits.max_bytes;
                if let Some((events, tray)) = desk.again(limit, bytes_max) {
                    let next = Cursor { after: acknowledged(&desk.shelf, after), tray: Some(tray) };
                    return Ok(Page { events, next });
                }
                let page = desk.page(limit, bytes_max);
                if let Some((next, _)) = page.last() {
                    let next = (*next).into();
                    return Ok(Page { events: page.into_iter().map(|(_, b)| b).collect(), next });
                }
                let is_behind = desk.shelf.passed() < goal || desk.awaits();
                let until = if is_behind { deadline.max(caught_up_by) } else { deadline };
                if Instant::now() >= until {
                    let next = behind(&desk.shelf, after).into();
                    return Ok(Page { events: Vec::new(), next });
                }
                until
            };
            self.is_open()?;
            tokio::select! {
                () = grown => {}
                () = tokio::time::sleep_until(until) => {}
                () = self.0.closed.cancelled() => {}
            }
        }
    }

    fn acknowledge(&self, from: Position) {
        {
            // Until they are done they lie there, for whoever counts.
            let mut desk = self.desk();
            let done = desk.acknowledge(from);
            self.settle(&done);
        }
        self.0.room.notify_one();
    }

    /// The receiver has these events.
    fn settle(&self, done: &[Ready]) {
        if done.is_empty() {
            return;
        }
        let progress = &self.0.progress;
        let places: Vec<Ordinal> = done.iter().map(|ready| ready.ordinal).collect();
        let sent = Sent { lane: 0, lanes: 1, attempts: 1, places };
        // Only when they were acknowledged is known: what was handed out may be so many times.
        let started_us = Timestamp::now().unix_micros();
        let fetched = Delivered { events: done, sent: &sent, replay: 0, started_us, took_us: 0 };
        progress.acknowledge(&sent.places, &fetched);
        count_delivered(progress, done.iter().map(|ready| (&ready.route, ready.commit_time)));
        progress.notify();
    }

    /// Lays events out; everything below `end` is then passed.
    fn lay_out(&self, ready: Vec<Ready>, end: Position) {
        {
            let mut desk = self.desk();
            let done = ready.into_iter().filter_map(|ready| desk.shelf.put(ready)).collect();
            // Before the end is passed: what is newer takes what is older off the tray.
            let done = desk.took(done);
            desk.shelf.pass(end);
            self.settle(&done);
        }
        self.0.progress.notify();
        self.0.grown.notify_waiters();
    }

    /// Lays out what is sent again.
    fn lay_again(&self, number: u64, returned: Vec<Returned>, rest: Option<Position>) {
        self.desk().lay_again(number, returned, rest);
        self.0.grown.notify_waiters();
    }

    /// What was taken to be noted is on disk.
    fn noted(&self) {
        self.desk().noted();
        self.0.grown.notify_waiters();
    }

    /// Looks whether every event is accounted for. Nobody else may hold any.
    fn audit(&self, read: Option<(Position, &mut Taken)>) {
        let desk = self.desk();
        self.0.progress.audit(read, desk.ordinals());
    }

    fn is_open(&self) -> Result<(), Refusal> {
        let reason = if self.0.progress.is_detached() {
            self.0.progress.snapshot().reason.unwrap_or_default()
        } else if self.0.closed.is_cancelled() {
            "walgate is about to end; ask again once it runs".to_owned()
        } else {
            return Ok(());
        };
        Err(Refusal::Closed { reason })
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // A panic elsewhere leaves the events and numbers that were there.
        self.0.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both keys of an event; none of a table without a key: it overwrites nothing.
fn keys_of(envelope: &Envelope) -> [Option<u64>; 2] {
    if is_keyless(envelope) {
        return [None; 2];
    }
    [Some(envelope.key_hash), envelope.before_key_hash]
}

/// The cursor that acknowledges nothing more than was acknowledged already.
fn acknowledged(shelf: &Shelf, after: Option<EventId>) -> EventId {
    let timeline = after.map_or(0, |after| after.timeline);
    EventId { timeline, position: shelf.from().previous().unwrap_or(Position::ZERO) }
}

/// The cursor of a page without events: behind everything that was passed, and before what lies
/// there.
fn behind(shelf: &Shelf, after: Option<EventId>) -> EventId {
    let timeline = after.map_or(0, |after| after.timeline);
    let end = shelf.first().unwrap_or_else(|| shelf.passed().max(shelf.from()));
    let position = end.previous().unwrap_or(Position::ZERO);
    EventId { timeline, position }
}
