//! The scheduler, step by step.

use super::super::dead_letter::Stored;
use super::super::ramp::Sign;
use super::super::settings::OnDead;
use super::*;
use crate::chunk::{Chunk, Transaction};
use crate::envelope::{Envelope, RouteLabel};
use crate::failure::Category;
use crate::lsn::Lsn;
use crate::sink::Answer;
use bytes::Bytes;

mod corners;
mod flow;
mod isolation;
mod keys;
mod operator;
mod outcomes;
mod truncate;

/// A scheduler, its clock, and what came out of it.
pub(super) struct Bench {
    pub(super) scheduler: Scheduler,
    pub(super) now: Duration,
    pub(super) ordinal: u64,
    pub(super) effects: Vec<Effect>,
    route: Arc<RouteLabel>,
    chunk: Arc<Chunk>,
}

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn failure(category: Category) -> Failure {
    Failure { status: Some(500), ..Failure::new(category, format!("answered {category}")) }
}

pub(super) fn failed(category: Category) -> Answer {
    Answer::Failed(failure(category))
}

impl Bench {
    /// One that has found out already that the sink bears all its concurrency.
    pub(super) fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let mut bench = Self::cold(change);
        bench.warm();
        bench
    }

    /// Lets as many requests go at a time as there are lanes.
    pub(super) fn warm(&mut self) {
        let ramp = &mut self.scheduler.ramp;
        (0..100).for_each(|_| ramp.heard(Sign::Accepted, 0, 0));
    }

    pub(super) fn cold(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.batch.max_events = 1;
        change(&mut settings);
        let transaction =
            Transaction { commit_lsn: Lsn(1), end_lsn: None, xid: None, commit_time: None };
        let chunk = Chunk::of_one(1, transaction, None, 0, Operation::Insert, Bytes::new());
        Self {
            scheduler: Scheduler::new(&settings),
            now: Duration::ZERO,
            ordinal: 0,
            effects: Vec::new(),
            route: Arc::new(RouteLabel { name: "r".to_owned(), mapping: None }),
            chunk: Arc::new(chunk.unwrap()),
        }
    }

    pub(super) fn event(&mut self, key: u64, before: Option<u64>, operation: Operation) -> Tracked {
        let ordinal = self.ordinal;
        self.ordinal += 1;
        let position = Position::new(Lsn(ordinal + 1), 0);
        let envelope = Envelope {
            id: EventId { timeline: 1, position },
            operation,
            body: Bytes::from_static(b"0123456789"),
            key: Bytes::new(),
            key_hash: key,
            before_key_hash: before,
            before_key: None,
            outbox: None,
            commit_time: None,
            route: Arc::clone(&self.route),
            chunk: Arc::clone(&self.chunk),
            entry: 0,
        };
        Tracked::new(ordinal, envelope)
    }

    /// Pushes an event of each key; ordinals rise from 0.
    pub(super) fn push(&mut self, keys: &[u64]) {
        for key in keys {
            let event = self.event(*key, None, Operation::Update);
            self.scheduler.push(event, self.now, &mut self.effects);
        }
    }

    pub(super) fn push_rekeyed(&mut self, before: u64, key: u64) {
        let event = self.event(key, Some(before), Operation::Update);
        self.scheduler.push(event, self.now, &mut self.effects);
    }

    pub(super) fn push_truncate(&mut self) {
        let event = self.event(0, None, Operation::Truncate);
        self.scheduler.push(event, self.now, &mut self.effects);
    }

    pub(super) fn next(&mut self) -> Option<Dispatch> {
        self.scheduler.next(self.now)
    }

    /// Sends what may go and returns the ordinals of each request (LSN minus one is the ordinal).
    #[track_caller]
    pub(super) fn sends(&mut self, expected: &[&[u64]]) -> Vec<Dispatch> {
        let sent: Vec<Dispatch> = std::iter::from_fn(|| self.next()).collect();
        let found: Vec<Vec<u64>> = sent.iter().map(ordinals).collect();
        assert_eq!(found, expected);
        sent
    }

    pub(super) fn answer(&mut self, dispatch: &Dispatch, answer: Answer) {
        self.scheduler.answered(dispatch.id, answer, self.now, 1.0, &mut self.effects);
    }

    /// Sends the one request that may go, which must hold these ordinals, and answers it.
    #[track_caller]
    pub(super) fn turn(&mut self, expected: &[u64], answer: Answer) {
        let dispatch = self.next().expect("a request");
        assert_eq!(ordinals(&dispatch), expected);
        self.answer(&dispatch, answer);
    }

    #[track_caller]
    pub(super) fn ok(&mut self, expected: &[u64]) {
        self.turn(expected, Answer::Acknowledged);
    }

    #[track_caller]
    pub(super) fn fails(&mut self, expected: &[u64]) {
        self.turn(expected, failed(Category::Transient));
    }

    #[track_caller]
    pub(super) fn refused(&mut self, expected: &[u64]) {
        self.turn(expected, failed(Category::Rejected));
    }

    #[track_caller]
    pub(super) fn waits(&mut self) {
        let dispatch = self.next();
        assert!(dispatch.is_none(), "{:?}", dispatch.map(|d| ordinals(&d)));
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Waits until the scheduler asks to be woken.
    #[track_caller]
    pub(super) fn wake(&mut self) {
        self.waits();
        let at = self.scheduler.wake_at().expect("a timer");
        assert!(at > self.now, "woken at once");
        self.now = at;
    }

    pub(super) fn state(&self) -> BreakerState {
        self.scheduler.breaker().0
    }

    /// What was set aside or parked, as `(ordinal, state)`; stores it.
    pub(super) fn stored(&mut self) -> Vec<(u64, LetterState)> {
        let mut stored = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            let (event, state) = match effect {
                Effect::SetAside { event, state, .. } => (event, state),
                Effect::Park { event } => (event, LetterState::Blocked),
                Effect::Accepted { id, .. } => {
                    self.scheduler.resolved(id, self.now, &mut self.effects);
                    continue;
                }
                Effect::Tried { id, state, .. } if state == LetterState::Dead => {
                    stored.push((id.position.commit_lsn.0 - 1, state));
                    continue;
                }
                _ => continue,
            };
            self.scheduler.stored(event.envelope.id, self.now);
            stored.push((event.ordinal, state));
        }
        stored
    }
}

pub(super) fn ordinals(dispatch: &Dispatch) -> Vec<u64> {
    match &dispatch.what {
        What::Batch(batch) => {
            batch.events.iter().map(|event| event.id.position.commit_lsn.0 - 1).collect()
        }
        What::Stored(id) => vec![id.position.commit_lsn.0 - 1],
    }
}

/// What an earlier run set aside: the event that has this ordinal, of one key.
pub(super) fn letter(ordinal: u64, key: u64, state: LetterState) -> Stored {
    Stored {
        row: 0,
        id: id(ordinal),
        keys: [Some(key), None],
        state,
        attempts: 0,
        is_truncate: false,
        is_discarded: false,
        route: String::new(),
        replays: u32::from(state == LetterState::Replaying),
        forced: false,
    }
}

/// A key of another table than that of the small ones.
const fn other(key: u64) -> u64 {
    TableTag::of(1 << 48).mark(key)
}

fn id(ordinal: u64) -> EventId {
    EventId { timeline: 1, position: Position::new(Lsn(ordinal + 1), 0) }
}

const DEAD: LetterState = LetterState::Dead;
const RETRYING: LetterState = LetterState::Retrying;
const BLOCKED: LetterState = LetterState::Blocked;
