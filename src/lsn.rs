//! Places in the write-ahead log: [`Lsn`], [`Position`], [`EventId`], and PostgreSQL's own small
//! numbers ([`Oid`], [`Xid`], [`Timestamp`]).

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// A byte position in the write-ahead log, printed as PostgreSQL prints it: `0/17C8338`.
///
/// Source: <https://www.postgresql.org/docs/current/datatype-pg-lsn.html>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// `0/0`: no position at all.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// The text is not an LSN of the form `16/B374D848`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an LSN of the form 16/B374D848")]
pub struct ParseLsnError;

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, ParseLsnError> {
        let (high, low) = text.split_once('/').ok_or(ParseLsnError)?;
        let part = |digits: &str| {
            if digits.starts_with('+') {
                return Err(ParseLsnError);
            }
            u32::from_str_radix(digits, 16).map_err(|_| ParseLsnError)
        };
        Ok(Self((u64::from(part(high)?) << 32) | u64::from(part(low)?)))
    }
}

/// The place of one change in commit order: where its commit record starts, and its number there.
///
/// Positions rise strictly in the order in which Postgres sends changes. A logical message outside
/// a transaction has the LSN of the last byte of its record, and `seq` 0: the LSN that Postgres
/// reports of it is where the next record starts, which may be a transaction's commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Where the transaction's commit record starts (the final LSN of its Begin message).
    pub commit_lsn: Lsn,
    /// The change's place in its transaction, from 0, routed or not.
    pub seq: u32,
}

impl Position {
    /// Before the first change there can be.
    pub const ZERO: Self = Self { commit_lsn: Lsn::ZERO, seq: 0 };

    /// Joins the two halves.
    #[must_use]
    pub const fn new(commit_lsn: Lsn, seq: u32) -> Self {
        Self { commit_lsn, seq }
    }

    /// Returns the lowest position behind the whole transaction that commits at `commit_lsn`.
    #[must_use]
    pub const fn after_transaction(commit_lsn: Lsn) -> Self {
        Self { commit_lsn: Lsn(commit_lsn.0.saturating_add(1)), seq: 0 }
    }

    /// Returns the lowest position behind this change.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.seq.checked_add(1) {
            Some(seq) => Self { commit_lsn: self.commit_lsn, seq },
            None => Self::after_transaction(self.commit_lsn),
        }
    }

    /// Returns the last position below this one; none for the very beginning.
    #[must_use]
    pub const fn previous(self) -> Option<Self> {
        match (self.commit_lsn, self.seq.checked_sub(1)) {
            (commit_lsn, Some(seq)) => Some(Self { commit_lsn, seq }),
            (Lsn(0), None) => None,
            (Lsn(lsn), None) => Some(Self { commit_lsn: Lsn(lsn - 1), seq: u32::MAX }),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.commit_lsn, self.seq)
    }
}

/// The identity of an event: the same change has the same id on every delivery.
///
/// Printed as timeline (8 hex digits), commit LSN (16), seq (8):
/// `00000001-00000000017C8338-00000003`, so that ids of one timeline sort as commits did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The timeline on which the change was written.
    pub timeline: u32,
    /// The change's place in commit order.
    pub position: Position,
}

impl EventId {
    /// Below every other.
    pub const FIRST: Self = Self { timeline: 0, position: Position::ZERO };

    /// Bytes of an id in print.
    pub const LENGTH: usize = 34;
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { timeline, position: Position { commit_lsn, seq } } = self;
        write!(f, "{timeline:08X}-{:016X}-{seq:08X}", commit_lsn.0)
    }
}

/// The text is not an event's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form 00000001-00000000017C8338-00000003")]
pub struct ParseEventIdError;

impl FromStr for EventId {
    type Err = ParseEventIdError;

    fn from_str(text: &str) -> Result<Self, ParseEventIdError> {
        let part = |from: usize, to: usize| {
            let digits = text.get(from..to).ok_or(ParseEventIdError)?;
            if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(ParseEventIdError);
            }
            u64::from_str_radix(digits, 16).map_err(|_| ParseEventIdError)
        };
        let small = |number: u64| u32::try_from(number).map_err(|_| ParseEventIdError);
        if text.len() != Self::LENGTH
            || text.get(8..9) != Some("-")
            || text.get(25..26) != Some("-")
        {
            return Err(ParseEventIdError);
        }
        let position = Position::new(Lsn(part(9, 25)?), small(part(26, 34)?)?);
        Ok(Self { timeline: small(part(0, 8)?)?, position })
    }
}

/// A PostgreSQL object identifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(pub u32);

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A 32-bit transaction id. It wraps: never an order and never a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Xid(pub u32);

/// Microseconds since 2000-01-01T00:00:00Z, as the replication protocol counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Microseconds from the Unix epoch to PostgreSQL's (2000-01-01).
    pub const UNIX_OFFSET_MICROS: i64 = 946_684_800_000_000;

    /// Reads the time of day. Only what is stored, shown or told the server asks for it, at the
    /// edges; whatever decides something takes the time as an argument.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_unix_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// Returns microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_micros(self) -> i64 {
        self.0.saturating_add(Self::UNIX_OFFSET_MICROS)
    }

    /// Builds one from microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros.saturating_sub(Self::UNIX_OFFSET_MICROS))
    }
}

/// Prints RFC 3339 in UTC with a fraction only where there is one: `2026-11-23T12:00:00.123456Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.unix_micros()) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{}us", self.unix_micros()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_lsn_prints_as_postgres_prints_it_and_reads_back() {
        for (text, value) in [("0/17C8338", 0x17C_8338), ("16/B374D848", 0x16_B374_D848)] {
            assert_eq!(Lsn(value).to_string(), text);
            assert_eq!(text.parse(), Ok(Lsn(value)));
        }
        for bad in ["", "0", "0/", "/0", "0/G", "+1/2", "0/123456789"] {
            assert_eq!(bad.parse::<Lsn>(), Err(ParseLsnError), "{bad}");
        }
    }

    #[test]
    fn an_event_id_has_the_contracts_form() {
        let position = Position::new(Lsn(0x17C_8338), 3);
        let id = EventId { timeline: 1, position }.to_string();
        assert_eq!(id, "00000001-00000000017C8338-00000003");
        assert_eq!(id.len(), EventId::LENGTH);
    }

    #[test]
    fn an_event_id_reads_back_and_nothing_else_does() {
        for (timeline, lsn, seq) in [(0, 0, 0), (1, 0x17C_8338, 3), (u32::MAX, u64::MAX, u32::MAX)]
        {
            let id = EventId { timeline, position: Position::new(Lsn(lsn), seq) };
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().to_lowercase().parse(), Ok(id));
        }
        for bad in [
            "",
            "00000001-00000000017C8338-0000000",
            "00000001-00000000017C8338-000000033",
            "00000001-00000000017C8338_00000003",
            "0000000100000000017C8338-000000031",
            "+0000001-00000000017C8338-00000003",
            "00000001-00000000017C833é-0000003",
        ] {
            assert_eq!(bad.parse::<EventId>(), Err(ParseEventIdError), "{bad}");
        }
    }

    #[test]
    fn the_position_before_the_next_is_the_same() {
        for (lsn, seq) in [(5, 0), (5, 7), (5, u32::MAX - 1)] {
            let position = Position::new(Lsn(lsn), seq);
            assert_eq!(position.next().previous(), Some(position));
        }
        let end = Position::after_transaction(Lsn(5));
        assert_eq!(end.previous(), Some(Position::new(Lsn(5), u32::MAX)));
        assert_eq!(end.previous().map(Position::next), Some(end));
        assert_eq!(Position::ZERO.previous(), None);
    }

    #[test]
    fn a_timestamp_prints_a_fraction_only_when_there_is_one() {
        assert_eq!(Timestamp(0).to_string(), "2000-01-01T00:00:00Z");
        assert_eq!(Timestamp(1).to_string(), "2000-01-01T00:00:00.000001Z");
    }
}
