//! TRUNCATE: after everything of its table, before all that follows, beside all other tables.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::lane::{Lane, Tracked};
use super::{Effect, Scheduler};
use crate::chunk::Operation;
use crate::envelope::TableTag;
use crate::lsn::EventId;

/// A TRUNCATE that was not set aside, and what waits behind it.
#[derive(Debug)]
pub(super) struct Fence {
    /// The TRUNCATE.
    id: EventId,
    /// What waits, in stream order: the TRUNCATE first, until it goes to its lane.
    queue: VecDeque<Tracked>,
    /// What waits as references, because memory was full; older than what is in the queue.
    aside: Vec<EventId>,
    /// Lanes that have not come to its place.
    waits: u32,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It waits for what is before it.
    Waiting,
    /// It is in its lane.
    Sent,
    /// It has left its lane, for good or to be set aside.
    Gone,
}

impl Fence {
    pub(super) fn is_of(&self, id: EventId) -> bool {
        self.id == id
    }

    /// Returns what waits in memory.
    pub(super) fn queue(&self) -> impl Iterator<Item = &Tracked> {
        self.queue.iter()
    }
}

impl Scheduler {
    /// Puts an event where it belongs: behind the TRUNCATE of its table that is under way, behind
    /// what was set aside, or into its lane.
    pub(super) fn place(&mut self, event: Tracked, now: Duration, effects: &mut Vec<Effect>) {
        let table = event.envelope.table_tag();
        if !self.fences.is_empty()
            && let Some(fence) = self.fences.get_mut(&table)
        {
            fence.queue.push_back(event);
        } else if self.is_behind_others(&event) {
            self.left(&event);
            self.park(event, now, effects);
        } else if event.envelope.operation == Operation::Truncate {
            self.fence(event, now);
        } else {
            self.enter(event, now);
        }
    }

    /// Whether something that was set aside has to go first, or the route is held.
    fn is_behind_others(&self, event: &Tracked) -> bool {
        let envelope = &event.envelope;
        if !self.held.is_empty() && self.is_held(&envelope.route.name) {
            return true;
        }
        if self.parked.is_empty() {
            return false;
        }
        let (table, id) = (envelope.table_tag(), envelope.id);
        super::keys(envelope).any(|key| self.parked.holds_key(key))
            || self.parked.truncates_before(table, id)
            || (envelope.operation == Operation::Truncate && self.parked.has_before(table, id))
    }

    /// Has a TRUNCATE wait for what is before it in the lanes.
    fn fence(&mut self, event: Tracked, now: Duration) {
        let (id, table, ordinal) = (event.envelope.id, event.envelope.table_tag(), event.ordinal);
        let waits = self.mark_every_lane(id, ordinal);
        let queue = VecDeque::from([event]);
        let fence = Fence { id, queue, aside: Vec::new(), waits, stage: Stage::Waiting };
        self.fences.insert(table, fence);
        self.send_fences(now);
    }

    /// A lane has come to the place of a TRUNCATE. Returns whether it was one.
    pub(super) fn fence_waited(&mut self, id: EventId, now: Duration) -> bool {
        let mut fences = self.fences.values_mut();
        // One that has gone waits for nothing: the mark is that of what was set aside.
        let is_awaited = |fence: &&mut Fence| fence.id == id && fence.waits > 0;
        let Some(fence) = fences.find(is_awaited) else { return false };
        fence.waits = fence.waits.saturating_sub(1);
        self.send_fences(now);
        true
    }

    /// Lets every TRUNCATE into its lane that has nothing before it any more.
    fn send_fences(&mut self, now: Duration) {
        let mut ready = Vec::new();
        for (table, fence) in &mut self.fences {
            let is_first = fence.waits == 0 && !self.parked.has_before(*table, fence.id);
            if fence.stage == Stage::Waiting && is_first {
                fence.stage = Stage::Sent;
                ready.extend(fence.queue.pop_front());
            }
        }
        ready.into_iter().for_each(|event| self.enter(event, now));
    }

    /// A TRUNCATE has left its lane.
    pub(super) fn fence_left(&mut self, table: TableTag, id: EventId) {
        if let Some(fence) = self.fences.get_mut(&table).filter(|fence| fence.id == id) {
            fence.stage = Stage::Gone;
        }
    }

    /// Whether a TRUNCATE of the table that is newer than `id` is under way.
    pub(super) fn is_truncating(&self, table: TableTag, id: EventId) -> bool {
        let fence = self.fences.get(&table).filter(|fence| id < fence.id);
        fence.is_some_and(|fence| self.lanes.iter().any(|lane| lane.sends(fence.id)))
            || self.parked.is_truncating(table, id)
    }

    /// Whether an event that was set aside has to wait for a TRUNCATE that was not: one before it,
    /// or one behind it that is in its lane.
    pub(super) fn is_at_fence(&self, table: TableTag, id: EventId) -> bool {
        self.behind.front().is_some_and(|first| first.envelope.id < id)
            || self
                .fences
                .get(&table)
                .is_some_and(|fence| fence.id < id || fence.stage == Stage::Sent)
    }

    /// Takes a TRUNCATE out of its lane again that came there before something older of its table
    /// is sent again, unless it is under way.
    fn give_way(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let gives_way = |(table, fence): (&TableTag, &Fence)| {
            let is_older =
                |id: &&EventId| self.parked.get(**id).is_some_and(|entry| entry.table() == *table);
            fence.stage == Stage::Sent
                && self.ahead.range(..fence.id).any(|id| is_older(&id))
                && !self.lanes.iter().any(|lane| lane.sends(fence.id))
        };
        if !self.ahead.is_empty() && self.fences.iter().any(gives_way) {
            self.put_back(Vec::new(), now, effects);
        }
    }

    /// Lets go what a TRUNCATE held up that is done or was set aside, and lets those into their
    /// lanes that everything before has left.
    pub(super) fn pass_fences(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.give_way(now, effects);
        let mut changed = self.fences.is_empty() || !self.behind.is_empty();
        while !self.fences.is_empty() {
            (0..self.lanes.len()).for_each(|index| self.pass_marks(index, now));
            let parked = &self.parked;
            let is_over = |(table, fence): &(&TableTag, &Fence)| {
                // Behind what was set aside it is set aside itself, with all that waits for it.
                let is_parked =
                    fence.stage == Stage::Waiting && parked.has_before(**table, fence.id);
                fence.stage == Stage::Gone || is_parked
            };
            let Some(table) = self.fences.iter().find(is_over).map(|(table, _)| *table) else {
                break;
            };
            let Some(Fence { id, mut queue, aside, waits, .. }) = self.fences.remove(&table) else {
                break;
            };
            if waits > 0 {
                self.lanes.iter_mut().for_each(|lane| lane.drop_mark(id));
            }
            while let Some(event) = queue.pop_front() {
                self.place(event, now, effects);
                // The next TRUNCATE of the table: all else waits behind it.
                if let Some(next) = self.fences.get_mut(&table) {
                    let first = std::mem::replace(&mut next.queue, queue);
                    first.into_iter().rev().for_each(|event| next.queue.push_front(event));
                    break;
                }
            }
            aside.into_iter().for_each(|id| self.parked.waited(id, now));
            changed = true;
        }
        while !self.waits_in_line()
            && let Some(event) = self.behind.pop_front()
        {
            self.place(event, now, effects);
        }
        if changed {
            self.let_go(now);
        }
    }

    /// Whether everything waits for a TRUNCATE: with one request at a time the stream keeps its
    /// order over all tables, until an event fails so often that others have to show whether the
    /// sink is up.
    pub(super) fn waits_in_line(&self) -> bool {
        let [lane] = &self.lanes[..] else { return false };
        !self.fences.is_empty() && !lane.has_suspect()
    }

    /// Memory is full: where an event keeps failing, what waits at a TRUNCATE is set aside as
    /// references, so that others come who show whether the sink is up.
    pub fn relieve(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.fences.is_empty() || !self.lanes.iter().any(Lane::has_suspect) {
            return;
        }
        let tables: Vec<TableTag> = self.fences.keys().copied().collect();
        for table in tables {
            let Some(mut fence) = self.fences.remove(&table) else { continue };
            let queue = std::mem::take(&mut fence.queue);
            let is_sent = fence.stage == Stage::Sent;
            if !is_sent {
                self.lanes.iter_mut().for_each(|lane| lane.drop_mark(fence.id));
            }
            for event in queue {
                let id = event.envelope.id;
                self.left(&event);
                self.park(event, now, effects);
                if is_sent {
                    self.parked.wait_once_more(id);
                    fence.aside.push(id);
                }
            }
            if is_sent {
                self.fences.insert(table, fence);
            }
        }
        self.let_go(now);
    }

    /// Takes everything out that waits behind a TRUNCATE, and each TRUNCATE that waits itself.
    /// Those stay that are being sent.
    pub(super) fn take_fenced(&mut self) -> Vec<Tracked> {
        let mut taken: Vec<Tracked> = std::mem::take(&mut self.behind).into();
        for fence in self.fences.values_mut() {
            taken.extend(std::mem::take(&mut fence.queue));
        }
        taken
    }

    /// Forgets each TRUNCATE that is among these events; what is behind `first` and set aside
    /// waits for the stream anew, not for them.
    pub(super) fn drop_fences(&mut self, events: &[Tracked], first: EventId) {
        self.fences.retain(|_, fence| events.iter().all(|event| event.envelope.id != fence.id));
        for fence in self.fences.values_mut() {
            fence.aside.retain(|id| *id < first);
        }
    }
}

#[cfg(test)]
impl Fence {
    pub(super) fn check(&self) -> (EventId, u32, &[EventId]) {
        (self.id, self.waits, &self.aside)
    }
}
