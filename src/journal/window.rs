//! [`Window`]: which part of the journal somebody wants (pure).

use std::collections::BTreeSet;
use std::str::FromStr;

use super::index::Run;
use crate::chunk::{Chunk, Entry};
use crate::lsn::{Lsn, Position, Timestamp};

/// A place in the journal as a person says it: `0/17C8338`, or `2026-11-23T12:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Transactions by where they committed.
    Lsn(Lsn),
    /// Transactions by when they committed.
    Time(Timestamp),
}

/// The text is neither a time nor an LSN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither a time such as 2026-11-23T12:00:00Z nor an LSN such as 0/17C8338")]
pub struct ParseMomentError;

impl FromStr for Moment {
    type Err = ParseMomentError;

    fn from_str(text: &str) -> Result<Self, ParseMomentError> {
        if let Ok(lsn) = text.parse() {
            return Ok(Self::Lsn(lsn));
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| ParseMomentError)?;
        Ok(Self::Time(Timestamp::from_unix_micros(time.as_microsecond())))
    }
}

/// What is wanted: between two moments, both included, and of some tables.
///
/// A message outside a transaction has no time: it lies in no window that is bounded by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The first transactions; none: as far back as there is something.
    pub from: Option<Moment>,
    /// The last ones; none: all there are.
    pub to: Option<Moment>,
    /// The oids of the tables; none: everything.
    pub tables: Option<BTreeSet<u32>>,
}

impl Window {
    /// Whether a change lies in it.
    #[must_use]
    pub fn holds(&self, chunk: &Chunk, entry: &Entry) -> bool {
        let is_wanted = |tables: &BTreeSet<u32>| {
            chunk.relation(entry).is_some_and(|relation| tables.contains(&relation.oid.0))
        };
        if !self.tables.as_ref().is_none_or(is_wanted) {
            return false;
        }
        let Some(transaction) = chunk.transaction(entry) else { return false };
        let (lsn, time) = (transaction.commit_lsn, transaction.commit_time);
        let begins = match self.from {
            None => true,
            Some(Moment::Lsn(from)) => lsn >= from,
            Some(Moment::Time(from)) => time.is_some_and(|time| time >= from),
        };
        begins
            && match self.to {
                None => true,
                Some(Moment::Lsn(to)) => lsn <= to,
                Some(Moment::Time(to)) => time.is_some_and(|time| time <= to),
            }
    }

    /// Whether something between two positions can lie in it.
    pub(super) fn meets(&self, first: Position, end: Position) -> bool {
        let begins = match self.from {
            Some(Moment::Lsn(from)) => end > Position::new(from, 0),
            Some(Moment::Time(_)) | None => true,
        };
        begins
            && match self.to {
                Some(Moment::Lsn(to)) => first < Position::after_transaction(to),
                Some(Moment::Time(_)) | None => true,
            }
    }

    /// Whether something of a run can lie in it.
    pub(super) fn takes(&self, run: &Run) -> bool {
        let begins = match self.from {
            Some(Moment::Time(from)) => run.newest.is_some_and(|newest| newest >= from),
            Some(Moment::Lsn(_)) | None => true,
        };
        let ends = match self.to {
            Some(Moment::Time(to)) => run.oldest.is_some_and(|oldest| oldest <= to),
            Some(Moment::Lsn(_)) | None => true,
        };
        let is_of = |tables: &BTreeSet<u32>| !tables.is_disjoint(&run.relations);
        begins && ends && self.meets(run.first, run.end) && self.tables.as_ref().is_none_or(is_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_an_lsn() {
        assert_eq!("0/17C8338".parse(), Ok(Moment::Lsn(Lsn(0x17C_8338))));
        assert_eq!("2000-01-01T00:00:01Z".parse(), Ok(Moment::Time(Timestamp(1_000_000))));
        assert_eq!("2000-01-01T02:00:00.5+02:00".parse(), Ok(Moment::Time(Timestamp(500_000))));
        for bad in ["", "yesterday", "2000-01-01", "2000-01-01T00:00:00", "17C8338", "0/XYZ"] {
            assert_eq!(bad.parse::<Moment>(), Err(ParseMomentError), "{bad}");
        }
    }
}
