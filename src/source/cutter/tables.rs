//! [`Tables`]: what the tables look like, as the stream said last (pure).

use std::collections::HashMap;
use std::sync::Arc;

use super::length;
use crate::lsn::Oid;
use crate::pgoutput::binary::Form;
use crate::relation::{Kind, Relation};
use crate::source::Error;

struct Known {
    relation: Arc<Relation>,
    /// How its columns are sent, where values come in binary.
    forms: Option<Vec<Form>>,
    /// How many Relation messages came before.
    arrived: u64,
    /// The chunk in which `index` is right.
    chunk: u64,
    index: u32,
}

/// See the module.
#[derive(Default)]
pub(super) struct Tables {
    known: HashMap<Oid, Known>,
    /// While a transaction is replayed: what it described anew, and how it was known before.
    replaced: Option<HashMap<Oid, Option<Known>>>,
    /// Some table's values come in binary.
    is_binary: bool,
    /// Counts chunks, so that no map needs clearing between two.
    chunk: u64,
    /// Those that the chunk in the making refers to.
    used: Vec<Arc<Relation>>,
    last: Option<(Oid, u32)>,
}

impl Tables {
    /// Returns the index of a table among those of the chunk.
    pub(super) fn index(&mut self, oid: Oid) -> Result<u32, Error> {
        if let Some((last, index)) = self.last
            && last == oid
        {
            return Ok(index);
        }
        let Some(known) = self.known.get_mut(&oid) else {
            return Err(Error::Unreadable { what: "a change of a table that was not described" });
        };
        if known.chunk != self.chunk {
            known.index = length(self.used.len())?;
            known.chunk = self.chunk;
            self.used.push(Arc::clone(&known.relation));
        }
        self.last = Some((oid, known.index));
        Ok(known.index)
    }

    /// Ends the chunk; returns the tables that it refers to.
    pub(super) fn cut(&mut self) -> Vec<Arc<Relation>> {
        self.chunk += 1;
        self.last = None;
        std::mem::take(&mut self.used)
    }

    /// Returns how a table's columns are sent; none where they come as text.
    pub(super) fn forms(&self, oid: Oid) -> Option<&[Form]> {
        if self.is_binary { self.known.get(&oid)?.forms.as_deref() } else { None }
    }

    pub(super) fn relation(&self, oid: Oid) -> Option<&Relation> {
        self.known.get(&oid).map(|known| known.relation.as_ref())
    }

    /// Returns the tables with values of composite types, each with its `arrived`.
    pub(super) fn composites(&self) -> Vec<(Arc<Relation>, u64)> {
        let is_composite = |known: &&Known| {
            known.relation.columns.iter().any(|column| has_composite(&column.kind))
        };
        let known = self.known.values().filter(is_composite);
        known.map(|known| (Arc::clone(&known.relation), known.arrived)).collect()
    }

    /// Takes what a table looks like from here on. See [`Cutter::describe`](super::Cutter::describe).
    pub(super) fn describe(&mut self, relation: Relation, forms: Option<Vec<Form>>, arrived: u64) {
        self.is_binary |= forms.is_some();
        let oid = relation.oid;
        match self.known.get_mut(&oid) {
            // CREATE INDEX, ANALYZE and the like send the same shape again.
            Some(known) if *known.relation == relation => {
                known.arrived = known.arrived.max(arrived);
                known.forms = forms;
            }
            _ => {
                // No chunk has this number yet.
                let relation = Arc::new(relation);
                let known = Known { relation, forms, arrived, chunk: u64::MAX, index: 0 };
                let before = self.known.insert(oid, known);
                if let Some(replaced) = &mut self.replaced {
                    replaced.entry(oid).or_insert(before);
                }
                self.last = None;
            }
        }
    }

    /// What is described from here on is how a transaction saw it whose messages came earlier.
    pub(super) fn begin_replay(&mut self) {
        self.replaced = Some(HashMap::new());
    }

    /// That transaction is done. Of each table the description that came last counts from here on:
    /// it may have come by another way while the transaction was held.
    pub(super) fn end_replay(&mut self) {
        for (oid, before) in self.replaced.take().unwrap_or_default() {
            let now = self.known.get(&oid).map(|known| known.arrived);
            if let Some(before) = before.filter(|before| Some(before.arrived) > now) {
                self.known.insert(oid, before);
                self.last = None;
            }
        }
    }
}

fn has_composite(kind: &Kind) -> bool {
    match kind {
        Kind::Composite { .. } => true,
        Kind::Array { element, .. } => has_composite(element),
        _ => false,
    }
}
