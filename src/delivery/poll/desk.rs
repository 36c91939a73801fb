//! [`Desk`]: what may be handed out, from the stream and again, and what was acknowledged (pure).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

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

/// What was acknowledged and has to be noted before it counts.
#[derive(Debug, Default)]
pub(super) struct Noting {
    /// Dead letters before these are older than what the receiver has.
    pub(super) newer: Vec<Newer>,
    pub(super) events: Vec<Ready>,
    pub(super) returned: Vec<Returned>,
    /// Something newer was acknowledged before these: they stay dead.
    pub(super) overtaken: Vec<Returned>,
}

impl Noting {
    const fn is_empty(&self) -> bool {
        self.newer.is_empty()
            && self.events.is_empty()
            && self.returned.is_empty()
            && self.overtaken.is_empty()
    }
}

/// What lies there.
///
/// Dead letters that are sent again lie on a tray of their own, in stream order. Tray and shelf are
/// handed out in one order: what is older goes first. The next tray is laid out when nothing of
/// this one is left.
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
    /// Where the first lies that is sent again and found no room on the tray; what is newer waits
    /// for the next one.
    rest: Option<Position>,
    keys: DeadKeys,
    noting: Noting,
    /// What was taken to be noted is not on disk yet.
    is_noting: bool,
}

impl Desk {
    /// Everything below `from` was acknowledged.
    pub(super) fn new(from: Position) -> Self {
        Self {
            shelf: Shelf::new(from),
            tray: 0,
            returned: VecDeque::new(),
            gone: 0,
            rest: None,
            keys: DeadKeys::default(),
            noting: Noting::default(),
            is_noting: false,
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
        if newer.is_empty() && self.noting.is_empty() && !self.is_noting {
            return done;
        }
        self.overtake(&newer);
        self.noting.newer.extend(newer);
        self.noting.events.extend(done);
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
        if newer.is_empty() || !self.returned.iter().any(is_older) {
            return;
        }
        let (older, rest) = self.returned.drain(..).partition::<Vec<_>, _>(is_older);
        self.noting.overtaken.extend(older);
        self.relay(rest);
    }

    /// Lays the rest of a tray out as one of its own: places on the old one mean nothing any more.
    fn relay(&mut self, rest: Vec<Returned>) {
        self.tray = self.tray.saturating_add(1);
        self.gone = 0;
        self.returned = rest.into();
    }

    /// The receiver has the first of a tray.
    pub(super) fn fetched(&mut self, tray: Tray) {
        if tray.number != self.tray {
            return;
        }
        while self.gone < tray.count {
            let Some(returned) = self.returned.pop_front() else { break };
            self.gone += 1;
            let keys = returned.keys.into_iter().flatten();
            self.noting.newer.extend(self.keys.took(keys, returned.id));
            self.noting.returned.push(returned);
        }
    }

    /// Returns the events that lie there or wait to be noted.
    pub(super) fn ordinals(&self) -> impl Iterator<Item = Ordinal> {
        self.shelf.ordinals().chain(self.noting.events.iter().map(|ready| ready.ordinal))
    }

    /// Whether something waits for the next tray.
    pub(super) const fn awaits_tray(&self) -> bool {
        self.rest.is_some()
    }

    /// Whether nothing is sent again.
    pub(super) fn is_clear(&self) -> bool {
        self.returned.is_empty()
    }

    /// Whether what lay on the tray is gone from the state too: it would be laid out once more.
    pub(super) fn is_cleared(&self) -> bool {
        self.is_clear() && self.noting.returned.is_empty() && self.noting.overtaken.is_empty()
    }

    /// Lays out what is sent again, in stream order; the tray's number is unlike any before. More
    /// is to follow from `rest` on.
    pub(super) fn lay_again(
        &mut self,
        number: u64,
        returned: Vec<Returned>,
        rest: Option<Position>,
    ) {
        self.rest = rest;
        self.tray = number.max(self.tray.saturating_add(1));
        self.gone = 0;
        self.returned = returned.into();
        // It was loaded before this was noted.
        let newer = std::mem::take(&mut self.noting.newer);
        self.overtake(&newer);
        self.noting.newer = newer;
    }

    /// Takes what a person discarded off the tray.
    pub(super) fn discard(&mut self, ids: &[EventId]) {
        let rest = self.returned.drain(..).filter(|returned| !ids.contains(&returned.id));
        let rest = rest.collect();
        self.relay(rest);
    }

    /// Returns the first of what is sent again, up to these limits but at least one, and what
    /// acknowledges them; none while something older is to be handed out first, or while it is not
    /// known yet whether what the receiver has is newer.
    pub(super) fn again(&self, limit: usize, bytes_max: u64) -> Option<(Vec<Bytes>, Tray)> {
        if self.shelf.passed() < self.shelf.from() {
            return None;
        }
        let end = self.shelf.first().unwrap_or_else(|| self.shelf.passed());
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
        let count = u32::try_from(bodies.len()).unwrap_or(u32::MAX);
        Some((bodies, Tray { number: self.tray, count: self.gone.saturating_add(count) }))
    }

    /// Returns the first events of the shelf, up to these limits and to what is sent again, but at
    /// least one, and leaves them there.
    pub(super) fn page(&self, limit: usize, bytes_max: u64) -> Vec<(EventId, Bytes)> {
        let mut page = self.shelf.page(limit, bytes_max);
        let end = self.returned.front().map(|returned| returned.id.position).or(self.rest);
        if let Some(end) = end {
            page.retain(|(id, _)| id.position < end);
        }
        page
    }

    /// Returns what is to be noted now; to be followed by [`Desk::noted`].
    pub(super) fn begin_noting(&mut self) -> Option<Noting> {
        if self.noting.is_empty() {
            return None;
        }
        self.is_noting = true;
        Some(std::mem::take(&mut self.noting))
    }

    /// It is on disk.
    pub(super) const fn noted(&mut self) {
        self.is_noting = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Lsn;

    fn id(lsn: u64) -> EventId {
        EventId { timeline: 1, position: Position::new(Lsn(lsn), 0) }
    }

    fn label() -> Arc<RouteLabel> {
        Arc::new(RouteLabel { name: "r".into(), mapping: None })
    }

    fn returned(lsn: u64, key: u64, forced: bool) -> Returned {
        Returned {
            row: 1,
            id: id(lsn),
            keys: [Some(key), None],
            table: Some("public.t".into()),
            forced,
            replays: 1,
            body: Bytes::from(lsn.to_string()),
            route: label(),
            commit_time: None,
        }
    }

    fn ready(lsn: u64, key: Option<u64>) -> Ready {
        Ready {
            ordinal: lsn,
            id: id(lsn),
            keys: [key, None],
            truncated: key.is_none().then(|| "public.t".to_owned()),
            body: Bytes::new(),
            route: label(),
            commit_time: None,
        }
    }

    /// A desk with these on the shelf, and dead letters of keys 1 and 2 at 10 and 11.
    fn desk(events: &[(u64, Option<u64>)]) -> Desk {
        let mut desk = Desk::new(Position::ZERO);
        desk.died([1], id(10));
        desk.died([2], id(11));
        for (lsn, key) in events {
            assert!(desk.shelf.put(ready(*lsn, *key)).is_none());
            desk.shelf.pass(id(*lsn).position.next());
        }
        desk
    }

    fn bodies(desk: &Desk) -> Vec<Bytes> {
        desk.again(10, 100).map(|(bodies, _)| bodies).unwrap_or_default()
    }

    fn lsns(ids: impl IntoIterator<Item = EventId>) -> Vec<u64> {
        ids.into_iter().map(|id| id.position.commit_lsn.0).collect()
    }

    #[test]
    fn a_tray_goes_first_and_is_acknowledged_by_its_own_number() {
        let mut desk = desk(&[(20, Some(9))]);
        desk.lay_again(7, vec![returned(10, 1, false), returned(11, 2, false)], None);
        let (bodies, tray) = desk.again(1, 100).unwrap();
        assert_eq!((&bodies[..], tray), (&[Bytes::from("10")][..], Tray { number: 7, count: 1 }));
        desk.fetched(Tray { number: 6, count: 2 });
        assert!(desk.begin_noting().is_none(), "that was another tray");
        desk.fetched(tray);
        desk.fetched(tray);
        let noting = desk.begin_noting().unwrap();
        assert_eq!(lsns(noting.returned.iter().map(|one| one.id)), [10]);
        assert_eq!(noting.newer, [Newer::Key(1, id(10))]);
        let (bodies, tray) = desk.again(5, 100).unwrap();
        assert_eq!((&bodies[..], tray.count), (&[Bytes::from("11")][..], 2));
        assert!(!desk.is_clear());
        desk.fetched(tray);
        assert!(desk.is_clear());
    }

    #[test]
    fn what_is_sent_again_goes_behind_what_is_older_and_before_what_is_newer() {
        let mut desk = desk(&[(8, Some(1)), (9, Some(3)), (20, Some(1))]);
        desk.lay_again(7, vec![returned(10, 1, false), returned(30, 2, false)], None);
        assert!(bodies(&desk).is_empty());
        let page = |desk: &Desk| lsns(desk.page(10, 100).into_iter().map(|(id, _)| id));
        assert_eq!(page(&desk), [8, 9]);
        desk.acknowledge(id(9).position);
        assert_eq!((bodies(&desk).len(), page(&desk)), (0, vec![9]));
        desk.acknowledge(id(9).position.next());
        assert_eq!((bodies(&desk), page(&desk).len()), (vec![Bytes::from("10")], 0));
        let (_, tray) = desk.again(10, 100).unwrap();
        desk.fetched(tray);
        assert_eq!((bodies(&desk).len(), page(&desk)), (0, vec![20]));
        desk.acknowledge(id(20).position.next());
        // What is older may not have been read yet.
        assert_eq!((bodies(&desk).len(), page(&desk).len()), (0, 0));
        desk.shelf.pass(id(30).position.next());
        assert_eq!(bodies(&desk), ["30"]);
    }

    #[test]
    fn what_was_acknowledged_of_a_key_takes_what_is_older_off_the_tray() {
        let mut desk = desk(&[(20, Some(1)), (21, Some(9)), (22, Some(9))]);
        desk.lay_again(7, vec![returned(10, 1, false), returned(11, 2, false)], None);
        let (_, stale) = desk.again(1, 100).unwrap();
        assert!(desk.acknowledge(id(21).position).is_empty());
        assert_eq!(bodies(&desk), ["11"]);
        // The place on the old tray acknowledges nothing of the new one.
        desk.fetched(stale);
        assert_eq!(bodies(&desk), ["11"]);
        let noting = desk.begin_noting().unwrap();
        assert_eq!(noting.newer, [Newer::Key(1, id(20))]);
        assert_eq!(lsns(noting.overtaken.iter().map(|one| one.id)), [10]);
        assert_eq!(lsns(noting.events.iter().map(|one| one.id)), [20]);
        // What follows waits until that is on disk.
        assert!(desk.acknowledge(id(22).position).is_empty());
        desk.noted();
        let noting = desk.begin_noting().unwrap();
        assert_eq!(lsns(noting.events.iter().map(|one| one.id)), [21]);
        desk.noted();
        assert_eq!(desk.acknowledge(id(23).position).len(), 1, "nothing is to be noted any more");
    }

    #[test]
    fn what_was_acknowledged_while_a_tray_was_loaded_counts_and_force_overrides_it() {
        let mut desk = desk(&[(20, Some(1)), (21, Some(2)), (22, None)]);
        assert!(desk.acknowledge(id(22).position).is_empty());
        desk.lay_again(7, vec![returned(10, 1, false), returned(11, 2, true)], None);
        assert_eq!(bodies(&desk), ["11"]);
        assert!(desk.acknowledge(id(22).position.next()).is_empty());
        assert_eq!(bodies(&desk), ["11"], "a TRUNCATE takes no forced one");
        desk.discard(&[id(11)]);
        assert!(desk.is_clear());
    }

    #[test]
    fn nothing_is_sent_again_before_it_is_known_what_the_receiver_has() {
        let mut desk = desk(&[]);
        desk.shelf.pass(id(15).position);
        desk.lay_again(7, vec![returned(10, 1, false)], None);
        assert_eq!(bodies(&desk), ["10"]);
        // After a crash: its cursor lies ahead of what was read.
        assert!(desk.acknowledge(id(30).position).is_empty());
        assert!(bodies(&desk).is_empty());
        let done = desk.shelf.put(ready(20, Some(1))).unwrap();
        assert!(desk.took(vec![done]).is_empty());
        desk.shelf.pass(id(30).position);
        assert!(bodies(&desk).is_empty() && desk.is_clear());
    }
}
