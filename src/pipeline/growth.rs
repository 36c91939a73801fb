//! [`Growth`]: how fast the server's log grows, and when the slot is in danger by it (pure).

use std::collections::VecDeque;
use std::time::Duration;

use crate::lsn::Lsn;

/// What is looked back at.
const WINDOW: Duration = Duration::from_secs(300);
/// Two looks that are closer than this tell no rate.
const SPAN_MIN: Duration = Duration::from_secs(4);
/// However often it is looked: a look every five seconds fills a fifth of it.
const LOOKS_MAX: usize = 300;

/// One look at the server.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Duration,
    end: Lsn,
    retained: u64,
}

/// Looks of the last minutes.
#[derive(Clone, Debug, Default)]
pub(super) struct Growth {
    looks: VecDeque<Look>,
}

impl Growth {
    /// Notes where the log ends and how much of it is kept for the slot; `at` is any clock's.
    pub(super) fn look(&mut self, at: Duration, end: Lsn, retained: u64) {
        while self.looks.len() >= LOOKS_MAX
            || self.looks.front().is_some_and(|first| first.at + WINDOW < at)
        {
            self.looks.pop_front();
        }
        // Another server, or one that was restored: what was seen before says nothing of it.
        if self.looks.back().is_some_and(|last| last.end > end) {
            self.looks.clear();
        }
        self.looks.push_back(Look { at, end, retained });
    }

    fn span(&self) -> Option<(Look, Look, u128)> {
        let (first, last) = (*self.looks.front()?, *self.looks.back()?);
        let span = last.at.saturating_sub(first.at);
        (span >= SPAN_MIN).then_some((first, last, span.as_millis()))
    }

    /// Returns how many bytes a second the log grew.
    pub(super) fn wal_per_second(&self) -> Option<u64> {
        let (first, last, millis) = self.span()?;
        per_second(last.end.0.saturating_sub(first.end.0), millis)
    }

    /// Returns in how many seconds the `safe` bytes are written, should the slot go on as it did:
    /// none where what is kept for it does not grow.
    pub(super) fn seconds_left(&self, safe: Option<i64>) -> Option<u64> {
        let (first, last, millis) = self.span()?;
        let rate = per_second(last.retained.saturating_sub(first.retained), millis)?;
        let safe = u64::try_from(safe?).unwrap_or(0);
        safe.checked_div(rate)
    }
}

fn per_second(bytes: u64, millis: u128) -> Option<u64> {
    (u128::from(bytes) * 1000).checked_div(millis)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(looks: &[(u64, u64, u64)]) -> Growth {
        let mut growth = Growth::default();
        for (second, end, retained) in looks {
            growth.look(Duration::from_secs(*second), Lsn(*end), *retained);
        }
        growth
    }

    #[track_caller]
    fn check(looks: &[(u64, u64, u64)], rate: Option<u64>, left: Option<u64>) {
        let growth = growth(looks);
        assert_eq!((growth.wal_per_second(), growth.seconds_left(Some(1000))), (rate, left));
    }

    #[test]
    fn a_slot_that_stands_still_is_in_danger_as_fast_as_the_log_grows() {
        check(&[], None, None);
        check(&[(0, 100, 100)], None, None);
        check(&[(0, 100, 100), (1, 200, 200)], None, None);
        check(&[(0, 100, 100), (10, 200, 200)], Some(10), Some(100));
    }

    #[test]
    fn one_that_moves_along_is_in_none() {
        check(&[(0, 100, 100), (10, 1100, 100)], Some(100), None);
        check(&[(0, 100, 100), (10, 1100, 50)], Some(100), None);
        check(&[(0, 100, 100), (10, 1100, 600)], Some(100), Some(20));
    }

    #[test]
    fn what_is_old_or_of_another_log_does_not_count() {
        check(&[(0, 0, 0), (1000, 5000, 100), (1010, 5100, 200)], Some(10), Some(100));
        check(&[(0, 9000, 10), (10, 100, 100), (20, 200, 100)], Some(10), None);
    }

    #[test]
    fn what_is_not_bounded_is_in_no_danger_and_what_is_past_it_in_all() {
        let growth = growth(&[(0, 100, 100), (10, 200, 200)]);
        assert_eq!(growth.seconds_left(None), None);
        assert_eq!(growth.seconds_left(Some(-5)), Some(0));
    }
}
