//! Sends what was mapped: lanes that keep the order of a key, batches, retries, a breaker, and
//! dead letters.
//!
//! Knows nothing of what a destination is (that is [`crate::sink`]), nor of what an event says.

mod backoff;
mod bounds;
mod breaker;
mod dead_letter;
mod handle;
mod lane;
mod pace;
mod parked;
mod poll;
mod reader;
mod runner;
mod scheduler;
mod settings;
mod view;
mod ward;

pub use breaker::{BreakerState, HaltReason};
pub use dead_letter::{
    Of as DeadLettersOf, counts as dead_letter_counts, discard as discard_dead_letters,
    expire as expire_dead_letters, rename as rename_dead_letters,
};
pub use handle::{Counters, LATENCY_BOUNDS_US, SinkProgress, SinkState, Snapshot};
pub use lane::Tracked;
pub use parked::LetterState;
pub use poll::{Asked, Page, PollParts, Polled, Poller, Refusal, WAIT_MAX};
pub use runner::{Error, Parts, Runner};
pub use scheduler::{Dispatch, DispatchId, Effect, Scheduler, What};
pub use settings::{
    BatchLimits, BreakerSettings, OnDead, Rate, RateLimit, RetrySettings, Settings,
};
