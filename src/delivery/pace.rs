//! [`Pace`]: the rate limits of a sink (pure; time is an argument).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use super::settings::{BatchLimits, Rate, RateLimit};

/// Says when a request may go: never more than each rate in any window of it, plus the burst.
///
/// A request passes all its limits at once or takes nothing from any: a cell taken early and
/// used late would let through more than the rate.
#[derive(Debug, Default)]
pub(super) struct Pace {
    requests: Option<Limit>,
    events: Option<Limit>,
    bytes: Option<Limit>,
}

impl Pace {
    pub(super) fn new(limit: &RateLimit, batch: &BatchLimits) -> Self {
        let burst = u64::from(limit.burst.max(1));
        let events = burst.saturating_mul(u64::from(batch.max_events));
        let bytes = burst.saturating_mul(batch.max_bytes);
        Self {
            requests: limit.requests.and_then(|rate| Limit::new(rate, burst)),
            events: limit.events.and_then(|rate| Limit::new(rate, events)),
            bytes: limit.bytes.and_then(|rate| Limit::new(rate, bytes)),
        }
    }

    /// Whether there is any limit at all.
    pub(super) const fn is_limited(&self) -> bool {
        self.requests.is_some() || self.events.is_some() || self.bytes.is_some()
    }

    /// Lets a request through, or says when to ask again.
    pub(super) fn pass(&self, now: Duration, events: u64, bytes: u64) -> Result<(), Duration> {
        let limits = [(&self.requests, 1), (&self.events, events), (&self.bytes, bytes)];
        let limits = limits.iter().filter_map(|(limit, n)| Some((limit.as_ref()?, *n)));
        let wait = limits.clone().filter_map(|(limit, n)| limit.wait(now, n)).max();
        match wait {
            Some(at) => Err(at),
            None => {
                limits.for_each(|(limit, n)| limit.take(now, n));
                Ok(())
            }
        }
    }
}

/// One generic cell rate limiter.
#[derive(Debug)]
struct Limit {
    limiter: RateLimiter<NotKeyed, Store, Now, NoOpMiddleware<Nanos>>,
    store: Store,
    /// How many of what is counted make one cell, so that a cell takes a time that nanoseconds
    /// count without rounding much.
    unit: u64,
    /// The time that a cell takes, in nanoseconds, rounded up: never faster than the rate.
    cell_ns: u64,
    /// Cells that pass at once after a pause.
    burst: NonZeroU32,
}

impl Limit {
    fn new(rate: Rate, burst: u64) -> Option<Self> {
        let per_ns = rate.per.as_nanos().max(1);
        let amount = u128::from(rate.amount.max(1));
        // At least a microsecond a cell: rounding is then below 0.1 %.
        let unit = (amount * 1000).div_ceil(per_ns).max(1);
        let cell_ns = u64::try_from((per_ns * unit).div_ceil(amount)).ok()?;
        let unit = u64::try_from(unit).ok()?;
        let burst = u32::try_from(burst.div_ceil(unit)).unwrap_or(u32::MAX);
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(Duration::from_nanos(cell_ns))?.allow_burst(burst);
        let store = Store::default();
        let limiter = RateLimiter::new(quota, store.clone(), Now::default());
        Some(Self { limiter, store, unit, cell_ns, burst })
    }

    fn cells(&self, n: u64) -> u32 {
        u32::try_from(n.div_ceil(self.unit)).unwrap_or(u32::MAX)
    }

    /// Returns when to ask again, none when `n` may pass now. Takes nothing.
    fn wait(&self, now: Duration, n: u64) -> Option<Duration> {
        self.store.0.only_looking.store(true, Ordering::Relaxed);
        let wait = self.check(now, n);
        self.store.0.only_looking.store(false, Ordering::Relaxed);
        wait
    }

    /// Takes `n`. What is larger than the whole burst leaves a debt that later requests wait for.
    fn take(&self, now: Duration, n: u64) {
        self.check(now, n);
        let debt = self.cells(n).saturating_sub(self.burst.get());
        let debt_ns = u64::from(debt).saturating_mul(self.cell_ns);
        self.store.0.arrival_ns.fetch_add(debt_ns, Ordering::Relaxed);
    }

    fn check(&self, now: Duration, n: u64) -> Option<Duration> {
        let cells = NonZeroU32::new(self.cells(n).min(self.burst.get()))?;
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.limiter.clock().0.store(now_ns, Ordering::Relaxed);
        match self.limiter.check_n(cells) {
            Ok(Ok(())) | Err(_) => None,
            Ok(Err(not_until)) => {
                let earliest = not_until.earliest_possible();
                // A moment later, as the limiter's bound is open at one side.
                Some(Duration::from_nanos(earliest.as_u64().saturating_add(1)))
            }
        }
    }
}

/// The limiter's state, which can be asked without taking anything.
#[derive(Clone, Debug, Default)]
struct Store(Arc<StoreInner>);

#[derive(Debug, Default)]
struct StoreInner {
    /// The theoretical arrival time; 0 before the first request.
    arrival_ns: AtomicU64,
    only_looking: AtomicBool,
}

impl StateStore for Store {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let arrival = self.0.arrival_ns.load(Ordering::Relaxed);
        let (answer, next) = f((arrival > 0).then(|| Nanos::new(arrival)))?;
        if !self.0.only_looking.load(Ordering::Relaxed) {
            self.0.arrival_ns.store(next.as_u64(), Ordering::Relaxed);
        }
        Ok(answer)
    }
}

/// The time as it was told last, in nanoseconds.
#[derive(Debug, Default)]
struct Now(AtomicU64);

impl Clock for Now {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(amount: u64, seconds: u64) -> Option<Rate> {
        Some(Rate { amount, per: Duration::from_secs(seconds) })
    }

    fn sent(pace: &Pace, until: Duration, costs: &[(u64, u64)]) -> Vec<(Duration, u64, u64)> {
        let mut now = Duration::ZERO;
        let mut sent = Vec::new();
        for (events, bytes) in costs.iter().cycle() {
            while let Err(at) = pace.pass(now, *events, *bytes) {
                assert!(at > now, "{at:?} is not after {now:?}");
                now = at;
            }
            if now > until {
                return sent;
            }
            sent.push((now, *events, *bytes));
        }
        sent
    }

    #[test]
    fn requests_keep_to_the_rate_and_reach_it() {
        let limit = RateLimit { requests: rate(50, 1), burst: 10, ..RateLimit::default() };
        let pace = Pace::new(&limit, &BatchLimits::default());
        let sent = sent(&pace, Duration::from_secs(10), &[(1, 1)]);
        assert!((505..=510).contains(&sent.len()), "{}", sent.len());
        assert_eq!(sent.iter().filter(|(at, ..)| *at == Duration::ZERO).count(), 10);
    }

    #[test]
    fn an_event_larger_than_the_burst_goes_and_is_paid_for_afterwards() {
        let limit = RateLimit { bytes: rate(1000, 1), ..RateLimit::default() };
        let batch = BatchLimits { max_bytes: 100, ..BatchLimits::default() };
        let pace = Pace::new(&limit, &batch);
        assert_eq!(pace.pass(Duration::ZERO, 1, 5000), Ok(()));
        let again = pace.pass(Duration::ZERO, 1, 100).unwrap_err();
        assert!(again >= Duration::from_secs(5), "{again:?}");
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_rate_and_the_burst(
            costs in prop::collection::vec((1u64..=20, 1u64..=500), 1..12),
            requests in 1u64..40, events in 1u64..400, bytes in 50u64..20_000, burst in 1u32..5,
        ) {
            let limit = RateLimit {
                requests: rate(requests, 1), events: rate(events, 1), bytes: rate(bytes, 1), burst,
            };
            let batch = BatchLimits { max_events: 20, max_bytes: 500, ..BatchLimits::default() };
            let pace = Pace::new(&limit, &batch);
            let sent = sent(&pace, Duration::from_secs(5), &costs);
            for (from, ..) in &sent {
                let end = *from + Duration::from_secs(1);
                let window: Vec<_> =
                    sent.iter().filter(|(at, ..)| at >= from && *at < end).collect();
                let burst = u64::from(burst);
                prop_assert!(window.len() as u64 <= requests + burst);
                let sum: u64 = window.iter().map(|(_, events, _)| events).sum();
                prop_assert!(sum <= events + 20 * burst, "{sum} events");
                let sum: u64 = window.iter().map(|(.., bytes)| bytes).sum();
                prop_assert!(sum <= bytes + 500 * burst, "{sum} bytes");
            }
        }
    }
}
