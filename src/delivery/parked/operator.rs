//! What a person does to events outside their lanes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Again, Entry, LetterState, Parked};
use crate::envelope::TableTag;
use crate::lsn::EventId;

impl Parked {
    /// Holds what is here of a route, or lets it go.
    pub(in crate::delivery) fn hold(&mut self, route: &str, hold: bool, now: Duration) {
        let (mut let_go, mut waiting) = (Vec::new(), 0);
        for (id, entry) in &mut self.entries {
            if entry.held == hold || entry.route.as_deref() != Some(route) {
                continue;
            }
            entry.held = hold;
            if hold {
                waiting += u64::from(entry.state != LetterState::Dead);
                self.due.remove(entry.due, *id);
            } else {
                let_go.push(*id);
            }
        }
        if !hold {
            self.held.remove(route);
        } else if waiting > 0 {
            *self.held.entry(Arc::from(route)).or_default() += waiting;
        }
        let_go.into_iter().for_each(|id| self.look_at(id, now));
    }

    /// Returns how many wait because their route is held, by route.
    pub(in crate::delivery) const fn held(&self) -> &BTreeMap<Arc<str>, u64> {
        &self.held
    }

    /// Notes that the sink took `newer` of a key: what is to be sent again of it is older.
    pub(in crate::delivery) fn overtake(&mut self, key: u64, newer: EventId) {
        let queue = self.queues.get(&key).into_iter().flatten();
        for id in queue.take_while(|id| **id < newer) {
            if let Some(again) = self.entries.get_mut(id).and_then(|entry| entry.again.as_mut()) {
                again.overtaken = true;
            }
        }
    }

    /// Notes that the sink took a TRUNCATE: what is to be sent again of its table is older.
    pub(in crate::delivery) fn overtake_table(&mut self, table: TableTag, truncate: EventId) {
        let older: Vec<EventId> = self.tables.before(table, truncate).collect();
        for id in older {
            if let Some(again) = self.entries.get_mut(&id).and_then(|entry| entry.again.as_mut()) {
                again.overtaken = true;
            }
        }
    }

    /// As [`Parked::overtake_table`], if that event here is a TRUNCATE.
    pub(in crate::delivery) fn took_truncate(&mut self, id: EventId) {
        if let Some(entry) = self.entries.get(&id).filter(|entry| entry.truncates) {
            self.overtake_table(entry.table(), id);
        }
    }

    /// Returns how many a person has sent again.
    pub(in crate::delivery) const fn replaying(&self) -> usize {
        self.replaying
    }

    /// A person has it sent again that was given up, and is tried at `due`.
    pub(in crate::delivery) fn revive(&mut self, id: EventId, again: Again, due: Duration) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.again = Some(again);
        entry.stored = true;
        (entry.attempts, entry.failures) = (0, 0);
        self.retry(id, due);
    }

    /// A person discards it. One that is under way goes once it has landed.
    pub(in crate::delivery) fn discard(&mut self, id: EventId, now: Duration) {
        match self.entries.get_mut(&id) {
            Some(entry) if entry.busy => {
                entry.discarded = true;
                self.set_state(id, LetterState::Dead);
            }
            _ => self.remove(id, now),
        }
    }

    /// Whether it was discarded while it was under way.
    pub(in crate::delivery) fn is_discarded(&self, id: EventId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.discarded)
    }
}

/// Counts an event that waits because its route is held, or counts it no more. What is dead waits
/// for a person, whatever becomes of its route.
pub(super) fn count_held(held: &mut BTreeMap<Arc<str>, u64>, entry: &Entry, is_here: bool) {
    let route = entry.route.as_ref().filter(|_| entry.held && entry.state != LetterState::Dead);
    let Some(route) = route else { return };
    let count = held.entry(Arc::clone(route)).or_default();
    *count = if is_here { *count + 1 } else { count.saturating_sub(1) };
    if *count == 0 {
        held.remove(route);
    }
}
