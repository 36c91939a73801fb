//! Stage 3, keep: chunks on disk and in memory, a cursor per sink.
//!
//! Knows nothing of sinks and of what a value means.

pub mod record;
