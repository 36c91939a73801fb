//! What the pipeline's tasks tell each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::freshness::Freshness;
use super::lag::Lag;
use super::marks::Marks;
use super::tally::Tally;
use crate::delivery::{SinkProgress, Snapshot};
use crate::inspect::status::{HeldBy, SourceState};
use crate::lsn::{Lsn, Position, Timestamp};
use crate::progress::decoded::Decoded;
use crate::source::Confirmer;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    sinks: Vec<SinkProgress>,
    /// What came, for the sinks to be held against.
    pub(super) decoded: Arc<Decoded>,
    inner: Mutex<Inner>,
    /// The server lets nobody in any more, because it shuts down. Whoever waits at that moment is
    /// told, nobody later.
    pub(super) server_stops: Notify,
}

/// Behind the lock.
#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) state: SourceState,
    pub(super) reason: Option<String>,
    pub(super) marks: Marks,
    pub(super) confirmer: Option<Confirmer>,
    /// What the slot was told.
    pub(super) confirmed: Lsn,
    /// How often the server went over to another timeline: a position that was seen before may not
    /// be confirmed after.
    pub(super) timelines_left: u64,
    /// Behind the last chunk that was appended.
    pub(super) end: Position,
    /// Everything that commits before was handed over.
    pub(super) seen: Lsn,
    /// How far behind the source's commits this is.
    pub(super) lag: Lag,
    /// How old what each sink has is.
    pub(super) fresh: Freshness,
    /// The server's log ended here at the start.
    pub(super) goal: Option<Lsn>,
    /// What the server says of itself and the slot.
    pub(super) server_lsn: Option<Lsn>,
    pub(super) retained_wal: Option<i64>,
    pub(super) wal_status: Option<String>,
    pub(super) wal: Wal,
    /// What came.
    pub(super) tally: Tally,
    /// What `accept_gap` let pass in this run, in words, and when.
    pub(super) gap: Option<(String, Timestamp)>,
    /// How much is firing, by alert.
    pub(super) alerts: BTreeMap<String, u64>,
    /// Rows that were there before.
    pub(super) loading: Loading,
    /// When the keeper was last done with a tick, and why it could not store what it had to.
    pub(super) kept_at: Option<Instant>,
    pub(super) storing_fails: Option<String>,
    farewell: bool,
}

/// How the loads are.
#[derive(Debug, Default)]
pub(super) struct Loading {
    /// Somebody has looked at what is wanted.
    pub(super) is_known: bool,
    /// Not all is done.
    pub(super) is_open: bool,
    /// How many there are that may go on.
    pub(super) open: usize,
    /// Tables that do not go on, and why.
    pub(super) waiting: Vec<String>,
    /// Those of them that wait for a person, by number.
    pub(super) stuck: BTreeSet<i64>,
    /// What the last of them brought lies below.
    pub(super) end: Position,
}

/// What was seen of the server's log, beside the stream; see [`super::SourceStatus`].
#[derive(Clone, Debug, Default)]
pub(super) struct Wal {
    pub(super) safe: Option<i64>,
    pub(super) per_second: Option<u64>,
    pub(super) seconds_left: Option<u64>,
    pub(super) held_by: Vec<HeldBy>,
    pub(super) warnings: Vec<String>,
}

impl Loading {
    /// Says whether a load waits for a person.
    pub(super) fn stuck(&mut self, load: i64, is_stuck: bool) {
        if is_stuck {
            self.stuck.insert(load);
        } else {
            self.stuck.remove(&load);
        }
    }

    /// Whether nothing that is open goes on without a person.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_open && self.stuck.len() >= self.open && self.open > 0
    }
}

impl Shared {
    pub(super) fn new(
        sinks: Vec<SinkProgress>,
        decoded: Arc<Decoded>,
        end: Position,
        confirmed: Lsn,
        fresh: Freshness,
    ) -> Self {
        let inner = Inner { end, confirmed, fresh, ..Inner::default() };
        Self { sinks, decoded, inner: Mutex::new(inner), server_stops: Notify::new() }
    }

    pub(super) fn sinks(&self) -> &[SinkProgress] {
        &self.sinks
    }

    /// A panic elsewhere leaves plain values, not broken invariants.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the position up to which all that was committed before the start has come, and all
    /// rows that were to be loaded; none while it is not all here.
    pub(super) fn target(&self) -> Option<Position> {
        let inner = self.lock();
        let goal = inner.goal.filter(|goal| inner.seen >= *goal)?;
        let is_loaded = inner.loading.is_known && !inner.loading.is_open;
        is_loaded.then(|| inner.end.min(Position::new(goal, 0)).max(inner.loading.end))
    }

    /// Returns the loads that keep everything from being done, where they all wait for a person.
    pub(super) fn stuck_loads(&self) -> Option<Vec<String>> {
        let inner = self.lock();
        // They are named only at the next look.
        let is_stuck = inner.goal.is_some_and(|goal| inner.seen >= goal)
            && inner.loading.is_stuck()
            && !inner.loading.waiting.is_empty();
        let say = |load: &String| format!("loading {load}");
        is_stuck.then(|| inner.loading.waiting.iter().map(say).collect())
    }

    /// Lets the server be told the last word and the connection go.
    pub(super) fn say_farewell(&self) {
        let mut inner = self.lock();
        inner.farewell = true;
        if let Some(confirmer) = &inner.confirmer {
            confirmer.finish();
        }
    }
}

impl Inner {
    /// Notes an attached stream; one that comes after the end is told to go at once.
    pub(super) fn attached(&mut self, confirmer: Confirmer) {
        if self.farewell {
            confirmer.finish();
        }
        confirmer.confirm(self.confirmed);
        self.confirmer = Some(confirmer);
        self.state = SourceState::Streaming;
        self.reason = None;
    }

    /// Notes that the server has left the timeline that was read, at `left`: it was told of nothing
    /// behind that.
    pub(super) fn left_at(&mut self, left: Lsn) {
        self.timelines_left += 1;
        self.marks.lower(left);
        self.confirmed = self.confirmed.min(left);
        self.seen = self.seen.min(left);
    }

    /// Returns how old what a sink has is, in seconds.
    pub(super) fn freshness(&mut self, sink: &str, snapshot: &Snapshot, now: Timestamp) -> f64 {
        let read = self.lag.as_of(now);
        self.fresh.look(sink, snapshot, self.end, read, now)
    }

    /// Forgets when that was committed which every sink has done.
    pub(super) fn forget_ages(&mut self, sinks: &[Snapshot]) {
        let attached = sinks.iter().filter(|sink| !sink.detached);
        let kept =
            attached.flat_map(|sink| sink.waiting_from.into_iter().chain([sink.reached.floor]));
        if let Some(below) = kept.min() {
            self.fresh.ages.forget(below);
        }
    }

    /// Notes that the slot may be another's, and that its turn is waited for.
    pub(super) fn stands_by(&mut self) {
        (self.state, self.reason) = (SourceState::Standby, None);
    }

    /// Notes that the stream is gone.
    pub(super) fn detached(&mut self, reason: String) {
        self.confirmer = None;
        self.lag.detached();
        self.state = SourceState::Connecting;
        self.reason = Some(reason);
    }
}
