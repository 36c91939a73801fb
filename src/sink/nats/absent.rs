//! [`Absent`]: since when nobody takes what an event's subject is.
//!
//! A stream that changes its leader, or a server that just comes up, has nobody at its subject for
//! a moment; a stream that was never made has not either. What has lasted is the set-up's fault.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::Category;
use crate::lsn::EventId;

/// A change of leaders takes less.
const LASTING: Duration = Duration::from_secs(5);

/// So many events are remembered; those that come then are told as if they were the first time.
const EVENTS_MAX: usize = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Absent {
    since: Mutex<BTreeMap<EventId, Instant>>,
}

impl Absent {
    /// Nobody took the event (again).
    pub(super) fn category(&self, event: EventId, now: Instant) -> Category {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.len() >= EVENTS_MAX && !since.contains_key(&event) {
            return Category::Transient;
        }
        let start = *since.entry(event).or_insert(now);
        if now.duration_since(start) >= LASTING { Category::Setup } else { Category::Transient }
    }

    /// Somebody took it.
    pub(super) fn taken(&self, event: EventId) {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).remove(&event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::{Lsn, Position};

    #[test]
    fn only_what_lasts_blames_the_setup_and_each_event_for_itself() {
        let (absent, start) = (Absent::default(), Instant::now());
        let event = |seq| EventId { timeline: 1, position: Position::new(Lsn(1), seq) };
        assert_eq!(absent.category(event(1), start), Category::Transient);
        assert_eq!(absent.category(event(1), start + LASTING / 2), Category::Transient);
        absent.taken(event(2));
        assert_eq!(absent.category(event(2), start + LASTING), Category::Transient);
        assert_eq!(absent.category(event(1), start + LASTING), Category::Setup);
        absent.taken(event(1));
        assert_eq!(absent.category(event(1), start + LASTING * 2), Category::Transient);
    }
}
