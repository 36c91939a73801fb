//! What is left to do of a batch where rows are kept by their key: one action a key.
//!
//! Every bulk write of a keyed store breaks, or does the wrong thing, when it holds one key twice.
//! So the changes of a key are folded into one, as if they had been made one after the other:
//! the last value of each field wins, a field that was not sent keeps what came before, a delete
//! undoes what came before it. Knows nothing of where the rows are.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::row::{Change, Field, Key, Text};
use crate::chunk::Operation;

/// One change to fold.
#[derive(Clone, Copy, Debug)]
pub(in crate::sink) struct Item<'b, 'a> {
    /// The event's index in its batch.
    pub(in crate::sink) event: usize,
    /// The table at the far side, as a number of the caller's: keys of two are never one.
    pub(in crate::sink) scope: usize,
    /// What it tells.
    pub(in crate::sink) change: &'b Change<'a>,
}

/// What is to be done to one row, or to a whole table.
#[derive(Debug)]
pub(in crate::sink) struct Action<'a> {
    /// The table.
    pub(in crate::sink) scope: usize,
    /// What is done.
    pub(in crate::sink) work: Work<'a>,
    /// The events that it stands for, rising. One that changed a key is named by two actions, and
    /// is done once both are.
    pub(in crate::sink) events: Vec<usize>,
}

/// What is done.
#[derive(Debug)]
pub(in crate::sink) enum Work<'a> {
    /// Every row of the table goes. What came before it in the batch is not done any more; what
    /// follows it comes behind it.
    Clear,
    /// The row with this key goes.
    Delete(Key<'a>),
    /// The row with this key is made, or changed.
    Put(Put<'a>),
}

/// A row that is made or changed.
#[derive(Clone, Debug)]
pub(in crate::sink) struct Put<'a> {
    /// Its key.
    pub(in crate::sink) key: Key<'a>,
    /// The fields that were sent, each once.
    pub(in crate::sink) fields: Vec<Field<'a>>,
    /// The fields that no event of the batch sent: they keep what is there.
    pub(in crate::sink) missing: Vec<Text<'a>>,
    /// Where what is missing is to be found, if not in the row itself: in the one that had this
    /// key before the batch.
    pub(in crate::sink) from: Option<Key<'a>>,
    /// The row was deleted within the batch before it was made again: nothing of the old one stays.
    pub(in crate::sink) is_anew: bool,
}

/// An event that has no key where one is needed: its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sink) struct NoKey(pub(in crate::sink) usize);

/// Folds the changes of a batch, in their order.
///
/// # Errors
/// A change of a row without a key.
pub(in crate::sink) fn fold<'b, 'a: 'b>(
    items: impl IntoIterator<Item = Item<'b, 'a>>,
) -> Result<Vec<Action<'a>>, NoKey> {
    let mut fold = Fold::default();
    for Item { event, scope, change } in items {
        if change.operation == Operation::Truncate {
            fold.clear(event, scope);
            continue;
        }
        let key = change.key.as_ref().ok_or(NoKey(event))?;
        match (&change.before_key, change.operation) {
            (_, Operation::Delete) => {
                let mut row = fold.take(scope, key);
                row.work = Some(Work::Delete(key.clone()));
                row.events.push(event);
                fold.put(key, row);
            }
            (Some(old), _) if old.raw != key.raw => fold.rename(event, scope, old, key, change),
            _ => {
                let mut row = fold.take(scope, key);
                let before = row.work.take();
                row.work = Some(Work::Put(Put::of(key, change).over(before)));
                row.events.push(event);
                fold.put(key, row);
            }
        }
    }
    Ok(fold.actions())
}

/// What is known of one row so far.
#[derive(Debug)]
struct Row<'a> {
    scope: usize,
    work: Option<Work<'a>>,
    events: Vec<usize>,
}

#[derive(Debug, Default)]
struct Fold<'a> {
    /// In the order in which the keys came; none: cleared since.
    rows: Vec<Option<Row<'a>>>,
    by_key: HashMap<(usize, &'a str), usize>,
}

impl<'a> Fold<'a> {
    /// Takes a row out, to be put back by [`Fold::put`].
    fn take(&mut self, scope: usize, key: &Key<'a>) -> Row<'a> {
        let found = self.by_key.get(&(scope, key.raw)).and_then(|index| self.rows.get_mut(*index));
        found.and_then(Option::take).unwrap_or(Row { scope, work: None, events: Vec::new() })
    }

    fn put(&mut self, key: &Key<'a>, row: Row<'a>) {
        let known = self.by_key.get(&(row.scope, key.raw));
        match known.and_then(|index| self.rows.get_mut(*index)) {
            Some(slot) => *slot = Some(row),
            None => {
                self.by_key.insert((row.scope, key.raw), self.rows.len());
                self.rows.push(Some(row));
            }
        }
    }

    /// An update that changed the key: the old row goes, the new one takes its fields along.
    fn rename(
        &mut self,
        event: usize,
        scope: usize,
        old: &Key<'a>,
        key: &Key<'a>,
        change: &Change<'a>,
    ) {
        let mut row = self.take(scope, old);
        let before = row.work.replace(Work::Delete(old.clone()));
        row.events.push(event);
        let mut events = row.events.clone();
        self.put(old, row);
        let mut put = match before {
            Some(Work::Put(put)) => Put::of(key, change).over(Some(Work::Put(put))),
            Some(Work::Clear | Work::Delete(_)) => Put::of(key, change),
            None => Put { from: Some(old.clone()), ..Put::of(key, change) },
        };
        // What the row that has moved still lacks is in the one that it was before the batch.
        if put.from.is_none() && !put.is_anew {
            put.from = Some(old.clone());
        }
        if put.missing.is_empty() {
            put.from = None;
        }
        let mut row = self.take(scope, key);
        put.is_anew |= row.work.is_some();
        row.work = Some(Work::Put(put));
        events.append(&mut row.events);
        events.sort_unstable();
        events.dedup();
        row.events = events;
        self.put(key, row);
    }

    /// A TRUNCATE: what came before it of this table is as good as done.
    fn clear(&mut self, event: usize, scope: usize) {
        let mut events = Vec::new();
        for slot in &mut self.rows {
            if slot.as_ref().is_some_and(|row| row.scope == scope)
                && let Some(mut row) = slot.take()
            {
                events.append(&mut row.events);
            }
        }
        self.by_key.retain(|(of, _), _| *of != scope);
        events.push(event);
        events.sort_unstable();
        events.dedup();
        self.rows.push(Some(Row { scope, work: Some(Work::Clear), events }));
    }

    fn actions(self) -> Vec<Action<'a>> {
        let rows = self.rows.into_iter().flatten();
        rows.filter_map(|Row { scope, work, events }| Some(Action { scope, work: work?, events }))
            .collect()
    }
}

impl<'a> Put<'a> {
    fn of(key: &Key<'a>, change: &Change<'a>) -> Self {
        Self {
            key: key.clone(),
            fields: change.data.clone(),
            missing: change.unchanged.clone(),
            from: None,
            is_anew: false,
        }
    }

    /// Takes from what came before what it does not have itself.
    fn over(mut self, before: Option<Work<'a>>) -> Self {
        match before {
            Some(Work::Put(before)) => {
                let Put { fields: mut all, missing: mut lacking, from, is_anew, .. } = before;
                for field in self.fields {
                    match all.iter_mut().find(|old| old.name == field.name) {
                        Some(old) => *old = field,
                        None => all.push(field),
                    }
                }
                lacking.extend(self.missing);
                lacking.sort_unstable();
                lacking.dedup();
                lacking.retain(|name| !all.iter().any(|field| field.name == *name));
                self.from = from.filter(|_| !lacking.is_empty());
                (self.fields, self.missing, self.is_anew) = (all, lacking, is_anew);
                self
            }
            Some(Work::Delete(_) | Work::Clear) => Self { is_anew: true, ..self },
            None => self,
        }
    }
}
