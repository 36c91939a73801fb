//! [`InOrder`]: which events of a batch may be under way at the same time.
//!
//! What is sent without waiting for an answer may fail in the middle. A far side that then has a
//! later event of a key and not the earlier one has them in the wrong order for good, where it
//! drops repeats. So an event goes only once those before it of its key were taken.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::chunk::Operation;
use crate::envelope::Envelope;
use crate::failure::Category;
use crate::sink::{Answer, Failure};

/// The events of a batch, by their places in it.
///
/// Invariant: a place is handed out once, and only after everything that it follows was done.
#[derive(Debug)]
pub(super) struct InOrder {
    ready: VecDeque<usize>,
    /// By place: how many that it follows are not done yet.
    waits: Vec<usize>,
    /// By place: who follows it.
    followers: Vec<Vec<usize>>,
}

impl InOrder {
    /// Orders the events of a batch. A TRUNCATE comes behind everything before it, and before
    /// everything behind it.
    pub(super) fn new(events: &[Envelope]) -> Self {
        let keys = events.iter().map(|event| match event.operation {
            Operation::Truncate => None,
            _ => Some([Some(event.key_hash), event.before_key_hash]),
        });
        Self::of(keys)
    }

    /// Orders by keys; none: it is in order with all others.
    fn of(keys: impl Iterator<Item = Option<[Option<u64>; 2]>>) -> Self {
        let (mut waits, mut followers) = (Vec::new(), Vec::<Vec<usize>>::new());
        let mut ready = VecDeque::new();
        let mut last = HashMap::new();
        // The last one that is in order with all, and those since.
        let (mut barrier, mut since) = (None, Vec::new());
        for (place, keys) in keys.enumerate() {
            let mut before = BTreeSet::new();
            match keys {
                Some(keys) => {
                    let of_key = keys.into_iter().flatten();
                    before.extend(of_key.filter_map(|key| last.insert(key, place)));
                    before.remove(&place);
                    before.extend(barrier);
                    since.push(place);
                }
                None => {
                    before.extend(since.drain(..));
                    before.extend(barrier.replace(place));
                }
            }
            if before.is_empty() {
                ready.push_back(place);
            }
            waits.push(before.len());
            followers.push(Vec::new());
            for earlier in before {
                if let Some(followers) = followers.get_mut(earlier) {
                    followers.push(place);
                }
            }
        }
        Self { ready, waits, followers }
    }

    /// Takes the next event that may go.
    pub(super) fn next(&mut self) -> Option<usize> {
        self.ready.pop_front()
    }

    /// It was taken: those behind it may go.
    pub(super) fn done(&mut self, place: usize) {
        let followers = self.followers.get_mut(place).map(std::mem::take).unwrap_or_default();
        for follower in followers {
            let Some(waits) = self.waits.get_mut(follower) else { continue };
            *waits = waits.saturating_sub(1);
            if *waits == 0 {
                self.ready.push_back(follower);
            }
        }
    }
}

/// Makes the answer to a batch. An event without an outcome was not sent: because of `stopped`,
/// or as one before it of its key was refused, which no longer stands in its way next time.
pub(super) fn answer(
    outcomes: Vec<Option<Result<(), Failure>>>,
    stopped: Option<&Failure>,
) -> Answer {
    if outcomes.iter().all(|outcome| matches!(outcome, Some(Ok(())))) {
        return Answer::Acknowledged;
    }
    let told = |outcome: Option<_>| {
        outcome.unwrap_or_else(|| Err(stopped.cloned().unwrap_or_else(held_back)))
    };
    Answer::PerEvent(outcomes.into_iter().map(told).collect())
}

/// Says of an event that it comes again at once: nothing is wrong with it or the sink, so that no
/// attempt is used up.
fn held_back() -> Failure {
    let message = "not sent yet: an earlier event of the batch was refused";
    let retry_after = Some(Duration::ZERO);
    Failure { retry_after, ..Failure::new(Category::Throttled, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each round is what may go once all before it was done.
    #[track_caller]
    fn check(keys: &[Option<[Option<u64>; 2]>], expected: &[&[usize]]) {
        let mut order = InOrder::of(keys.iter().copied());
        let mut rounds = Vec::new();
        loop {
            let round: Vec<usize> = std::iter::from_fn(|| order.next()).collect();
            if round.is_empty() {
                break;
            }
            round.iter().for_each(|place| order.done(*place));
            rounds.push(round);
        }
        assert_eq!(rounds, expected);
    }

    const fn key(key: u64) -> Option<[Option<u64>; 2]> {
        Some([Some(key), None])
    }

    const fn moved(from: u64, to: u64) -> Option<[Option<u64>; 2]> {
        Some([Some(to), Some(from)])
    }

    #[test]
    fn keys_go_beside_each_other_and_each_in_order() {
        check(&[], &[]);
        check(&[key(1), key(2), key(3)], &[&[0, 1, 2]]);
        check(&[key(1), key(1), key(2), key(1)], &[&[0, 2], &[1], &[3]]);
    }

    #[test]
    fn a_changed_key_is_in_order_with_both() {
        check(&[key(1), key(2), moved(1, 2), key(1), key(2)], &[&[0, 1], &[2], &[3, 4]]);
        check(&[moved(1, 1), key(1)], &[&[0], &[1]]);
    }

    #[test]
    fn a_truncate_goes_alone() {
        check(&[key(1), key(2), None, key(1), None, None], &[&[0, 1], &[2], &[3], &[4], &[5]]);
        check(&[None, key(1), key(2)], &[&[0], &[1, 2]]);
    }

    #[test]
    fn what_follows_a_failure_stays() {
        let mut order = InOrder::of([key(1), key(1), key(2), key(2)].into_iter());
        assert_eq!((order.next(), order.next(), order.next()), (Some(0), Some(2), None));
        order.done(2);
        assert_eq!((order.next(), order.next()), (Some(3), None));
    }

    #[test]
    fn what_was_held_back_uses_up_no_attempt() {
        let no = Failure::new(Category::Rejected, "no");
        let Answer::PerEvent(told) = answer(vec![Some(Err(no.clone())), Some(Ok(())), None], None)
        else {
            panic!("an outcome an event")
        };
        assert_eq!((&told[0], &told[1]), (&Err(no), &Ok(())));
        let held = told[2].clone().unwrap_err();
        assert_eq!((held.category, held.retry_after), (Category::Throttled, Some(Duration::ZERO)));
        let down = Failure::new(Category::Transient, "down");
        let all = answer(vec![None, None], Some(&down));
        assert_eq!(all, Answer::PerEvent(vec![Err(down.clone()), Err(down)]));
        assert_eq!(answer(vec![Some(Ok(()))], None), Answer::Acknowledged);
    }
}
