//! One bad event, and how it is found.

use super::*;

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
            if bench.scheduler.wake_at().is_some_and(|at| at > bench.now) {
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
fn what_an_earlier_run_set_aside_goes_on() {
    let mut bench = Bench::new(|_| {});
    let first = bench.event(1, None, Operation::Update);
    let second = bench.event(1, None, Operation::Update);
    for (event, state) in [(&first, RETRYING), (&second, BLOCKED)] {
        let stored = Stored { attempts: 3, ..letter(event.ordinal, 1, state) };
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
