//! Events of two keys.

use super::*;

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
