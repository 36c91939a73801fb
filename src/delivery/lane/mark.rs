//! Marks: the places of events that are not in the lane, and wait for what is before them.

use std::collections::HashSet;

use super::piece::keys;
use super::{Lane, Piece, Queued};
use crate::envelope::TableTag;
use crate::lsn::EventId;
use crate::progress::ledger::Ordinal;

impl Lane {
    /// Marks the place of an event that was set aside; false when nothing lies before it.
    pub(in crate::delivery) fn mark(&mut self, ordinal: Ordinal, id: EventId) -> bool {
        let place = self.queue.partition_point(|queued| queued.ordinal() < ordinal);
        if place == 0 && self.pieces.is_empty() && self.flight.is_none() {
            return false;
        }
        self.forget_search();
        self.queue.insert(place, Queued::Mark(ordinal, id));
        true
    }

    /// As [`Lane::mark`], behind all that is here: a mark may stand later than it has to.
    pub(in crate::delivery) fn mark_end(&mut self, ordinal: Ordinal, id: EventId) -> bool {
        let last = self.queue.back().map(Queued::ordinal);
        if last.is_none() && self.pieces.is_empty() && self.flight.is_none() {
            return false;
        }
        self.queue.push_back(Queued::Mark(ordinal.max(last.unwrap_or_default()), id));
        true
    }

    /// Takes the mark that the lane has come to, and says whose it is.
    pub(in crate::delivery) fn pass_mark(&mut self) -> Option<EventId> {
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
    pub(in crate::delivery) fn pass_marks_by(
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

    /// Forgets the marks of `id` and of events behind it.
    pub(in crate::delivery) fn drop_marks(&mut self, id: EventId) {
        self.forget_search();
        self.queue.retain(|queued| !matches!(queued, Queued::Mark(_, other) if *other >= id));
    }

    /// Forgets the mark of one event.
    pub(in crate::delivery) fn drop_mark(&mut self, id: EventId) {
        self.forget_search();
        self.queue.retain(|queued| !matches!(queued, Queued::Mark(_, other) if *other == id));
    }
}
