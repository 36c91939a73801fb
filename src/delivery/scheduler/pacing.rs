//! How fast a sink is met: the ramp of its concurrency.

use super::super::dead_letter::Stored;
use super::super::settings::Rate;
use super::tests::{Bench, failed, failure, letter, ordinals, seconds};
use super::*;
use crate::failure::Category;
use crate::lsn::Lsn;
use crate::sink::Answer;

/// Sends all that may go and answers it, each by its first event; returns how many that were.
fn round(bench: &mut Bench, answer: impl Fn(u64) -> Answer) -> usize {
    let sent: Vec<Dispatch> = std::iter::from_fn(|| bench.next()).collect();
    for dispatch in &sent {
        let first = ordinals(dispatch)[0];
        bench.answer(dispatch, answer(first));
    }
    sent.len()
}

fn all_keys(bench: &mut Bench, rounds: u64) {
    (0..rounds).for_each(|_| bench.push(&(0..32).collect::<Vec<_>>()));
}

fn wide() -> Bench {
    let mut bench = Bench::cold(|s| s.concurrency = 32);
    all_keys(&mut bench, 40);
    bench
}

#[test]
fn a_sink_is_met_with_one_request_and_then_with_twice_as_many_each_round() {
    let mut bench = wide();
    let rounds: Vec<usize> = (0..7).map(|_| round(&mut bench, |_| Answer::Acknowledged)).collect();
    assert_eq!(rounds, [1, 2, 4, 8, 16, 32, 32]);
}

#[test]
fn after_an_outage_it_is_met_so_again() {
    let mut bench = wide();
    while round(&mut bench, |_| Answer::Acknowledged) < 32 {}
    assert_eq!(round(&mut bench, |_| failed(Category::Transient)), 32);
    assert_eq!(bench.state(), BreakerState::Open);
    bench.wake();
    // The probe fails, and one later is accepted.
    assert_eq!(round(&mut bench, |_| failed(Category::Transient)), 1);
    bench.wake();
    let rounds: Vec<usize> = (0..5).map(|_| round(&mut bench, |_| Answer::Acknowledged)).collect();
    assert_eq!(rounds, [1, 2, 4, 8, 16]);
}

#[test]
fn after_a_halt_it_is_met_so_again() {
    let mut bench = wide();
    while round(&mut bench, |_| Answer::Acknowledged) < 32 {}
    round(&mut bench, |_| failed(Category::Setup));
    bench.wake();
    let rounds: Vec<usize> = (0..3).map(|_| round(&mut bench, |_| Answer::Acknowledged)).collect();
    assert_eq!(rounds, [1, 2, 4]);
}

#[test]
fn an_outage_that_leaves_requests_hanging_does_not_hold_up_the_probe() {
    let mut bench = Bench::new(|s| (s.concurrency, s.breaker.failures) = (4, 2));
    bench.push(&[0, 1, 2, 3]);
    let sent = bench.sends(&[&[0], &[1], &[2], &[3]]);
    bench.answer(&sent[0], failed(Category::Transient));
    bench.answer(&sent[1], failed(Category::Transient));
    assert_eq!(bench.state(), BreakerState::Open);
    bench.wake();
    assert_eq!(round(&mut bench, |_| Answer::Acknowledged), 1);
    assert_eq!(bench.state(), BreakerState::Closed);
}

#[test]
fn a_sink_that_throttles_gets_half_as_many_at_a_time() {
    let mut bench = wide();
    while round(&mut bench, |_| Answer::Acknowledged) < 32 {}
    let told = Failure { retry_after: Some(seconds(1)), ..failure(Category::Throttled) };
    let sent: Vec<Dispatch> = std::iter::from_fn(|| bench.next()).collect();
    sent.iter().for_each(|dispatch| bench.answer(dispatch, Answer::Failed(told.clone())));
    bench.wake();
    let rounds: Vec<usize> = (0..3).map(|_| round(&mut bench, |_| Answer::Acknowledged)).collect();
    assert_eq!(rounds, [16, 17, 18]);
}

#[test]
fn one_event_that_keeps_failing_among_others_does_not_keep_the_load_down() {
    let mut bench = wide();
    while round(&mut bench, |_| Answer::Acknowledged) < 32 {}
    bench.push(&[5]);
    let bad = bench.ordinal - 1;
    all_keys(&mut bench, 80);
    let mut widest = Vec::new();
    for _ in 0..80 {
        let answer = |first| {
            if first == bad { failed(Category::Transient) } else { Answer::Acknowledged }
        };
        widest.push(round(&mut bench, answer));
        bench.stored();
        bench.pass(seconds(1));
    }
    assert!(
        bench
            .scheduler
            .is_parked(EventId { timeline: 1, position: Position::new(Lsn(bad + 1), 0) })
    );
    assert_eq!(bench.scheduler.ramp.limit(), 32, "{widest:?}");
}

#[test]
fn what_another_sink_of_the_host_was_told_is_believed_as_far_as_what_it_is_told_itself() {
    let mut bench = Bench::new(|s| s.retry.retry_after_max = seconds(60));
    bench.push(&[1, 2]);
    bench.scheduler.told_to_wait(seconds(20), bench.now);
    bench.wake();
    assert_eq!(bench.now, seconds(20));
    bench.scheduler.told_to_wait(seconds(9000), bench.now);
    // One that has passed takes nothing back.
    bench.scheduler.told_to_wait(seconds(10), bench.now);
    bench.wake();
    assert_eq!(bench.now, seconds(80));
    bench.ok(&[0]);
    let told = Failure { retry_after: Some(seconds(9000)), ..failure(Category::Throttled) };
    bench.effects.clear();
    bench.turn(&[1], Answer::Failed(told));
    let waits: Vec<Duration> = bench.effects.iter().filter_map(wait).collect();
    assert_eq!(waits, [seconds(9080)], "the others are told all of it");
    bench.wake();
    assert_eq!(bench.now, seconds(140));
}

fn wait(effect: &Effect) -> Option<Duration> {
    match effect {
        Effect::Wait { until } => Some(*until),
        _ => None,
    }
}

#[test]
fn a_limit_that_is_used_up_is_waited_for_and_uses_up_no_attempt() {
    let mut bench = Bench::new(|s| s.retry.retry_after_max = seconds(60));
    bench.push(&[1, 2, 3]);
    bench.ok(&[0]);
    bench.effects.clear();
    bench.scheduler.pause(seconds(5), bench.now, &mut bench.effects);
    assert_eq!(bench.effects.iter().filter_map(wait).collect::<Vec<_>>(), [seconds(5)]);
    bench.wake();
    assert_eq!(bench.now, seconds(5));
    bench.ok(&[1]);
    bench.scheduler.pause(seconds(100_000), bench.now, &mut bench.effects);
    bench.wake();
    assert_eq!(bench.now, seconds(65));
    assert!(bench.scheduler.failing().is_none());
    bench.ok(&[2]);
}

#[test]
fn thousands_that_keep_failing_leave_a_rate_limit_to_the_others() {
    let per_second = Rate { amount: 50, per: seconds(1) };
    let mut bench = Bench::new(|s| {
        s.rate_limit.requests = Some(per_second);
        s.concurrency = 8;
        (s.retry.max, s.retry.max_attempts) = (seconds(1), u32::MAX);
    });
    let position = |n: u64| Position::new(Lsn(n), 0);
    for n in 1..=5000 {
        let stored = letter(n - 1, 1_000_000 + n, LetterState::Retrying);
        let stored = Stored { attempts: 2, ..stored };
        bench.scheduler.restore(&stored, position(10_000));
    }
    bench.ordinal = 10_000;
    bench.scheduler.passed(position(10_000), bench.now);
    let (mut retries, mut accepted) = (0, 0);
    while bench.now < seconds(60) {
        bench.push(&(0..8).collect::<Vec<_>>());
        while let Some(dispatch) = bench.next() {
            if dispatch.id.stored().is_some() {
                retries += 1;
                bench.answer(&dispatch, failed(Category::Transient));
            } else {
                accepted += 1;
                bench.answer(&dispatch, Answer::Acknowledged);
            }
        }
        bench.effects.clear();
        bench.now = bench.scheduler.wake_at().expect("a timer");
    }
    assert!((60..=accepted / 5 + 70).contains(&retries), "{retries} beside {accepted}");
    assert!(retries + accepted > 2900, "the rest of the rate goes to the others: {accepted}");
}

#[test]
fn one_that_only_waited_behind_another_is_no_retry() {
    let mut bench = Bench::new(|_| {});
    let position = |n: u64| Position::new(Lsn(n), 0);
    for n in 1..=50 {
        let stored = letter(n - 1, n, LetterState::Blocked);
        bench.scheduler.restore(&stored, position(100));
    }
    bench.scheduler.passed(position(100), bench.now);
    for n in 0..50 {
        bench.fails(&[n]);
    }
    assert_eq!(bench.now, Duration::ZERO);
}

#[test]
fn an_outage_counts_what_failed_since_the_last_acceptance() {
    let mut bench = Bench::new(|s| s.breaker.failures = 3);
    bench.push(&[1]);
    for count in 1..=3 {
        bench.fails(&[0]);
        assert_eq!(bench.scheduler.outage(), Some((count, "answered transient")));
        bench.wake();
    }
    assert_eq!(bench.state(), BreakerState::Open);
    bench.fails(&[0]);
    assert_eq!(bench.scheduler.outage(), Some((4, "answered transient")));
    bench.wake();
    bench.ok(&[0]);
    assert_eq!(bench.scheduler.outage(), None);
}
