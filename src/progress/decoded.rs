//! [`Decoded`]: how many changes came from the source, held against how many a sink took in
//! ([`Taken`]), so that one that is lost on the way between them is told.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::chunk::Chunk;
use crate::lsn::Position;

/// Ends of chunks that are remembered: a sink that is behind by more is compared at every second
/// one of the older half, then at every fourth of these, and so on.
const MARKS_MAX: usize = 8192;

/// What came from the source since the process started, counted where it comes in. What comes a
/// second time, after the connection was lost, counts once.
#[derive(Debug)]
pub struct Decoded {
    /// What lies before came in an earlier run.
    from: Position,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Behind the last change that was counted.
    end: Position,
    count: u64,
    /// How many there were at the ends of chunks, rising.
    marks: VecDeque<(Position, u64)>,
}

/// What a sink took in: what it tracks, what it passed over, and what others want.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Everything before is not counted.
    end: Position,
    count: u64,
    /// How much of what came was not for it, because it begins later; none while that is not
    /// known.
    before: Option<u64>,
}

impl Decoded {
    /// Begins where an earlier run ended.
    #[must_use]
    pub const fn new(from: Position) -> Self {
        let inner = Inner { end: from, count: 0, marks: VecDeque::new() };
        Self { from, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what a chunk brings. To be called before anybody can read it.
    pub fn add(&self, chunk: &Chunk) {
        let mut inner = self.lock();
        let old = chunk.entries.partition_point(|entry| chunk.position(entry) < inner.end);
        let new = chunk.entries.len().saturating_sub(old);
        inner.add(chunk.end_position(), new as u64);
    }

    /// Returns what a sink has taken in that reads from `position` on: nothing.
    #[must_use]
    pub fn begin(&self, position: Position) -> Taken {
        Taken { end: position.max(self.from), count: 0, before: self.until(position) }
    }

    /// Returns how many changes that came before `position` never came to a sink that read all
    /// up to there; less than 0 where some came twice. None where that can't be told there.
    pub fn missing(&self, position: Position, taken: &mut Taken) -> Option<i64> {
        let here = self.until(position)?;
        let before = *taken.before.get_or_insert_with(|| here.saturating_sub(taken.count));
        let [here, sum] = [here, before.saturating_add(taken.count)]
            .map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        Some(here.saturating_sub(sum))
    }

    fn until(&self, position: Position) -> Option<u64> {
        if position <= self.from {
            return Some(0);
        }
        let inner = self.lock();
        let found = inner.marks.binary_search_by_key(&position, |(end, _)| *end).ok()?;
        inner.marks.get(found).map(|(_, count)| *count)
    }
}

impl Inner {
    fn add(&mut self, end: Position, new: u64) {
        self.count = self.count.saturating_add(new);
        if end <= self.end {
            return;
        }
        self.end = end;
        if self.marks.len() >= MARKS_MAX {
            let mut number = 0_usize;
            self.marks.retain(|_| {
                number = number.saturating_add(1);
                number > MARKS_MAX / 2 || number.is_multiple_of(2)
            });
        }
        self.marks.push_back((end, self.count));
    }
}

impl Taken {
    /// Counts a change. One that comes again counts once.
    pub fn add(&mut self, position: Position) {
        if position >= self.end {
            self.end = position.next();
            self.count = self.count.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Lsn;

    const fn at(lsn: u64, seq: u32) -> Position {
        Position::new(Lsn(lsn), seq)
    }

    /// Adds a chunk of the changes of one transaction.
    fn add(decoded: &Decoded, lsn: u64, seqs: std::ops::Range<u32>) {
        let mut inner = decoded.lock();
        let new = seqs.clone().filter(|seq| at(lsn, *seq) >= inner.end).count();
        inner.add(at(lsn, seqs.end), new as u64);
    }

    fn take(taken: &mut Taken, lsn: u64, seqs: std::ops::Range<u32>) {
        seqs.for_each(|seq| taken.add(at(lsn, seq)));
    }

    #[test]
    fn a_change_that_never_comes_is_told_and_one_that_comes_is_not() {
        let decoded = Decoded::new(at(10, 0));
        let mut taken = decoded.begin(at(5, 0));
        take(&mut taken, 7, 0..9);
        assert_eq!(decoded.missing(at(10, 0), &mut taken), Some(0), "of an earlier run");
        add(&decoded, 20, 0..100);
        add(&decoded, 30, 0..50);
        add(&decoded, 30, 50..60);
        take(&mut taken, 20, 0..100);
        assert_eq!(decoded.missing(at(20, 100), &mut taken), Some(0));
        assert_eq!(decoded.missing(at(20, 99), &mut taken), None, "no chunk ends there");
        take(&mut taken, 30, 0..49);
        take(&mut taken, 30, 50..60);
        assert_eq!(decoded.missing(at(30, 60), &mut taken), Some(1));
    }

    #[test]
    fn what_comes_again_over_a_new_connection_counts_once_on_both_sides() {
        let decoded = Decoded::new(at(0, 0));
        let mut taken = decoded.begin(at(0, 0));
        for (seqs, again) in [(0..10, false), (10..20, false), (0..15, true), (15..25, true)] {
            add(&decoded, 20, seqs.clone());
            if !again || seqs.end > 20 {
                take(&mut taken, 20, seqs);
            }
        }
        assert_eq!(decoded.missing(at(20, 25), &mut taken), Some(0));
        taken.count += 1;
        assert_eq!(decoded.missing(at(20, 25), &mut taken), Some(-1));
    }

    #[test]
    fn a_sink_that_begins_in_the_midst_owes_what_comes_after() {
        let decoded = Decoded::new(at(0, 0));
        add(&decoded, 20, 0..10);
        let mut taken = decoded.begin(at(20, 5));
        take(&mut taken, 20, 0..10);
        assert_eq!(decoded.missing(at(20, 10), &mut taken), Some(0));
        add(&decoded, 30, 0..10);
        take(&mut taken, 30, 1..10);
        assert_eq!(decoded.missing(at(30, 10), &mut taken), Some(1));
    }

    #[test]
    fn it_takes_no_more_memory_however_far_a_sink_is_behind() {
        let decoded = Decoded::new(at(0, 0));
        let mut taken = decoded.begin(at(0, 0));
        for lsn in 1..=100_000 {
            add(&decoded, lsn, 0..2);
        }
        assert!(decoded.lock().marks.len() <= MARKS_MAX);
        let mut compared = 0;
        for lsn in 1..=100_000 {
            take(&mut taken, lsn, 0..2);
            compared += u32::from(decoded.missing(at(lsn, 2), &mut taken) == Some(0));
        }
        assert!(compared > 4000, "{compared}");
        assert_eq!(decoded.missing(at(100_000, 2), &mut taken), Some(0));
    }
}
