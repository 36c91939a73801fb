//! [`Life`]: the changes of one row, found in the journal, and who takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::key::{Bond, Key, Place};
use crate::change::{Cell, Change, Images};
use crate::chunk::{Chunk, Entry, Operation};
use crate::config::Config;
use crate::envelope::RouteLabel;
use crate::lsn::{EventId, Timestamp};
use crate::mapping::{self, Mapped, Route, Selector, SinkMapper, SourceLabel, key_columns};
use crate::pgoutput;
use crate::relation::Relation;

/// A change of the row.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: EventId,
    pub(super) time: Option<Timestamp>,
    pub(super) operation: Operation,
    pub(super) table: String,
    /// The key as JSON; none for a TRUNCATE.
    pub(super) key: Option<String>,
    /// The key before, where the change gave the row another.
    pub(super) before_key: Option<String>,
    /// The columns that changed; of an update whose old values nobody knows, those that were sent.
    pub(super) columns: Vec<String>,
    /// The sinks whose routes take it.
    pub(super) takers: Vec<Taker>,
}

/// A sink that takes a change.
#[derive(Debug)]
pub(super) struct Taker {
    pub(super) sink: String,
    /// Its receiver comes and asks: nothing is sent.
    pub(super) is_fetched: bool,
    pub(super) route: Arc<RouteLabel>,
    pub(super) wanted: Wanted,
}

/// What a route makes of a change.
#[derive(Debug)]
pub(super) enum Wanted {
    /// An event, of this key.
    Sent(u64),
    /// Nothing, by a rule.
    Skipped(String),
}

/// A sink that is looked at, and what it would be sent.
#[derive(Debug)]
struct Looked {
    name: String,
    is_fetched: bool,
    mapper: SinkMapper,
}

/// Finds the changes of one row among those of its table.
#[derive(Debug)]
pub(super) struct Life<'a> {
    key: &'a Key,
    routes: Vec<Arc<Route>>,
    sinks: Vec<Looked>,
    images: Images,
    /// The row's values as they were last seen.
    row: BTreeMap<String, Option<Vec<u8>>>,
    /// The keys that the table has instead of the one given.
    other_keys: BTreeSet<Vec<String>>,
    /// The table had this key at some time.
    is_key: bool,
    buffer: Vec<u8>,
}

impl<'a> Life<'a> {
    /// Looks through the eyes of these sinks.
    pub(super) fn new(key: &'a Key, config: &Config, sinks: &[&str], label: &SourceLabel) -> Self {
        let sinks = || config.sinks.iter().filter(|sink| sinks.contains(&sink.name.as_str()));
        let looked = |sink: &crate::config::Sink| Looked {
            name: sink.name.clone(),
            is_fetched: sink.kind.is_polled(),
            mapper: SinkMapper::new(config.routes_of(&sink.name), label, sink.format),
        };
        Self {
            key,
            routes: sinks().flat_map(|sink| config.routes_of(&sink.name)).collect(),
            sinks: sinks().map(looked).collect(),
            images: Images::default(),
            row: BTreeMap::new(),
            other_keys: BTreeSet::new(),
            is_key: false,
            buffer: Vec::new(),
        }
    }

    /// Returns the keys of the table, if the one given never was one.
    pub(super) fn wrong_key(&self) -> Option<&BTreeSet<Vec<String>>> {
        if self.is_key || self.other_keys.is_empty() { None } else { Some(&self.other_keys) }
    }

    /// Returns the changes of the row in a chunk, among those that `holds` lets through.
    pub(super) fn of(
        &mut self,
        chunk: &Arc<Chunk>,
        holds: impl Fn(&Entry) -> bool,
    ) -> Result<Vec<Event>, mapping::Error> {
        let mut events = Vec::new();
        let mut places: Vec<Option<Option<Place>>> = vec![None; chunk.relations.len()];
        for (index, entry) in (0_u32..).zip(&chunk.entries) {
            let Some(relation) = chunk.relation(entry).filter(|_| holds(entry)) else { continue };
            let slot = entry.relation.and_then(|index| places.get_mut(index as usize));
            let Some(slot) = slot else { continue };
            let place = slot.get_or_insert_with(|| self.place(relation));
            let Some(place) = place else { continue };
            let mut images = std::mem::take(&mut self.images);
            let found = pgoutput::change(chunk, entry, &mut images)
                .map(|change| self.event(chunk, entry, place, relation, &change));
            self.images = images;
            let Some(mut event) = found.map_err(mapping::Error)? else { continue };
            event.takers = self.takers(chunk, index)?;
            events.push(event);
        }
        Ok(events)
    }

    /// Finds the key in a version of the table; none where it is no key of it.
    fn place(&mut self, relation: &Relation) -> Option<Place> {
        let takes = |route: &&Arc<Route>| match &route.selector {
            Selector::Table(table) => table.matches(relation),
            Selector::Message(_) => false,
        };
        let routes = self.routes.iter().filter(takes);
        let mut keys: BTreeSet<Vec<String>> = routes
            .map(|route| match &route.outbox {
                Some(outbox) => vec![outbox.aggregate_id.clone()],
                None => key_columns(route.key.as_deref(), relation),
            })
            .collect();
        if keys.is_empty() {
            keys.insert(key_columns(None, relation));
        }
        let names = self.key.names();
        let is_key =
            |key: &Vec<String>| key.iter().map(String::as_str).collect::<BTreeSet<_>>() == names;
        if keys.iter().any(is_key) {
            self.is_key = true;
            return self.key.place(relation);
        }
        self.other_keys.extend(keys);
        None
    }

    fn event(
        &mut self,
        chunk: &Chunk,
        entry: &Entry,
        place: &Place,
        relation: &Relation,
        change: &Change<'_>,
    ) -> Option<Event> {
        let bond = self.key.bond(place, relation, change)?;
        if bond == Bond::Arrives {
            // It is another row that comes to this key.
            self.row.clear();
        }
        let columns = self.changed(relation, change);
        let is_gone = matches!(change.operation, Operation::Delete | Operation::Truncate);
        if is_gone || bond == Bond::Leaves {
            self.row.clear();
        }
        let moved = bond != Bond::Same;
        Some(Event {
            id: chunk.event_id(entry),
            time: change.transaction.commit_time,
            operation: change.operation,
            table: relation.quoted_name(),
            key: place.json(relation, change),
            before_key: moved.then(|| place.json_before(relation, change)),
            columns,
            takers: Vec::new(),
        })
    }

    /// Returns the columns that a change changed, and remembers their values.
    fn changed(&mut self, relation: &Relation, change: &Change<'_>) -> Vec<String> {
        let mut columns = Vec::new();
        if matches!(change.operation, Operation::Delete | Operation::Truncate) {
            return columns;
        }
        for (index, column) in relation.columns.iter().enumerate() {
            let Some(new) = value(change.new_cell(index)) else { continue };
            let old = match value(change.old_cell(index)) {
                Some(old) if change.images.old.present => Some(old.map(<[u8]>::to_vec)),
                _ => self.row.get(&column.name).cloned(),
            };
            let is_same = old.is_some_and(|old| old.as_deref() == new);
            if change.operation != Operation::Update || !is_same {
                columns.push(column.name.clone());
            }
            self.row.insert(column.name.clone(), new.map(<[u8]>::to_vec));
        }
        columns
    }

    /// Returns which sinks take a change.
    fn takers(&mut self, chunk: &Arc<Chunk>, entry: u32) -> Result<Vec<Taker>, mapping::Error> {
        let mut takers = Vec::new();
        for Looked { name, is_fetched, mapper } in &mut self.sinks {
            self.buffer.clear();
            let (route, wanted) = match mapper.map(chunk, entry, &mut self.buffer)? {
                Mapped::Unrouted => continue,
                Mapped::Skipped { route, reason } => (route, Wanted::Skipped(reason.to_string())),
                Mapped::Event(draft) | Mapped::Rejected { draft, .. } => {
                    (draft.route, Wanted::Sent(draft.key_hash))
                }
            };
            let (sink, is_fetched) = (name.clone(), *is_fetched);
            takers.push(Taker { sink, is_fetched, route, wanted });
        }
        Ok(takers)
    }
}

/// Returns a value that was sent; an inner none is NULL.
const fn value(cell: Cell<'_>) -> Option<Option<&[u8]>> {
    match cell {
        Cell::Value(text) => Some(Some(text)),
        Cell::Null => Some(None),
        Cell::Unchanged | Cell::Absent => None,
    }
}
