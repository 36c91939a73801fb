//! One outcome an event.

use super::*;

fn taken() -> Result<(), Failure> {
    Ok(())
}

fn not(category: Category) -> Result<(), Failure> {
    Err(failure(category))
}

#[test]
fn what_was_taken_before_an_older_one_of_its_key_comes_again_behind_that() {
    let mut bench = Bench::new(|s| s.batch.max_events = 5);
    bench.push(&[1, 1]);
    bench.push_rekeyed(1, 1);
    bench.push(&[2, 3]);
    let outcomes =
        vec![not(Category::Transient), taken(), taken(), taken(), not(Category::Transient)];
    bench.turn(&[0, 1, 2, 3, 4], Answer::PerEvent(outcomes));
    let done: Vec<u64> = bench
        .effects
        .iter()
        .flat_map(|effect| match effect {
            Effect::Acknowledged { ordinals, .. } => ordinals.clone(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(done, [3]);
    bench.pass(seconds(60));
    bench.ok(&[0, 1]);
    bench.ok(&[2, 4]);
}

#[test]
fn a_refused_event_is_dead_before_what_is_newer_counts_as_taken() {
    let mut bench = Bench::new(|s| s.batch.max_events = 2);
    bench.push(&[1, 1]);
    bench.turn(&[0, 1], Answer::PerEvent(vec![not(Category::Rejected), taken()]));
    let place = |wanted: fn(&Effect) -> bool| bench.effects.iter().position(wanted);
    let dead = place(|effect| matches!(effect, Effect::SetAside { .. }));
    let done = place(|effect| matches!(effect, Effect::Acknowledged { .. }));
    assert!(dead.is_some() && dead < done, "{:?}", bench.effects);
}

#[test]
fn with_block_what_failed_in_the_same_batch_waits_for_nobody_that_is_newer() {
    let mut bench = Bench::new(|s| (s.batch.max_events, s.on_dead) = (2, OnDead::Block));
    bench.push(&[1, 1, 1]);
    bench.turn(&[0, 1], Answer::PerEvent(vec![not(Category::Transient), not(Category::Rejected)]));
    assert_eq!(bench.stored(), [(1, DEAD), (2, BLOCKED)]);
    bench.scheduler.discarded(id(1), bench.now, &mut bench.effects);
    bench.pass(seconds(60));
    bench.ok(&[0]);
    bench.ok(&[2]);
}
