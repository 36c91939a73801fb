//! [`Tally`]: how many changes came, by table and operation (pure).

use std::collections::BTreeMap;

use crate::chunk::{Chunk, Operation};

/// So many tables are counted each by itself; those that come later are counted as one.
const TABLES_MAX: usize = 4096;
/// What the tables beyond are counted as. No table is called so: a name has a dot.
const OTHERS: &str = "(others)";

/// One an operation, by its number.
type Counts = [u64; Operation::ALL.len()];

/// Changes since the process started.
#[derive(Debug, Default)]
pub(super) struct Tally {
    tables: BTreeMap<String, Counts>,
}

impl Tally {
    /// Adds what a chunk holds.
    pub(super) fn add(&mut self, counted: Vec<(String, Counts)>) {
        for (table, counts) in counted {
            let is_new = !self.tables.contains_key(&table);
            let table =
                if is_new && self.tables.len() >= TABLES_MAX { OTHERS.to_owned() } else { table };
            let sums = self.tables.entry(table).or_default();
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }

    /// Returns what was counted, where it is not nothing.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, Operation, u64)> + '_ {
        self.tables.iter().flat_map(|(table, counts)| {
            let pairs = Operation::ALL.into_iter().zip(*counts).filter(|(_, count)| *count > 0);
            pairs.map(move |(operation, count)| (table.as_str(), operation, count))
        })
    }
}

/// Counts the changes of a chunk: a table is looked up once, not once a row. Logical messages
/// have no table.
pub(super) fn count(chunk: &Chunk) -> Vec<(String, Counts)> {
    let messages = chunk.relations.len();
    let mut counts = vec![Counts::default(); messages + 1];
    for entry in &chunk.entries {
        let relation = entry.relation.and_then(|relation| usize::try_from(relation).ok());
        let sum = counts
            .get_mut(relation.unwrap_or(messages))
            .and_then(|counts| counts.get_mut(usize::from(entry.operation.number())));
        if let Some(sum) = sum {
            *sum += 1;
        }
    }
    let names = chunk.relations.iter().map(|relation| relation.quoted_name());
    let counted = names.chain([String::new()]).zip(counts);
    counted.filter(|(_, counts)| counts.iter().any(|count| *count > 0)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::chunk::Entry;
    use crate::lsn::Oid;
    use crate::relation::{Relation, ReplicaIdentity};

    fn chunk(tables: &[&str], changes: &[(Option<u32>, Operation)]) -> Chunk {
        let relation = |name: &&str| {
            Arc::new(Relation {
                oid: Oid(1),
                namespace: "public".into(),
                name: (*name).into(),
                identity: ReplicaIdentity::Default,
                columns: Vec::new(),
                primary_key: Vec::new(),
                formerly: None,
            })
        };
        let entry = |(relation, operation): &(Option<u32>, Operation)| Entry {
            offset: 0,
            length: 0,
            transaction: 0,
            relation: *relation,
            seq: 0,
            operation: *operation,
        };
        Chunk {
            timeline: 1,
            frames: Bytes::new(),
            transactions: Vec::new(),
            relations: tables.iter().map(relation).collect(),
            entries: changes.iter().map(entry).collect(),
            audience: None,
        }
    }

    #[test]
    fn changes_are_counted_by_table_and_operation() {
        let mut tally = Tally::default();
        let changes = [
            (Some(0), Operation::Insert),
            (Some(1), Operation::Delete),
            (Some(2), Operation::Insert),
            (None, Operation::Message),
        ];
        // Two versions of one table.
        tally.add(count(&chunk(&["a", "b", "a"], &changes)));
        tally.add(count(&chunk(&["b", "Unused"], &[(Some(0), Operation::Delete)])));
        let counts: Vec<_> = tally.counts().collect();
        assert_eq!(
            counts,
            [
                ("", Operation::Message, 1),
                ("public.a", Operation::Insert, 2),
                ("public.b", Operation::Delete, 2),
            ]
        );
    }

    #[test]
    fn too_many_tables_are_counted_as_one() {
        let mut tally = Tally::default();
        for number in 0..TABLES_MAX + 5 {
            let name = format!("t{number:06}");
            tally.add(count(&chunk(&[&name], &[(Some(0), Operation::Insert)])));
        }
        assert_eq!(tally.counts().find(|(table, ..)| *table == OTHERS).unwrap().2, 5);
        assert_eq!(tally.counts().count(), TABLES_MAX + 1);
    }
}
