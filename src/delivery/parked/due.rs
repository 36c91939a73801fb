//! [`Due`]: events that are tried at their time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::LetterState;
use crate::lsn::EventId;

/// Events that are tried at their time.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Such as were never tried.
    pub(super) first: BTreeSet<(Duration, EventId)>,
    /// Such as failed.
    pub(super) again: BTreeSet<(Duration, EventId)>,
}

impl Due {
    pub(super) fn insert(&mut self, state: LetterState, due: Duration, id: EventId) {
        let queue = if state == LetterState::Retrying { &mut self.again } else { &mut self.first };
        queue.insert((due, id));
    }

    pub(super) fn remove(&mut self, due: Duration, id: EventId) {
        self.first.remove(&(due, id));
        self.again.remove(&(due, id));
    }

    pub(super) fn next(&self, now: Duration, retries: bool) -> Option<(Duration, EventId)> {
        let again = self.again.first().filter(|_| retries);
        self.first.first().into_iter().chain(again).min().filter(|(due, _)| *due <= now).copied()
    }
}
