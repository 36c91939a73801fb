//! [`Compaction`]: which changes of a stretch of the stream a later one makes needless (pure).
//!
//! Two passes: the first notes every change, the second asks for each whether it is superseded. What
//! is held is one place a key, however many changes there are.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::ops::Range;

use crate::lsn::{Lsn, Position};
use crate::mapping::Draft;

/// Keys that are held for one stretch, at 32 bytes each: what fits into a table of 2²⁰ places. A
/// stretch that has more ends there, and the rest is a stretch of its own.
pub(super) const KEYS_MAX: usize = 900_000;

/// The key of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    /// See [`crate::envelope::Envelope::key_hash`].
    pub(super) hash: u64,
    /// What was hashed, the table aside. None: not known, where a change is refused.
    pub(super) bytes: Option<&'a [u8]>,
}

/// What counts of one change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change<'a> {
    pub(super) position: Position,
    /// Which of the sink's routes took it.
    pub(super) route: u32,
    /// None: of a table without a key, a TRUNCATE, a message.
    pub(super) key: Option<Key<'a>>,
    /// The key it had before, where it changed it.
    pub(super) old: Option<Key<'a>>,
    /// A receiver that has only this change knows the whole row, or that it is gone.
    pub(super) whole: bool,
    /// The mapping refuses it: the far side never sees it.
    pub(super) refused: bool,
}

impl<'a> Change<'a> {
    /// Takes it from an event whose bytes lie in `buffer`.
    pub(super) fn of(draft: &Draft, buffer: &'a [u8], route: u32, refused: bool) -> Self {
        let bytes = |range: &Range<usize>| buffer.get(range.clone());
        let key = draft.key.as_ref().map(|key| Key { hash: draft.key_hash, bytes: bytes(key) });
        let old = draft.before_key_hash.map(|hash| {
            let bytes = draft.before_key.as_ref().and_then(bytes);
            Key { hash, bytes }
        });
        let (position, whole) = (draft.id.position, draft.whole);
        Self { position, route, key, old, whole, refused }
    }
}

/// The places from which on the changes of each key matter.
///
/// A change makes those before it of its key needless if it is whole and is sent. So the last whole
/// one of a key is sent, and everything behind it. Always sent are changes without a key, and those
/// that change a key: the old one has to go. Where the row that moves is not whole, the far side
/// needs what came before under either key, so from there on nothing of the two is needless any
/// more; likewise where routes mix, which write different fields.
///
/// Invariant: what is not noted, or not for sure of the same key, is not superseded. Two keys of one
/// hash share a place, which belongs to the first of them: it is told by a second hash of 64 bits
/// under a secret of this stretch, and the other is sent as if it had never been noted.
#[derive(Debug)]
pub(super) struct Compaction {
    places: HashMap<u64, Place>,
    secret: RandomState,
    keys_max: usize,
}

/// From where on the changes of a key matter. Flat, so that it is 24 bytes.
#[derive(Clone, Copy, Debug)]
struct Place {
    check: u64,
    commit_lsn: Lsn,
    seq: u32,
    route: u32,
}

/// Stands in the place of a route where nothing more is superseded.
const FIXED: u32 = u32::MAX;

impl Compaction {
    /// Begins a stretch.
    pub(super) fn new(keys_max: usize) -> Self {
        Self { places: HashMap::new(), secret: RandomState::new(), keys_max }
    }

    /// Whether no further key can be held.
    pub(super) fn is_full(&self) -> bool {
        self.places.len() >= self.keys_max
    }

    /// Notes the next change of the stretch, in stream order.
    pub(super) fn note(&mut self, change: &Change<'_>) {
        let Some(key) = change.key else { return };
        if let Some(old) = change.old {
            for key in [key, old] {
                if change.whole && !change.refused {
                    self.turn(key, change.route, Some(change.position));
                } else {
                    self.fix(key);
                }
            }
        } else if !change.refused {
            self.turn(key, change.route, Some(change.position).filter(|_| change.whole));
        }
    }

    /// Whether a later change of the stretch makes this one needless.
    pub(super) fn is_superseded(&self, change: &Change<'_>) -> bool {
        let Some(key) = change.key.filter(|_| change.old.is_none()) else { return false };
        self.places.get(&key.hash).is_some_and(|place| {
            change.position < Position::new(place.commit_lsn, place.seq)
                && key.bytes.is_some_and(|bytes| place.check == self.secret.hash_one(bytes))
        })
    }

    /// A change of a key is sent; `from`: what is before it is not needed then.
    fn turn(&mut self, key: Key<'_>, route: u32, from: Option<Position>) {
        let Some(bytes) = key.bytes else { return };
        let check = self.secret.hash_one(bytes);
        let is_full = self.is_full();
        let place = match self.places.entry(key.hash) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(_) if is_full => return,
            Entry::Vacant(free) => {
                free.insert(Place { check, commit_lsn: Lsn::ZERO, seq: 0, route })
            }
        };
        if place.check != check || place.route == FIXED {
            return;
        }
        if place.route != route {
            place.route = FIXED;
        } else if let Some(Position { commit_lsn, seq }) = from {
            (place.commit_lsn, place.seq) = (commit_lsn, seq);
        }
    }

    /// Nothing more of a key is superseded.
    fn fix(&mut self, key: Key<'_>) {
        let is_full = self.is_full();
        match self.places.entry(key.hash) {
            Entry::Occupied(mut place) => place.get_mut().route = FIXED,
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(free) => {
                free.insert(Place { check: 0, commit_lsn: Lsn::ZERO, seq: 0, route: FIXED });
            }
        }
    }
}

#[cfg(test)]
mod tests;
