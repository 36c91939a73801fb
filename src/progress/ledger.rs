//! [`Ledger`]: acknowledgements in any order become one safe position (pure).

use std::collections::{BTreeMap, VecDeque};

use crate::lsn::{Lsn, Position};

/// Finished ranges kept above the floor. A sink has about as many as it has requests in flight;
/// what is dropped beyond that costs repeats after a crash, never a loss.
pub const RANGES_MAX: usize = 1024;

/// The number of an event in the order in which its sink tracked it.
pub type Ordinal = u64;

/// How far a sink is, as it is stored: everything below `floor` is done, and so is everything in
/// the `finished` ranges above it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
pub struct Reached {
    /// The lowest position that is not known to be done.
    pub floor: Position,
    /// Half-open ranges above the floor in which everything is done, rising, apart.
    pub finished: Vec<(Position, Position)>,
}

/// Events of one sink in stream order, and which of them are done.
///
/// What the stream holds between two tracked events was read and not wanted, so it counts as done
/// as soon as a later position is tracked or scanned.
///
/// Invariant: [`Ledger::floor`] never passes a tracked event that is not acknowledged.
#[derive(Clone, Debug, Default)]
#[cfg_attr(test, derive(PartialEq, Eq, Hash))]
pub struct Ledger {
    /// From the first event that is not done on, in stream order.
    window: VecDeque<Slot>,
    /// The ordinal of the window's front.
    base: Ordinal,
    /// Events below the window that were done and are not any more.
    reopened: BTreeMap<Ordinal, Position>,
    /// The lowest position behind everything that was read.
    scanned: Position,
    /// Finished ranges of an earlier run that the stream has not come to yet.
    restored: VecDeque<(Position, Position)>,
    /// Tracked events that are not done.
    undone: u64,
}

/// One tracked event. Flat, so that it is 16 bytes.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(PartialEq, Eq, Hash))]
struct Slot {
    commit_lsn: Lsn,
    seq: u32,
    done: bool,
    /// Behind this event, before the next one, lies something that an earlier run had finished.
    followed: bool,
}

impl Slot {
    const fn position(&self) -> Position {
        Position::new(self.commit_lsn, self.seq)
    }
}

impl Ledger {
    /// Starts where an earlier run stopped. The stream is read again from `reached.floor`.
    #[must_use]
    pub fn restore(reached: &Reached) -> Self {
        Self {
            scanned: reached.floor,
            restored: reached.finished.iter().copied().collect(),
            ..Self::default()
        }
    }

    /// Returns whether an earlier run finished this position, so that it is not to be sent again.
    /// Positions are asked for in stream order, each before it is tracked.
    pub fn covers(&mut self, position: Position) -> bool {
        if self.restored.is_empty() {
            return position < self.scanned;
        }
        while self.restored.front().is_some_and(|(_, end)| *end <= position) {
            self.restored.pop_front();
        }
        if self.restored.front().is_some_and(|(start, _)| *start <= position) {
            self.scanned = self.scanned.max(position.next());
            if let Some(last) = self.window.back_mut() {
                last.followed = true;
            }
            return true;
        }
        position < self.scanned
    }

    /// Adds the next event of the stream and returns its ordinal.
    ///
    /// Positions rise from call to call.
    pub fn track(&mut self, position: Position) -> Ordinal {
        let Position { commit_lsn, seq } = position;
        self.window.push_back(Slot { commit_lsn, seq, done: false, followed: false });
        self.scanned = self.scanned.max(position.next());
        self.undone += 1;
        self.base + self.window.len() as u64 - 1
    }

    /// Returns an ordinal for an event that is sent again: in the order of the others, but done as
    /// far as the ledger is concerned.
    pub fn pass(&mut self) -> Ordinal {
        let Some(last) = self.window.back().copied() else {
            self.base += 1;
            return self.base - 1;
        };
        self.window.push_back(Slot { done: true, followed: false, ..last });
        self.base + self.window.len() as u64 - 1
    }

    /// Says that the next event of the stream is done without being sent. A restart knows that as
    /// long as it knows of anything behind it that is done.
    ///
    /// Positions rise from call to call, those of [`Ledger::track`] among them.
    pub fn settle(&mut self, position: Position) {
        self.scanned = self.scanned.max(position.next());
        if let Some(last) = self.window.back_mut() {
            last.followed = true;
        }
    }

    /// Says that everything below `end` was read: what is there and not tracked is not wanted.
    pub fn scanned(&mut self, end: Position) {
        self.scanned = self.scanned.max(end);
    }

    /// Returns the lowest position behind everything that was read.
    #[must_use]
    pub const fn read_to(&self) -> Position {
        self.scanned
    }

    /// Marks an event as done. A second time changes nothing.
    pub fn acknowledge(&mut self, ordinal: Ordinal) {
        let Some(index) = ordinal.checked_sub(self.base) else {
            if self.reopened.remove(&ordinal).is_some() {
                self.undone -= 1;
            }
            return;
        };
        let slot = usize::try_from(index).ok().and_then(|index| self.window.get_mut(index));
        let Some(slot) = slot.filter(|slot| !slot.done) else { return };
        slot.done = true;
        self.undone -= 1;
        while self.window.front().is_some_and(|slot| slot.done) {
            self.window.pop_front();
            self.base += 1;
        }
    }

    /// Takes back that an event is done: the floor returns to it.
    pub fn reopen(&mut self, ordinal: Ordinal, position: Position) {
        let Some(index) = ordinal.checked_sub(self.base) else {
            if self.reopened.insert(ordinal, position).is_none() {
                self.undone += 1;
            }
            return;
        };
        let slot = usize::try_from(index).ok().and_then(|index| self.window.get_mut(index));
        if let Some(slot) = slot.filter(|slot| slot.done) {
            slot.done = false;
            self.undone += 1;
        }
    }

    /// Returns the lowest position that is not known to be done.
    #[must_use]
    pub fn floor(&self) -> Position {
        if let Some(position) = self.reopened.values().next() {
            return *position;
        }
        self.window.front().map_or(self.scanned, Slot::position)
    }

    /// Returns how many tracked events are not done.
    #[must_use]
    pub const fn undone(&self) -> u64 {
        self.undone
    }

    /// Returns how many events are not done and not among those `in_hand`; less than 0 where some
    /// are there more than once.
    #[must_use]
    pub fn unaccounted(&self, in_hand: impl Iterator<Item = Ordinal>) -> i64 {
        let found = in_hand.filter(|ordinal| self.is_undone(*ordinal)).count();
        let [undone, found] =
            [self.undone, found as u64].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        undone - found
    }

    fn is_undone(&self, ordinal: Ordinal) -> bool {
        let Some(index) = ordinal.checked_sub(self.base) else {
            return self.reopened.contains_key(&ordinal);
        };
        let slot = usize::try_from(index).ok().and_then(|index| self.window.get(index));
        slot.is_some_and(|slot| !slot.done)
    }

    /// Returns what is to be stored so that a restart goes on from here.
    #[must_use]
    pub fn reached(&self) -> Reached {
        let mut finished = Finished::default();
        for position in self.reopened.values() {
            finished.undone(*position, true);
        }
        for slot in &self.window {
            if slot.done {
                finished.worth = true;
            } else {
                finished.undone(slot.position(), slot.followed);
            }
            if finished.ranges.len() >= RANGES_MAX {
                return Reached { floor: self.floor(), finished: finished.ranges };
            }
        }
        finished.close(self.scanned);
        let mut ranges = finished.ranges;
        for (start, end) in &self.restored {
            let start = (*start).max(self.scanned);
            if start < *end && ranges.len() < RANGES_MAX {
                ranges.push((start, *end));
            }
        }
        Reached { floor: self.floor(), finished: ranges }
    }
}

/// Collects what lies between events that are not done.
#[derive(Debug, Default)]
struct Finished {
    ranges: Vec<(Position, Position)>,
    /// Behind the last event that is not done.
    open: Option<Position>,
    /// Since then something was finished that would otherwise be sent again.
    worth: bool,
}

impl Finished {
    fn undone(&mut self, position: Position, followed: bool) {
        self.close(position);
        self.open = Some(position.next());
        self.worth = followed;
    }

    fn close(&mut self, end: Position) {
        if let Some(start) = self.open.take()
            && self.worth
            && start < end
        {
            self.ranges.push((start, end));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(lsn: u64, seq: u32) -> Position {
        Position::new(Lsn(lsn), seq)
    }

    #[test]
    fn an_event_that_nobody_has_in_hand_is_found_and_one_that_is_there_twice() {
        let mut ledger = Ledger::default();
        let ordinals: Vec<_> = (0..5).map(|seq| ledger.track(at(10, seq))).collect();
        assert_eq!(ledger.unaccounted(ordinals.iter().copied()), 0);
        ledger.acknowledge(0);
        ledger.acknowledge(3);
        assert_eq!(ledger.unaccounted(ordinals.iter().copied()), 0, "what is done is not counted");
        assert_eq!(ledger.unaccounted([1, 4].into_iter()), 1);
        ledger.reopen(0, at(10, 0));
        assert_eq!(ledger.unaccounted([0, 1, 2, 4, 4].into_iter()), -1);
    }

    #[test]
    fn the_floor_waits_for_the_oldest_and_then_jumps_over_what_is_done() {
        let mut ledger = Ledger::default();
        let ordinals: Vec<_> = (0..4).map(|seq| ledger.track(at(10, seq))).collect();
        ledger.scanned(Position::after_transaction(Lsn(10)));
        assert_eq!(ledger.floor(), at(10, 0));
        ledger.acknowledge(ordinals[2]);
        ledger.acknowledge(ordinals[1]);
        assert_eq!(ledger.floor(), at(10, 0));
        let reached = ledger.reached();
        assert_eq!(reached.finished, vec![(at(10, 1), at(10, 3))]);
        ledger.acknowledge(ordinals[0]);
        assert_eq!(ledger.floor(), at(10, 3));
        ledger.acknowledge(ordinals[3]);
        assert_eq!(ledger.floor(), Position::after_transaction(Lsn(10)));
        assert_eq!(ledger.undone(), 0);
    }

    #[test]
    fn what_no_route_wants_counts_as_done_once_it_was_read() {
        let mut ledger = Ledger::default();
        ledger.scanned(Position::after_transaction(Lsn(7)));
        assert_eq!(ledger.floor(), Position::after_transaction(Lsn(7)));
    }

    #[test]
    fn what_is_sent_again_takes_its_turn_and_holds_back_nothing() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.pass(), 0);
        let first = ledger.track(at(10, 0));
        let again = ledger.pass();
        let second = ledger.track(at(10, 1));
        assert_eq!((first, again, second), (1, 2, 3));
        ledger.acknowledge(again);
        assert_eq!((ledger.floor(), ledger.undone()), (at(10, 0), 2));
        ledger.acknowledge(first);
        assert_eq!(ledger.floor(), at(10, 1));
        ledger.acknowledge(second);
        assert_eq!((ledger.floor(), ledger.undone()), (at(10, 2), 0));
    }

    #[test]
    fn a_reopened_event_takes_the_floor_back_until_it_is_done_again() {
        let mut ledger = Ledger::default();
        let ordinals: Vec<_> = (0..3).map(|seq| ledger.track(at(10, seq))).collect();
        ordinals.iter().for_each(|ordinal| ledger.acknowledge(*ordinal));
        ledger.reopen(ordinals[1], at(10, 1));
        assert_eq!(ledger.floor(), at(10, 1));
        assert_eq!(ledger.reached().finished, vec![(at(10, 2), at(10, 3))]);
        ledger.acknowledge(ordinals[1]);
        assert_eq!(ledger.floor(), at(10, 3));
    }

    #[test]
    fn the_ranges_of_an_earlier_run_are_kept_until_the_stream_has_come_to_them() {
        let reached = Reached {
            floor: at(10, 0),
            finished: vec![(at(10, 1), at(20, 0)), (at(30, 0), at(40, 0))],
        };
        let mut ledger = Ledger::restore(&reached);
        assert_eq!(ledger.reached(), reached);
        assert!(!ledger.covers(at(10, 0)));
        ledger.track(at(10, 0));
        assert_eq!(ledger.reached(), reached);
        assert!(ledger.covers(at(15, 0)));
        assert!(!ledger.covers(at(20, 0)));
        ledger.track(at(20, 0));
        assert_eq!(ledger.reached().finished, vec![(at(10, 1), at(20, 0)), (at(30, 0), at(40, 0))]);
    }

    #[test]
    fn what_was_settled_does_not_come_again_though_its_neighbours_do() {
        let mut ledger = Ledger::default();
        ledger.settle(at(5, 0));
        assert_eq!(ledger.floor(), at(5, 1));
        let first = ledger.track(at(10, 0));
        ledger.settle(at(11, 0));
        ledger.track(at(12, 0));
        let last = ledger.track(at(13, 0));
        ledger.acknowledge(last);
        assert_eq!(ledger.undone(), 2);
        let mut again = Ledger::restore(&ledger.reached());
        let comes: Vec<bool> =
            [10, 11, 12, 13].into_iter().map(|lsn| !again.covers(at(lsn, 0))).collect();
        assert_eq!(comes, [true, false, true, false]);
        ledger.acknowledge(first);
        assert_eq!(ledger.floor(), at(12, 0));
    }

    proptest! {
        #[test]
        fn no_order_of_acknowledgements_passes_an_event_that_is_not_done(
            gaps in prop::collection::vec(1u64..4, 1..80),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..120),
            reopen in any::<u8>(),
        ) {
            let mut ledger = Ledger::default();
            let mut lsn = 0;
            let positions: Vec<_> = gaps.iter().map(|gap| { lsn += gap; at(lsn, 0) }).collect();
            let ordinals: Vec<_> = positions.iter().map(|p| ledger.track(*p)).collect();
            let mut done = vec![false; positions.len()];
            for (step, index) in order.iter().enumerate() {
                let index = index.index(positions.len());
                if done[index] && step % 7 == usize::from(reopen % 7) {
                    ledger.reopen(ordinals[index], positions[index]);
                    done[index] = false;
                } else {
                    ledger.acknowledge(ordinals[index]);
                    done[index] = true;
                }
                let lowest = positions.iter().zip(&done).find(|(_, done)| !**done);
                let expected = lowest.map_or(positions[positions.len() - 1].next(), |(p, _)| *p);
                prop_assert_eq!(ledger.floor(), expected);
                let undone = done.iter().filter(|done| !**done).count();
                prop_assert_eq!(ledger.undone(), undone as u64);
            }
        }

        #[test]
        fn restarts_repeat_nothing_that_is_done_and_skip_nothing_that_is_not(
            count in 1usize..60,
            runs in prop::collection::vec(
                (prop::collection::vec(any::<prop::sample::Index>(), 0..20), 1usize..60), 1..6),
        ) {
            let positions: Vec<_> = (0..count as u64).map(|n| at(n * 10, 0)).collect();
            let mut done = vec![false; count];
            let mut stored = Reached::default();
            for (acknowledged, read) in runs {
                let mut ledger = Ledger::restore(&stored);
                let mut tracked = Vec::new();
                for (index, position) in positions.iter().enumerate().take(read) {
                    if ledger.covers(*position) {
                        prop_assert!(done[index], "{} was skipped", position);
                    } else {
                        prop_assert!(!done[index], "{} was repeated", position);
                        tracked.push((index, ledger.track(*position)));
                    }
                }
                for pick in acknowledged {
                    if !tracked.is_empty() {
                        let (index, ordinal) = tracked[pick.index(tracked.len())];
                        ledger.acknowledge(ordinal);
                        done[index] = true;
                    }
                }
                stored = ledger.reached();
            }
        }
    }
}
