//! The shapes of tables and the names of types.

use super::field::{flags, namespace};
use crate::lsn::Oid;
use crate::pgoutput::Error;
use crate::pgoutput::cursor::Cursor;
use crate::relation::ReplicaIdentity;

/// Wire: `Byte1('R') Int32(oid) String(namespace) String(name) Int8(identity) Int16(columns)`, then
/// a column: `Int8(flags) String(name) Int32(type oid) Int32(type modifier)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationMessage<'a> {
    /// The table's oid.
    pub oid: Oid,
    /// The schema; `pg_catalog` is spelled out though the wire has an empty string for it.
    pub namespace: &'a str,
    /// The table's name.
    pub name: &'a str,
    /// `REPLICA IDENTITY`.
    pub identity: ReplicaIdentity,
    /// The columns in the order in which their values are sent.
    pub columns: Vec<RelationColumn<'a>>,
}

/// A column of a Relation message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelationColumn<'a> {
    /// Part of the replica identity.
    pub in_identity: bool,
    /// The column's name.
    pub name: &'a str,
    /// The type's oid.
    pub type_oid: Oid,
    /// The type modifier, -1 when there is none.
    pub type_modifier: i32,
}

impl<'a> RelationMessage<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        let oid = Oid(cursor.int32("relation oid")?);
        let namespace = namespace(cursor.string("relation namespace")?);
        let name = cursor.string("relation name")?;
        let identity = match cursor.byte("replica identity")? {
            b'd' => ReplicaIdentity::Default,
            b'n' => ReplicaIdentity::Nothing,
            b'f' => ReplicaIdentity::Full,
            b'i' => ReplicaIdentity::Index,
            marker => return Err(Error::UnknownMarker { field: "replica identity", marker }),
        };
        let count = cursor.int16("column count")?;
        let columns = (0..count)
            .map(|_| {
                Ok(RelationColumn {
                    in_identity: flags(cursor, 1, "column flags")? == 1,
                    name: cursor.string("column name")?,
                    type_oid: Oid(cursor.int32("column type")?),
                    type_modifier: cursor.signed32("column type modifier")?,
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self { oid, namespace, name, identity, columns })
    }
}

/// Wire: `Byte1('Y') Int32(oid) String(namespace) String(name)`. Of a domain it has the domain's
/// oid and the base type's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type<'a> {
    /// The type's oid.
    pub oid: Oid,
    /// The schema; `pg_catalog` is spelled out.
    pub namespace: &'a str,
    /// The type's name.
    pub name: &'a str,
}

impl<'a> Type<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        Ok(Self {
            oid: Oid(cursor.int32("type oid")?),
            namespace: namespace(cursor.string("type namespace")?),
            name: cursor.string("type name")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::relation;
    use super::super::{Message, parse};
    use super::*;
    use crate::pgoutput::build;

    #[test]
    fn a_relation_reads_back_as_it_was_written() {
        let (made, mut frame) = (relation(), Vec::new());
        build::relation(&made, &mut frame).unwrap();
        let Message::Relation(read) = parse(&frame).unwrap() else { panic!("not a relation") };
        assert_eq!((read.oid, read.namespace, read.name), (Oid(9), "public", "Order Items"));
        assert_eq!(read.identity, ReplicaIdentity::Index);
        let columns: Vec<_> = read.columns.iter().map(|c| (c.name, c.in_identity)).collect();
        assert_eq!(columns, [("id", true), ("näme", false)]);
    }

    #[test]
    fn the_empty_namespace_is_pg_catalog() {
        let Message::Type(read) = parse(b"Y\0\0\0\x09\0int4\0").unwrap() else {
            panic!("not a type")
        };
        assert_eq!((read.namespace, read.name), ("pg_catalog", "int4"));
    }
}
