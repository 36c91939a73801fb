//! TRUNCATE among the rows of its table, and of others.

use super::*;

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
    assert_eq!(bench.stored(), [(0, RETRYING), (2, BLOCKED), (3, BLOCKED)]);
    bench.wake();
    bench.fails(&[0]);
    assert_eq!(bench.stored(), [(0, DEAD)]);
    bench.ok(&[2]);
    bench.stored();
    bench.ok(&[3]);
}

#[test]
fn other_tables_neither_wait_for_a_truncate_nor_it_for_those_that_come_after() {
    let mut bench = Bench::new(|s| s.concurrency = 2);
    bench.push(&[0, other(1)]);
    bench.push_truncate();
    bench.push(&[0, other(1), 1]);
    let sent = bench.sends(&[&[0], &[1]]);
    // Its own table is done; what was there before it in another lane is waited for.
    bench.answer(&sent[0], Answer::Acknowledged);
    bench.waits();
    bench.answer(&sent[1], Answer::Acknowledged);
    let sent = bench.sends(&[&[4], &[2]]);
    bench.push(&[other(1), 1]);
    bench.answer(&sent[0], Answer::Acknowledged);
    let [flowed] = &bench.sends(&[&[6]])[..] else { panic!("one request") };
    bench.answer(flowed, Answer::Acknowledged);
    bench.waits();
    bench.answer(&sent[1], Answer::Acknowledged);
    bench.sends(&[&[3], &[5]]);
}

#[test]
fn a_truncate_goes_alone() {
    let mut bench = Bench::new(|s| s.batch.max_events = 10);
    bench.push(&[other(0), 1]);
    bench.push_truncate();
    bench.push(&[other(0), 1]);
    bench.ok(&[0, 1]);
    bench.ok(&[2]);
    bench.ok(&[3, 4]);
}

#[test]
fn with_one_request_at_a_time_the_stream_keeps_its_order_over_tables() {
    let mut bench = Bench::new(|_| {});
    bench.push(&[1, other(1)]);
    bench.push_truncate();
    bench.push(&[other(1), 1, other(2)]);
    for ordinal in 0..6 {
        bench.ok(&[ordinal]);
    }
}

#[test]
fn a_truncate_that_keeps_failing_holds_up_its_table_only() {
    let mut bench = Bench::new(|s| s.concurrency = 4);
    bench.push_truncate();
    bench.push(&[4, other(1)]);
    let truncate = bench.next().unwrap();
    bench.ok(&[2]);
    bench.answer(&truncate, failed(Category::Transient));
    bench.wake();
    bench.fails(&[0]);
    bench.push(&[other(5)]);
    bench.ok(&[3]);
    assert_eq!(bench.stored(), [(0, RETRYING), (1, BLOCKED)]);
    // One on the TRUNCATE's lane.
    bench.push(&[4, other(0)]);
    bench.ok(&[5]);
    assert_eq!(bench.stored(), [(4, BLOCKED)]);
    bench.wake();
    bench.ok(&[0]);
    bench.stored();
    bench.ok(&[1]);
    bench.stored();
    bench.ok(&[4]);
}

#[test]
fn with_one_request_at_a_time_too() {
    let mut bench = Bench::new(|_| {});
    bench.push_truncate();
    bench.push(&[1, other(1), 1, other(2)]);
    bench.fails(&[0]);
    bench.wake();
    bench.fails(&[0]);
    bench.ok(&[2]);
    assert_eq!(bench.stored(), [(0, RETRYING), (1, BLOCKED), (3, BLOCKED)]);
    bench.ok(&[4]);
    bench.wake();
    bench.ok(&[0]);
    bench.stored();
    bench.ok(&[1]);
    bench.stored();
    bench.ok(&[3]);
}

#[test]
fn with_block_a_table_waits_behind_its_dead_truncate_and_that_behind_its_dead_rows() {
    let mut bench = Bench::new(|s| s.on_dead = OnDead::Block);
    bench.push(&[1]);
    bench.refused(&[0]);
    bench.push_truncate();
    bench.push(&[2, other(1)]);
    bench.ok(&[3]);
    assert_eq!(bench.stored(), [(0, DEAD), (1, BLOCKED), (2, BLOCKED)]);
    assert!(!bench.scheduler.is_moving());
    // A person discards the row, then the TRUNCATE, which is refused too.
    bench.scheduler.resolved(id(0), bench.now, &mut bench.effects);
    bench.refused(&[1]);
    assert_eq!(bench.stored(), [(1, DEAD)]);
    bench.waits();
    assert!(!bench.scheduler.is_moving());
    bench.scheduler.resolved(id(1), bench.now, &mut bench.effects);
    bench.ok(&[2]);
}

#[test]
fn when_memory_is_full_what_waits_behind_a_failing_truncate_makes_room_for_a_probe() {
    let mut bench = Bench::new(|s| s.concurrency = 2);
    bench.push_truncate();
    bench.push(&[1, 2]);
    bench.fails(&[0]);
    bench.wake();
    bench.scheduler.relieve(bench.now, &mut bench.effects);
    assert_eq!(bench.scheduler.holds().0, 3, "it has failed once only");
    bench.fails(&[0]);
    bench.scheduler.relieve(bench.now, &mut bench.effects);
    assert_eq!(bench.scheduler.holds().0, 1);
    assert_eq!(bench.stored(), [(1, BLOCKED), (2, BLOCKED)]);
    bench.waits();
    bench.push(&[2, other(1)]);
    bench.ok(&[4]);
    assert_eq!(bench.stored(), [(0, RETRYING), (3, BLOCKED)]);
    bench.wake();
    bench.ok(&[0]);
    bench.stored();
    bench.ok(&[1]);
    bench.ok(&[2]);
    bench.stored();
    bench.ok(&[3]);
}

#[test]
fn when_memory_is_full_a_truncate_that_waits_for_a_failing_row_makes_room_too() {
    let mut bench = Bench::new(|s| s.concurrency = 2);
    bench.push(&[1]);
    bench.push_truncate();
    bench.push(&[2]);
    bench.fails(&[0]);
    bench.wake();
    bench.fails(&[0]);
    bench.waits();
    bench.scheduler.relieve(bench.now, &mut bench.effects);
    assert_eq!(bench.stored(), [(1, BLOCKED), (2, BLOCKED)]);
    bench.push(&[other(0)]);
    bench.ok(&[3]);
    assert_eq!(bench.stored(), [(0, RETRYING)]);
    bench.wake();
    bench.ok(&[0]);
    bench.stored();
    bench.ok(&[1]);
    bench.stored();
    bench.ok(&[2]);
}

#[test]
fn a_refused_truncate_comes_back_unless_something_of_its_table_is_under_way() {
    for of_its_table in [false, true] {
        let mut bench = Bench::new(|s| s.concurrency = 4);
        bench.scheduler.rejections_max = 2;
        bench.push_truncate();
        bench.push(&[other(1)]);
        let sent = bench.sends(&[&[0], &[1]]);
        bench.answer(&sent[0], failed(Category::Rejected));
        assert_eq!(bench.stored(), [(0, DEAD)]);
        let key = if of_its_table { 2 } else { other(2) };
        bench.push(&[key]);
        bench.next().expect("a request");
        bench.answer(&sent[1], failed(Category::Rejected));
        let reopened = bench.effects.iter().find_map(|effect| match effect {
            Effect::Reopen { events } => Some(events.iter().any(|event| event.id == id(0))),
            _ => None,
        });
        assert_eq!(reopened, Some(!of_its_table));
    }
}
