//! What the stream says of a table, joined with what the catalog adds (pure).

use crate::lsn::Oid;
use crate::pgoutput::RelationMessage;
use crate::relation::{Column, Kind, Relation, ReplicaIdentity};

/// Builds a table's version.
pub(in crate::source) fn relation(
    message: &RelationMessage<'_>,
    kinds: impl Fn(Oid) -> Kind,
    key: &[String],
) -> Relation {
    let columns: Vec<_> = message
        .columns
        .iter()
        .map(|column| Column {
            name: column.name.to_owned(),
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
            in_identity: column.in_identity,
            kind: kinds(column.type_oid),
        })
        .collect();
    let index = |name: &String| {
        let index = columns.iter().position(|column| column.name == *name)?;
        u16::try_from(index).ok()
    };
    let mut primary_key: Vec<u16> = key.iter().filter_map(index).collect();
    if primary_key.len() != key.len() {
        primary_key.clear();
    }
    if primary_key.is_empty() && message.identity == ReplicaIdentity::Default {
        // The catalog tells of now, the stream of then: with the default identity the flagged
        // columns are the primary key, though perhaps in another order.
        let flagged = columns.iter().enumerate().filter(|(_, column)| column.in_identity);
        primary_key = flagged.filter_map(|(index, _)| u16::try_from(index).ok()).collect();
    }
    Relation {
        oid: message.oid,
        namespace: message.namespace.to_owned(),
        name: message.name.to_owned(),
        identity: message.identity,
        columns,
        primary_key,
        formerly: None,
    }
}
