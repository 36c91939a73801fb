//! Which route takes the changes of a table, and the plans for that: kept per table version.

use std::collections::HashMap;
use std::sync::Arc;

use super::event;
use super::filter::Filter;
use super::key::{Key, KeyHash};
use super::mapper::SourceLabel;
use super::name::TablePattern;
use super::outbox::OutboxPlan;
use super::plan::Plan;
use super::rule::{Format, OnDelete, Route, Selector};
use crate::chunk::{Chunk, Operation};
use crate::envelope::RouteLabel;
use crate::relation::Relation;

/// Table versions whose plans are kept; past it all are compiled anew as they come.
const VERSIONS_MAX: usize = 1024;

/// How many of the newest versions are held against a relation by address before it is hashed.
const RECENT_MAX: usize = 8;

/// What is the same for every event of a route.
#[derive(Debug)]
pub(super) struct Road {
    pub(super) route: Arc<Route>,
    pub(super) label: Arc<RouteLabel>,
    pub(super) format: Format,
    /// What its events share, as their format has it.
    pub(super) tail: Vec<u8>,
}

impl Road {
    pub(super) fn new(route: Arc<Route>, source: &SourceLabel, format: Format) -> Self {
        let label = Arc::new(route.label());
        let tail = event::tail(format, source, &label);
        Self { route, label, format, tail }
    }

    fn takes(&self, operation: Operation, is_it: impl Fn(&TablePattern) -> bool) -> bool {
        match &self.route.selector {
            Selector::Table(table) => self.route.on.contains(operation) && is_it(table),
            Selector::Message(_) => false,
        }
    }
}

/// One route's plans for one version of a table.
#[derive(Debug)]
pub(super) struct Lane {
    /// Index of the route.
    pub(super) road: usize,
    /// What its events of an operation share, as their format has it; by the operation's number.
    heads: [Vec<u8>; Operation::ALL.len()],
    /// None: everything is let through.
    pub(super) filter: Option<Filter>,
    pub(super) key: Key,
    pub(super) table_hash: KeyHash,
    pub(super) plan: Plan,
    /// Of a delete that is sent as an update.
    pub(super) set: Option<Plan>,
    /// Of a table that is an outbox; key and plan mean nothing then.
    pub(super) outbox: Option<OutboxPlan>,
}

impl Lane {
    fn compile(road: usize, route: &Route, format: Format, relation: &Relation) -> Self {
        let mapping = route.mapping.as_deref();
        Self {
            road,
            heads: Operation::ALL.map(|operation| event::head(format, relation, operation)),
            filter: Filter::compile(route, relation),
            key: Key::compile(route.key.as_deref(), relation),
            table_hash: KeyHash::table(relation.oid),
            plan: Plan::compile(mapping, relation),
            set: match &route.on_delete {
                OnDelete::Set(values) => Some(Plan::compile_set(mapping, relation, values)),
                OnDelete::Send | OnDelete::Ignore => None,
            },
            outbox: route.outbox.as_ref().map(|outbox| OutboxPlan::compile(outbox, relation)),
        }
    }

    pub(super) fn head(&self, operation: Operation) -> &[u8] {
        self.heads.get(usize::from(operation.number())).map_or(b"", Vec::as_slice)
    }
}

/// What a sink's routes make of one version of a table.
#[derive(Debug)]
struct Binding {
    relation: Arc<Relation>,
    lanes: Vec<Lane>,
    /// Index into `lanes`, one an operation, by its number.
    by_operation: [Option<usize>; Operation::ALL.len()],
}

impl Binding {
    fn compile(roads: &[Road], relation: &Arc<Relation>) -> Self {
        let mut lanes: Vec<Lane> = Vec::new();
        let by_operation = Operation::ALL.map(|operation| {
            let (index, road) = taker(roads, relation, operation)?;
            if let Some(lane) = lanes.iter().position(|lane| lane.road == index) {
                return Some(lane);
            }
            lanes.push(Lane::compile(index, &road.route, road.format, relation));
            Some(lanes.len() - 1)
        });
        Self { relation: Arc::clone(relation), lanes, by_operation }
    }
}

/// Returns the first road that takes a table's changes: by the name that it has, else by the one
/// that it had.
fn taker<'a>(
    roads: &'a [Road],
    relation: &Relation,
    operation: Operation,
) -> Option<(usize, &'a Road)> {
    let by = |is_it: &dyn Fn(&TablePattern) -> bool| {
        roads.iter().enumerate().find(|(_, road)| road.takes(operation, is_it))
    };
    by(&|table| table.matches(relation)).or_else(|| {
        let formerly = relation.formerly.as_ref()?;
        by(&|table| table.matches_names(&formerly.namespace, &formerly.name))
    })
}

/// The bindings of the table versions seen so far.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    kept: Vec<Binding>,
    by_fingerprint: HashMap<u64, usize>,
    /// The chunk at hand. Kept alive, so that no other can have its address.
    chunk: Option<Arc<Chunk>>,
    /// Index into `kept` of each of the chunk's relations, once it was asked for.
    by_relation: Vec<Option<usize>>,
}

impl Bindings {
    /// Returns the lane that takes `operation` on a relation of `chunk`; none: no route does.
    #[inline]
    pub(super) fn lane(
        &mut self,
        roads: &[Road],
        chunk: &Arc<Chunk>,
        relation: u32,
        operation: Operation,
    ) -> Option<&Lane> {
        if !self.chunk.as_ref().is_some_and(|current| Arc::ptr_eq(current, chunk)) {
            self.chunk = Some(Arc::clone(chunk));
            self.by_relation.clear();
            self.by_relation.resize(chunk.relations.len(), None);
        }
        let relation = relation as usize;
        let index = match self.by_relation.get(relation).copied()? {
            Some(index) => index,
            None => {
                let index = self.find(roads, chunk.relations.get(relation)?);
                if let Some(slot) = self.by_relation.get_mut(relation) {
                    *slot = Some(index);
                }
                index
            }
        };
        let binding = self.kept.get(index)?;
        let lane = *binding.by_operation.get(usize::from(operation.number()))?;
        binding.lanes.get(lane?)
    }

    fn find(&mut self, roads: &[Road], relation: &Arc<Relation>) -> usize {
        let recent = self.kept.iter().enumerate().rev().take(RECENT_MAX);
        for (index, binding) in recent {
            if Arc::ptr_eq(&binding.relation, relation) {
                return index;
            }
        }
        let fingerprint = relation.fingerprint();
        if let Some(index) = self.by_fingerprint.get(&fingerprint)
            && self.kept.get(*index).is_some_and(|binding| binding.relation == *relation)
        {
            return *index;
        }
        if self.kept.len() >= VERSIONS_MAX {
            self.kept.clear();
            self.by_fingerprint.clear();
            self.by_relation.fill(None);
        }
        self.kept.push(Binding::compile(roads, relation));
        let index = self.kept.len() - 1;
        self.by_fingerprint.insert(fingerprint, index);
        index
    }
}
