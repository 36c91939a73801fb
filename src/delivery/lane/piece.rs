//! [`Piece`]: events that go in one request; [`Tracked`]: one of them, and where it stands.

use std::sync::Arc;

use crate::envelope::Envelope;
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
    pub(in crate::delivery) place: u64,
    /// Which replay of an operator's it is part of; 0: none.
    pub(in crate::delivery) replay: u32,
    /// It does not come from the stream: the ledger knows it as done.
    pub(in crate::delivery) beside: bool,
}

impl Tracked {
    /// Joins the two; the event has not come to its lane yet.
    #[must_use]
    pub const fn new(ordinal: Ordinal, envelope: Envelope) -> Self {
        Self { ordinal, envelope, place: 0, replay: 0, beside: false }
    }
}

/// Both keys of an event: an event that changed its key belongs to the old one too.
pub(in crate::delivery) fn keys(envelope: &Envelope) -> impl Iterator<Item = u64> + use<> {
    std::iter::once(envelope.key_hash).chain(envelope.before_key_hash)
}

/// Events that go in one request and stay together until an answer parts them.
#[derive(Debug)]
pub(in crate::delivery) struct Piece {
    pub(in crate::delivery) batch: Arc<Batch>,
    pub(in crate::delivery) ordinals: Vec<Ordinal>,
    /// Where each lies in the lane.
    pub(in crate::delivery) places: Vec<u64>,
    /// See [`Tracked::beside`]: all of them, or none.
    pub(in crate::delivery) beside: bool,
    /// Failures in a row.
    pub(in crate::delivery) failures: u32,
    /// The number of the dispatch that sent it last.
    pub(in crate::delivery) last_sent: u64,
    /// It came out of a batch that failed: its first failure makes it a suspect again.
    pub(in crate::delivery) isolating: bool,
    /// The lane that waits for it because of an old key.
    pub(in crate::delivery) joins: Option<usize>,
    /// The last answer to it.
    pub(in crate::delivery) last_failure: Option<Failure>,
}

impl Piece {
    pub(super) fn new(events: impl IntoIterator<Item = Tracked>, joins: Option<usize>) -> Self {
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
    pub(in crate::delivery) fn rest(events: Vec<Tracked>, failures: u32, last_sent: u64) -> Self {
        Self { failures, last_sent, isolating: true, ..Self::new(events, None) }
    }

    /// Parts it into pieces of `size` events.
    pub(in crate::delivery) fn split(self, size: usize) -> Vec<Self> {
        let joins = self.joins;
        let mut pieces = Vec::new();
        let mut events = self.into_events().peekable();
        while events.peek().is_some() {
            let part = events.by_ref().take(size.max(1));
            pieces.push(Self { isolating: true, ..Self::new(part, joins) });
        }
        pieces
    }

    pub(in crate::delivery) fn len(&self) -> usize {
        self.ordinals.len()
    }

    /// Whether it failed so often that the question is: the event or the sink?
    pub(in crate::delivery) const fn is_suspect(&self) -> bool {
        self.failures >= 2 || (self.isolating && self.failures >= 1)
    }

    pub(in crate::delivery) fn bytes(&self) -> u64 {
        self.batch.events.iter().map(weight).sum()
    }

    /// Takes it apart.
    pub(in crate::delivery) fn into_events(self) -> impl Iterator<Item = Tracked> {
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

    pub(super) fn keys(&self) -> impl Iterator<Item = u64> {
        self.batch.events.iter().flat_map(keys)
    }
}

pub(in crate::delivery) fn weight(envelope: &Envelope) -> u64 {
    envelope.bytes() as u64
}
