//! [`Bounds`]: how much of memory the events that wait at a sink may hold.
//!
//! All sinks share it, so that many of them that hang hold no more than one.

use super::settings::Settings;

/// Events that wait in the lanes of all sinks.
const EVENTS_ALL: usize = 96 * 1024;
/// Events that wait in a sink's lanes. Enough for many full batches a lane.
const EVENTS_MAX: usize = 64 * 1024;
/// Bytes of bodies that wait in the lanes of all sinks.
const BYTES_ALL: u64 = 16 << 20;
/// Bytes of bodies that wait in a sink's lanes; there is always room for one event.
const BYTES_MAX: u64 = 8 << 20;
/// The least of both: a batch of its own.
const BYTES_MIN: u64 = 1 << 20;
/// Chunks that waiting events of all sinks keep in memory, beside the journal's tail.
const CHUNK_BYTES_ALL: usize = 40 << 20;

/// What one sink may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Events.
    pub(super) events_max: usize,
    /// Bytes of bodies.
    pub(super) bytes_max: u64,
    /// Bytes of chunks; there is always room for one.
    pub(super) chunk_bytes_max: usize,
}

impl Bounds {
    /// Returns the share of one of so many sinks.
    pub(super) fn share(sinks: usize, settings: &Settings) -> Self {
        let sinks = sinks.max(1);
        // Less would leave lanes without a batch to send.
        let batches = u64::from(settings.concurrency) * u64::from(settings.batch.max_events) * 2;
        let batches = usize::try_from(batches).unwrap_or(EVENTS_MAX);
        let bytes = BYTES_ALL / u64::try_from(sinks).unwrap_or(u64::MAX);
        Self {
            events_max: (EVENTS_ALL / sinks).max(batches).min(EVENTS_MAX),
            bytes_max: bytes.clamp(BYTES_MIN, BYTES_MAX),
            chunk_bytes_max: CHUNK_BYTES_ALL / sinks,
        }
    }
}
