//! [`Backoff`]: how long to wait after a failure (pure; chance is an argument).

use std::time::Duration;

use super::settings::RetrySettings;

/// Exponential backoff with full jitter: a random moment before a bound that doubles.
///
/// Full jitter spreads the retries of many lanes evenly, where a fixed delay would send them all
/// at once again. See
/// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    initial: Duration,
    max: Duration,
    retry_after_max: Duration,
}

impl Backoff {
    pub(super) const fn new(settings: &RetrySettings) -> Self {
        let RetrySettings { initial, max, retry_after_max, .. } = *settings;
        Self { initial, max, retry_after_max }
    }

    /// Returns the wait after the `failures`-th failure in a row; `jitter` lies in 0..1.
    pub(super) fn delay(self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let bound = self.initial.saturating_mul(1u32 << doublings).min(self.max);
        bound.mul_f64(jitter.clamp(0.0, 1.0))
    }

    /// Returns the wait that a far side asked for, as far as it is believed.
    pub(super) fn believed(self, told: Duration) -> Duration {
        told.min(self.retry_after_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff::new(&RetrySettings::default())
    }

    #[test]
    fn the_bound_doubles_up_to_the_maximum() {
        for (failures, seconds) in [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (u32::MAX, 300)] {
            assert_eq!(backoff().delay(failures, 1.0), Duration::from_secs(seconds), "{failures}");
            assert_eq!(backoff().delay(failures, 0.0), Duration::ZERO);
        }
    }

    #[test]
    fn a_far_side_that_asks_for_a_year_is_believed_for_an_hour() {
        let year = Duration::from_secs(365 * 86_400);
        assert_eq!(backoff().believed(year), Duration::from_secs(3600));
        assert_eq!(backoff().believed(Duration::ZERO), Duration::ZERO);
    }
}
