//! [`Marks`]: which LSN may be confirmed once everything below a position is done (pure).

use std::collections::VecDeque;

use crate::lsn::{Lsn, Position};

/// So many marks are kept; past it every other one is dropped, which only makes confirmation
/// coarser while a sink is far behind.
const MARKS_MAX: usize = 16 * 1024;

/// The places at which the slot may stop: the end of a commit, or a keepalive's WAL end.
///
/// Invariant: positions rise strictly and LSNs never fall from front to back.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
pub(super) struct Marks {
    marks: VecDeque<(Position, Lsn)>,
}

impl Marks {
    /// Says that once everything below `after` is done, `lsn` may be confirmed.
    pub(super) fn push(&mut self, after: Position, lsn: Lsn) {
        match self.marks.back_mut() {
            Some((last, known)) if *last >= after => *known = lsn.max(*known),
            Some((_, known)) if *known > lsn => {}
            _ => {
                self.thin();
                self.marks.push_back((after, lsn));
            }
        }
    }

    /// Forgets the marks at or below `floor` and returns the highest LSN among them.
    pub(super) fn pass(&mut self, floor: Position) -> Option<Lsn> {
        let mut passed = None;
        while let Some((after, lsn)) = self.marks.front().copied() {
            if after > floor {
                break;
            }
            passed = Some(lsn);
            self.marks.pop_front();
        }
        passed
    }

    /// Lets no mark say more than `lsn`.
    pub(super) fn lower(&mut self, lsn: Lsn) {
        for (_, known) in &mut self.marks {
            *known = lsn.min(*known);
        }
    }

    /// Returns what [`Marks::pass`] would, and forgets nothing.
    pub(super) fn peek(&self, floor: Position) -> Option<Lsn> {
        self.marks.iter().take_while(|(after, _)| *after <= floor).last().map(|(_, lsn)| *lsn)
    }

    /// Drops every other mark when there are too many, never the newest.
    fn thin(&mut self) {
        if self.marks.len() >= MARKS_MAX {
            let mut keep = self.marks.len() % 2 == 1;
            self.marks.retain(|_| {
                keep = !keep;
                !keep
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(lsn: u64) -> Position {
        Position::new(Lsn(lsn), 0)
    }

    #[test]
    fn nothing_is_confirmed_before_all_below_it_is_done() {
        let mut marks = Marks::default();
        marks.push(at(11), Lsn(20));
        marks.push(at(31), Lsn(40));
        assert_eq!(marks.pass(at(10)), None);
        assert_eq!(marks.pass(at(11)), Some(Lsn(20)));
        assert_eq!(marks.pass(at(30)), None);
        assert_eq!(marks.pass(at(99)), Some(Lsn(40)));
    }

    #[test]
    fn an_idle_stream_moves_the_last_mark_on() {
        let mut marks = Marks::default();
        marks.push(at(11), Lsn(20));
        marks.push(at(11), Lsn(25));
        assert_eq!(marks.pass(at(11)), Some(Lsn(25)));
        marks.push(at(11), Lsn(30));
        assert_eq!(marks.pass(at(11)), Some(Lsn(30)));
    }

    #[test]
    fn too_many_marks_become_coarser_and_keep_the_newest() {
        let mut marks = Marks::default();
        let last = 10 * MARKS_MAX as u64;
        for lsn in 1..=last {
            marks.push(at(lsn), Lsn(lsn));
            assert!(marks.marks.len() <= MARKS_MAX);
        }
        assert_eq!(marks.pass(at(last)), Some(Lsn(last)));
    }

    proptest! {
        #[test]
        fn a_confirmed_lsn_never_passes_its_floor(
            steps in prop::collection::vec(1_u64..5, 1..200), floors in prop::collection::vec(0_u64..600, 1..50)
        ) {
            let mut marks = Marks::default();
            let mut lsn = 0;
            for step in steps {
                lsn += step;
                marks.push(at(lsn), Lsn(lsn));
            }
            let mut floors = floors;
            floors.sort_unstable();
            let mut confirmed = Lsn::ZERO;
            for floor in floors {
                if let Some(passed) = marks.pass(at(floor)) {
                    prop_assert!(passed <= Lsn(floor));
                    prop_assert!(passed >= confirmed);
                    confirmed = passed;
                }
            }
        }
    }
}
