//! A change made up of one row: the chunk that the mapper takes, as the stream would bring it.

use std::sync::Arc;

use crate::change::Cell;
use crate::chunk::{Chunk, Operation};
use crate::pgoutput::Error;
use crate::pgoutput::build::{self, Old};
use crate::relation::{Relation, ReplicaIdentity};

/// Returns a chunk that holds one change. Its place in the log, its time and its transaction are
/// zero: nothing was committed. None: Postgres would send no such change.
///
/// # Errors
/// A row that no frame can hold.
pub fn chunk(
    relation: &Arc<Relation>,
    operation: Operation,
    row: &[Option<String>],
) -> Result<Option<Arc<Chunk>>, Error> {
    let cells: Vec<Cell<'_>> = row.iter().map(|value| cell_of(value.as_deref())).collect();
    let mut frame = Vec::new();
    match operation {
        Operation::Read | Operation::Insert => build::insert(relation.oid, &cells, &mut frame)?,
        Operation::Update => build::update(relation.oid, None, &cells, &mut frame)?,
        Operation::Delete if relation.identity == ReplicaIdentity::Full => {
            build::delete(relation.oid, Old::Full(&cells), &mut frame)?;
        }
        Operation::Delete => {
            if relation.identity_columns().next().is_none() {
                return Ok(None);
            }
            let key = relation.columns.iter().zip(&cells);
            let key: Vec<Cell<'_>> = key
                .map(|(column, cell)| if column.in_identity { *cell } else { Cell::Null })
                .collect();
            build::delete(relation.oid, Old::Key(&key), &mut frame)?;
        }
        Operation::Truncate | Operation::Message => return Ok(None),
    }
    build::chunk(relation, operation, frame).map(Some)
}

fn cell_of(value: Option<&str>) -> Cell<'_> {
    value.map_or(Cell::Null, |value| Cell::Value(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Images;
    use crate::lsn::Oid;
    use crate::pgoutput;
    use crate::relation::{Column, Kind};

    fn relation(identity: ReplicaIdentity, key: &[&str]) -> Arc<Relation> {
        let column = |name: &str| Column {
            name: name.to_owned(),
            type_oid: Oid(25),
            type_modifier: -1,
            in_identity: identity == ReplicaIdentity::Full || key.contains(&name),
            kind: Kind::Text,
        };
        Arc::new(Relation {
            oid: Oid(1),
            namespace: "public".to_owned(),
            name: "t".to_owned(),
            identity,
            columns: vec![column("id"), column("v")],
            primary_key: vec![],
            formerly: None,
        })
    }

    /// The old and the new row, as tests write them: `~` NULL, `?` not sent, `-` no such row.
    #[track_caller]
    fn check(relation: &Arc<Relation>, operation: Operation, old: [&str; 2], new: [&str; 2]) {
        let row = [Some("1".to_owned()), None];
        let chunk = chunk(relation, operation, &row).unwrap().unwrap();
        let mut images = Images::default();
        let change = pgoutput::change(&chunk, &chunk.entries[0], &mut images).unwrap();
        let text = |cell| match cell {
            Cell::Value(text) => String::from_utf8(text.to_vec()).unwrap(),
            Cell::Null => "~".to_owned(),
            Cell::Unchanged => "?".to_owned(),
            Cell::Absent => "-".to_owned(),
        };
        assert_eq!([0, 1].map(|index| text(change.old_cell(index))), old);
        assert_eq!([0, 1].map(|index| text(change.new_cell(index))), new);
    }

    #[test]
    fn a_row_becomes_what_postgres_would_send_of_it() {
        let keyed = relation(ReplicaIdentity::Default, &["id"]);
        let full = relation(ReplicaIdentity::Full, &[]);
        for operation in [Operation::Insert, Operation::Read, Operation::Update] {
            check(&keyed, operation, ["-", "-"], ["1", "~"]);
        }
        check(&keyed, Operation::Delete, ["1", "?"], ["-", "-"]);
        check(&full, Operation::Delete, ["1", "~"], ["-", "-"]);
    }

    #[test]
    fn a_delete_of_a_table_without_an_identity_never_comes() {
        let row = [Some("1".to_owned()), None];
        for identity in [ReplicaIdentity::Nothing, ReplicaIdentity::Default] {
            let chunk = chunk(&relation(identity, &[]), Operation::Delete, &row);
            assert_eq!(chunk, Ok(None));
        }
    }
}
