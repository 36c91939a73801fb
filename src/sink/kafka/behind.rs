//! [`Behind`]: whose turn it is not, because an earlier event of its key did not arrive.

use std::collections::HashSet;

use crate::envelope::Envelope;

/// Keys of which an event of the batch failed.
#[derive(Debug, Default)]
pub(super) struct Behind(HashSet<u64>);

impl Behind {
    /// Notes an event that failed, or waits for one.
    pub(super) fn add(&mut self, event: &Envelope) {
        self.0.extend(keys(event));
    }

    /// Whether an earlier event of one of its keys failed.
    pub(super) fn is(&self, event: &Envelope) -> bool {
        !self.0.is_empty() && keys(event).any(|key| self.0.contains(&key))
    }
}

fn keys(event: &Envelope) -> impl Iterator<Item = u64> {
    std::iter::once(event.key_hash).chain(event.before_key_hash)
}
