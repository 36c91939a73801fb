//! What is kept twice has to agree.

use std::collections::{BTreeMap, HashSet};

use super::{LetterState, Parked};
use crate::lsn::EventId;

impl Parked {
    /// Compares what is kept twice. Returns what waits, and for how many things.
    pub(in crate::delivery) fn check(&self) -> Vec<(EventId, u32)> {
        let (mut counts, mut held) = ([0u64; 3], BTreeMap::new());
        let (mut due, mut busy, mut busy_tables) = (0, HashSet::new(), HashSet::new());
        for (id, entry) in &self.entries {
            counts[0] += u64::from(entry.state == LetterState::Blocked);
            counts[1] += u64::from(entry.state == LetterState::Retrying);
            counts[2] += u64::from(entry.state == LetterState::Replaying);
            if entry.held && entry.state != LetterState::Dead {
                *held.entry(entry.route.clone().expect("a route")).or_insert(0u64) += 1;
            }
            if entry.busy {
                busy.extend(entry.keys.into_iter().flatten());
                if entry.truncates {
                    busy_tables.insert(entry.table());
                }
            }
            let is_free = entry.keys.into_iter().flatten().all(|k| !self.busy_keys.contains(&k))
                && !self.busy_tables.contains(&entry.table());
            let is_ready = entry.state != LetterState::Dead
                && !entry.held
                && entry.stored
                && !entry.busy
                && entry.waits == 0
                && is_free
                && self.is_first(*id, entry);
            let key = (entry.due, *id);
            let is_due = self.due.first.contains(&key) || self.due.again.contains(&key);
            assert_eq!(is_ready, is_due, "{id} is {entry:?}");
            due += usize::from(is_due);
        }
        assert_eq!(due, self.due.first.len() + self.due.again.len(), "what is due");
        let own = [self.blocked(), self.retrying, self.replaying as u64];
        assert_eq!(counts, own, "blocked, retrying, replaying");
        assert_eq!(held, self.held);
        assert_eq!(busy, self.busy_keys);
        assert_eq!(busy_tables, self.busy_tables);
        let waits = self.entries.iter().filter(|(_, entry)| entry.waits > 0);
        waits.map(|(id, entry)| (*id, entry.waits)).collect()
    }
}
