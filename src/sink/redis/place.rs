//! [`Place`]: where an event goes in a stream whose ids are those of the log (`ids = "lsn"`).
//!
//! Redis adds nothing below the newest entry, so that a repeat has no place: that is how it is
//! known. But an event that comes late (tried again by itself while others went on, replayed by an
//! operator) has none either, and is no repeat. So what is below the newest entry is looked up, and
//! what is not there, or is there as another event of an abandoned timeline, goes behind it.

use std::fmt;
use std::str::FromStr;

use crate::lsn::Position;

/// The id of an entry. Wire: `LSN-SEQ`, two numbers of 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) lsn: u64,
    pub(super) seq: u64,
}

impl Id {
    pub(super) fn of(position: Position) -> Self {
        Self { lsn: position.commit_lsn.0, seq: position.seq.into() }
    }

    /// Returns the next higher id.
    const fn next(self) -> Self {
        match self.seq.checked_add(1) {
            Some(seq) => Self { lsn: self.lsn, seq },
            None => Self { lsn: self.lsn.saturating_add(1), seq: 0 },
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.lsn, self.seq)
    }
}

impl FromStr for Id {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (lsn, seq) = text.split_once('-').unwrap_or((text, "0"));
        Ok(Self { lsn: lsn.parse()?, seq: seq.parse()? })
    }
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is added under this id.
    At(Id),
    /// It is there already.
    There,
}

/// Places an event, and moves `newest`, the id of the stream's newest entry, on. `is_there`: the
/// entry of its id is this event. `replayed`: an operator sends it again, whatever is there.
pub(super) fn place(event: Position, newest: &mut Id, is_there: bool, replayed: bool) -> Place {
    let own = Id::of(event);
    let id = if own > *newest {
        own
    } else if is_there && !replayed {
        return Place::There;
    } else {
        newest.next()
    };
    *newest = id;
    Place::At(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Lsn;

    const fn at(lsn: u64, seq: u32) -> Position {
        Position::new(Lsn(lsn), seq)
    }

    const fn id(lsn: u64, seq: u64) -> Id {
        Id { lsn, seq }
    }

    #[test]
    fn events_in_order_have_their_own_ids() {
        let mut newest = Id::default();
        for (lsn, seq) in [(5, 0), (5, 1), (5, 7), (9, 0)] {
            let expected = id(lsn, seq.into());
            assert_eq!(place(at(lsn, seq), &mut newest, false, false), Place::At(expected));
            assert_eq!(newest, expected);
        }
    }

    #[test]
    fn a_repeat_is_there_and_a_late_one_goes_behind() {
        let mut newest = id(9, 3);
        assert_eq!(place(at(9, 3), &mut newest, true, false), Place::There);
        assert_eq!(place(at(5, 0), &mut newest, true, false), Place::There);
        assert_eq!(newest, id(9, 3));
        assert_eq!(place(at(5, 1), &mut newest, false, false), Place::At(id(9, 4)));
        // Whose own id that would have been goes behind it in turn.
        assert_eq!(place(at(9, 4), &mut newest, false, false), Place::At(id(9, 5)));
        assert_eq!(place(at(10, 0), &mut newest, false, false), Place::At(id(10, 0)));
    }

    #[test]
    fn a_replay_is_added_whatever_is_there() {
        let mut newest = id(9, 3);
        assert_eq!(place(at(9, 3), &mut newest, true, true), Place::At(id(9, 4)));
        assert_eq!(place(at(11, 0), &mut newest, false, true), Place::At(id(11, 0)));
    }

    #[test]
    fn an_id_is_read_as_it_is_written() {
        for (text, expected) in [("25-7", id(25, 7)), ("0-0", id(0, 0)), ("3", id(3, 0))] {
            assert_eq!(text.parse::<Id>().unwrap(), expected);
        }
        assert_eq!(id(u64::MAX, 1).to_string(), "18446744073709551615-1");
        assert_eq!(id(1, u64::MAX).next(), id(2, 0));
        assert!("x-1".parse::<Id>().is_err());
    }
}
