//! What is sent when: lanes, batches, retries, throttling, the breaker.

use super::*;

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
fn the_rate_limit_holds_and_batches_grow_while_it_does() {
    let mut bench = Bench::new(|s| {
        s.batch.max_events = 10;
        s.rate_limit.requests =
            Some(crate::delivery::settings::Rate { amount: 2, per: seconds(1) });
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
