//! [`Usual`]: what a ratio is lately, beside what it usually is (pure).

use std::collections::VecDeque;
use std::time::Duration;

use crate::lsn::Timestamp;

/// What is usual is half forgotten after this.
const HALF_LIFE: Duration = Duration::from_secs(6 * 3600);
/// Looks kept of what is lately.
const LOOKS_MAX: u32 = 300;

/// A sum and a count that only grow, looked at again and again: their ratio lately, and before.
#[derive(Clone, Debug, Default)]
pub(super) struct Usual {
    looks: VecDeque<Look>,
    /// What was before: sum and count, older ones counting less.
    before: (f64, f64),
}

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Timestamp,
    sum: f64,
    count: f64,
}

/// See [`Usual`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio {
    /// Over the window.
    pub(super) lately: f64,
    /// What that was computed of.
    pub(super) count: f64,
    /// Before the window.
    pub(super) usual: f64,
    /// What that was computed of.
    pub(super) usual_count: f64,
}

impl Usual {
    /// Takes a look. None: nothing was counted lately.
    pub(super) fn look(
        &mut self,
        (sum, count): (f64, f64),
        window: Duration,
        now: Timestamp,
    ) -> Option<Ratio> {
        let window_us = micros(window);
        let step = window_us / i64::from(LOOKS_MAX);
        let look = Look { at: now, sum, count };
        // Counted anew, or the clock was set back: what was seen before says nothing.
        if self.looks.back().is_some_and(|last| last.count > count || last.at > now) {
            self.looks.clear();
        }
        let is_close = |looks: &VecDeque<Look>| {
            let last = looks.len().checked_sub(2).and_then(|index| looks.get(index));
            last.is_some_and(|last| now.0 - last.at.0 < step)
        };
        if is_close(&self.looks) {
            self.looks.pop_back();
        }
        self.looks.push_back(look);
        while self.looks.len() > 2
            && let Some(second) = self.looks.get(1).copied()
            && now.0 - second.at.0 >= window_us
            && let Some(first) = self.looks.pop_front()
        {
            let passed = Duration::from_micros((second.at.0 - first.at.0).unsigned_abs());
            let kept = 0.5_f64.powf(passed.as_secs_f64() / HALF_LIFE.as_secs_f64());
            self.before.0 = self.before.0 * kept + (second.sum - first.sum);
            self.before.1 = self.before.1 * kept + (second.count - first.count);
        }
        let (first, last) = (self.looks.front()?, self.looks.back()?);
        let count = last.count - first.count;
        let usual_count = self.before.1;
        let usual = if usual_count > 0.0 { self.before.0 / usual_count } else { 0.0 };
        (count > 0.0).then(|| Ratio {
            lately: (last.sum - first.sum) / count,
            count,
            usual,
            usual_count,
        })
    }
}

pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    /// Looks once a second, each with one more counted and `each` more summed.
    fn run(usual: &mut Usual, seconds: std::ops::Range<i32>, each: f64, sum: &mut f64) -> Ratio {
        let mut last = None;
        for second in seconds {
            *sum += each;
            let now = Timestamp(i64::from(second) * 1_000_000);
            last = usual.look((*sum, f64::from(second)), WINDOW, now).or(last);
        }
        last.unwrap()
    }

    #[test]
    fn what_is_lately_is_apart_from_what_is_usual() {
        let (mut usual, mut sum) = (Usual::default(), 0.0);
        let calm = run(&mut usual, 1..600, 2.0, &mut sum);
        assert!((calm.lately - 2.0).abs() < 0.01 && (calm.usual - 2.0).abs() < 0.01);
        let busy = run(&mut usual, 600..650, 20.0, &mut sum);
        assert!(busy.lately > 15.0 && busy.usual < 2.1, "{busy:?}");
        assert!(usual.looks.len() <= 302);
    }

    #[test]
    fn nothing_counted_says_nothing() {
        let mut usual = Usual::default();
        assert_eq!(usual.look((0.0, 0.0), WINDOW, Timestamp(0)), None);
        assert_eq!(usual.look((0.0, 0.0), WINDOW, Timestamp(1_000_000)), None);
    }

    #[test]
    fn a_count_that_falls_begins_anew() {
        let (mut usual, mut sum) = (Usual::default(), 0.0);
        run(&mut usual, 1..100, 2.0, &mut sum);
        assert_eq!(usual.look((0.0, 0.0), WINDOW, Timestamp(101_000_000)), None);
    }
}
