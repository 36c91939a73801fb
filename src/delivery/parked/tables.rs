//! [`Tables`]: which events outside their lanes are of one table, and which of them truncate
//! (pure).

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use crate::envelope::TableTag;
use crate::lsn::EventId;

/// Events of several tables.
///
/// A TRUNCATE comes after everything of its table that is older, and before all that is newer.
#[derive(Debug, Default)]
pub(super) struct Tables(HashMap<TableTag, Events>);

#[derive(Debug, Default)]
struct Events {
    all: BTreeSet<EventId>,
    truncates: BTreeSet<EventId>,
}

impl Tables {
    pub(super) fn add(&mut self, table: TableTag, id: EventId, truncates: bool) {
        let events = self.0.entry(table).or_default();
        events.all.insert(id);
        if truncates {
            events.truncates.insert(id);
        }
    }

    pub(super) fn remove(&mut self, table: TableTag, id: EventId) {
        let Some(events) = self.0.get_mut(&table) else { return };
        events.all.remove(&id);
        events.truncates.remove(&id);
        if events.all.is_empty() {
            self.0.remove(&table);
        }
    }

    /// Whether an event of the table that is older than `id` is here.
    pub(super) fn has_before(&self, table: TableTag, id: EventId) -> bool {
        let first = self.0.get(&table).and_then(|events| events.all.first());
        first.is_some_and(|first| *first < id)
    }

    /// Whether a TRUNCATE of the table that is older than `id` is here.
    pub(super) fn has_truncate_before(&self, table: TableTag, id: EventId) -> bool {
        let first = self.0.get(&table).and_then(|events| events.truncates.first());
        first.is_some_and(|first| *first < id)
    }

    /// Returns the oldest event of the table, where that is a TRUNCATE.
    pub(super) fn leading_truncate(&self, table: TableTag) -> Option<EventId> {
        let events = self.0.get(&table)?;
        events.truncates.first().copied().filter(|id| events.all.first() == Some(id))
    }

    /// Returns the events of the table before its first TRUNCATE, and all if there is none.
    pub(super) fn leading(&self, table: TableTag) -> impl Iterator<Item = EventId> {
        let events = self.0.get(&table);
        let first = events.and_then(|events| events.truncates.first());
        let all = events.into_iter().flat_map(|events| &events.all);
        all.take_while(move |id| first.is_none_or(|first| *id < first)).copied()
    }

    /// Returns the events of the table that are newer than `id`.
    pub(super) fn after(&self, table: TableTag, id: EventId) -> impl Iterator<Item = EventId> {
        let events = self.0.get(&table).into_iter();
        events.flat_map(move |events| events.all.range(behind(id)).copied())
    }

    /// Returns the events of the table that are older than `id`.
    pub(super) fn before(&self, table: TableTag, id: EventId) -> impl Iterator<Item = EventId> {
        let events = self.0.get(&table).into_iter();
        events.flat_map(move |events| events.all.range(..id).copied())
    }

    /// Returns each TRUNCATE of the table that is newer than `id`.
    pub(super) fn truncates_after(
        &self,
        table: TableTag,
        id: EventId,
    ) -> impl Iterator<Item = EventId> {
        let events = self.0.get(&table).into_iter();
        events.flat_map(move |events| events.truncates.range(behind(id)).copied())
    }
}

const fn behind(id: EventId) -> (Bound<EventId>, Bound<EventId>) {
    (Bound::Excluded(id), Bound::Unbounded)
}
