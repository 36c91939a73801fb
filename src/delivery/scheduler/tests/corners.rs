//! Turns of events that once lost an order, or stood still for ever.

use super::*;

fn truncate_of_other(bench: &mut Bench) {
    let event = bench.event(other(0), None, Operation::Truncate);
    bench.scheduler.push(event, bench.now, &mut bench.effects);
}

/// Event 0 never gets through; returns what else does.
fn all_but_the_poison(bench: &mut Bench) -> Vec<u64> {
    let mut got = Vec::new();
    for _ in 0..2000 {
        while let Some(dispatch) = bench.next() {
            if ordinals(&dispatch) == [0] {
                bench.answer(&dispatch, failed(Category::Transient));
            } else {
                got.extend(ordinals(&dispatch));
                bench.answer(&dispatch, Answer::Acknowledged);
            }
            bench.stored();
        }
        bench.scheduler.relieve(bench.now, &mut bench.effects);
        bench.stored();
        let Some(at) = bench.scheduler.wake_at() else { break };
        bench.now = at;
    }
    got
}

/// A poison row of table 0 and a TRUNCATE of table 1, with rows of table 1 behind it.
fn stands_still(concurrency: u32) {
    let mut bench = Bench::new(|s| (s.concurrency, s.max_blocked) = (concurrency, 50));
    bench.push(&[2]);
    truncate_of_other(&mut bench);
    bench.push(&(0..60).map(other).collect::<Vec<_>>());
    let got = all_but_the_poison(&mut bench);
    assert_eq!(got.len(), 61, "table 1 stands still behind a poison row of table 0");
}

#[test]
fn a_poison_row_of_one_table_and_a_truncate_of_another() {
    stands_still(2);
}

#[test]
fn a_poison_row_of_one_table_and_a_truncate_of_another_one_at_a_time() {
    stands_still(1);
}

/// Route held while the poison row is in its lane, then let go: no TRUNCATE at all.
#[test]
fn a_poison_row_and_a_held_route_that_is_let_go() {
    let mut bench = Bench::new(|_| {});
    bench.push(&[2]);
    bench.fails(&[0]);
    bench.wake();
    bench.fails(&[0]);
    bench.scheduler.held.insert(Arc::from("r"));
    bench.push(&[3, 4]);
    assert_eq!(bench.stored(), [(1, BLOCKED), (2, BLOCKED)]);
    bench.scheduler.hold("r", false, bench.now, &mut bench.effects);
    let got = all_but_the_poison(&mut bench);
    assert_eq!(got, [1, 2]);
}

#[test]
fn half_open_with_a_retry_that_is_due_later() {
    let mut bench = Bench::new(|s| s.concurrency = 2);
    // Key 0 goes on by itself.
    bench.push(&[0, 1]);
    let sent = bench.sends(&[&[0], &[1]]);
    bench.answer(&sent[0], failed(Category::Transient));
    bench.answer(&sent[1], Answer::Acknowledged);
    bench.wake();
    bench.fails(&[0]);
    bench.push(&[3]);
    bench.ok(&[2]);
    assert_eq!(bench.stored(), [(0, RETRYING)]);
    // It fails until its delay is long.
    for _ in 0..7 {
        bench.wake();
        bench.push(&[3]);
        let mut retried = false;
        while let Some(dispatch) = bench.next() {
            if ordinals(&dispatch) == [0] {
                retried = true;
                bench.answer(&dispatch, failed(Category::Transient));
            } else {
                bench.answer(&dispatch, Answer::Acknowledged);
            }
        }
        assert!(retried);
    }
    // The sink goes down over another, which is refused once it is up.
    bench.push(&[1]);
    let last = bench.ordinal - 1;
    while bench.state() != BreakerState::Open {
        let dispatch = bench.next().expect("a request");
        assert_eq!(ordinals(&dispatch), [last]);
        bench.answer(&dispatch, failed(Category::Transient));
        if bench.state() != BreakerState::Open {
            bench.wake();
        }
    }
    bench.wake();
    bench.refused(&[last]);
    bench.stored();
    assert_eq!(bench.state(), BreakerState::HalfOpen);
    bench.waits();
    assert!(bench.scheduler.parked.wake_at(bench.now, None).is_some());
    assert!(bench.scheduler.wake_at().is_some(), "nobody looks at event 0 again");
}

/// The loop looks what to send, and asks a moment later for how long it may sleep.
#[test]
fn what_becomes_due_between_a_look_and_the_sleep_is_not_missed() {
    let mut bench = Bench::new(|s| s.breaker.failures = 1);
    bench.push(&[1]);
    bench.fails(&[0]);
    assert_eq!(bench.state(), BreakerState::Open);
    bench.waits();
    let due = bench.scheduler.wake_at().expect("a timer");
    bench.pass(due);
    assert_eq!(bench.scheduler.wake_at(), Some(due));
    bench.ok(&[0]);
}

#[test]
fn half_open_with_a_batch_that_waits_for_more() {
    let mut bench = Bench::new(|s| {
        s.breaker.failures = 1;
        s.batch.max_wait = seconds(5);
        s.batch.max_events = 10;
    });
    bench.push(&[1]);
    bench.wake();
    bench.fails(&[0]);
    assert_eq!(bench.state(), BreakerState::Open);
    bench.wake();
    bench.refused(&[0]);
    bench.push(&[2]);
    bench.waits();
    assert!(bench.scheduler.wake_at().is_some(), "nobody looks at event 1 again");
}

#[test]
fn what_a_mapping_refused_behind_a_waiting_truncate_is_sent_again_after_it() {
    for on_dead in [OnDead::Continue, OnDead::Block] {
        let mut bench = Bench::new(|s| (s.concurrency, s.on_dead) = (2, on_dead));
        bench.push(&[1]);
        bench.push_truncate();
        let event = bench.event(2, None, Operation::Update);
        let why = failure(Category::Rejected);
        bench.scheduler.refuse(event, why, bench.now, &mut bench.effects);
        bench.scheduler.passed(Position::new(Lsn(10), 0), bench.now);
        let sent = bench.sends(&[&[0]]);
        assert_eq!(bench.stored(), [(2, DEAD)]);
        let again = letter(2, 2, LetterState::Replaying);
        bench.scheduler.replay(&again, bench.now, &mut bench.effects);
        bench.stored();
        bench.waits();
        bench.answer(&sent[0], Answer::Acknowledged);
        bench.ok(&[1]);
        bench.ok(&[2]);
    }
}

#[test]
fn what_is_sent_again_waits_for_what_is_under_way_also_when_a_route_is_held() {
    let mut bench = Bench::new(|s| s.concurrency = 2);
    bench.push(&[0, 1, 1]);
    let sent = bench.sends(&[&[0], &[1]]);
    bench.answer(&sent[0], failed(Category::Transient));
    bench.warm();
    bench.answer(&sent[1], failed(Category::Rejected));
    assert_eq!(bench.stored(), [(1, DEAD)]);
    bench.warm();
    let newer = bench.next().unwrap();
    assert_eq!(ordinals(&newer), [2]);
    bench.scheduler.passed(Position::new(Lsn(10), 0), bench.now);
    let again = letter(1, 1, LetterState::Replaying);
    bench.scheduler.replay(&again, bench.now, &mut bench.effects);
    bench.waits();
    bench.scheduler.hold("another", true, bench.now, &mut bench.effects);
    bench.ok(&[0]);
    bench.waits();
}

#[test]
fn what_waits_behind_a_discarded_event_waits_for_what_was_before_that() {
    let mut bench = Bench::new(|s| s.concurrency = 2);
    bench.push(&[1]);
    let older = bench.next().unwrap();
    // Of another route, which is held.
    let mut held = bench.event(1, None, Operation::Update);
    held.envelope.route = Arc::new(RouteLabel { name: "held".to_owned(), mapping: None });
    bench.scheduler.hold("held", true, bench.now, &mut bench.effects);
    bench.scheduler.push(held, bench.now, &mut bench.effects);
    bench.push(&[1]);
    assert_eq!(bench.stored(), [(1, BLOCKED), (2, BLOCKED)]);
    bench.waits();
    // A person discards what is held.
    bench.scheduler.resolved(id(1), bench.now, &mut bench.effects);
    bench.waits();
    bench.answer(&older, failed(Category::Transient));
    bench.waits();
}

#[test]
fn with_block_what_failed_in_the_same_batch_waits_behind_the_refused() {
    let mut bench = Bench::new(|s| (s.batch.max_events, s.on_dead) = (3, OnDead::Block));
    bench.push(&[1, 2, 1]);
    let outcomes =
        vec![Err(failure(Category::Rejected)), Ok(()), Err(failure(Category::Transient))];
    bench.turn(&[0, 1, 2], Answer::PerEvent(outcomes));
    let stored = bench.stored();
    bench.pass(seconds(10));
    bench.waits();
    assert_eq!(stored, [(0, DEAD), (2, BLOCKED)]);
}

#[test]
fn what_a_replay_brings_a_second_time_does_not_let_the_first_go_early() {
    let mut bench = Bench::new(|s| s.concurrency = 2);
    bench.push(&[2, 1]);
    let sent = bench.sends(&[&[0], &[1]]);
    let mut held = bench.event(1, Some(2), Operation::Update);
    held.envelope.route = Arc::new(RouteLabel { name: "held".to_owned(), mapping: None });
    let again = Tracked { beside: true, ordinal: 3, ..held.clone() };
    bench.scheduler.push(held, bench.now, &mut bench.effects);
    bench.scheduler.push(again, bench.now, &mut bench.effects);
    bench.scheduler.hold("held", true, bench.now, &mut bench.effects);
    bench.stored();
    bench.scheduler.hold("held", false, bench.now, &mut bench.effects);
    bench.answer(&sent[0], Answer::Acknowledged);
    bench.waits();
    bench.answer(&sent[1], Answer::Acknowledged);
    bench.ok(&[2]);
}

/// Once a TRUNCATE was given up, its mark was taken for one of the fence that had gone.
#[test]
fn with_block_a_truncate_that_is_given_up_behind_a_mark_waits_for_nothing() {
    let mut bench = Bench::new(|s| (s.retry.max_attempts, s.on_dead) = (2, OnDead::Block));
    bench.push(&[0]);
    bench.push_truncate();
    let refused = bench.event(0, None, Operation::Update);
    let why = failure(Category::Rejected);
    bench.scheduler.refuse(refused, why, bench.now, &mut bench.effects);
    bench.scheduler.passed(Position::new(Lsn(10), 0), bench.now);
    bench.ok(&[0]);
    let truncate = bench.next().unwrap();
    assert_eq!(bench.stored(), [(2, DEAD)]);
    let again = letter(2, 0, LetterState::Replaying);
    bench.scheduler.replay(&again, bench.now, &mut bench.effects);
    bench.answer(&truncate, failed(Category::Transient));
    bench.wake();
    bench.fails(&[1]);
    bench.push(&[other(5)]);
    bench.pass(seconds(1));
    while let Some(dispatch) = bench.next() {
        let is_truncate = ordinals(&dispatch) == [1];
        let answer = if is_truncate { failed(Category::Transient) } else { Answer::Acknowledged };
        bench.answer(&dispatch, answer);
    }
    assert_eq!(bench.stored(), [(1, DEAD)]);
    assert_eq!(bench.scheduler.parked.get(id(1)).map(|entry| entry.waits), Some(0));
}

#[test]
fn what_a_held_route_leaves_in_a_lane_parts_no_batch() {
    let mut bench = Bench::new(|s| s.batch.max_events = 3);
    bench.scheduler.hold("held", true, bench.now, &mut bench.effects);
    let under_way = |bench: &mut Bench| {
        bench.push(&[9]);
        bench.next().expect("a request")
    };
    let first = under_way(&mut bench);
    for key in [1, 2, 3] {
        let mut held = bench.event(10 + key, None, Operation::Update);
        held.envelope.route = Arc::new(RouteLabel { name: "held".to_owned(), mapping: None });
        bench.scheduler.push(held, bench.now, &mut bench.effects);
        bench.push(&[key]);
    }
    assert_eq!(bench.stored(), [(1, BLOCKED), (3, BLOCKED), (5, BLOCKED)]);
    bench.answer(&first, Answer::Acknowledged);
    bench.ok(&[2, 4, 6]);
    // Let go, each may be sent.
    bench.scheduler.hold("held", false, bench.now, &mut bench.effects);
    (1..=5).step_by(2).for_each(|ordinal| bench.ok(&[ordinal]));
}

/// Each event of a key that is taken looked at all that wait behind it.
#[test]
fn what_is_taken_of_a_key_looks_only_at_what_is_older() {
    let mut bench = Bench::new(|_| {});
    for n in 0..100_000 {
        bench.scheduler.restore(&letter(n, 7, LetterState::Blocked), Position::ZERO);
    }
    let begun = std::time::Instant::now();
    (0..100_000).for_each(|_| bench.scheduler.overtake(7, id(0)));
    assert!(begun.elapsed() < seconds(5), "{:?}", begun.elapsed());
}

/// A re-keyed event was in the way of everything that could have shown that the sink is up.
#[test]
fn a_rekeyed_event_behind_one_that_keeps_failing_lets_others_show_that_the_sink_is_up() {
    let mut bench = Bench::new(|s| s.concurrency = 2);
    bench.push(&[1]);
    bench.push_rekeyed(2, 1);
    bench.push(&[4, 3]);
    let got = all_but_the_poison(&mut bench);
    assert!(got.contains(&2) && got.contains(&3), "{got:?}");
}

/// With many bad events at the front of all lanes everything came back again and again.
#[test]
fn what_is_refused_again_once_the_sink_has_taken_something_is_dead_for_good() {
    let mut bench = Bench::new(|_| {});
    bench.scheduler.rejections_max = 3;
    bench.push(&[1, 2, 3]);
    (0..3).for_each(|ordinal| bench.refused(&[ordinal]));
    assert_eq!(bench.state(), BreakerState::Halted);
    bench.push(&[4]);
    bench.pass(seconds(3600));
    for _ in 0..4 {
        let dispatch = bench.next().expect("a probe");
        let is_good = ordinals(&dispatch) == [3];
        let answer = if is_good { Answer::Acknowledged } else { failed(Category::Rejected) };
        bench.answer(&dispatch, answer);
        bench.pass(seconds(3600));
    }
    bench.effects.clear();
    while let Some(dispatch) = bench.next() {
        bench.answer(&dispatch, failed(Category::Rejected));
    }
    assert_eq!(bench.state(), BreakerState::Closed);
    assert_eq!(bench.stored(), [(0, DEAD), (1, DEAD), (2, DEAD)]);
    assert!(bench.scheduler.returned.is_empty());
}

#[test]
fn what_came_back_and_leaves_its_lane_otherwise_is_not_remembered() {
    let mut bench = Bench::new(|_| {});
    bench.scheduler.rejections_max = 2;
    bench.push(&[1, 2]);
    (0..2).for_each(|ordinal| bench.refused(&[ordinal]));
    assert_eq!(bench.scheduler.returned.len(), 2);
    bench.scheduler.hold("r", true, bench.now, &mut bench.effects);
    assert!(bench.scheduler.returned.is_empty());
}
