//! What HubSpot says of its limits.
//!
//! <https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines>

use std::time::{Duration, SystemTime};

use hyper::header::{HeaderMap, HeaderName};

const REMAINING: HeaderName = HeaderName::from_static("x-hubspot-ratelimit-remaining");
const INTERVAL: HeaderName = HeaderName::from_static("x-hubspot-ratelimit-interval-milliseconds");
const DAILY_REMAINING: HeaderName = HeaderName::from_static("x-hubspot-ratelimit-daily-remaining");

/// The window of requests where an answer does not say it.
const WINDOW: Duration = Duration::from_secs(10);

/// A day begins at midnight of the account's time zone, which nobody tells us; midnights of time
/// zones fall on full, half and quarter hours.
const QUARTER: u64 = 15 * 60;

/// Returns how long nothing more is to be sent, since all is used up.
pub(super) fn pause(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    if number(headers, &DAILY_REMAINING) == Some(0) {
        return Some(until_a_day_may_begin(now));
    }
    (number(headers, &REMAINING) == Some(0)).then(|| window(headers))
}

/// Returns how long to wait after a 429 of this policy.
pub(super) fn after(policy: &str, headers: &HeaderMap, now: SystemTime) -> Duration {
    if policy.contains("DAILY") { until_a_day_may_begin(now) } else { window(headers) }
}

fn window(headers: &HeaderMap) -> Duration {
    number(headers, &INTERVAL).map_or(WINDOW, Duration::from_millis)
}

/// Returns how long it is to the next quarter of an hour, and a moment.
fn until_a_day_may_begin(now: SystemTime) -> Duration {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(QUARTER.saturating_sub(since.as_secs() % QUARTER).saturating_add(1))
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_window_that_is_used_up_is_waited_for() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(QUARTER * 7 + 60);
        let check = |pairs: &[(HeaderName, &'static str)], expected: Option<u64>| {
            assert_eq!(pause(&headers(pairs), now), expected.map(Duration::from_secs), "{pairs:?}");
        };
        check(&[], None);
        check(&[(REMAINING, "1"), (INTERVAL, "10000")], None);
        check(&[(REMAINING, "0"), (INTERVAL, "5000")], Some(5));
        check(&[(REMAINING, "0")], Some(10));
        check(&[(REMAINING, "9"), (DAILY_REMAINING, "0")], Some(QUARTER - 60 + 1));
        check(&[(REMAINING, "no")], None);
    }

    #[test]
    fn a_day_that_is_used_up_takes_longer_than_ten_seconds() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(QUARTER * 7 + QUARTER - 2);
        assert_eq!(after("DAILY", &HeaderMap::new(), now), Duration::from_secs(3));
        let told = headers(&[(INTERVAL, "10000")]);
        assert_eq!(after("TEN_SECONDLY_ROLLING", &told, now), Duration::from_secs(10));
    }
}
