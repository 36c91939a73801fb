//! Sends what was mapped: lanes that keep the order of a key, batches, retries, a breaker, and
//! dead letters.
//!
//! Knows nothing of what a destination is (that is [`crate::sink`]), nor of what an event says.

mod backoff;
mod batches;
mod bounds;
mod breaker;
mod budget;
mod compact;
mod dead_letter;
mod fate;
mod gate;
mod handle;
mod lane;
mod orders;
mod pace;
mod parked;
mod poll;
mod ramp;
mod reader;
mod record;
mod registry;
mod runner;
mod schedule;
mod scheduler;
mod settings;
mod shapes;
mod spans;
mod view;
mod ward;
mod window;

pub use batches::{
    Batch, newest as newest_batches, prune as prune_batches,
    rename_route as rename_route_of_batches, store as store_batches,
};
pub use breaker::{BreakerState, HaltReason};
pub use dead_letter::{
    Begin as Replay, Begun, Cause as DeadLetterCause, Filter as DeadLetterFilter,
    KeyError as DeadLetterKeyError, Listed as DeadLetter, Of as DeadLettersOf,
    Shown as DeadLetterShown, Try, causes as dead_letter_causes, counts as dead_letter_counts,
    discard as discard_dead_letters, discard_selected as discard_selected_dead_letters,
    expire as expire_dead_letters, list as list_dead_letters, mappings as dead_letter_mappings,
    missing as missing_dead_letters, newest as newest_dead_letters, outcomes as replay_outcomes,
    owners as owners_of_dead_letters, prune as prune_dead_letters, rename as rename_dead_letters,
    show as show_dead_letter, waiting_sinks as sinks_with_waiting,
};
pub use fate::{Fate, SetAside, fate};
pub use gate::Gates;
pub use handle::{Counters, LATENCY_BOUNDS_US, SinkProgress, SinkState, Snapshot};
pub use lane::Tracked;
pub use orders::{NotServed, Order, Ordered, Orders};
pub use parked::LetterState;
pub use poll::{Asked, Cursor, Page, PollParts, Polled, Poller, Refusal, Tray, WAIT_MAX};
pub use record::{Record, Records, Sent};
pub use registry::{
    Changed as ChangedMapping, Kept as KeptMapping, NotKept, Versions, all as kept_mappings,
    changed as changed_mappings, mapping as kept_mapping, mapping_today,
    remember as remember_mapping,
};
pub use runner::{Error, Parts, Runner};
pub use schedule::{Schedule, ScheduleError};
pub use scheduler::{Dispatch, DispatchId, Effect, Reopened, Scheduler, What};
pub use settings::{
    BatchLimits, BreakerSettings, OnDead, Rate, RateLimit, RetrySettings, Settings,
};
pub use spans::{By, Refused, Span, Tracing};
pub use window::{Progress as WindowProgress, Told as WindowTold, WindowOrder, has_key};
