//! [`Window`]: what the stream brings of a table while a piece of it is read (pure).
//!
//! A piece shows the table between its two watermarks. A row that the stream brings between them
//! may be newer than the piece, and one that a transaction changed which the piece does not see is
//! older there than in the stream: such rows are left out, as the stream has them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{Piece, Snapshot};
use crate::change::{Cell, Change, Images};
use crate::chunk::{Chunk, Entry, Operation};
use crate::lsn::{Oid, Xid};
use crate::pgoutput;
use crate::relation::{Relation, ReplicaIdentity};

/// So many keys of the stream are remembered for a piece; past it the piece is read again.
const KEYS_MAX: usize = 1 << 20;
/// As [`KEYS_MAX`], in bytes.
const KEY_BYTES_MAX: usize = 64 << 20;

/// So many transactions are remembered, for those that a snapshot does not see yet.
const SEEN_MAX: usize = 1 << 16;

/// Why a piece is not used. It is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// The table was emptied.
    #[error("the table was truncated meanwhile")]
    Truncated,
    /// The table has another shape.
    #[error("the table was altered meanwhile")]
    Altered,
    /// A row changed of which nobody can tell which one it was.
    #[error("rows without a key changed meanwhile")]
    Keyless,
    /// More rows changed than are remembered.
    #[error("too many rows changed meanwhile")]
    TooMany,
    /// The stream has brought a change of a row without a value that only the piece has.
    #[error("a row changed meanwhile, and Postgres did not send its unchanged large values")]
    Partial,
    /// The stream has brought a transaction that is not visible yet, which waits for a standby.
    #[error("a transaction that was streamed is not visible yet (it may wait for a standby)")]
    NotVisible,
}

/// The newest transactions that the stream brought.
#[derive(Debug, Default)]
pub struct Seen {
    newest: VecDeque<Xid>,
    /// How many there were before those.
    before: u64,
    /// What an earlier run may have read, and was not visible when this one began.
    suspects: Vec<Xid>,
}

impl Seen {
    /// Notes the transactions of a chunk.
    pub fn note(&mut self, chunk: &Chunk) {
        for transaction in &chunk.transactions {
            // One that goes on over several chunks is there once.
            let Some(xid) = transaction.xid else { continue };
            if self.newest.back() == Some(&xid) {
                continue;
            }
            if self.newest.len() >= SEEN_MAX {
                self.newest.pop_front();
                self.before += 1;
            }
            self.newest.push_back(xid);
        }
    }

    /// Returns how many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.before + self.newest.len() as u64
    }

    /// Notes transactions of which nobody knows any more whether they were read: those that were
    /// open, or waited for a standby, when this run began.
    pub fn suspect(&mut self, xids: Vec<Xid>) {
        self.suspects = xids;
    }

    /// Whether one of the first `count` is not seen by the snapshot, or one that may have come
    /// before them.
    fn is_unseen(&mut self, count: u64, snapshot: &Snapshot) -> bool {
        self.suspects.retain(|xid| !snapshot.sees(*xid));
        let count = usize::try_from(count.saturating_sub(self.before)).unwrap_or(usize::MAX);
        !self.suspects.is_empty() || self.newest.iter().take(count).any(|xid| !snapshot.sees(*xid))
    }
}

/// What the stream brought since the low watermark.
#[derive(Debug)]
pub struct Window {
    table: Oid,
    /// The transactions that had come before.
    seen: u64,
    /// Whether the stream has brought all of the row, or the end of it.
    keys: HashMap<Box<[u8]>, bool>,
    key_bytes: usize,
    /// The table as the stream describes it.
    shape: Option<Arc<Relation>>,
    void: Option<Void>,
    images: Images,
}

impl Window {
    /// Opens it at a table's low watermark.
    #[must_use]
    pub fn open(table: Oid, seen: &Seen) -> Self {
        Self {
            table,
            seen: seen.count(),
            keys: HashMap::new(),
            key_bytes: 0,
            shape: None,
            void: None,
            images: Images::default(),
        }
    }

    /// Notes a change of the stream.
    ///
    /// # Errors
    /// When its frame can't be read.
    pub fn note(&mut self, chunk: &Chunk, entry: &Entry) -> Result<(), pgoutput::Error> {
        let Some(relation) = chunk.relation(entry).filter(|one| one.oid == self.table) else {
            return Ok(());
        };
        let is_new = |known: &Arc<Relation>| !Arc::ptr_eq(known, relation) && known != relation;
        if self.shape.as_ref().is_some_and(is_new) {
            self.void = Some(Void::Altered);
        }
        self.shape = Some(Arc::clone(relation));
        if entry.operation == Operation::Truncate {
            self.void = Some(Void::Truncated);
        }
        if self.void.is_some() || entry.operation == Operation::Read {
            return Ok(());
        }
        let Some(identity) = identity(relation) else {
            // A new row alone is sent twice at worst.
            if entry.operation != Operation::Insert {
                self.void = Some(Void::Keyless);
            }
            return Ok(());
        };
        let mut images = std::mem::take(&mut self.images);
        let change = pgoutput::change(chunk, entry, &mut images)?;
        let keys = keys(&change, &identity);
        let is_whole = is_whole(&change, relation, &identity);
        self.images = images;
        match keys {
            None => self.void = Some(Void::Keyless),
            Some(_) if self.keys.len() >= KEYS_MAX || self.key_bytes >= KEY_BYTES_MAX => {
                self.void = Some(Void::TooMany);
                self.keys = HashMap::new();
            }
            Some(keys) => {
                // What was brought whole before stays so, also under another key.
                let origin = keys.iter().flatten().next_back();
                let known = origin.and_then(|key| self.keys.get(key)).copied();
                let is_whole = is_whole || known.unwrap_or(false);
                for key in keys.into_iter().flatten() {
                    let bytes = key.len();
                    if self.keys.insert(key, is_whole).is_none() {
                        self.key_bytes += bytes;
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns which rows of the piece are older than what the stream brought, rising, at the high
    /// watermark.
    ///
    /// # Errors
    /// Why none of it may be used; the outer error when a row of it can't be read.
    pub fn judge(
        mut self,
        piece: &Piece,
        seen: &mut Seen,
    ) -> Result<Result<Vec<usize>, Void>, pgoutput::Error> {
        if let Some(void) = self.void {
            return Ok(Err(void));
        }
        if self.table != piece.relation.oid
            || self.shape.as_ref().is_some_and(|shape| differs(shape, &piece.relation))
        {
            return Ok(Err(Void::Altered));
        }
        if seen.is_unseen(self.seen, &piece.snapshot) {
            return Ok(Err(Void::NotVisible));
        }
        let mut stale = Vec::new();
        let Some(identity) = identity(&piece.relation).filter(|_| !self.keys.is_empty()) else {
            return Ok(Ok(stale));
        };
        for (index, frame) in piece.frames().enumerate() {
            pgoutput::images(frame, &mut self.images)?;
            let Images { new, old, .. } = &self.images;
            let image = if new.present { new } else { old };
            let cell = |column: usize| image.cell(frame, column);
            match key(&identity, cell).and_then(|key| self.keys.get(&key)) {
                Some(false) if new.present => return Ok(Err(Void::Partial)),
                Some(_) => stale.push(index),
                None => {}
            }
        }
        Ok(Ok(stale))
    }
}

/// The columns by which the stream says which row it means; none: nothing does.
fn identity(relation: &Relation) -> Option<Vec<usize>> {
    if relation.identity == ReplicaIdentity::Index {
        return Some(relation.identity_columns().collect());
    }
    let key: Vec<usize> = relation.primary_key.iter().map(|index| usize::from(*index)).collect();
    (!key.is_empty()).then_some(key)
}

/// The keys that a change is of: the new one, and the old one where the server sent it. None where
/// one can't be told.
fn keys(change: &Change<'_>, identity: &[usize]) -> Option<[Option<Box<[u8]>>; 2]> {
    let old = || key(identity, |column| change.old_cell(column));
    // A key that is stored out of line does not come again when it is the same; then the old does.
    let new = || {
        key(identity, |column| match change.new_cell(column) {
            Cell::Unchanged => change.old_cell(column),
            cell => cell,
        })
    };
    Some(match change.operation {
        Operation::Delete => [Some(old()?), None],
        Operation::Update if change.images.old.present => [Some(new()?), Some(old()?)],
        _ => [Some(new()?), None],
    })
}

/// Whether all of the row is in the stream now, or it is gone.
fn is_whole(change: &Change<'_>, relation: &Relation, identity: &[usize]) -> bool {
    let is_there = |cell| !matches!(cell, Cell::Unchanged | Cell::Absent);
    // A key that is the same comes with the old row where it does not come with the new one.
    let sent = |column: usize| {
        is_there(change.new_cell(column))
            || (identity.contains(&column) && is_there(change.old_cell(column)))
    };
    change.operation != Operation::Update || (0..relation.columns.len()).all(sent)
}

/// The values of a key, each with its length; none where one is missing.
fn key<'a>(identity: &[usize], cell: impl Fn(usize) -> Cell<'a>) -> Option<Box<[u8]>> {
    let mut bytes = Vec::new();
    for column in identity {
        match cell(*column) {
            Cell::Value(value) => {
                bytes.push(1);
                bytes.extend(value.len().to_le_bytes());
                bytes.extend_from_slice(value);
            }
            Cell::Null => bytes.push(0),
            Cell::Unchanged | Cell::Absent => return None,
        }
    }
    Some(bytes.into_boxed_slice())
}

/// Whether rows of the one are no rows of the other.
fn differs(one: &Relation, other: &Relation) -> bool {
    let shape = |relation: &Relation| -> Vec<_> {
        let columns = relation.columns.iter();
        columns.map(|c| (c.name.clone(), c.type_oid, c.type_modifier)).collect()
    };
    shape(one) != shape(other)
}

#[cfg(test)]
mod tests;
