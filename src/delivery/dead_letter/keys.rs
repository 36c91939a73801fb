//! [`DeadKeys`]: whose later changes have to be noted (pure).

use std::collections::HashMap;

use super::Newer;
use crate::lsn::{EventId, Lsn};

/// The keys of a sink's dead letters, each with the commit of its newest one.
///
/// What the sink takes of such a key makes older dead letters older than what it has. Behind the
/// newest of a key that is noted once, and then forgotten; before it, as when an older one is sent
/// again, the key stays: something newer may still come.
#[derive(Debug, Default)]
pub(in crate::delivery) struct DeadKeys(HashMap<u64, Lsn>);

impl DeadKeys {
    pub(in crate::delivery) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An event of these keys is dead.
    pub(in crate::delivery) fn died(&mut self, keys: impl IntoIterator<Item = u64>, commit: Lsn) {
        for key in keys {
            let newest = self.0.entry(key).or_insert(commit);
            *newest = commit.max(*newest);
        }
    }

    /// Returns what has to be noted because the sink took an event of these keys.
    pub(in crate::delivery) fn took(
        &mut self,
        keys: impl IntoIterator<Item = u64>,
        id: EventId,
    ) -> Vec<Newer> {
        let mut noted = Vec::new();
        for key in keys {
            let Some(newest) = self.0.get(&key) else { continue };
            if *newest < id.position.commit_lsn {
                self.0.remove(&key);
            }
            noted.push(Newer::Key(key, id));
        }
        noted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Position;

    const fn id(lsn: u64) -> EventId {
        EventId { timeline: 1, position: Position::new(Lsn(lsn), 0) }
    }

    #[test]
    fn a_key_is_noted_until_something_behind_its_newest_dead_letter_was_taken() {
        let mut keys = DeadKeys::default();
        keys.died([7, 8], Lsn(10));
        keys.died([7], Lsn(30));
        keys.died([7], Lsn(20));
        assert_eq!(keys.took([9], id(40)), []);
        // The first is sent again: the others stay.
        assert_eq!(keys.took([7], id(10)), [Newer::Key(7, id(10))]);
        assert_eq!(keys.took([7, 8], id(40)), [Newer::Key(7, id(40)), Newer::Key(8, id(40))]);
        assert!(keys.is_empty());
        assert_eq!(keys.took([7], id(50)), []);
    }
}
