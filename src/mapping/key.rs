//! The key of a route's events: identity and order.

use std::sync::Arc;

use super::text::write_name;
use super::verdict::{Reason, Verdict};
use crate::change::{Cell, Change};
use crate::chunk::Operation;
use crate::envelope::TableTag;
use crate::lsn::Oid;
use crate::pgoutput::value::write_json;
use crate::relation::{Kind, Relation, ReplicaIdentity};

/// The key's columns in one version of a table.
#[derive(Debug)]
pub(super) struct Key {
    columns: Vec<KeyColumn>,
    verdict: Option<Verdict>,
}

#[derive(Debug)]
struct KeyColumn {
    /// `"id":`
    name: Vec<u8>,
    index: usize,
    kind: Kind,
    column: Arc<str>,
}

impl Key {
    /// Finds the columns: the route's own, else the table's.
    pub(super) fn compile(columns: Option<&[String]>, relation: &Relation) -> Self {
        let mut verdict = None;
        let indexes: Vec<usize> = match columns {
            Some(names) => {
                let mut indexes = Vec::with_capacity(names.len());
                for name in names {
                    match relation.column(name) {
                        Some(index) => indexes.push(index),
                        None => {
                            let field: Arc<str> = name.as_str().into();
                            let reason = Reason::NoColumn(Arc::clone(&field));
                            verdict.get_or_insert_with(|| Verdict::reject(&field, reason));
                        }
                    }
                }
                indexes
            }
            None => default_columns(relation),
        };
        let columns = indexes
            .into_iter()
            .filter_map(|index| relation.columns.get(index).map(|column| (index, column)))
            .map(|(index, column)| {
                let mut name = Vec::new();
                write_name(&column.name, &mut name);
                let kind = column.kind.clone();
                KeyColumn { name, index, kind, column: column.name.as_str().into() }
            })
            .collect();
        Self { columns, verdict }
    }

    /// Whether the table has no key: all its events are of one key then.
    pub(super) fn is_none(&self) -> bool {
        self.columns.is_empty()
    }

    /// Appends the key's JSON.
    pub(super) fn write(&self, change: &Change<'_>, out: &mut Vec<u8>) -> Result<(), Verdict> {
        if let Some(verdict) = &self.verdict {
            return Err(verdict.clone());
        }
        let gone = change.operation == Operation::Delete;
        self.write_cells(
            out,
            |index| {
                if gone { change.old_cell(index) } else { new_or_old(change, index) }
            },
        )
    }

    /// Whether an update changed the key. A column that the old image doesn't hold did not change.
    pub(super) fn has_changed(&self, change: &Change<'_>) -> bool {
        change.operation == Operation::Update
            && change.images.old.present
            && self.columns.iter().any(|column| {
                let old = change.old_cell(column.index);
                matches!(old, Cell::Value(_) | Cell::Null)
                    && old != new_or_old(change, column.index)
            })
    }

    /// Appends the old key's JSON.
    pub(super) fn write_before(
        &self,
        change: &Change<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        self.write_cells(out, |index| match change.old_cell(index) {
            Cell::Unchanged | Cell::Absent => change.new_cell(index),
            cell => cell,
        })
    }

    fn write_cells<'a>(
        &self,
        out: &mut Vec<u8>,
        cell: impl Fn(usize) -> Cell<'a>,
    ) -> Result<(), Verdict> {
        let mut mark = b'{';
        for column in &self.columns {
            out.push(mark);
            mark = b',';
            out.extend_from_slice(&column.name);
            match cell(column.index) {
                Cell::Value(text) => write_json(&column.kind, text, out),
                Cell::Null => out.extend_from_slice(b"null"),
                Cell::Unchanged | Cell::Absent => {
                    return Err(Verdict::reject(&column.column, Reason::KeyUnchanged));
                }
            }
        }
        out.push(b'}');
        Ok(())
    }
}

/// Returns the key that the events of a table have, by column: `own` is what the route says; none:
/// the table's. Empty where there is none; a column that the table lacks is left out.
#[must_use]
pub fn key_columns(own: Option<&[String]>, relation: &Relation) -> Vec<String> {
    let key = Key::compile(own, relation);
    key.columns.iter().map(|column| column.column.to_string()).collect()
}

/// Returns the primary key's columns, else the replica identity's.
///
/// A primary key outside the replica identity (`USING INDEX` of another) is no key here: a delete
/// would not tell it. Nor is the whole row of `REPLICA IDENTITY FULL`: two rows may be equal.
fn default_columns(relation: &Relation) -> Vec<usize> {
    let primary = relation.primary_key.iter().map(|index| usize::from(*index));
    let sent = |index: usize| relation.columns.get(index).is_some_and(|column| column.in_identity);
    match relation.identity {
        ReplicaIdentity::Full | ReplicaIdentity::Nothing => primary.collect(),
        ReplicaIdentity::Default | ReplicaIdentity::Index => {
            let primary: Vec<usize> = primary.collect();
            if !primary.is_empty() && primary.iter().all(|index| sent(*index)) {
                primary
            } else {
                relation.identity_columns().collect()
            }
        }
    }
}

fn new_or_old<'a>(change: &Change<'a>, index: usize) -> Cell<'a> {
    match change.new_cell(index) {
        Cell::Unchanged | Cell::Absent => change.old_cell(index),
        cell => cell,
    }
}

/// Hashes the events of a table, key by key. The same on every start.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyHash {
    hash: u64,
    tag: TableTag,
}

impl KeyHash {
    const SEED: u64 = 0xCBF2_9CE4_8422_2325;

    /// Begins with a table. Its oid survives a rename.
    pub(super) fn table(oid: Oid) -> Self {
        Self::begin(fold(fold(Self::SEED, b"T"), &oid.0.to_be_bytes()))
    }

    /// Begins with the prefix of a logical message.
    pub(super) fn message(prefix: &str) -> Self {
        Self::begin(fold(fold(Self::SEED, b"M"), prefix.as_bytes()))
    }

    /// Begins with the messages of an outbox: those of one aggregate are of one key, whatever
    /// their prefix.
    pub(super) fn outbox() -> Self {
        Self::begin(fold(Self::SEED, b"O"))
    }

    const fn begin(hash: u64) -> Self {
        Self { hash, tag: TableTag::of(mix(hash)) }
    }

    pub(super) fn with(self, bytes: &[u8]) -> Self {
        Self { hash: fold(self.hash, bytes), ..self }
    }

    pub(super) const fn finish(self) -> u64 {
        self.tag.mark(mix(self.hash))
    }
}

/// FNV-1a: keys are short, and a hash that is short too beats one that is fast on long ones.
fn fold(hash: u64, bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0100_0000_01B3;
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

/// Mixes the high bits into the low ones, which lanes are chosen by.
const fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}
