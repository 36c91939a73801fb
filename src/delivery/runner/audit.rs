//! Whether every event is somewhere: what came from the source against what was taken in, and what
//! the ledger has as not done against what is in hand.

use std::time::Duration;

use super::super::handle::AUDIT_EVERY;
use super::Runner;

impl Runner {
    /// Something happened: the next audit finds out whether an event was lost by it.
    pub(super) fn ask_for_audit(&mut self, now: Duration) {
        self.audit_at.get_or_insert(now.saturating_add(AUDIT_EVERY));
    }

    /// Compares, when it is time. Between two turns of the loop every event that is not done waits
    /// in a lane or to be written; only what is just being taken back is in both places.
    pub(super) fn audit(&mut self, now: Duration) {
        let is_moving = !self.effects.is_empty() || self.ward.is_reopening();
        if is_moving || self.audit_at.is_none_or(|at| at > now) {
            return;
        }
        self.audit_at = None;
        let in_hand = self.scheduler.ordinals().chain(self.ward.ordinals());
        self.progress.audit(self.reader.taken(), in_hand);
    }
}
