//! The log of the server, and what is made of an event of it.

use crate::lsn::{Lsn, Position};

/// Events in the server's log.
pub(super) const COUNT: usize = 4;
/// The one that the far side may refuse, or fail over.
pub(super) const ODD: usize = 2;
/// Where the server's log ends.
pub(super) const LOG_END: Lsn = Lsn(40);

/// The log: three transactions, the second of two events. Commit, place, key, and the
/// transaction's end in its last event.
const LOG: [(u64, u32, u8, Option<u64>); COUNT] =
    [(10, 0, 0, Some(15)), (20, 0, 0, None), (20, 1, 1, Some(25)), (30, 0, 1, Some(35))];

pub(super) const fn position(event: usize) -> Position {
    Position::new(Lsn(LOG[event].0), LOG[event].1)
}

pub(super) const fn key(event: usize) -> u8 {
    LOG[event].2
}

/// Behind a chunk that holds this one event.
pub(super) const fn behind(event: usize) -> Position {
    match LOG[event].3 {
        Some(_) => Position::after_transaction(Lsn(LOG[event].0)),
        None => position(event).next(),
    }
}

/// Where the transaction of an event ends.
pub(super) fn transaction_end(event: usize) -> Lsn {
    Lsn(LOG[event..].iter().find_map(|(.., end)| *end).unwrap())
}

/// Whether its transaction ends with it.
pub(super) const fn is_whole(event: usize) -> bool {
    LOG[event].3.is_some()
}

pub(super) const fn bit(event: usize) -> u8 {
    1 << event
}

/// What the state's database holds of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Letter {
    None,
    Retrying,
    Blocked,
    Dead { newer: bool },
    Replaying { newer: bool },
    Delivered,
}

impl Letter {
    /// Nobody tries it any more by itself.
    pub(super) const fn is_dead(self) -> bool {
        matches!(self, Self::Dead { .. })
    }

    /// A later change of its key is noted here, once.
    pub(super) const fn may_be_overtaken(self) -> bool {
        matches!(self, Self::Dead { newer: false } | Self::Replaying { newer: false })
    }
}
