//! [`Tables`]: what the stream's tables are called and look like, from change to change.
//!
//! Says what changes: a table that is renamed is followed, a shape that changes is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::names::Names;
use super::{Error, insist};
use crate::chunk::Chunk;
use crate::lsn::Oid;
use crate::progress::tables;
use crate::relation::{Relation, Shape, TableName};
use crate::state::State;

/// Tables whose newest version is remembered. Of one that was forgotten a change of shape is not
/// told.
const NEWEST_MAX: usize = 16_384;

/// See the module.
#[derive(Debug)]
pub(super) struct Tables {
    state: State,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    names: Names,
    /// Each table's newest version, as the stream describes it and as it is handed on.
    newest: HashMap<Oid, (Arc<Relation>, Arc<Relation>)>,
}

impl Tables {
    pub(super) async fn new(state: &State) -> Result<Self, Error> {
        let known = state.read(tables::load).await.map_err(Error::State)?;
        let inner = Inner { names: Names::new(known), ..Inner::default() };
        Ok(Self { state: state.clone(), inner: Mutex::new(inner) })
    }

    /// A panic elsewhere leaves plain values, not broken invariants.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes into a chunk what its tables were called before. New names are stored before.
    ///
    /// Cancel safety: safe; the same chunk may be noted again.
    pub(super) async fn note(&self, chunk: Arc<Chunk>) -> Result<Arc<Chunk>, Error> {
        let chunk = self.lock().note(chunk);
        self.store().await?;
        Ok(chunk)
    }

    /// Notes what a table is called that was loaded and may never have been in the stream.
    ///
    /// Cancel safety: safe; as [`Tables::note`].
    pub(super) async fn know(&self, relation: &Relation) -> Result<(), Error> {
        let _formerly = self.lock().name(relation.oid, &relation.table_name());
        self.store().await
    }

    /// Stores the names that changed.
    async fn store(&self) -> Result<(), Error> {
        let changed = {
            let inner = self.lock();
            let changed = inner.names.changed();
            if changed.is_empty() {
                return Ok(());
            }
            changed.clone()
        };
        let stored = changed.clone();
        let save = move |c: &rusqlite::Connection| tables::save(c, &changed);
        insist::write(&self.state, "what tables are called", save).await?;
        self.lock().names.stored(&stored);
        Ok(())
    }

    /// Returns what a table was called when it was first seen, where it has another name by now.
    pub(super) fn formerly(&self, relation: &Relation) -> Option<TableName> {
        self.lock().names.formerly(relation.oid, &relation.table_name())
    }

    /// Returns the table that was first known by a name.
    pub(super) fn first(&self, name: &TableName) -> Option<Oid> {
        self.lock().names.first(name)
    }
}

impl Inner {
    fn note(&mut self, mut chunk: Arc<Chunk>) -> Arc<Chunk> {
        for index in 0..chunk.relations.len() {
            let Some(relation) = chunk.relations.get(index).cloned() else { continue };
            let named = self.named(&relation);
            if !Arc::ptr_eq(&named, &relation)
                && let Some(place) = Arc::make_mut(&mut chunk).relations.get_mut(index)
            {
                *place = named;
            }
        }
        chunk
    }

    /// As [`Names::note`].
    fn name(&mut self, table: Oid, name: &TableName) -> Option<TableName> {
        let formerly = self.names.note(table, name);
        // Whoever went by this name goes by it no longer.
        for (raw, named) in self.newest.values_mut() {
            if named.formerly.as_ref() == Some(name) && named.oid != table {
                *named = Arc::clone(raw);
            }
        }
        formerly
    }

    fn named(&mut self, relation: &Arc<Relation>) -> Arc<Relation> {
        if let Some((raw, named)) = self.newest.get(&relation.oid)
            && Arc::ptr_eq(raw, relation)
        {
            return Arc::clone(named);
        }
        let formerly = self.name(relation.oid, &relation.table_name());
        let before = self.newest.get(&relation.oid).map(|(_, named)| named);
        tell(before.map(Arc::as_ref), relation, formerly.as_ref());
        let named = match &formerly {
            None => Arc::clone(relation),
            Some(_) => Arc::new(Relation { formerly, ..Relation::clone(relation) }),
        };
        // Tables that are dropped are never told of.
        if self.newest.len() >= NEWEST_MAX {
            self.newest.clear();
        }
        self.newest.insert(relation.oid, (Arc::clone(relation), Arc::clone(&named)));
        named
    }
}

/// Says what is different from the version before.
fn tell(before: Option<&Relation>, relation: &Relation, formerly: Option<&TableName>) {
    let table = relation.quoted_name();
    let was = before.map(Relation::table_name);
    if let Some(formerly) = formerly
        && was.is_none_or(|was| was != relation.table_name())
    {
        let formerly = formerly.quoted();
        tracing::warn!(table, formerly, "a table has another name; routes that took it go on");
    }
    let Some(before) = before else { return };
    let (old, new) = (Shape::of(before), Shape::of(relation));
    if old != new {
        let what = old.differs(&new);
        tracing::warn!(
            table,
            what,
            "a table changed; rows that were there come in the new shape only as they change: \
             `walgate backfill start` sends them again"
        );
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::relation::{Column, Kind, ReplicaIdentity};

    fn chunk(oid: u32, name: &str) -> Arc<Chunk> {
        let column = Column {
            name: "id".to_owned(),
            type_oid: Oid(23),
            type_modifier: -1,
            in_identity: true,
            kind: Kind::Integer,
        };
        let relation = Relation {
            oid: Oid(oid),
            namespace: "public".to_owned(),
            name: name.to_owned(),
            identity: ReplicaIdentity::Default,
            columns: vec![column],
            primary_key: vec![0],
            formerly: None,
        };
        Arc::new(Chunk {
            timeline: 1,
            frames: Bytes::new(),
            transactions: Vec::new(),
            relations: vec![Arc::new(relation)],
            entries: Vec::new(),
            audience: None,
        })
    }

    #[tokio::test]
    async fn a_renamed_table_is_followed_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state")).unwrap();
        let tables = Tables::new(&state).await.unwrap();
        let first = tables.note(chunk(7, "a")).await.unwrap();
        assert_eq!(first.relations[0].formerly, None);
        let tables = Tables::new(&state).await.unwrap();
        let renamed = tables.note(chunk(7, "b")).await.unwrap();
        let name = TableName { namespace: "public".to_owned(), name: "a".to_owned() };
        assert_eq!(renamed.relations[0].formerly.as_ref(), Some(&name));
        assert_eq!(tables.formerly(&renamed.relations[0]), Some(name));
        // Another has the name.
        let other = tables.note(chunk(8, "a")).await.unwrap();
        assert_eq!(other.relations[0].formerly, None);
        let tables = Tables::new(&state).await.unwrap();
        let left = tables.note(chunk(7, "b")).await.unwrap();
        assert_eq!(left.relations[0].formerly, None);
    }
}
