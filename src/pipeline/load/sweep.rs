//! [`Candidates`]: the keys that a table had by what the journal tells, for those to be deleted
//! that it has no longer.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::super::Error;
use crate::change::{Cell, Change, Images};
use crate::chunk::{Chunk, Operation};
use crate::journal::Journal;
use crate::lsn::Oid;
use crate::pgoutput;
use crate::relation::TableName;

/// Keys that are remembered at a time; with more of them the journal is read several times, for a
/// part of them each.
const KEYS_MAX: usize = 1 << 18;

/// A key: the text of each of its columns.
type Key = Vec<String>;

/// See the module.
#[derive(Debug)]
pub(super) struct Candidates {
    table: Oid,
    /// What it is called, and what another was called that was dropped.
    name: TableName,
    /// The primary key.
    columns: Vec<String>,
    /// The keys are told apart by their hash into so many parts.
    parts: u64,
    next_part: u64,
    keys: Vec<Key>,
}

impl Candidates {
    pub(super) const fn new(table: Oid, name: TableName, columns: Vec<String>) -> Self {
        Self { table, name, columns, parts: 1, next_part: 0, keys: Vec::new() }
    }

    /// Returns the next keys, `limit` at most, in no order; none behind the last.
    pub(super) async fn peek(&mut self, journal: &Journal, limit: usize) -> Result<&[Key], Error> {
        while self.keys.is_empty() && self.next_part < self.parts {
            match self.gather(journal).await? {
                Some(keys) => {
                    self.keys = keys;
                    self.next_part += 1;
                }
                None => {
                    // What was done with the larger parts is found done.
                    self.parts *= 2;
                    self.next_part = 0;
                }
            }
        }
        Ok(self.keys.get(self.keys.len().saturating_sub(limit)..).unwrap_or_default())
    }

    /// Forgets the last `count` keys.
    pub(super) fn pass(&mut self, count: usize) {
        self.keys.truncate(self.keys.len().saturating_sub(count));
    }

    /// Returns the keys of the next part that the table still had; none where they are too many.
    async fn gather(&self, journal: &Journal) -> Result<Option<Vec<Key>>, Error> {
        let mut cursor = journal.cursor(journal.begin()).map_err(Error::Journal)?;
        let end = journal.end();
        let mut has: HashMap<Key, bool> = HashMap::new();
        let mut images = Images::default();
        while cursor.position() < end {
            // What is older may be removed meanwhile: then the rest tells what it can.
            if cursor.position() < journal.begin() {
                cursor = journal.cursor(journal.begin()).map_err(Error::Journal)?;
            }
            let chunk = match cursor.next().await {
                Err(_) if cursor.position() < journal.begin() => continue,
                read => read.map_err(Error::Journal)?,
            };
            self.read(&chunk, &mut images, &mut has).map_err(super::splice::unreadable)?;
            if has.len() > KEYS_MAX {
                has.retain(|_, is_there| *is_there);
                if has.len() > KEYS_MAX / 2 {
                    return Ok(None);
                }
            }
        }
        Ok(Some(has.into_iter().filter_map(|(key, is_there)| is_there.then_some(key)).collect()))
    }

    fn read(
        &self,
        chunk: &Chunk,
        images: &mut Images,
        has: &mut HashMap<Key, bool>,
    ) -> Result<(), pgoutput::Error> {
        for entry in &chunk.entries {
            let Some(relation) = chunk.relation(entry) else { continue };
            let TableName { namespace, name } = &self.name;
            let is_it = relation.oid == self.table
                || (relation.namespace == *namespace && relation.name == *name);
            if !is_it {
                continue;
            }
            if entry.operation == Operation::Truncate {
                has.clear();
                continue;
            }
            let columns = self.columns.iter().map(|name| relation.column(name));
            let Some(columns) = columns.collect::<Option<Vec<usize>>>() else { continue };
            let change = pgoutput::change(chunk, entry, images)?;
            for (key, is_there) in keys(&change, &columns) {
                if key.is_empty() || self.part(&key) != self.next_part {
                    continue;
                }
                has.insert(key, is_there);
            }
        }
        Ok(())
    }

    fn part(&self, key: &Key) -> u64 {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish() % self.parts
    }
}

/// The keys that a change tells of, and whether their rows are there behind it. Empty where it does
/// not say.
fn keys(change: &Change<'_>, columns: &[usize]) -> [(Key, bool); 2] {
    let old = || text(columns, |column| change.old_cell(column));
    let new = || {
        text(columns, |column| match change.new_cell(column) {
            Cell::Unchanged => change.old_cell(column),
            cell => cell,
        })
    };
    match change.operation {
        Operation::Delete => [(old(), false), (Key::new(), false)],
        Operation::Update if change.images.old.present => [(old(), false), (new(), true)],
        _ => [(new(), true), (Key::new(), false)],
    }
}

fn text<'a>(columns: &[usize], cell: impl Fn(usize) -> Cell<'a>) -> Key {
    let value = |column: &usize| match cell(*column) {
        Cell::Value(value) => str::from_utf8(value).ok().map(str::to_owned),
        Cell::Null | Cell::Unchanged | Cell::Absent => None,
    };
    columns.iter().map(value).collect::<Option<Key>>().unwrap_or_default()
}
