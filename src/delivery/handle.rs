//! [`SinkProgress`]: what the rest of the process sees of a sink while it is served.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::record::{Delivered, Recorded, Recorder, Records};
use super::scheduler::Reopened;
use crate::failure::Category;
use crate::lsn::{Position, Timestamp};
use crate::progress::decoded::{Decoded, Taken};
use crate::progress::ledger::{Ledger, Ordinal, Reached};

/// Upper bounds of the latency histogram's buckets, in microseconds; one more bucket lies above.
pub const LATENCY_BOUNDS_US: [u64; 14] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    60_000_000,
    600_000_000,
];

/// How a sink is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkState {
    /// It takes what it is sent.
    #[default]
    Ok,
    /// Something failed and is tried again.
    Retrying,
    /// It is down; nothing is sent until the cooldown is over.
    Open,
    /// It was down; one request shows whether it is up again.
    HalfOpen,
    /// A person must act.
    Halted,
}

impl SinkState {
    /// Each of them, the best first.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Retrying, Self::Open, Self::HalfOpen, Self::Halted];

    /// Returns the breaker's state as a number: 0 closed, 1 half-open, 2 open, 3 halted.
    #[must_use]
    pub const fn breaker(self) -> u8 {
        match self {
            Self::Ok | Self::Retrying => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
            Self::Halted => 3,
        }
    }

    /// Returns the word used in `status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Retrying => "retrying",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Halted => "halted",
        }
    }
}

/// Events by what became of them. Counted since the process started.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Events the sink acknowledged, by route.
    pub delivered: BTreeMap<String, u64>,
    /// Events of the journal that an operator had sent again and the sink acknowledged, by route.
    pub replayed: BTreeMap<String, u64>,
    /// Events that a rule of their route skipped, by route and reason.
    pub skipped: BTreeMap<(String, String), u64>,
    /// Events that became dead letters, by route and category.
    pub dead: BTreeMap<(String, Category), u64>,
    /// Requests, by how they ended; none: acknowledged.
    pub attempts: BTreeMap<Option<Category>, u64>,
    /// Of those that failed, the answers, by what they meant and the status or the protocol's code.
    pub statuses: BTreeMap<(Category, u16), u64>,
    /// Commit to acknowledgement: one bucket a bound, and one above them.
    pub latency: [u64; LATENCY_BOUNDS_US.len() + 1],
    /// The sum of those latencies, in microseconds.
    pub latency_sum_us: u64,
    /// Sending to answer: one bucket a bound, and one above them.
    pub request: [u64; LATENCY_BOUNDS_US.len() + 1],
    /// The sum of those, in microseconds.
    pub request_sum_us: u64,
}

impl Counters {
    /// Returns all events that were delivered.
    #[must_use]
    pub fn delivered_total(&self) -> u64 {
        self.delivered.values().sum()
    }

    /// Returns all events that were skipped.
    #[must_use]
    pub fn skipped_total(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// Returns all events that became dead letters.
    #[must_use]
    pub fn dead_total(&self) -> u64 {
        self.dead.values().sum()
    }
}

/// Events are counted so often, while anything happens; see [`SinkProgress::audit`].
pub(super) const AUDIT_EVERY: Duration = Duration::from_secs(1);

/// A sink at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// How far it is, as it is to be stored.
    pub reached: Reached,
    /// How often events were taken back; see [`SinkProgress::is_current`].
    pub generation: u64,
    /// Rises from snapshot to snapshot; see [`SinkProgress::is_newest`].
    pub number: u64,
    /// The lowest position that is kept as a reference only: the journal must keep it.
    pub pinned_from: Option<Position>,
    /// The lowest position of what left its lane and is not done: retrying, or waiting behind
    /// another or for a person. Dead letters are not among it.
    pub waiting_from: Option<Position>,
    /// How it is.
    pub state: SinkState,
    /// Why, where there is more to say.
    pub reason: Option<String>,
    /// Since when; none where that was in an earlier run.
    pub since: Option<Timestamp>,
    /// It was let go: nothing is kept for it any more; see [`SinkProgress::detach`].
    pub detached: bool,
    /// Events that were read and are not done.
    pub undone: u64,
    /// Changes that came from the source and never came here, and events that are not done and
    /// that nobody has in hand: a fault where it is not 0.
    pub unaccounted: i64,
    /// When it is sent what has gathered; none: at once.
    pub next: Option<Timestamp>,
    /// Changes in the journal that wait for that.
    pub waiting: u64,
    /// Requests under way.
    pub in_flight: u32,
    /// Events that go on trying by themselves.
    pub retrying: u64,
    /// Events that wait behind another of their key.
    pub blocked: u64,
    /// Some of either will still be tried without a person.
    pub is_moving: bool,
    /// Events that wait because their route is held, by route; only where some do.
    pub held: BTreeMap<Arc<str>, u64>,
    /// So many wait outside their lanes that it reads nothing more, and it has nothing else in
    /// hand.
    pub is_choked: bool,
    /// Dead letters, those of earlier runs as well.
    pub dead: u64,
    /// When the newest event that was acknowledged committed.
    pub newest_done: Option<Timestamp>,
    /// What was counted.
    pub counters: Counters,
}

impl Snapshot {
    /// Whether nothing keeps everything below `target` from being done but routes that are held.
    #[must_use]
    pub fn is_held_back(&self, target: Position) -> bool {
        let has_come = self.reached.floor >= target || self.is_choked;
        has_come && !self.held.is_empty() && !self.is_moving && !self.detached
    }
}

/// What the pipeline sees of a sink while it is served. Cloned freely.
#[derive(Clone, Debug)]
pub struct SinkProgress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    /// What came from the source.
    decoded: Arc<Decoded>,
    inner: Mutex<Inner>,
    moved: Notify,
    generation: AtomicU64,
    /// The number of the last snapshot that was taken, and of the newest that was stored.
    taken: AtomicU64,
    stored: AtomicU64,
    /// All below is stored as done.
    settled: Mutex<Position>,
    detached: CancellationToken,
}

#[derive(Debug, Default)]
struct Inner {
    ledger: Ledger,
    recorder: Recorder,
    snapshot: Snapshot,
    /// Changes that came from the source and that it was not given, when that was last looked at.
    missing: i64,
    /// Why it was let go, if it was, and when, if in this run.
    detached: Option<(String, Option<Timestamp>)>,
}

impl SinkProgress {
    /// Starts where an earlier run stopped.
    #[must_use]
    pub fn new(name: &str, reached: &Reached, decoded: &Arc<Decoded>) -> Self {
        // Until what was set aside is read again, everything may be needed.
        let pinned_from = Some(Position::ZERO);
        let snapshot =
            Snapshot { pinned_from, since: Some(Timestamp::now()), ..Snapshot::default() };
        let ledger = Ledger::restore(reached);
        let inner = Inner { ledger, snapshot, ..Inner::default() };
        Self(Arc::new(Shared {
            name: name.to_owned(),
            decoded: Arc::clone(decoded),
            inner: Mutex::new(inner),
            moved: Notify::new(),
            generation: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            settled: Mutex::new(reached.floor),
            detached: CancellationToken::new(),
        }))
    }

    /// Returns the sink's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns how the sink is now. Costs a walk over what is not done: for a tick, not for a
    /// loop.
    ///
    /// What is stored of it must be taken before the journal is synced, and stored only while
    /// [`SinkProgress::is_current`] holds, checked inside the transaction that stores it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_of(&self.lock())
    }

    /// As [`SinkProgress::snapshot`], with what was delivered since the last call: the rows that
    /// belong to the very progress in the snapshot.
    #[must_use]
    pub fn take(&self) -> (Snapshot, Records) {
        let mut inner = self.lock();
        (self.snapshot_of(&inner), inner.recorder.take())
    }

    fn snapshot_of(&self, inner: &Inner) -> Snapshot {
        let mut snapshot = Snapshot {
            reached: inner.ledger.reached(),
            undone: inner.ledger.undone(),
            generation: self.0.generation.load(Ordering::Acquire),
            number: self.0.taken.fetch_add(1, Ordering::AcqRel) + 1,
            ..inner.snapshot.clone()
        };
        if let Some((reason, since)) = &inner.detached {
            snapshot.state = SinkState::Halted;
            snapshot.reason = Some(reason.clone());
            snapshot.since = *since;
            snapshot.detached = true;
            snapshot.pinned_from = None;
        }
        snapshot
    }

    /// Lets the sink go: it is halted, is sent nothing more, and nothing is kept for it. To be
    /// stored before. `since`: when that was, if it was in this run.
    pub fn detach(&self, reason: &str, since: Option<Timestamp>) {
        self.lock().detached = Some((reason.to_owned(), since));
        self.0.detached.cancel();
        self.notify();
    }

    /// Whether it was let go.
    #[must_use]
    pub fn is_detached(&self) -> bool {
        self.0.detached.is_cancelled()
    }

    /// Waits until it is let go.
    ///
    /// Cancel safety: safe.
    pub(super) async fn detached(&self) {
        self.0.detached.cancelled().await;
    }

    /// Returns the lowest position that is not known to be done.
    #[must_use]
    pub fn floor(&self) -> Position {
        self.lock().ledger.floor()
    }

    /// Whether nothing was taken back since the snapshot: one that is not current would store a
    /// position behind events that are no longer done.
    #[must_use]
    pub fn is_current(&self, snapshot: &Snapshot) -> bool {
        self.0.generation.load(Ordering::Acquire) == snapshot.generation
    }

    /// Whether no newer snapshot was stored: asked inside the transaction that stores this one, so
    /// that what is stored never goes back.
    #[must_use]
    pub fn is_newest(&self, snapshot: &Snapshot) -> bool {
        self.0.stored.fetch_max(snapshot.number, Ordering::AcqRel) <= snapshot.number
    }

    /// It is stored that everything below is done.
    pub fn settle(&self, floor: Position) {
        *self.0.settled.lock().unwrap_or_else(PoisonError::into_inner) = floor;
    }

    /// Returns the position below which everything is stored as done.
    pub(super) fn settled(&self) -> Position {
        *self.0.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something was acknowledged or the state changed since the last call.
    ///
    /// Cancel safety: safe; one waiter at a time.
    pub async fn moved(&self) {
        self.0.moved.notified().await;
    }

    /// Whether everything below `target` is done, nothing that was set aside will be tried again
    /// by itself, and nothing waits because its route is held.
    #[must_use]
    pub fn is_caught_up(&self, target: Position) -> bool {
        let inner = self.lock();
        let Snapshot { is_moving, held, .. } = &inner.snapshot;
        let waits = *is_moving || !held.is_empty() || inner.detached.is_some();
        inner.ledger.floor() >= target && !waits
    }

    pub(super) fn notify(&self) {
        self.0.moved.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves numbers, not broken invariants.
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the ledger, in stream order.
    pub(super) fn with_ledger<T>(&self, use_it: impl FnOnce(&mut Ledger) -> T) -> T {
        use_it(&mut self.lock().ledger)
    }

    /// The far side has these events: they are done, and how they went is kept.
    pub(super) fn acknowledge<E: Recorded>(
        &self,
        ordinals: &[Ordinal],
        delivered: &Delivered<'_, E>,
    ) {
        let mut inner = self.lock();
        ordinals.iter().for_each(|ordinal| inner.ledger.acknowledge(*ordinal));
        inner.recorder.add(delivered);
    }

    /// Returns what counts the changes that the sink takes in.
    pub(super) fn takes_from(&self, position: Position) -> Taken {
        self.0.decoded.begin(position)
    }

    /// Compares what came from the source with what the sink took in, and what of that is not done
    /// with the events that are in hand. Anything but 0 is a fault: a change that was not taken in
    /// and an event that nobody has in hand will never be done, and one that is there twice is
    /// sent twice. `read`: up to where everything was taken in, and how much that was; none in the
    /// midst of a chunk.
    pub(super) fn audit(
        &self,
        read: Option<(Position, &mut Taken)>,
        in_hand: impl Iterator<Item = Ordinal>,
    ) {
        let missing = read.and_then(|(end, taken)| self.0.decoded.missing(end, taken));
        let mut inner = self.lock();
        if let Some(missing) = missing {
            inner.missing = missing;
        }
        let unaccounted = inner.ledger.unaccounted(in_hand).saturating_add(inner.missing);
        let before = std::mem::replace(&mut inner.snapshot.unaccounted, unaccounted);
        drop(inner);
        if unaccounted != before {
            tracing::error!(
                sink = self.name(),
                unaccounted,
                "events are not accounted for: this is a fault of walgate. Nothing is confirmed \
                 behind them; a restart reads them again"
            );
        }
    }

    /// Changes what is shown.
    pub(super) fn with_snapshot<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) -> T {
        change(&mut self.lock().snapshot)
    }

    /// Takes events back. Returns what is to be stored in the same transaction.
    pub(super) fn reopen(&self, events: &[Reopened]) -> Reached {
        let mut inner = self.lock();
        self.0.generation.fetch_add(1, Ordering::AcqRel);
        for event in events.iter().filter(|event| !event.is_beside) {
            inner.ledger.reopen(event.ordinal, event.id.position);
        }
        inner.ledger.reached()
    }
}

/// Returns the histogram bucket of a duration.
pub(super) fn bucket(time: Duration) -> usize {
    let time_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    LATENCY_BOUNDS_US.partition_point(|bound| *bound < time_us)
}
