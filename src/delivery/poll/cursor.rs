//! [`Cursor`]: what a receiver gives back to say what has arrived (pure).

use std::fmt;
use std::str::FromStr;

use crate::lsn::{EventId, ParseEventIdError};

/// Where a receiver is: in the stream, and in what was sent again beside it.
///
/// Printed as the event's id, and, behind a page of dead letters that are sent again, the tray
/// that they lay on and how many of it were handed out:
/// `00000001-00000000017C8338-00000003.5F2A.7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// This and everything before it has arrived.
    pub after: EventId,
    /// So much of a tray has arrived as well.
    pub tray: Option<Tray>,
}

/// How much of a tray was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tray {
    /// Which; no two of a sink have the same, those of earlier runs included.
    pub number: u64,
    /// Its first events, so many.
    pub count: u32,
}

impl From<EventId> for Cursor {
    fn from(after: EventId) -> Self {
        Self { after, tray: None }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.after.fmt(f)?;
        match self.tray {
            Some(Tray { number, count }) => write!(f, ".{number:X}.{count:X}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Cursor {
    type Err = ParseEventIdError;

    fn from_str(text: &str) -> Result<Self, ParseEventIdError> {
        let Some((after, tray)) = text.split_once('.') else {
            return Ok(Self { after: text.parse()?, tray: None });
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (number, count) = tray.split_once('.').ok_or(ParseEventIdError)?;
        if !digits(number) || !digits(count) {
            return Err(ParseEventIdError);
        }
        let number = u64::from_str_radix(number, 16).map_err(|_| ParseEventIdError)?;
        let count = u32::from_str_radix(count, 16).map_err(|_| ParseEventIdError)?;
        Ok(Self { after: after.parse()?, tray: Some(Tray { number, count }) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::{Lsn, Position};

    #[test]
    fn a_cursor_is_read_as_it_was_written_or_refused() {
        let after = EventId { timeline: 1, position: Position::new(Lsn(0x17C_8338), 3) };
        let tray = Some(Tray { number: 0x5F2A, count: 31 });
        for (cursor, text) in [
            (Cursor { after, tray: None }, "00000001-00000000017C8338-00000003"),
            (Cursor { after, tray }, "00000001-00000000017C8338-00000003.5F2A.1F"),
        ] {
            assert_eq!(cursor.to_string(), text);
            assert_eq!(text.parse(), Ok(cursor));
        }
        let id = "00000001-00000000017C8338-00000003";
        for tail in [".", "..", ".5", ".5.", ".x.1", ".1.1.1", ".+1.1", ".1.100000000"] {
            assert!(format!("{id}{tail}").parse::<Cursor>().is_err(), "{tail}");
        }
    }
}
