//! [`Shelf`]: events that wait to be fetched, in commit order (pure).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::delivery::record::Recorded;
use crate::envelope::RouteLabel;
use crate::lsn::{EventId, Position, Timestamp};
use crate::progress::ledger::Ordinal;

/// An event that waits. It keeps its body, not the chunk that it came from.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) ordinal: Ordinal,
    pub(super) id: EventId,
    /// None of a table without a key: it overwrites nothing.
    pub(super) keys: [Option<u64>; 2],
    /// Of a TRUNCATE: the table, as SQL would quote it.
    pub(super) truncated: Option<String>,
    pub(super) body: Bytes,
    pub(super) route: Arc<RouteLabel>,
    pub(super) commit_time: Option<Timestamp>,
}

impl Recorded for Ready {
    fn position(&self) -> Position {
        self.id.position
    }

    fn route(&self) -> &Arc<RouteLabel> {
        &self.route
    }
}

/// What lies there, and how far it was acknowledged.
///
/// Invariant: positions rise from front to back, and none lies below `from`.
#[derive(Debug)]
pub(super) struct Shelf {
    events: VecDeque<Ready>,
    bytes: u64,
    /// Everything below was acknowledged.
    from: Position,
    /// Everything below lies here, was acknowledged, or is not to be fetched.
    passed: Position,
}

impl Shelf {
    /// Everything below `from` was acknowledged.
    pub(super) const fn new(from: Position) -> Self {
        Self { events: VecDeque::new(), bytes: 0, from, passed: from }
    }

    pub(super) const fn from(&self) -> Position {
        self.from
    }

    pub(super) const fn passed(&self) -> Position {
        self.passed
    }

    /// Returns how many events lie there, and the bytes of their bodies.
    pub(super) fn holds(&self) -> (usize, u64) {
        (self.events.len(), self.bytes)
    }

    /// Lays out the next event; one that was acknowledged before it came is returned.
    pub(super) fn put(&mut self, ready: Ready) -> Option<Ready> {
        if ready.id.position < self.from {
            return Some(ready);
        }
        self.bytes += weight(&ready);
        self.events.push_back(ready);
        None
    }

    /// Says that everything below `end` was put, or is not to be fetched.
    pub(super) fn pass(&mut self, end: Position) {
        self.passed = self.passed.max(end);
    }

    /// Takes away what lies below `from`. Never goes back.
    pub(super) fn acknowledge(&mut self, from: Position) -> Vec<Ready> {
        self.from = self.from.max(from);
        let count = self.events.partition_point(|ready| ready.id.position < self.from);
        let done: Vec<Ready> = self.events.drain(..count).collect();
        self.bytes -= done.iter().map(weight).sum::<u64>();
        done
    }

    /// Returns where the first event lies.
    pub(super) fn first(&self) -> Option<Position> {
        self.events.front().map(|ready| ready.id.position)
    }

    /// Returns the events that lie there.
    pub(super) fn ordinals(&self) -> impl Iterator<Item = Ordinal> {
        self.events.iter().map(|ready| ready.ordinal)
    }

    /// Returns the first events, up to these limits but at least one, and leaves them there.
    pub(super) fn page(&self, limit: usize, bytes_max: u64) -> Vec<(EventId, Bytes)> {
        let mut bytes = 0;
        let mut page = Vec::new();
        for ready in self.events.iter().take(limit) {
            bytes += weight(ready);
            if bytes > bytes_max && !page.is_empty() {
                break;
            }
            page.push((ready.id, ready.body.clone()));
        }
        page
    }
}

fn weight(ready: &Ready) -> u64 {
    u64::try_from(ready.body.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lsn::Lsn;

    fn ready(lsn: u64, bytes: usize) -> Ready {
        Ready {
            ordinal: lsn,
            id: EventId { timeline: 1, position: Position::new(Lsn(lsn), 0) },
            keys: [None; 2],
            truncated: None,
            body: vec![b' '; bytes].into(),
            route: Arc::new(RouteLabel { name: "r".into(), mapping: None }),
            commit_time: None,
        }
    }

    fn lsns(page: &[(EventId, Bytes)]) -> Vec<u64> {
        page.iter().map(|(id, _)| id.position.commit_lsn.0).collect()
    }

    #[test]
    fn a_page_holds_at_least_one_event_and_no_more_than_asked_for() {
        let mut shelf = Shelf::new(Position::ZERO);
        assert!(shelf.page(10, 10).is_empty());
        for (lsn, bytes) in [(1, 50), (2, 4), (3, 4), (4, 4)] {
            assert!(shelf.put(ready(lsn, bytes)).is_none());
        }
        assert_eq!(lsns(&shelf.page(10, 10)), [1]);
        assert_eq!(lsns(&shelf.page(2, 1000)), [1, 2]);
        assert_eq!(shelf.holds(), (4, 62));
        let done = shelf.acknowledge(Position::new(Lsn(2), 0));
        assert_eq!(done.iter().map(|ready| ready.ordinal).collect::<Vec<_>>(), [1]);
        assert_eq!(lsns(&shelf.page(10, 10)), [2, 3]);
        assert_eq!(shelf.holds(), (3, 12));
    }

    #[test]
    fn what_was_acknowledged_before_it_came_is_not_laid_out() {
        let mut shelf = Shelf::new(Position::ZERO);
        assert!(shelf.acknowledge(Position::new(Lsn(5), 1)).is_empty());
        assert!(shelf.put(ready(5, 1)).is_some());
        assert!(shelf.put(ready(6, 1)).is_none());
        assert!(shelf.acknowledge(Position::new(Lsn(2), 0)).is_empty());
        assert_eq!(shelf.from(), Position::new(Lsn(5), 1));
    }

    proptest! {
        #[test]
        fn whatever_is_acknowledged_when_each_event_is_done_once_and_pages_go_on_there(
            steps in prop::collection::vec((any::<bool>(), 0u64..60, 1usize..9), 1..120),
        ) {
            let mut shelf = Shelf::new(Position::ZERO);
            let (mut put, mut done) = (0, Vec::new());
            for (acknowledges, number, limit) in steps {
                if acknowledges {
                    let from = Position::new(Lsn(number), 0);
                    done.extend(shelf.acknowledge(from).iter().map(|ready| ready.ordinal));
                } else {
                    put += 1;
                    done.extend(shelf.put(ready(put, 3)).map(|ready| ready.ordinal));
                }
                let undone: Vec<u64> = (1..=put).filter(|n| !done.contains(n)).collect();
                prop_assert!(undone.iter().all(|n| Position::new(Lsn(*n), 0) >= shelf.from()));
                let page = lsns(&shelf.page(limit, u64::MAX));
                prop_assert_eq!(&page[..], &undone[..limit.min(undone.len())]);
                prop_assert_eq!(shelf.holds(), (undone.len(), undone.len() as u64 * 3));
            }
            let count = done.len();
            done.sort_unstable();
            done.dedup();
            prop_assert_eq!(done.len(), count);
        }
    }
}
