//! Sends what was mapped: lanes that keep the order of a key, batches, retries, a breaker, and
//! dead letters.
//!
//! Knows nothing of what a destination is (that is [`crate::sink`]), nor of what an event says.

mod settings;

pub use settings::{
    BatchLimits, BreakerSettings, OnDead, Rate, RateLimit, RetrySettings, Settings,
};
