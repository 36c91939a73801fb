//! What a sink's owner can set, already checked.

use std::time::Duration;

use super::schedule::Schedule;

/// How one sink is served. Every field has the contract's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How much goes in one request.
    pub batch: BatchLimits,
    /// Requests in flight at the same time, at least 1. Order holds per key at any number.
    pub concurrency: u32,
    /// How fast, where the far side sets limits.
    pub rate_limit: RateLimit,
    /// How long one request may take.
    pub timeout: Duration,
    /// When a failure is tried again.
    pub retry: RetrySettings,
    /// When a sink counts as down.
    pub breaker: BreakerSettings,
    /// How often a halted sink is tried again.
    pub halt_probe: Duration,
    /// What becomes of later changes of a key whose event is dead.
    pub on_dead: OnDead,
    /// More dead letters than this halt the sink.
    pub max_dead: u64,
    /// More events that wait behind another than this make the lane wait.
    pub max_blocked: u64,
    /// Dead letters older than this are discarded; none: they stay for ever.
    pub dead_retain: Option<Duration>,
    /// Nothing is sent but at these times; none: everything at once.
    pub schedule: Option<Schedule>,
    /// Of what has gathered until then only the last change of each key is sent.
    pub compact: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch: BatchLimits::default(),
            concurrency: 1,
            rate_limit: RateLimit::default(),
            timeout: Duration::from_secs(30),
            retry: RetrySettings::default(),
            breaker: BreakerSettings::default(),
            halt_probe: Duration::from_secs(30),
            on_dead: OnDead::default(),
            max_dead: 10_000,
            max_blocked: 100_000,
            dead_retain: None,
            schedule: None,
            compact: false,
        }
    }
}

/// How much goes in one request: what has arrived, up to these limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Events, at least 1. The default of `http` is 1.
    pub max_events: u32,
    /// Bytes of bodies. A single event may be larger and then goes alone.
    pub max_bytes: u64,
    /// How long a batch that is not full waits for more. Zero: not at all.
    pub max_wait: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { max_events: 500, max_bytes: 1 << 20, max_wait: Duration::ZERO }
    }
}

/// How fast a sink is served; each limit alone or together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests.
    pub requests: Option<Rate>,
    /// Events.
    pub events: Option<Rate>,
    /// Bytes of bodies.
    pub bytes: Option<Rate>,
    /// Requests that may go at once after a pause, at least 1.
    pub burst: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { requests: None, events: None, bytes: None, burst: 1 }
    }
}

/// So many in a span of time: `50/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least 1.
    pub amount: u64,
    /// In which time, above zero.
    pub per: Duration,
}

/// When a failure is tried again: at a random moment before a bound that doubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// The bound after the first failure.
    pub initial: Duration,
    /// What the bound never passes.
    pub max: Duration,
    /// After so many attempts an event that fails alone is given up, at least 1.
    pub max_attempts: u32,
    /// A far side that asks for more than this is believed only so far.
    pub retry_after_max: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(300),
            max_attempts: 10,
            retry_after_max: Duration::from_secs(3600),
        }
    }
}

/// When a sink counts as down, and how long it is left alone then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row, at least 1.
    pub failures: u32,
    /// Within which time they have to fall.
    pub window: Duration,
    /// How long it stays open before a probe.
    pub cooldown: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 5, window: Duration::from_secs(30), cooldown: Duration::from_secs(30) }
    }
}

/// What becomes of later changes of a key whose event is dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDead {
    /// They are delivered.
    #[default]
    Continue,
    /// They wait behind it.
    Block,
}
