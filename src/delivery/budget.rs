//! [`Budget`]: how many requests may go to events that failed before (pure; time is an argument).

use std::collections::VecDeque;
use std::time::Duration;

/// An acceptance pays for this part of a retry.
const ACCEPTED_PER_RETRY: u32 = 5;

/// How long an acceptance counts, in seconds.
const WINDOW: usize = 10;

/// A retry is free so often.
const FREE_EVERY: Duration = Duration::from_secs(1);

/// So much of what is free may be saved up for later.
const FREE_SAVED_MAX: Duration = Duration::from_secs(10);

/// Keeps retries of events that were set aside to a fifth of the requests that were accepted
/// lately, and one a second beside them: thousands that keep failing do not use up a rate limit
/// that the others need. A retry that is accepted costs nothing in the end.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// The last seconds in which something happened, at most [`WINDOW`].
    seconds: VecDeque<Second>,
    /// When all that was free will have come back.
    free_again: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    /// Which one, since the start.
    number: u64,
    /// In parts of a retry.
    earned: u32,
    spent: u32,
}

impl Budget {
    /// A request was accepted. `retry`: it was a retry, and gives back what it cost.
    pub(super) fn accepted(&mut self, retry: bool, now: Duration) {
        let back = if retry { ACCEPTED_PER_RETRY } else { 0 };
        self.note(now, 1 + back, 0);
    }

    /// Returns when to ask again, none when a retry may go now.
    pub(super) fn wait(&self, now: Duration) -> Option<Duration> {
        let free_at = self.free_at();
        (free_at > now && !self.is_earned(now)).then_some(free_at)
    }

    /// A retry is sent.
    pub(super) fn spend(&mut self, now: Duration) {
        if self.free_at() <= now {
            self.free_again = self.free_again.max(now).saturating_add(FREE_EVERY);
        } else {
            self.note(now, 0, ACCEPTED_PER_RETRY);
        }
    }

    /// When the next retry is free.
    fn free_at(&self) -> Duration {
        (self.free_again + FREE_EVERY).saturating_sub(FREE_SAVED_MAX)
    }

    fn is_earned(&self, now: Duration) -> bool {
        let oldest = (now.as_secs() + 1).saturating_sub(WINDOW as u64);
        let lately = self.seconds.iter().filter(|second| second.number >= oldest);
        let (earned, spent) = lately.fold((0u64, 0u64), |(earned, spent), second| {
            (earned + u64::from(second.earned), spent + u64::from(second.spent))
        });
        spent + u64::from(ACCEPTED_PER_RETRY) <= earned
    }

    fn note(&mut self, now: Duration, earned: u32, spent: u32) {
        let number = now.as_secs();
        if self.seconds.back().is_none_or(|second| second.number != number) {
            self.seconds.push_back(Second { number, ..Second::default() });
            let surplus = self.seconds.len().saturating_sub(WINDOW);
            self.seconds.drain(..surplus);
        }
        if let Some(second) = self.seconds.back_mut() {
            second.earned = second.earned.saturating_add(earned);
            second.spent = second.spent.saturating_add(spent);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Sends all retries that may go now; returns how many.
    fn retries(budget: &mut Budget, now: Duration) -> usize {
        let sent = std::iter::from_fn(|| budget.wait(now).is_none().then(|| budget.spend(now)));
        sent.take(1000).count()
    }

    #[test]
    fn one_a_second_is_free_and_ten_are_saved_up() {
        let mut budget = Budget::default();
        assert_eq!(retries(&mut budget, seconds(0)), 10);
        assert_eq!(budget.wait(seconds(0)), Some(seconds(1)));
        let each: Vec<usize> = (1..4).map(|s| retries(&mut budget, seconds(s))).collect();
        assert_eq!(each, [1, 1, 1]);
        assert_eq!(retries(&mut budget, seconds(100)), 10);
    }

    #[test]
    fn a_fifth_of_what_was_accepted_lately_is_paid_for() {
        let mut budget = Budget::default();
        retries(&mut budget, seconds(0));
        (0..100).for_each(|_| budget.accepted(false, seconds(0)));
        assert_eq!(retries(&mut budget, seconds(0)), 20);
        (0..100).for_each(|_| budget.accepted(false, seconds(0)));
        assert_eq!(retries(&mut budget, seconds(20)), 10, "that was long ago");
    }

    #[test]
    fn retries_that_are_accepted_go_on() {
        let mut budget = Budget::default();
        for _ in 0..1000 {
            assert_eq!(budget.wait(seconds(0)), None);
            budget.spend(seconds(0));
            budget.accepted(true, seconds(0));
        }
    }

    proptest! {
        #[test]
        fn what_fails_is_a_fifth_and_one_a_second_and_never_stalls(
            steps in prop::collection::vec((0u64..3000, 0u32..30, any::<bool>()), 1..60),
        ) {
            let mut budget = Budget::default();
            let (mut now, mut accepted, mut failed) = (Duration::ZERO, 0, 0);
            for (pause, others, succeeds) in steps {
                now += Duration::from_millis(pause);
                (0..others).for_each(|_| budget.accepted(false, now));
                accepted += others;
                let before = budget.wait(now);
                prop_assert!(before.is_none_or(|at| at > now && at <= now + FREE_EVERY));
                if before.is_none() && succeeds {
                    budget.spend(now);
                    budget.accepted(true, now);
                    accepted += 1;
                }
                failed += retries(&mut budget, now);
                let most = f64::from(accepted) / 5.0 + now.as_secs_f64() + 10.0;
                prop_assert!(failed as f64 <= most + 1e-6, "{failed} of {most}");
                prop_assert!(budget.seconds.len() <= WINDOW);
            }
        }
    }
}
