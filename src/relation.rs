//! [`Relation`]: what a table looked like at one point of the log, with how its values are read.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::lsn::Oid;

/// One version of a table's shape, as a Relation message gave it and the catalog completed it.
///
/// Kept with every chunk that refers to it, so that a repeat renders alike whatever the catalog
/// says by then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Relation {
    /// The table's oid; it survives a rename.
    pub oid: Oid,
    /// The schema, unquoted. Never empty (`pg_catalog` is spelled out).
    pub namespace: String,
    /// The table's name, unquoted.
    pub name: String,
    /// What an update or delete says of the old row.
    pub identity: ReplicaIdentity,
    /// The columns in the order in which their values are sent.
    pub columns: Vec<Column>,
    /// The primary key as indexes into `columns`, in the key's own order; empty when there is
    /// none, or when it could no longer be looked up.
    pub primary_key: Vec<u16>,
    /// What the table was called when it was first seen, where it was renamed or moved since:
    /// whoever asks for it by that name goes on getting it.
    pub formerly: Option<TableName>,
}

/// Schema and name of a table, unquoted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The schema.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl TableName {
    /// Returns it as SQL would quote it.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote_identifier(&self.namespace), quote_identifier(&self.name))
    }
}

/// What of a table's shape matters to whoever maps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shape {
    /// Name, type's oid and modifier of each column.
    columns: Vec<(String, u32, i32)>,
    /// The primary key's columns.
    key: Vec<String>,
}

impl Shape {
    /// Returns a table's.
    #[must_use]
    pub fn of(relation: &Relation) -> Self {
        let columns = relation.columns.iter();
        let columns = columns.map(|c| (c.name.clone(), c.type_oid.0, c.type_modifier)).collect();
        let name = |index: &u16| Some(relation.columns.get(usize::from(*index))?.name.clone());
        Self { columns, key: relation.primary_key.iter().filter_map(name).collect() }
    }

    /// Says what is different in another shape. Never a value.
    #[must_use]
    pub fn differs(&self, other: &Self) -> String {
        let mut said = Vec::new();
        let has = |shape: &Self, name: &str| shape.columns.iter().any(|(other, ..)| other == name);
        for (name, type_oid, modifier) in &other.columns {
            match self.columns.iter().find(|(other, ..)| other == name) {
                None => said.push(format!("column \"{name}\" is new")),
                Some((_, oid, old)) if (oid, old) != (type_oid, modifier) => {
                    said.push(format!("column \"{name}\" has another type"));
                }
                Some(_) => {}
            }
        }
        let gone = self.columns.iter().filter(|(name, ..)| !has(other, name));
        said.extend(gone.map(|(name, ..)| format!("column \"{name}\" is gone")));
        if self.key != other.key {
            said.push("the primary key is another".to_owned());
        }
        if said.is_empty() {
            said.push("the columns have another order".to_owned());
        }
        said.join(", ")
    }
}

impl Relation {
    /// Returns schema and name.
    #[must_use]
    pub fn table_name(&self) -> TableName {
        TableName { namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// Returns the table's name as SQL would quote it: `public.customers`, `sales."Order Items"`.
    #[must_use]
    pub fn quoted_name(&self) -> String {
        format!("{}.{}", quote_identifier(&self.namespace), quote_identifier(&self.name))
    }

    /// Returns the index of the column called `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Returns the columns of the replica identity as indexes, in table order.
    pub fn identity_columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.columns.iter().enumerate().filter(|(_, c)| c.in_identity).map(|(index, _)| index)
    }

    /// Returns a number that differs (but for chance) whenever anything in the shape differs.
    /// Stable within a process only.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// Quotes an identifier only where SQL asks for it (lower case, digits and `_` stay bare; key
/// words are not looked at).
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    let bare = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if bare { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// `REPLICA IDENTITY` of a table.
///
/// Source: <https://www.postgresql.org/docs/current/sql-altertable.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplicaIdentity {
    /// `d`: the primary key.
    Default,
    /// `n`: nothing of the old row.
    Nothing,
    /// `f`: the whole old row.
    Full,
    /// `i`: the columns of one unique index.
    Index,
}

/// A column of one version of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    /// The name, unquoted.
    pub name: String,
    /// The type's oid.
    pub type_oid: Oid,
    /// The type modifier (a length, a precision), -1 when there is none.
    pub type_modifier: i32,
    /// Part of the replica identity. With `FULL` every column is.
    pub in_identity: bool,
    /// How its text is read.
    pub kind: Kind,
}

/// How the text of a type becomes JSON. A domain has the kind of its base type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// smallint, integer, bigint, oid: a JSON number as it stands.
    Integer,
    /// numeric: a JSON number with exactly its digits; `NaN` and infinities as strings.
    Numeric,
    /// real, double precision: as Postgres prints it; `NaN` and infinities as strings.
    Float,
    /// boolean: `t` and `f` on the wire.
    Boolean,
    /// date.
    Date,
    /// timestamp without time zone.
    Timestamp,
    /// timestamp with time zone; the session's zone is UTC.
    TimestampTz,
    /// json, jsonb: the JSON itself.
    Json,
    /// bytea: hex on the wire, base64 in JSON.
    Bytea,
    /// An array of `element`s parted by `delimiter` (a comma but for `box`).
    Array {
        /// The kind of the elements.
        element: Box<Self>,
        /// The byte between two elements.
        delimiter: u8,
    },
    /// A composite type: an object of its fields, in order.
    Composite {
        /// Name and kind of each field.
        fields: Vec<(String, Self)>,
    },
    /// hstore: an object of strings and nulls.
    Hstore,
    /// Everything else: a string, as Postgres prints it.
    Text,
}
