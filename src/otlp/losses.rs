//! [`Losses`]: how much no collector took.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was lost since the start of the process. A copy counts with the others.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    /// Data points of metrics; the next export tells what they had.
    pub(super) points: Arc<AtomicU64>,
    /// Spans.
    pub(super) spans: Arc<AtomicU64>,
}

impl Losses {
    /// Returns the counts by signal.
    #[must_use]
    pub fn by_signal(&self) -> Vec<(&'static str, u64)> {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        vec![("metrics", count(&self.points)), ("traces", count(&self.spans))]
    }
}
