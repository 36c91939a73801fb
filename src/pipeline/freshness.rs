//! [`Freshness`]: how old what a sink has is (pure).
//!
//! Of each sink there is a moment up to which everything that was committed is known to be done;
//! its age is the sink's freshness. Where anything is not known the moment stays where it was, so
//! that the figure may be too high, and never too low.

use std::collections::BTreeMap;

use super::ages::{Ages, Oldest};
use crate::delivery::{SinkState, Snapshot};
use crate::inspect::status::age;
use crate::lsn::{Position, Timestamp};

/// What is known of all sinks.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// Of what was read, when it was committed.
    pub(super) ages: Ages,
    /// By sink: everything that was committed before then is done.
    known: BTreeMap<String, Timestamp>,
}

impl Freshness {
    /// Starts with what an earlier run knew of each sink.
    pub(super) const fn new(ages: Ages, known: BTreeMap<String, Timestamp>) -> Self {
        Self { ages, known }
    }

    /// Returns how old the newest commit is up to which all is known to be done at a sink, in
    /// seconds. `end`: behind what was read; `read`: up to when everything was read.
    pub(super) fn look(
        &mut self,
        sink: &str,
        snapshot: &Snapshot,
        end: Position,
        read: Option<Timestamp>,
        now: Timestamp,
    ) -> f64 {
        let before = self.known.get(sink).copied().unwrap_or(now);
        let floor = snapshot.reached.floor;
        let mut moment = match self.ages.oldest(floor) {
            Oldest::At(oldest) if floor < end => oldest,
            _ if floor >= end => read.unwrap_or(before),
            _ => before,
        };
        // What has left its lane is not done either: it is retrying, or waits behind another or
        // for a person.
        match snapshot.waiting_from.map(|from| self.ages.oldest(from)) {
            Some(Oldest::At(oldest)) => moment = moment.min(oldest),
            Some(Oldest::Unknown | Oldest::Nothing) => moment = moment.min(before),
            None => {}
        }
        // One that is sent nothing shows nothing by having nothing to do, and of one that has just
        // started it is not known what waits outside its lanes.
        let is_silent = snapshot.state == SinkState::Halted && floor >= end;
        if is_silent || snapshot.pinned_from == Some(Position::ZERO) {
            moment = moment.min(before);
        }
        let moment = moment.min(now);
        match self.known.get_mut(sink) {
            Some(known) => *known = moment,
            None => {
                self.known.insert(sink.to_owned(), moment);
            }
        }
        age(moment, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Lsn;
    use crate::progress::ledger::Reached;

    const fn at(lsn: u64) -> Position {
        Position::new(Lsn(lsn), 0)
    }

    const fn time(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    /// A stream of commits at LSN 10, 20, 30, …, each at that second, and a sink known to have had
    /// all up to second 5.
    fn freshness(last: u64) -> Freshness {
        let mut ages = Ages::new(at(0));
        for lsn in (10..=last).step_by(10) {
            ages.push(at(lsn + 1), Some(time(lsn.cast_signed())));
        }
        Freshness::new(ages, [("far".to_owned(), time(5))].into())
    }

    fn snapshot(floor: u64) -> Snapshot {
        let reached = Reached { floor: at(floor), ..Reached::default() };
        Snapshot { reached, ..Snapshot::default() }
    }

    #[track_caller]
    fn check(snapshot: &Snapshot, read: Option<i64>, now: i64, expected: f64) {
        let mut freshness = freshness(30);
        let seen = freshness.look("far", snapshot, at(31), read.map(time), time(now));
        assert!((seen - expected).abs() < 0.001, "{seen} instead of {expected}");
    }

    #[test]
    fn one_that_has_all_is_as_far_as_the_reading_is() {
        check(&snapshot(31), Some(100), 100, 0.0);
        check(&snapshot(31), Some(40), 100, 60.0);
        // Just restarted, and not attached: as far as was known before.
        check(&snapshot(31), None, 100, 95.0);
    }

    #[test]
    fn the_oldest_that_is_not_done_tells_the_age() {
        check(&snapshot(11), Some(100), 100, 80.0);
        check(&snapshot(0), Some(100), 100, 90.0);
        // However new something else is that is done: another key's, or a row of a load, which
        // counts as committed when it was read.
        let newer_done = Snapshot { newest_done: Some(time(30)), ..snapshot(11) };
        check(&newer_done, Some(100), 100, 80.0);
    }

    #[test]
    fn what_waits_outside_the_lanes_is_not_done() {
        let waits = |lsn| Snapshot { waiting_from: Some(at(lsn)), ..snapshot(31) };
        check(&waits(20), Some(100), 100, 80.0);
        check(&waits(10), Some(100), 100, 90.0);
        // Older than anything that the journal still has.
        let mut freshness = freshness(30);
        freshness.ages.forget(at(21));
        let seen = freshness.look("far", &waits(10), at(31), Some(time(100)), time(100));
        assert!((seen - 95.0).abs() < 0.001, "{seen}");
    }

    #[test]
    fn one_that_is_halted_gets_no_fresher_by_having_nothing_to_do() {
        let mut freshness = freshness(30);
        let mut look = |snapshot: &Snapshot, now: i64| {
            freshness.look("far", snapshot, at(31), Some(time(now)), time(now))
        };
        assert!(look(&snapshot(31), 100) < 0.001);
        let halted = Snapshot { state: SinkState::Halted, ..snapshot(31) };
        assert!((look(&halted, 130) - 30.0).abs() < 0.001);
        assert!((look(&halted, 160) - 60.0).abs() < 0.001);
        assert!(look(&snapshot(31), 161) < 0.001);
    }

    #[test]
    fn nothing_is_better_known_before_what_was_set_aside_was_read_again() {
        let unread = Snapshot { pinned_from: Some(Position::ZERO), ..snapshot(31) };
        check(&unread, Some(100), 100, 95.0);
    }

    #[test]
    fn one_that_nobody_knew_begins_now() {
        let mut freshness = Freshness::default();
        let seen = |freshness: &mut Freshness, now| {
            freshness.look("new", &snapshot(0), at(0), None, time(now))
        };
        assert!(seen(&mut freshness, 100) < 0.001);
        assert!((seen(&mut freshness, 107) - 7.0).abs() < 0.001);
    }
}
