//! What else an event waits for: lanes, and the stream.

use std::time::Duration;

use super::{LetterState, Parked};
use crate::lsn::EventId;

impl Parked {
    /// Has every event behind `id` that is still to be tried, or waits for a lane, wait once, and
    /// returns them.
    pub(in crate::delivery) fn hold_back(&mut self, id: EventId) -> Vec<EventId> {
        let mut held = Vec::new();
        for (other, entry) in &mut self.entries {
            let is_held = entry.state != LetterState::Dead || entry.waits > 0;
            if *other > id && is_held && !entry.busy {
                entry.waits = 1;
                self.due.remove(entry.due, *other);
                held.push(*other);
            }
        }
        held
    }

    /// A lane, or the stream, has come to its place.
    pub(in crate::delivery) fn waited(&mut self, id: EventId, now: Duration) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.waits = entry.waits.saturating_sub(1);
            let due = entry.due.max(now);
            self.look_at(id, due);
        }
    }

    /// It waits for one thing more.
    pub(in crate::delivery) fn wait_once_more(&mut self, id: EventId) {
        self.not_due(id);
        self.entries.get_mut(&id).into_iter().for_each(|entry| entry.waits += 1);
    }

    /// It waits for a lane where one of its keys is under way.
    pub(in crate::delivery) fn wait_apart(&mut self, id: EventId) {
        self.wait_once_more(id);
        self.entries.get_mut(&id).into_iter().for_each(|entry| entry.apart = true);
    }
}
