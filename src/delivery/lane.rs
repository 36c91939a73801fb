//! [`Lane`]: one order-keeping queue of a sink (pure).

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::settings::BatchLimits;
use crate::chunk::Operation;
use crate::envelope::{Envelope, TableTag};
use crate::lsn::EventId;
use crate::progress::ledger::Ordinal;
use crate::sink::{Batch, Failure};

/// An event and its number in the sink's ledger.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// Its number in the ledger.
    pub ordinal: Ordinal,
    /// What is sent.
    pub envelope: Envelope,
    /// Its place in its lane, from 1, in the order of the stream: neighbours there have
    /// neighbouring numbers.
    pub(super) place: u64,
    /// Which replay of an operator's it is part of; 0: none.
    pub(super) replay: u32,
    /// It does not come from the stream: the ledger knows it as done.
    pub(super) beside: bool,
}

impl Tracked {
    /// Joins the two; the event has not come to its lane yet.
    #[must_use]
    pub const fn new(ordinal: Ordinal, envelope: Envelope) -> Self {
        Self { ordinal, envelope, place: 0, replay: 0, beside: false }
    }
}

/// Both keys of an event: an event that changed its key belongs to the old one too.
pub(super) fn keys(envelope: &Envelope) -> impl Iterator<Item = u64> + use<> {
    std::iter::once(envelope.key_hash).chain(envelope.before_key_hash)
}

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

/// Events that go in one request and stay together until an answer parts them.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) batch: Arc<Batch>,
    pub(super) ordinals: Vec<Ordinal>,
    /// Where each lies in the lane.
    pub(super) places: Vec<u64>,
    /// See [`Tracked::beside`]: all of them, or none.
    pub(super) beside: bool,
    /// Failures in a row.
    pub(super) failures: u32,
    /// The number of the dispatch that sent it last.
    pub(super) last_sent: u64,
    /// It came out of a batch that failed: its first failure makes it a suspect again.
    pub(super) isolating: bool,
    /// The lane that waits for it because of an old key.
    pub(super) joins: Option<usize>,
    /// The last answer to it.
    pub(super) last_failure: Option<Failure>,
}

impl Piece {
    fn new(events: impl IntoIterator<Item = Tracked>, joins: Option<usize>) -> Self {
        let events = events.into_iter();
        // A batch is drained from its queue, which knows at most how many there are.
        let count = events.size_hint().1.unwrap_or_default();
        let mut ordinals = Vec::with_capacity(count);
        let mut places = Vec::with_capacity(count);
        let mut envelopes = Vec::with_capacity(count);
        let (mut replay, mut beside) = (0, false);
        for event in events {
            // The same for all of them.
            (replay, beside) = (event.replay, event.beside);
            ordinals.push(event.ordinal);
            places.push(event.place);
            envelopes.push(event.envelope);
        }
        Self {
            batch: Arc::new(Batch { events: envelopes, replay }),
            ordinals,
            places,
            beside,
            failures: 0,
            last_sent: 0,
            isolating: false,
            joins,
            last_failure: None,
        }
    }

    /// A part of a piece, when some of its events are done and others are not.
    pub(super) fn rest(events: Vec<Tracked>, failures: u32, last_sent: u64) -> Self {
        Self { failures, last_sent, isolating: true, ..Self::new(events, None) }
    }

    /// Parts it into pieces of `size` events.
    pub(super) fn split(self, size: usize) -> Vec<Self> {
        let joins = self.joins;
        let mut pieces = Vec::new();
        let mut events = self.into_events().peekable();
        while events.peek().is_some() {
            let part = events.by_ref().take(size.max(1));
            pieces.push(Self { isolating: true, ..Self::new(part, joins) });
        }
        pieces
    }

    pub(super) fn len(&self) -> usize {
        self.ordinals.len()
    }

    /// Whether it failed so often that the question is: the event or the sink?
    pub(super) const fn is_suspect(&self) -> bool {
        self.failures >= 2 || (self.isolating && self.failures >= 1)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.batch.events.iter().map(weight).sum()
    }

    /// Takes it apart.
    pub(super) fn into_events(self) -> impl Iterator<Item = Tracked> {
        let (replay, beside) = (self.batch.replay, self.beside);
        let events = match Arc::try_unwrap(self.batch) {
            Ok(batch) => batch.events,
            Err(shared) => shared.events.clone(),
        };
        let numbers = self.ordinals.into_iter().zip(self.places);
        let pairs = numbers.zip(events);
        pairs.map(move |((ordinal, place), envelope)| Tracked {
            ordinal,
            envelope,
            place,
            replay,
            beside,
        })
    }

    fn keys(&self) -> impl Iterator<Item = u64> {
        self.batch.events.iter().flat_map(keys)
    }
}

pub(super) fn weight(envelope: &Envelope) -> u64 {
    envelope.bytes() as u64
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

    /// Marks the place of an event that was set aside; false when nothing lies before it.
    pub(super) fn mark(&mut self, ordinal: Ordinal, id: EventId) -> bool {
        let place = self.queue.partition_point(|queued| queued.ordinal() < ordinal);
        if place == 0 && self.pieces.is_empty() && self.flight.is_none() {
            return false;
        }
        self.forget_search();
        self.queue.insert(place, Queued::Mark(ordinal, id));
        true
    }

    /// As [`Lane::mark`], behind all that is here: a mark may stand later than it has to.
    pub(super) fn mark_end(&mut self, ordinal: Ordinal, id: EventId) -> bool {
        let last = self.queue.back().map(Queued::ordinal);
        if last.is_none() && self.pieces.is_empty() && self.flight.is_none() {
            return false;
        }
        self.queue.push_back(Queued::Mark(ordinal.max(last.unwrap_or_default()), id));
        true
    }

    /// Takes the mark that the lane has come to, and says whose it is.
    pub(super) fn pass_mark(&mut self) -> Option<EventId> {
        let Some(Queued::Mark(_, id)) = self.queue.front() else { return None };
        let id = *id;
        if !self.pieces.is_empty() || self.flight.is_some() {
            return None;
        }
        self.forget_search();
        self.queue.pop_front();
        Some(id)
    }

    /// Takes the marks that nothing before them concerns, and says whose they are: those of
    /// events of another table, and of other keys of this one.
    pub(super) fn pass_marks_by(
        &mut self,
        concerns: impl Fn(EventId, &HashSet<u64>, &HashSet<TableTag>) -> bool,
    ) -> Vec<EventId> {
        let mut before: HashSet<u64> = self.pieces.iter().flat_map(Piece::keys).collect();
        let mut tables: HashSet<TableTag> = before.iter().copied().map(TableTag::of).collect();
        let mut passed = Vec::new();
        // Behind the place of another lane's event nothing is known of what is before.
        for queued in self.queue.iter().take_while(|queued| !matches!(queued, Queued::Hold(_))) {
            match queued {
                Queued::Event { tracked, .. } => {
                    before.extend(keys(&tracked.envelope));
                    tables.insert(tracked.envelope.table_tag());
                }
                Queued::Mark(_, id) if !concerns(*id, &before, &tables) => passed.push(*id),
                _ => {}
            }
        }
        if !passed.is_empty() {
            let gone: HashSet<EventId> = passed.iter().copied().collect();
            let mut holds = false;
            self.forget_search();
            self.queue.retain(|queued| {
                holds |= matches!(queued, Queued::Hold(_));
                holds || !matches!(queued, Queued::Mark(_, id) if gone.contains(id))
            });
        }
        passed
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
            let Queued::Event { tracked, joins: None, .. } = queued else { break };
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

    /// Forms a piece of the first `events` of the queue.
    pub(super) fn form(&mut self, events: u64) {
        let count = usize::try_from(events).unwrap_or(usize::MAX).min(self.queue.len());
        self.forget_search();
        let mut joins = None;
        let taken = self.queue.drain(..count).filter_map(|queued| match queued {
            Queued::Event { tracked, joins: with, .. } => {
                joins = with;
                Some(tracked)
            }
            Queued::Hold(_) | Queued::Mark(..) => None,
        });
        let piece = Piece::new(taken, None);
        if piece.len() > 0 {
            self.pieces.push_back(Piece { joins, ..piece });
        }
    }

    /// Finds something to send of another key than the first piece's: a piece that did not fail
    /// yet, or the first such event of the queue, which becomes a piece. With `again`, a piece
    /// that failed does as well. Returns the piece's index.
    pub(super) fn probe(&mut self, again: bool) -> Option<usize> {
        let untried = self.find_piece(|piece| piece.failures == 0);
        if untried.is_some() {
            return untried;
        }
        if let Some(tracked) = self.take_of_another_key() {
            self.pieces.push_back(Piece::new([tracked], None));
            return self.pieces.len().checked_sub(1);
        }
        if again { self.find_piece(|_| true) } else { None }
    }

    /// Returns the piece behind the first that shares no key with any before it and failed least.
    fn find_piece(&self, wanted: impl Fn(&Piece) -> bool) -> Option<usize> {
        let mut seen: HashSet<u64> = HashSet::new();
        let mut best: Option<(u32, usize)> = None;
        for (index, piece) in self.pieces.iter().enumerate() {
            let apart = piece.keys().all(|key| !seen.contains(&key));
            let better = best.is_none_or(|(failures, _)| piece.failures < failures);
            if index > 0 && apart && better && piece.joins.is_none() && wanted(piece) {
                best = Some((piece.failures, index));
            }
            seen.extend(piece.keys());
        }
        best.map(|(_, index)| index)
    }

    /// Takes the first event of the queue whose keys occur nowhere before it.
    fn take_of_another_key(&mut self) -> Option<Tracked> {
        if self.searched == 0 {
            self.searched_keys = self.pieces.iter().flat_map(Piece::keys).collect();
        }
        while let Some(queued) = self.queue.get(self.searched) {
            if matches!(queued, Queued::Mark(..)) {
                self.searched += 1;
                continue;
            }
            // Behind the place of another lane's event nothing may overtake it.
            let Queued::Event { tracked, joins: None, .. } = queued else { return None };
            let apart = keys(&tracked.envelope).all(|key| !self.searched_keys.contains(&key));
            self.searched_keys.extend(keys(&tracked.envelope));
            if !apart {
                self.searched += 1;
                continue;
            }
            let Some(Queued::Event { tracked, .. }) = self.queue.remove(self.searched) else {
                return None;
            };
            return Some(tracked);
        }
        None
    }

    /// The keys before the queue changed: a search has to start again.
    pub(super) fn forget_search(&mut self) {
        self.searched = 0;
        self.searched_keys.clear();
    }

    /// Takes a piece out.
    pub(super) fn take_piece(&mut self, index: usize) -> Option<Piece> {
        self.forget_search();
        self.pieces.remove(index)
    }

    /// Puts pieces where one was taken out, in order.
    pub(super) fn put_pieces(&mut self, index: usize, pieces: Vec<Piece>) {
        self.forget_search();
        for (offset, piece) in pieces.into_iter().enumerate() {
            self.pieces.insert((index + offset).min(self.pieces.len()), piece);
        }
    }

    /// Takes every event out that is not in flight, with the lane that waits for it.
    pub(super) fn drain(&mut self) -> Vec<(Tracked, Option<usize>)> {
        self.forget_search();
        let in_flight = self.flight.as_mut().map(|flight| std::mem::take(&mut flight.piece));
        let mut taken = Vec::new();
        for (index, piece) in std::mem::take(&mut self.pieces).into_iter().enumerate() {
            if Some(index) == in_flight {
                self.pieces.push_back(piece);
                continue;
            }
            let joins = piece.joins;
            taken.extend(piece.into_events().map(|tracked| (tracked, joins)));
        }
        for queued in std::mem::take(&mut self.queue) {
            match queued {
                Queued::Event { tracked, joins, .. } => taken.push((tracked, joins)),
                other => self.queue.push_back(other),
            }
        }
        taken
    }

    /// Forgets the marks of `id` and of events behind it.
    pub(super) fn drop_marks(&mut self, id: EventId) {
        self.forget_search();
        self.queue.retain(|queued| !matches!(queued, Queued::Mark(_, other) if *other >= id));
    }

    /// Forgets the mark of one event.
    pub(super) fn drop_mark(&mut self, id: EventId) {
        self.forget_search();
        self.queue.retain(|queued| !matches!(queued, Queued::Mark(_, other) if *other == id));
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

    /// Takes every waiting event of `key` from the ordinal `from` on that is not in flight out of
    /// the lane.
    pub(super) fn take_key(&mut self, key: u64, from: Ordinal) -> Vec<(Tracked, Option<usize>)> {
        self.take(|ordinal, envelope, _| ordinal >= from && keys(envelope).any(|own| own == key))
    }

    /// Takes every event out of the lane that another lane has to come to as well, and that is not
    /// in flight.
    pub(super) fn take_joins(&mut self) -> Vec<(Tracked, Option<usize>)> {
        self.take(|_, _, joins| joins.is_some())
    }

    /// Takes every event like this that is not in flight out of the lane.
    fn take(
        &mut self,
        wanted: impl Fn(Ordinal, &Envelope, Option<usize>) -> bool,
    ) -> Vec<(Tracked, Option<usize>)> {
        self.forget_search();
        let mut taken = Vec::new();
        let in_flight = self.flight.map(|flight| flight.piece);
        let pieces = std::mem::take(&mut self.pieces);
        for (index, piece) in pieces.into_iter().enumerate() {
            let joins = piece.joins;
            let mut events = piece.ordinals.iter().zip(&piece.batch.events);
            let is_sent = Some(index) == in_flight;
            if is_sent || !events.any(|(ordinal, event)| wanted(*ordinal, event, joins)) {
                if is_sent {
                    self.flight.iter_mut().for_each(|flight| flight.piece = self.pieces.len());
                }
                self.pieces.push_back(piece);
                continue;
            }
            let Piece { failures, last_sent, isolating, .. } = piece;
            let (theirs, rest): (Vec<_>, Vec<_>) = piece
                .into_events()
                .partition(|event| wanted(event.ordinal, &event.envelope, joins));
            taken.extend(theirs.into_iter().map(|tracked| (tracked, joins)));
            if !rest.is_empty() {
                let rest = Piece { failures, last_sent, isolating, ..Piece::new(rest, joins) };
                self.pieces.push_back(rest);
            }
        }
        let queue = std::mem::take(&mut self.queue);
        for queued in queue {
            match queued {
                Queued::Event { tracked, joins, .. }
                    if wanted(tracked.ordinal, &tracked.envelope, joins) =>
                {
                    taken.push((tracked, joins));
                }
                other => self.queue.push_back(other),
            }
        }
        taken
    }
}
