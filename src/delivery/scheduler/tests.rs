use super::super::dead_letter::Stored;
use super::super::ramp::Sign;
use super::super::settings::OnDead;
use super::*;
use crate::chunk::{Chunk, Entry, Transaction};
use crate::envelope::{Envelope, RouteLabel};
use crate::lsn::{Lsn, Timestamp};
use crate::sink::Answer;
use bytes::Bytes;

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
        let chunk = Chunk {
            timeline: 1,
            frames: Bytes::new(),
            transactions: vec![Transaction {
                commit_lsn: Lsn(1),
                end_lsn: None,
                xid: None,
                commit_time: Some(Timestamp(0)),
            }],
            relations: Vec::new(),
            entries: vec![Entry {
                offset: 0,
                length: 0,
                transaction: 0,
                relation: None,
                seq: 0,
                operation: Operation::Insert,
            }],
        };
        Self {
            scheduler: Scheduler::new(&settings),
            now: Duration::ZERO,
            ordinal: 0,
            effects: Vec::new(),
            route: Arc::new(RouteLabel { name: "r".to_owned(), mapping: None }),
            chunk: Arc::new(chunk),
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
        let at = self.scheduler.wake_at(self.now).expect("a timer");
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

const DEAD: LetterState = LetterState::Dead;
const RETRYING: LetterState = LetterState::Retrying;
const BLOCKED: LetterState = LetterState::Blocked;

#[test]
fn a_batch_takes_what_has_arrived_up_to_the_limits() {
    let mut bench = Bench::new(|s| s.batch.max_events = 3);
    bench.push(&[1, 2]);
    let sent = bench.sends(&[&[0, 1]]);
    bench.push(&[3, 4, 5, 6]);
    bench.waits();
    bench.answer(&sent[0], Answer::Acknowledged);
    bench.ok(&[2, 3, 4]);
    bench.ok(&[5]);
}

#[test]
fn a_batch_ends_at_max_bytes_but_one_event_always_goes() {
    let mut bench = Bench::new(|s| (s.batch.max_events, s.batch.max_bytes) = (9, 25));
    bench.push(&[1, 2, 3]);
    bench.ok(&[0, 1]);
    let mut bench = Bench::new(|s| (s.batch.max_events, s.batch.max_bytes) = (9, 5));
    bench.push(&[1, 2]);
    bench.ok(&[0]);
}

#[test]
fn max_wait_fills_a_batch() {
    let mut bench = Bench::new(|s| {
        s.batch.max_events = 3;
        s.batch.max_wait = seconds(2);
    });
    bench.push(&[1]);
    bench.waits();
    bench.wake();
    assert_eq!(bench.now, seconds(2));
    bench.ok(&[0]);
    bench.push(&[1, 2, 3]);
    bench.ok(&[1, 2, 3]);
}

#[test]
fn lanes_send_at_the_same_time_but_one_key_never_twice() {
    let mut bench = Bench::new(|s| s.concurrency = 2);
    bench.push(&[0, 0, 1, 1]);
    let sent = bench.sends(&[&[0], &[2]]);
    bench.answer(&sent[1], Answer::Acknowledged);
    let more = bench.sends(&[&[3]]);
    bench.answer(&more[0], Answer::Acknowledged);
    bench.waits();
    bench.answer(&sent[0], Answer::Acknowledged);
    bench.ok(&[1]);
}

#[test]
fn a_transient_failure_is_tried_again_after_the_backoff_before_its_followers() {
    let mut bench = Bench::new(|_| {});
    bench.push(&[1, 1]);
    bench.fails(&[0]);
    bench.waits();
    bench.wake();
    assert_eq!(bench.now, seconds(1));
    bench.fails(&[0]);
    bench.waits();
    bench.wake();
    assert_eq!(bench.now, seconds(3));
    bench.ok(&[0]);
    bench.ok(&[1]);
}

#[test]
fn throttling_waits_as_told_and_uses_up_no_attempt() {
    let mut bench = Bench::new(|s| s.breaker.failures = 1);
    bench.push(&[1]);
    for _ in 0..20 {
        let told = Failure { retry_after: Some(seconds(7)), ..failure(Category::Throttled) };
        bench.turn(&[0], Answer::Failed(told));
        bench.waits();
        let before = bench.now;
        bench.wake();
        assert_eq!(bench.now - before, seconds(7));
    }
    assert_eq!(bench.state(), BreakerState::Closed);
    bench.ok(&[0]);
}

#[test]
fn a_rejected_event_becomes_a_dead_letter_at_once_and_the_rest_goes_on() {
    let mut bench = Bench::new(|_| {});
    bench.push(&[1, 1, 2]);
    bench.refused(&[0]);
    assert_eq!(bench.stored(), [(0, DEAD)]);
    bench.ok(&[1]);
    bench.ok(&[2]);
}

#[test]
fn a_rejected_batch_is_halved_until_the_bad_event_stands_alone() {
    let mut bench = Bench::new(|s| s.batch.max_events = 4);
    bench.push(&[1, 2, 3, 4]);
    bench.refused(&[0, 1, 2, 3]);
    bench.ok(&[0, 1]);
    bench.refused(&[2, 3]);
    bench.refused(&[2]);
    bench.ok(&[3]);
    assert_eq!(bench.stored(), [(2, DEAD)]);
}

#[test]
fn halving_has_a_budget_and_goes_singly_past_it() {
    let mut bench = Bench::new(|s| s.batch.max_events = 64);
    bench.push(&(0..640).collect::<Vec<_>>());
    let (mut requests, mut accepted) = (0, 0);
    while let Some(dispatch) = bench.next() {
        requests += 1;
        let bad = ordinals(&dispatch).iter().any(|ordinal| ordinal % 8 == 0);
        accepted += u32::from(!bad);
        let answer = if bad { failed(Category::Rejected) } else { Answer::Acknowledged };
        bench.answer(&dispatch, answer);
    }
    assert_eq!(bench.stored().len(), 80);
    assert!(accepted > 0 && requests < 10 * 64 + 2 * 64, "{requests} requests");
}

#[test]
fn a_failing_event_leaves_the_lane_once_an_event_of_another_key_is_accepted() {
    let mut bench = Bench::new(|_| {});
    bench.push(&[1, 1, 2, 1, 3]);
    bench.fails(&[0]);
    bench.wake();
    bench.fails(&[0]);
    bench.ok(&[2]);
    assert_eq!(bench.stored(), [(0, RETRYING), (1, BLOCKED), (3, BLOCKED)]);
    bench.ok(&[4]);
    bench.push(&[1, 5]);
    assert_eq!(bench.stored(), [(5, BLOCKED)]);
    bench.ok(&[6]);
    bench.wake();
    bench.ok(&[0]);
    assert!(bench.stored().is_empty());
    for ordinal in [1, 3, 5] {
        bench.ok(&[ordinal]);
        bench.stored();
    }
    bench.push(&[1]);
    bench.ok(&[7]);
    assert_eq!(bench.scheduler.parked_counts(), (0, 0));
}

#[test]
fn when_the_probe_fails_too_the_sink_is_down_and_nothing_is_set_aside() {
    let mut bench = Bench::new(|_| {});
    bench.push(&[1, 2, 3]);
    bench.fails(&[0]);
    bench.wake();
    bench.fails(&[0]);
    bench.fails(&[1]);
    assert_eq!(bench.state(), BreakerState::Open);
    bench.waits();
    for _ in 0..20 {
        bench.wake();
        let probe = bench.next().expect("a probe");
        bench.waits();
        bench.answer(&probe, failed(Category::Transient));
        assert_eq!(bench.state(), BreakerState::Open);
    }
    assert!(bench.stored().is_empty());
    bench.wake();
    let probe = bench.next().expect("a probe");
    bench.answer(&probe, Answer::Acknowledged);
    assert_eq!(bench.state(), BreakerState::Closed);
}

#[test]
fn the_half_open_probe_is_of_another_key_than_the_one_that_failed() {
    let mut bench = Bench::new(|s| s.breaker.failures = 1);
    bench.push(&[1, 1, 2]);
    bench.fails(&[0]);
    assert_eq!(bench.state(), BreakerState::Open);
    bench.wake();
    bench.ok(&[2]);
    bench.ok(&[0]);
    bench.ok(&[1]);
}

#[test]
fn without_another_key_it_waits_and_is_tried_again() {
    let mut bench = Bench::new(|s| s.breaker.failures = 100);
    bench.push(&[1, 1]);
    for _ in 0..30 {
        bench.fails(&[0]);
        bench.wake();
    }
    assert!(bench.stored().is_empty());
    bench.ok(&[0]);
    bench.ok(&[1]);
}

#[test]
fn a_failing_event_in_a_batch_is_found_by_halving() {
    let mut bench = Bench::new(|s| s.batch.max_events = 4);
    bench.push(&[1, 2, 3, 4]);
    let first = bench.next().unwrap();
    bench.push(&[5, 6, 7, 8, 9, 10, 11, 12]);
    bench.answer(&first, failed(Category::Transient));
    let mut order = Vec::new();
    for _ in 0..60 {
        let Some(dispatch) = bench.next() else {
            bench.stored();
            if bench.scheduler.wake_at(bench.now).is_some_and(|at| at > bench.now) {
                bench.wake();
            }
            continue;
        };
        let sent = ordinals(&dispatch);
        let poison = sent.contains(&1);
        order.push(sent);
        bench.answer(
            &dispatch,
            if poison { failed(Category::Transient) } else { Answer::Acknowledged },
        );
    }
    assert_eq!(bench.scheduler.parked_counts().0 + bench.scheduler.dead, 1, "{order:?}");
    assert_eq!(bench.scheduler.holds().0, 0);
}

#[test]
fn a_retrying_event_is_given_up_after_max_attempts_and_its_followers_go_on() {
    let mut bench = Bench::new(|s| s.retry.max_attempts = 4);
    bench.push(&[1, 1, 2]);
    bench.fails(&[0]);
    bench.wake();
    bench.fails(&[0]);
    bench.ok(&[2]);
    bench.stored();
    for _ in 0..2 {
        bench.wake();
        bench.fails(&[0]);
    }
    assert_eq!(bench.stored(), [(0, DEAD)]);
    bench.ok(&[1]);
}

#[test]
fn with_block_the_followers_of_a_dead_event_stay() {
    let mut bench = Bench::new(|s| s.on_dead = OnDead::Block);
    bench.push(&[1, 1, 2]);
    bench.refused(&[0]);
    assert_eq!(bench.stored(), [(0, DEAD), (1, BLOCKED)]);
    bench.ok(&[2]);
    bench.push(&[1]);
    assert_eq!(bench.stored(), [(3, BLOCKED)]);
    bench.waits();
}

#[test]
fn attempts_are_not_counted_while_the_sink_is_down() {
    let mut bench = Bench::new(|s| s.retry.max_attempts = 3);
    bench.push(&[1, 2]);
    bench.fails(&[0]);
    bench.wake();
    bench.fails(&[0]);
    bench.ok(&[1]);
    bench.stored();
    bench.push(&[3, 4, 5, 6, 7]);
    for ordinal in 2..3 {
        for _ in 0..1 {
            bench.fails(&[ordinal]);
        }
    }
    for _ in 0..40 {
        if let Some(dispatch) = bench.next() {
            let unreachable = Failure { status: None, ..failure(Category::Transient) };
            bench.answer(&dispatch, Answer::Failed(unreachable));
        } else {
            bench.wake();
        }
    }
    assert!(bench.stored().is_empty());
}

#[test]
fn a_setup_answer_halts_the_sink_and_it_goes_on_by_itself_when_mended() {
    let mut bench = Bench::new(|s| s.concurrency = 2);
    bench.push(&[0, 1, 2, 3]);
    let sent = bench.sends(&[&[0], &[1]]);
    bench.answer(&sent[0], failed(Category::Setup));
    bench.answer(&sent[1], failed(Category::Setup));
    assert_eq!(bench.state(), BreakerState::Halted);
    for _ in 0..5 {
        bench.waits();
        bench.wake();
        let probe = bench.next().expect("a probe");
        bench.answer(&probe, failed(Category::Setup));
        assert_eq!(bench.state(), BreakerState::Halted);
    }
    assert!(bench.stored().is_empty());
    bench.wake();
    let probe = bench.next().expect("a probe");
    bench.answer(&probe, Answer::Acknowledged);
    assert_eq!(bench.state(), BreakerState::Closed);
    let mut left = Vec::new();
    while let Some(dispatch) = bench.next() {
        left.extend(ordinals(&dispatch));
        bench.answer(&dispatch, Answer::Acknowledged);
    }
    assert_eq!(left.len(), 3);
}

#[test]
fn a_hundred_rejections_without_one_acceptance_halt_the_sink_and_return_to_their_lanes() {
    let mut bench = Bench::new(|s| s.concurrency = 2);
    bench.push(&(0..150).collect::<Vec<_>>());
    while let Some(dispatch) = bench.next() {
        bench.answer(&dispatch, failed(Category::Rejected));
    }
    assert!(matches!(bench.scheduler.breaker().1, Some(HaltReason::Misconfigured(_))));
    let reopened = bench.effects.iter().find_map(|effect| match effect {
        Effect::Reopen { events } => Some(events.len()),
        _ => None,
    });
    assert_eq!(reopened, Some(100));
    assert_eq!(bench.scheduler.dead, 0);
    assert_eq!(bench.scheduler.holds().0, 150);
    bench.wake();
    let probe = bench.next().expect("a probe");
    bench.answer(&probe, failed(Category::Rejected));
    assert_eq!(bench.state(), BreakerState::Halted);
    assert_eq!(bench.scheduler.holds().0, 150);
    bench.wake();
    let probe = bench.next().expect("a probe");
    bench.answer(&probe, Answer::Acknowledged);
    let mut left = 1;
    while let Some(dispatch) = bench.next() {
        left += ordinals(&dispatch).len();
        bench.answer(&dispatch, Answer::Acknowledged);
    }
    assert_eq!(left, 150);
}

#[test]
fn one_acceptance_among_the_rejections_shows_that_the_setup_is_right() {
    let mut bench = Bench::new(|_| {});
    bench.push(&(0..300).collect::<Vec<_>>());
    while let Some(dispatch) = bench.next() {
        let good = ordinals(&dispatch)[0] % 90 == 89;
        let answer = if good { Answer::Acknowledged } else { failed(Category::Rejected) };
        bench.answer(&dispatch, answer);
    }
    assert_eq!(bench.state(), BreakerState::Closed);
    assert_eq!(bench.stored().len(), 297);
}

#[test]
fn more_dead_letters_than_allowed_halt_the_sink_until_there_are_fewer() {
    let mut bench = Bench::new(|s| s.max_dead = 2);
    bench.push(&[1, 2, 3, 4]);
    for ordinal in 0..3 {
        bench.refused(&[ordinal]);
    }
    assert_eq!(bench.scheduler.breaker().1, Some(&HaltReason::TooManyDead));
    bench.pass(seconds(1000));
    bench.waits();
    bench.scheduler.set_dead(1, bench.now);
    bench.ok(&[3]);
}

#[test]
fn answers_per_event_part_a_batch() {
    let mut bench = Bench::new(|s| s.batch.max_events = 4);
    bench.push(&[1, 2, 3, 4]);
    let outcomes =
        vec![Ok(()), Err(failure(Category::Rejected)), Err(failure(Category::Transient)), Ok(())];
    bench.turn(&[0, 1, 2, 3], Answer::PerEvent(outcomes));
    assert_eq!(bench.stored()[0], (1, DEAD));
    let mut sent = Vec::new();
    for _ in 0..5 {
        match bench.next() {
            Some(dispatch) => {
                sent.extend(ordinals(&dispatch));
                bench.answer(&dispatch, Answer::Acknowledged);
            }
            None => bench.pass(seconds(400)),
        }
        bench.stored();
    }
    assert_eq!(sent, [2]);
}

#[test]
fn a_rekeyed_event_waits_for_both_keys_and_both_wait_for_it() {
    let mut bench = Bench::new(|s| s.concurrency = 2);
    bench.push(&[0, 1]);
    bench.push_rekeyed(1, 0);
    bench.push(&[0, 1]);
    let sent = bench.sends(&[&[0], &[1]]);
    bench.answer(&sent[0], Answer::Acknowledged);
    bench.waits();
    bench.answer(&sent[1], Answer::Acknowledged);
    let sent = bench.sends(&[&[2]]);
    bench.answer(&sent[0], Answer::Acknowledged);
    let mut left: Vec<_> =
        std::iter::from_fn(|| bench.next()).flat_map(|dispatch| ordinals(&dispatch)).collect();
    left.sort_unstable();
    assert_eq!(left, [3, 4]);
}

#[test]
fn what_follows_a_set_aside_rekeyed_event_on_either_key_waits_behind_it() {
    let mut bench = Bench::new(|s| s.concurrency = 2);
    bench.push_rekeyed(1, 0);
    bench.push(&[0, 1, 2]);
    bench.fails(&[0]);
    bench.wake();
    bench.fails(&[0]);
    bench.ok(&[3]);
    assert_eq!(bench.stored(), [(0, RETRYING), (1, BLOCKED), (2, BLOCKED)]);
    bench.wake();
    bench.ok(&[0]);
    bench.stored();
    bench.sends(&[&[1]]);
}

#[test]
fn a_rekeyed_event_holds_its_old_key_while_another_one_of_that_key_is_set_aside() {
    let mut bench = Bench::new(|s| (s.concurrency, s.on_dead) = (3, OnDead::Block));
    bench.push_rekeyed(4, 2);
    bench.push(&[5, 4, 0]);
    bench.push_rekeyed(4, 5);
    let sent = bench.sends(&[&[0], &[3]]);
    bench.answer(&sent[0], failed(Category::Transient));
    bench.warm();
    bench.wake();
    bench.fails(&[0]);
    bench.warm();
    // The probe of another key: it is refused, and takes what is behind it with it.
    bench.refused(&[1]);
    assert_eq!(bench.stored(), [(1, DEAD), (4, BLOCKED)]);
    bench.waits();
}

#[test]
fn truncate_waits_for_everything_before_it_and_everything_after_waits_for_it() {
    let mut bench = Bench::new(|s| s.concurrency = 2);
    bench.push(&[0, 1]);
    bench.push_truncate();
    bench.push(&[0, 1]);
    let sent = bench.sends(&[&[0], &[1]]);
    bench.answer(&sent[0], Answer::Acknowledged);
    bench.waits();
    bench.answer(&sent[1], Answer::Acknowledged);
    let sent = bench.sends(&[&[2]]);
    bench.waits();
    bench.answer(&sent[0], Answer::Acknowledged);
    bench.sends(&[&[3], &[4]]);
}

#[test]
fn what_comes_while_a_truncate_is_under_way_waits_for_it() {
    let mut bench = Bench::new(|s| s.concurrency = 2);
    bench.push_truncate();
    bench.push(&[0, 1]);
    let sent = bench.sends(&[&[0]]);
    bench.push(&[2]);
    bench.waits();
    bench.answer(&sent[0], Answer::Acknowledged);
    bench.sends(&[&[1], &[2]]);
}

#[test]
fn truncate_waits_for_what_waits_behind_an_event_that_is_given_up() {
    let mut bench = Bench::new(|s| s.retry.max_attempts = 3);
    bench.push(&[1, 2, 1]);
    bench.push_truncate();
    bench.fails(&[0]);
    bench.wake();
    bench.fails(&[0]);
    bench.ok(&[1]);
    assert_eq!(bench.stored(), [(0, RETRYING), (2, BLOCKED)]);
    bench.wake();
    bench.fails(&[0]);
    assert_eq!(bench.stored(), [(0, DEAD)]);
    bench.ok(&[2]);
    bench.stored();
    bench.ok(&[3]);
}

#[test]
fn the_rate_limit_holds_and_batches_grow_while_it_does() {
    let mut bench = Bench::new(|s| {
        s.batch.max_events = 10;
        s.rate_limit.requests = Some(super::super::settings::Rate { amount: 2, per: seconds(1) });
    });
    bench.push(&[1]);
    bench.ok(&[0]);
    bench.push(&[1]);
    bench.waits();
    bench.push(&[2, 3]);
    bench.wake();
    bench.ok(&[1, 2, 3]);
    assert!(bench.now >= Duration::from_millis(500));
}

#[test]
fn what_an_earlier_run_set_aside_goes_on() {
    let mut bench = Bench::new(|_| {});
    let first = bench.event(1, None, Operation::Update);
    let second = bench.event(1, None, Operation::Update);
    for (event, state) in [(&first, RETRYING), (&second, BLOCKED)] {
        let id = event.envelope.id;
        let keys = [Some(1), None];
        let route = String::new();
        let stored = Stored {
            row: 0,
            id,
            keys,
            state,
            attempts: 3,
            is_truncate: false,
            route,
            replays: 0,
            forced: false,
        };
        bench.scheduler.restore(&stored, Position::ZERO);
    }
    bench.scheduler.push(second, bench.now, &mut bench.effects);
    assert!(matches!(bench.effects[..], [Effect::Safe { ordinal: 1 }]));
    bench.effects.clear();
    bench.push(&[1]);
    assert_eq!(bench.stored(), [(2, BLOCKED)]);
    // Something older of the same key might still come.
    bench.waits();
    bench.scheduler.passed(Position::new(Lsn(3), 0), bench.now);
    bench.ok(&[0]);
    bench.stored();
    bench.ok(&[1]);
    bench.stored();
    bench.ok(&[2]);
}
