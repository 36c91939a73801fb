//! [`Lane`]: one order-keeping queue of a sink (pure).

#[cfg(test)]
mod check;
mod mark;
mod piece;
mod probe;
mod take;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

pub use self::piece::Tracked;
pub(super) use self::piece::{Piece, keys, weight};
use super::settings::BatchLimits;
use crate::chunk::Operation;
use crate::envelope::TableTag;
use crate::lsn::EventId;
use crate::progress::ledger::Ordinal;

/// What waits in a lane.
#[derive(Debug)]
enum Queued {
    Event {
        tracked: Tracked,
        arrived: Duration,
        /// The lane of the old key, which has to come to the same event first.
        joins: Option<usize>,
    },
    /// The place of an event of another lane whose old key belongs here.
    Hold(Ordinal),
    /// The place of an event that was set aside, one of whose keys belongs here: it may be tried
    /// once everything before is done. Holds up nothing.
    Mark(Ordinal, EventId),
}

impl Queued {
    const fn ordinal(&self) -> Ordinal {
        match self {
            Self::Event { tracked, .. } => tracked.ordinal,
            Self::Hold(ordinal) | Self::Mark(ordinal, _) => *ordinal,
        }
    }
}

/// A request that was not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    /// Which of the pieces.
    pub(super) piece: usize,
    pub(super) number: u64,
    /// It shows whether the piece in front of it or the sink is at fault.
    pub(super) suspect_probe: bool,
}

/// What a lane would send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing is there, or something is in flight.
    Nothing,
    /// Not before then.
    Later(Duration),
    /// The old key's lane has to come to this event first.
    Joins { lane: usize, ordinal: Ordinal },
    /// The first piece, again.
    Again,
    /// A new batch of so much.
    Fresh { events: u64, bytes: u64 },
    /// The first piece is a suspect: an event of another key is wanted as a probe.
    Probe,
}

/// One order-keeping queue: at most one request of it is in flight.
///
/// Invariant: two events of one key leave it in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Lane {
    queue: VecDeque<Queued>,
    /// What was sent before and is to be sent again, in front of the queue.
    pub(super) pieces: VecDeque<Piece>,
    pub(super) flight: Option<Flight>,
    /// The first piece waits until then.
    pub(super) not_before: Duration,
    /// It stands in the scheduler's list of lanes to look at.
    pub(super) listed: bool,
    /// The event of another lane, at whose place it stands, and which is being sent.
    pub(super) held: Option<Ordinal>,
    /// How far the queue was searched for a probe, and which keys lie before.
    searched: usize,
    searched_keys: HashSet<u64>,
    /// The last place that was given.
    places: u64,
}

impl Lane {
    /// Gives the next event of the stream its place.
    pub(super) const fn give_place(&mut self, tracked: &mut Tracked) {
        self.places += 1;
        tracked.place = self.places;
    }

    pub(super) fn push(&mut self, tracked: Tracked, arrived: Duration, joins: Option<usize>) {
        self.insert(Queued::Event { tracked, arrived, joins });
    }

    /// An event that belonged here is not sent: those around it are no neighbours.
    pub(super) const fn leave_out(&mut self) {
        self.places += 1;
    }

    pub(super) fn push_hold(&mut self, ordinal: Ordinal) {
        self.insert(Queued::Hold(ordinal));
    }

    /// Keeps the order of the stream; what is new goes to the end.
    fn insert(&mut self, queued: Queued) {
        let behind = |other: &&Queued| other.ordinal() > queued.ordinal();
        let place = self.queue.len() - self.queue.iter().rev().take_while(behind).count();
        if place < self.queue.len() {
            self.forget_search();
        }
        self.queue.insert(place, queued);
    }

    /// Whether the lane has come to the place of another lane's event.
    pub(super) fn is_at(&self, ordinal: Ordinal) -> bool {
        self.pieces.is_empty()
            && self.flight.is_none()
            && matches!(self.queue.front(), Some(Queued::Hold(hold)) if *hold == ordinal)
    }

    /// The other lane's event is done, or is not sent any more: its place is given up, and what
    /// lies behind it may go. The place of another event stays, also one that holds the lane.
    pub(super) fn release(&mut self, ordinal: Ordinal) {
        self.forget_search();
        self.held.take_if(|held| *held == ordinal);
        if matches!(self.queue.front(), Some(Queued::Hold(hold)) if *hold == ordinal) {
            self.queue.pop_front();
            return;
        }
        self.queue.retain(|queued| !matches!(queued, Queued::Hold(hold) if *hold == ordinal));
    }

    /// Returns what would be sent next.
    pub(super) fn next(&self, now: Duration, limits: &BatchLimits) -> Next {
        if self.flight.is_some() || self.held.is_some() {
            return Next::Nothing;
        }
        if let Some(piece) = self.pieces.front() {
            return match piece.is_suspect() {
                _ if self.not_before <= now => Next::Again,
                true => Next::Probe,
                false => Next::Later(self.not_before),
            };
        }
        match self.queue.front() {
            None | Some(Queued::Hold(_) | Queued::Mark(..)) => Next::Nothing,
            Some(Queued::Event { joins: Some(lane), tracked, .. }) => {
                Next::Joins { lane: *lane, ordinal: tracked.ordinal }
            }
            Some(Queued::Event { arrived, .. }) => self.fresh(*arrived, now, limits),
        }
    }

    fn fresh(&self, arrived: Duration, now: Duration, limits: &BatchLimits) -> Next {
        let (events, bytes) = self.measure(limits);
        let is_full = events >= u64::from(limits.max_events) || bytes >= limits.max_bytes;
        let due = arrived.saturating_add(limits.max_wait);
        if limits.max_wait > Duration::ZERO && !is_full && due > now {
            return Next::Later(due);
        }
        Next::Fresh { events, bytes }
    }

    /// Returns how much a batch formed now would hold.
    fn measure(&self, limits: &BatchLimits) -> (u64, u64) {
        let (mut events, mut bytes, mut kind) = (0, 0, (0, false));
        for queued in &self.queue {
            // What was set aside waits for what is before it; it parts no batch.
            let tracked = match queued {
                Queued::Event { tracked, joins: None, .. } => tracked,
                Queued::Mark(..) => continue,
                Queued::Event { .. } | Queued::Hold(_) => break,
            };
            let more = weight(&tracked.envelope);
            // What does not come from the stream goes apart from what does, and a TRUNCATE alone.
            let own = (tracked.replay, tracked.beside);
            let truncates = tracked.envelope.operation == Operation::Truncate;
            if events > 0 && (own != kind || truncates) {
                break;
            }
            kind = own;
            if events > 0
                && (events >= u64::from(limits.max_events) || bytes + more > limits.max_bytes)
            {
                break;
            }
            events += 1;
            bytes += more;
            if truncates {
                break;
            }
        }
        (events, bytes)
    }

    /// Forms a piece of the first `events` of the queue. Marks between them stay, behind it.
    pub(super) fn form(&mut self, events: u64) {
        self.forget_search();
        let count = usize::try_from(events).unwrap_or(usize::MAX).min(self.queue.len());
        let mut joins = None;
        let mut event = |queued| match queued {
            Queued::Event { tracked, joins: with, .. } => {
                joins = with;
                Some(tracked)
            }
            Queued::Hold(_) | Queued::Mark(..) => None,
        };
        let has_marks = self.queue.iter().take(count).any(|q| matches!(q, Queued::Mark(..)));
        let piece = if has_marks {
            let taken: Vec<Queued> = self.take_past_marks(count);
            Piece::new(taken.into_iter().filter_map(event), None)
        } else {
            Piece::new(self.queue.drain(..count).filter_map(&mut event), None)
        };
        if piece.len() > 0 {
            self.pieces.push_back(Piece { joins, ..piece });
        }
    }

    /// Takes the first `count` events of the queue, and leaves the marks among them in front of it.
    fn take_past_marks(&mut self, count: usize) -> Vec<Queued> {
        let (mut taken, mut marks) = (Vec::with_capacity(count), Vec::new());
        while taken.len() < count
            && let Some(queued) = self.queue.pop_front()
        {
            match queued {
                Queued::Event { .. } => taken.push(queued),
                Queued::Mark(..) => marks.push(queued),
                Queued::Hold(_) => {
                    self.queue.push_front(queued);
                    break;
                }
            }
        }
        marks.into_iter().rev().for_each(|mark| self.queue.push_front(mark));
        taken
    }

    /// Returns the events that are here, in flight or not.
    pub(super) fn ordinals(&self) -> impl Iterator<Item = Ordinal> {
        let waiting = self.queue.iter().filter_map(|queued| match queued {
            Queued::Event { tracked, .. } => Some(tracked.ordinal),
            Queued::Hold(_) | Queued::Mark(..) => None,
        });
        self.pieces.iter().flat_map(|piece| piece.ordinals.iter().copied()).chain(waiting)
    }

    /// Whether the first piece keeps failing, and it is not known yet who is at fault.
    pub(super) fn has_suspect(&self) -> bool {
        self.pieces.front().is_some_and(Piece::is_suspect)
    }

    /// Returns what is in flight.
    fn sent(&self) -> Option<&Piece> {
        self.flight.and_then(|flight| self.pieces.get(flight.piece))
    }

    /// Whether an event in flight has one of these keys.
    pub(super) fn is_sending(&self, mut wanted: impl Iterator<Item = u64>) -> bool {
        let sent = self.sent();
        sent.is_some_and(|piece| wanted.any(|own| piece.keys().any(|key| own == key)))
    }

    /// Whether an event of this table is in flight.
    pub(super) fn is_sending_of(&self, table: TableTag) -> bool {
        self.sent().is_some_and(|piece| piece.keys().any(|key| TableTag::of(key) == table))
    }

    /// Whether this event is in flight.
    pub(super) fn sends(&self, id: EventId) -> bool {
        self.sent().is_some_and(|piece| piece.batch.events.iter().any(|event| event.id == id))
    }
}
