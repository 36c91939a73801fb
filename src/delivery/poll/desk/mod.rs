//! [`Desk`]: what may be handed out, from the stream and again, and what was acknowledged (pure).

mod noting;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

pub(super) use self::noting::Noting;
use self::noting::Notings;
use super::cursor::Tray;
use super::shelf::{Ready, Shelf};
use crate::delivery::dead_letter::{DeadKeys, Newer};
use crate::envelope::RouteLabel;
use crate::lsn::{EventId, Position, Timestamp};
use crate::progress::ledger::Ordinal;

/// A dead letter that a person has sent again.
#[derive(Clone, Debug)]
pub(super) struct Returned {
    /// Where it is stored.
    pub(super) row: i64,
    pub(super) id: EventId,
    /// None of a table without a key: it overwrites nothing.
    pub(super) keys: [Option<u64>; 2],
    /// As SQL would quote it; none as above.
    pub(super) table: Option<String>,
    /// It is sent though the receiver has something newer.
    pub(super) forced: bool,
    pub(super) replays: u32,
    pub(super) body: Bytes,
    pub(super) route: Arc<RouteLabel>,
    pub(super) commit_time: Option<Timestamp>,
}

/// What lies there.
///
/// Dead letters that are sent again lie on a tray of their own, in stream order. Tray and shelf are
/// handed out in one order: what is older goes first. The next tray is laid out when nothing of
/// this one is left. What a person asks for meanwhile falls in behind what of the tray was handed
/// out already: that may have arrived, and goes first and alone until it is acknowledged.
///
/// Invariant: nothing on the tray is older than what was acknowledged of its key, unless forced.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) shelf: Shelf,
    /// The number of the tray.
    tray: u64,
    /// What lies on it, and how many of it were acknowledged.
    returned: VecDeque<Returned>,
    gone: u32,
    /// So many of what lies there were handed out, at most a page.
    served: usize,
    /// So many of those were so before others fell in behind them.
    alone: usize,
    /// Where the first lies that is sent again and found no room on the tray; what is newer waits
    /// for the next one.
    rest: Option<Position>,
    keys: DeadKeys,
    notings: Notings,
    /// What was taken to be noted is not on disk yet; letters may be among it.
    is_noting: bool,
    notes_letters: bool,
}

impl Desk {
    /// Everything below `from` was acknowledged.
    pub(super) fn new(from: Position) -> Self {
        Self {
            shelf: Shelf::new(from),
            tray: 0,
            returned: VecDeque::new(),
            gone: 0,
            served: 0,
            alone: 0,
            rest: None,
            keys: DeadKeys::default(),
            notings: Notings::default(),
            is_noting: false,
            notes_letters: false,
        }
    }

    /// An event of these keys is dead.
    pub(super) fn died(&mut self, keys: impl IntoIterator<Item = u64>, id: EventId) {
        self.keys.died(keys, id.position.commit_lsn);
    }

    /// These are the keys of dead letters of earlier runs.
    pub(super) fn restore(&mut self, keys: DeadKeys) {
        self.keys = keys;
    }

    /// Takes away what lies below `from` on the shelf. Returns what is done by that; the rest is
    /// to be noted first.
    pub(super) fn acknowledge(&mut self, from: Position) -> Vec<Ready> {
        let done = self.shelf.acknowledge(from);
        self.took(done)
    }

    /// The receiver has these events. Returns those that are done by that.
    pub(super) fn took(&mut self, done: Vec<Ready>) -> Vec<Ready> {
        let mut newer = Vec::new();
        for ready in &done {
            let noted = match &ready.truncated {
                Some(_) if self.keys.is_empty() && self.returned.is_empty() => Vec::new(),
                Some(table) => vec![Newer::Table(table.clone(), ready.id)],
                None => self.keys.took(ready.keys.into_iter().flatten(), ready.id),
            };
            newer.extend(noted);
        }
        // What came after something that is not noted yet must not count as done before it: a
        // crash would hand out the older one alone.
        if done.is_empty() || (newer.is_empty() && self.notings.is_empty() && !self.is_noting) {
            return done;
        }
        self.notings.took(&newer, done);
        self.overtake(&newer);
        Vec::new()
    }

    /// Takes away what of the tray is older than this.
    fn overtake(&mut self, newer: &[Newer]) {
        let is_older = |returned: &Returned| {
            !returned.forced
                && newer.iter().any(|newer| match newer {
                    Newer::Key(key, id) => {
                        returned.keys.contains(&Some(*key)) && returned.id.position < id.position
                    }
                    Newer::Table(table, id) => {
                        returned.table.as_ref() == Some(table) && returned.id.position < id.position
                    }
                })
        };
        let older = self.take_off(is_older);
        if !older.is_empty() {
            self.notings.overtook(older);
        }
    }

    /// Takes these off the tray. Where one of them was handed out, the rest is a tray of its own:
    /// places on the old one mean nothing any more.
    fn take_off(&mut self, is_gone: impl Fn(&Returned) -> bool) -> Vec<Returned> {
        let mut gone = Vec::new();
        let (before, alone) = (self.served, self.alone);
        for (place, one) in std::mem::take(&mut self.returned).into_iter().enumerate() {
            if is_gone(&one) {
                self.served -= usize::from(place < before);
                self.alone -= usize::from(place < alone);
                gone.push(one);
            } else {
                self.returned.push_back(one);
            }
        }
        if self.served < before {
            self.begin_tray(0);
        }
        gone
    }

    /// What lies there is a tray of its own from here on.
    fn begin_tray(&mut self, number: u64) {
        self.tray = number.max(self.tray.saturating_add(1));
        self.gone = 0;
    }

    /// The receiver has the first of a tray.
    pub(super) fn fetched(&mut self, tray: Tray) {
        if tray.number != self.tray {
            return;
        }
        let mut all = Vec::new();
        while self.gone < tray.count && self.served > 0 {
            let Some(returned) = self.returned.pop_front() else { break };
            self.gone += 1;
            self.served -= 1;
            self.alone = self.alone.saturating_sub(1);
            let newer = self.keys.took(returned.keys.into_iter().flatten(), returned.id);
            all.extend_from_slice(&newer);
            self.notings.fetched(newer, returned);
        }
        // What fell in behind them may be older.
        self.overtake(&all);
    }

    /// Returns the events that lie there or wait to be noted.
    pub(super) fn ordinals(&self) -> impl Iterator<Item = Ordinal> {
        self.shelf.ordinals().chain(self.notings.ordinals())
    }

    /// Whether something may be handed out soon: it waits for the next tray, or until letters that
    /// were acknowledged are noted.
    pub(super) fn awaits(&self) -> bool {
        self.rest.is_some() || self.is_noting_letters()
    }

    fn is_noting_letters(&self) -> bool {
        self.notes_letters || self.notings.has_returned()
    }

    /// Whether nothing is sent again.
    pub(super) fn is_clear(&self) -> bool {
        self.returned.is_empty()
    }

    /// Whether what lay on the tray is gone from the state too: it would be laid out once more.
    pub(super) fn is_cleared(&self) -> bool {
        self.is_clear() && self.notings.letters().next().is_none()
    }

    /// Lays out what is sent again, all that there is up to `rest`, in stream order; the tray's
    /// number is unlike any before.
    pub(super) fn lay_again(
        &mut self,
        number: u64,
        returned: Vec<Returned>,
        rest: Option<Position>,
    ) {
        self.rest = rest;
        self.returned.truncate(self.served);
        self.alone = self.served;
        if self.served == 0 {
            self.begin_tray(number);
        }
        // Acknowledged or handed out since it was loaded.
        let known = self.returned.iter().chain(self.notings.letters());
        let known: HashSet<i64> = known.map(|one| one.row).collect();
        self.returned.extend(returned.into_iter().filter(|one| !known.contains(&one.row)));
        // It was loaded before this was noted.
        self.overtake(&self.notings.newer());
    }

    /// Takes what a person discarded off the tray.
    pub(super) fn discard(&mut self, ids: &[EventId]) {
        self.take_off(|returned| ids.contains(&returned.id));
    }

    /// Returns the first of what is sent again, up to these limits but at least one, and what
    /// acknowledges them; none while something older is to be handed out first, or while it is not
    /// known yet whether what the receiver has is newer.
    pub(super) fn again(&mut self, limit: usize, bytes_max: u64) -> Option<(Vec<Bytes>, Tray)> {
        if self.shelf.passed() < self.shelf.from() {
            return None;
        }
        let end = self.shelf.first().unwrap_or_else(|| self.shelf.passed());
        let limit = if self.alone > 0 { limit.min(self.alone) } else { limit };
        let leading = self.returned.iter().take_while(|returned| returned.id.position < end);
        let mut bytes = 0_u64;
        let mut bodies = Vec::new();
        for returned in leading.take(limit) {
            bytes += u64::try_from(returned.body.len()).unwrap_or(u64::MAX);
            if bytes > bytes_max && !bodies.is_empty() {
                break;
            }
            bodies.push(returned.body.clone());
        }
        if bodies.is_empty() {
            return None;
        }
        self.served = self.served.max(bodies.len());
        let count = u32::try_from(bodies.len()).unwrap_or(u32::MAX);
        Some((bodies, Tray { number: self.tray, count: self.gone.saturating_add(count) }))
    }

    /// Returns the first events of the shelf, up to these limits and to what is sent again, but at
    /// least one, and leaves them there.
    pub(super) fn page(&self, limit: usize, bytes_max: u64) -> Vec<(EventId, Bytes)> {
        // A cursor behind it would outlive a crash, and that the letters were acknowledged not.
        if self.is_noting_letters() {
            return Vec::new();
        }
        let mut page = self.shelf.page(limit, bytes_max);
        let again = self.returned.iter().map(|returned| returned.id.position);
        if let Some(end) = again.chain(self.rest).min() {
            page.retain(|(id, _)| id.position < end);
        }
        page
    }

    /// Returns what is to be noted now, step by step; to be followed by [`Desk::noted`].
    pub(super) fn begin_noting(&mut self) -> Vec<Noting> {
        self.is_noting = !self.notings.is_empty();
        self.notes_letters = self.notings.has_returned();
        self.notings.take()
    }

    /// It is on disk.
    pub(super) const fn noted(&mut self) {
        self.is_noting = false;
        self.notes_letters = false;
    }
}
