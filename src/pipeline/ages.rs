//! [`Ages`]: when what lies at a position was committed (pure).

use std::collections::VecDeque;

use crate::lsn::{Position, Timestamp};

/// So many entries are kept; past it two neighbours become one, which only makes what lies there
/// seem as old as the older of them.
const ENTRIES_MAX: usize = 4096;

/// Parts of the stream, each with the oldest commit in it.
///
/// Invariant: ends rise strictly from front to back.
#[derive(Clone, Debug, Default)]
pub(super) struct Ages {
    entries: VecDeque<(Position, Timestamp)>,
    /// Of what lies below nothing is known.
    from: Position,
}

/// When the oldest of what lies behind a position was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oldest {
    /// Nothing lies there.
    Nothing,
    /// Then, or later.
    At(Timestamp),
    /// Before anything that is known.
    Unknown,
}

impl Ages {
    /// Begins behind `from`, where nothing is known yet.
    pub(super) fn new(from: Position) -> Self {
        Self { entries: VecDeque::new(), from }
    }

    /// Adds what lies up to `end`; `oldest`: its first commit, none where it has no time.
    pub(super) fn push(&mut self, end: Position, oldest: Option<Timestamp>) {
        let last = self.entries.back().copied();
        if last.map_or(self.from, |(end, _)| end) >= end {
            return;
        }
        let Some(oldest) = oldest.or(last.map(|(_, oldest)| oldest)) else {
            self.from = end;
            return;
        };
        if self.entries.len() >= ENTRIES_MAX {
            self.thin();
        }
        self.entries.push_back((end, oldest));
    }

    /// Returns when the first of what lies at or behind `position` was committed.
    pub(super) fn oldest(&self, position: Position) -> Oldest {
        if position < self.from {
            return Oldest::Unknown;
        }
        let behind = self.entries.partition_point(|(end, _)| *end <= position);
        self.entries.get(behind).map_or(Oldest::Nothing, |(_, oldest)| Oldest::At(*oldest))
    }

    /// Forgets what lies below.
    pub(super) fn forget(&mut self, below: Position) {
        while let Some((end, _)) = self.entries.front().filter(|(end, _)| *end <= below) {
            self.from = *end;
            self.entries.pop_front();
        }
    }

    fn thin(&mut self) {
        let mut kept = VecDeque::with_capacity(ENTRIES_MAX);
        let mut entries = std::mem::take(&mut self.entries).into_iter();
        while let Some(first) = entries.next() {
            let second = entries.next().unwrap_or(first);
            kept.push_back((second.0, first.1.min(second.1)));
        }
        self.entries = kept;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lsn::Lsn;

    const fn at(lsn: u64) -> Position {
        Position::new(Lsn(lsn), 0)
    }

    #[test]
    fn the_first_part_that_is_not_done_tells_the_age() {
        let mut ages = Ages::new(at(5));
        ages.push(at(10), Some(Timestamp(100)));
        ages.push(at(20), Some(Timestamp(200)));
        // A message outside a transaction.
        ages.push(at(30), None);
        for (position, expected) in [
            (4, Oldest::Unknown),
            (5, Oldest::At(Timestamp(100))),
            (9, Oldest::At(Timestamp(100))),
            (10, Oldest::At(Timestamp(200))),
            (25, Oldest::At(Timestamp(200))),
            (30, Oldest::Nothing),
        ] {
            assert_eq!(ages.oldest(at(position)), expected, "{position}");
        }
        ages.forget(at(15));
        assert_eq!(ages.oldest(at(9)), Oldest::Unknown);
        assert_eq!(ages.oldest(at(10)), Oldest::At(Timestamp(200)));
    }

    proptest! {
        #[test]
        fn what_is_not_done_never_seems_younger_than_it_is(
            steps in prop::collection::vec(1_u64..4, 1..9_000), asked in 0_u64..40_000
        ) {
            let mut ages = Ages::new(at(0));
            let mut end = 0;
            for step in steps {
                end += step;
                ages.push(at(end), Some(Timestamp(end.cast_signed())));
                prop_assert!(ages.entries.len() <= ENTRIES_MAX);
            }
            match ages.oldest(at(asked)) {
                Oldest::At(time) => prop_assert!(time.0 <= asked.cast_signed() + 4 && asked < end),
                Oldest::Nothing => prop_assert!(asked >= end),
                Oldest::Unknown => prop_assert!(false),
            }
        }
    }
}
