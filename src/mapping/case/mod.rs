//! [`Case`]: a row that a user wrote down and what should become of it, held against a mapping.
//!
//! Needs no database: the columns are those that the mapping and the case name, and their types
//! are those of the values as they are written, unless the case names them.

mod json;
mod compare;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::compare::Mismatch;
pub use self::json::Json;
use super::explain::{Explanation, explain};
use super::field::Mapping;
use super::mapper::{Error, Mapped, SinkMapper, SourceLabel};
use super::name::TablePattern;
use super::rule::{Format, Operations, Route, Selector};
use super::verdict::Skip;
use crate::change::Cell;
use crate::chunk::{Chunk, Operation};
use crate::lsn::Oid;
use crate::pgoutput::{self, build};
use crate::relation::{Column, Kind, Relation, ReplicaIdentity, TableName};

/// The type `text`: what a made-up column is to Postgres. How it is read, its kind says.
const TEXT: Oid = Oid(25);

/// A value that a user wrote down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// As which type it is read.
    pub kind: Kind,
    /// As Postgres would send it.
    pub text: String,
}

/// One test of a mapping: `[[mapping.NAME.test]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The mapping's name.
    pub mapping: String,
    /// Its own name, unlike that of any other test of the mapping.
    pub name: String,
    /// What is done with the row: insert, update, delete or read.
    pub operation: Operation,
    /// The table that the row is of; none: it does not matter.
    pub table: Option<TableName>,
    /// The row as it is after, by column. One that is not named is NULL. Empty for a delete.
    pub row: Vec<(String, Given)>,
    /// The old row as Postgres sends it, by column; none: it sends none.
    pub before: Option<Vec<(String, Given)>>,
    /// The old row is the whole row: what `before` does not name is NULL, else it was not sent.
    pub is_full: bool,
    /// Columns that Postgres did not send, as they did not change.
    pub unchanged: Vec<String>,
    /// Columns that the table does not have.
    pub missing: Vec<String>,
    /// The types of columns where the value does not say it.
    pub kinds: BTreeMap<String, Kind>,
    /// What should become of it.
    pub expected: Expected,
}

/// What should become of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It is sent.
    Sent {
        /// Fields and their values; a dot leads into an object.
        fields: Vec<(String, Given)>,
        /// Fields that are null.
        null: Vec<String>,
        /// Fields that are not there.
        absent: Vec<String>,
        /// There are no fields but those that are named.
        is_exact: bool,
    },
    /// It becomes a dead letter.
    Rejected {
        /// The field that is named.
        field: String,
        /// A part of the reason; none: any.
        reason: Option<String>,
    },
    /// It is dropped and counted.
    Skipped {
        /// The field that is named; none: any.
        field: Option<String>,
    },
}

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is sent, and this is the mapping's output: a JSON object.
    Sent(String),
    /// It becomes a dead letter.
    Rejected {
        /// The field that is at fault.
        field: String,
        /// What is the matter with it. Never says the value.
        reason: String,
    },
    /// It is dropped and counted.
    Skipped {
        /// The field whose policy says so; none: it is another rule.
        field: Option<String>,
        /// The rule.
        reason: String,
    },
}

impl Case {
    /// Returns what `mapping` makes of the row.
    ///
    /// # Errors
    /// Only where the row has more columns, or longer values, than Postgres could send.
    pub fn outcome(&self, mapping: &Arc<Mapping>) -> Result<Outcome, Error> {
        let (route, chunk) = self.made_up(mapping)?;
        let source = SourceLabel::default();
        let mut mapper = SinkMapper::new(vec![Arc::new(route)], &source, Format::Mapped);
        let mut body = Vec::new();
        Ok(match mapper.map(&chunk, 0, &mut body)? {
            Mapped::Event(draft) => {
                let body = body.get(draft.body).unwrap_or_default();
                Outcome::Sent(String::from_utf8_lossy(body).into_owned())
            }
            Mapped::Rejected { field, reason, .. } => {
                Outcome::Rejected { field: field.to_string(), reason: reason.to_string() }
            }
            Mapped::Skipped { reason: Skip::Policy { field, reason }, .. } => {
                Outcome::Skipped { field: Some(field.to_string()), reason: reason.to_string() }
            }
            Mapped::Skipped { reason, .. } => {
                Outcome::Skipped { field: None, reason: reason.to_string() }
            }
            Mapped::Unrouted => {
                Outcome::Skipped { field: None, reason: "no route takes it".to_owned() }
            }
        })
    }

    /// Returns how each field of the row comes to be what it is, in the order of the output. Never
    /// says a value of the row.
    ///
    /// # Errors
    /// As [`Case::outcome`].
    pub fn explained(&self, mapping: &Arc<Mapping>) -> Result<Vec<Explanation>, Error> {
        let (route, chunk) = self.made_up(mapping)?;
        explain(&route, &chunk, 0)
    }

    /// Says in what an outcome is not the expected one; nothing where it is.
    #[must_use]
    pub fn mismatches(&self, outcome: &Outcome) -> Vec<Mismatch> {
        compare::compare(&self.expected, outcome)
    }

    /// Makes up the change, and a route that takes it.
    fn made_up(&self, mapping: &Arc<Mapping>) -> Result<(Route, Arc<Chunk>), Error> {
        let chunk = self.chunk(&Arc::new(self.relation(mapping)))?;
        // Any table: there is no other.
        let Ok(any) = TablePattern::parse("*.*") else { return Err(pgoutput::Error::Index.into()) };
        let route = Route {
            on: Operations::default(),
            mapping: Some(Arc::clone(mapping)),
            key: Some(Vec::new()),
            ..Route::new("test", Selector::Table(any), "test")
        };
        Ok((route, chunk))
    }

    /// Makes up the table: what the mapping reads, and what the case names.
    fn relation(&self, mapping: &Mapping) -> Relation {
        let mut names: Vec<&str> = mapping.columns();
        let given = self.row.iter().chain(self.before.iter().flatten()).map(|(name, _)| name);
        for name in given.chain(&self.unchanged).chain(self.kinds.keys()) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names.retain(|name| !self.missing.iter().any(|missing| missing == name));
        let is_full = self.is_full && self.before.is_some();
        let in_before = |name: &str| self.before.iter().flatten().any(|(other, _)| other == name);
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            type_oid: TEXT,
            type_modifier: -1,
            in_identity: is_full || in_before(name),
            kind: self.kind(name),
        };
        let table = self.table.clone().unwrap_or_else(|| TableName {
            namespace: "public".to_owned(),
            name: "test".to_owned(),
        });
        Relation {
            oid: Oid(1),
            namespace: table.namespace,
            name: table.name,
            identity: if is_full { ReplicaIdentity::Full } else { ReplicaIdentity::Default },
            columns: names.iter().map(column).collect(),
            primary_key: Vec::new(),
            formerly: None,
        }
    }

    /// The type of a column: as the case says, else that of its values, which may be two.
    fn kind(&self, name: &str) -> Kind {
        if let Some(kind) = self.kinds.get(name) {
            return kind.clone();
        }
        let given = self.row.iter().chain(self.before.iter().flatten());
        let mut kinds = given.filter(|(other, _)| other == name).map(|(_, given)| &given.kind);
        match (kinds.next(), kinds.next()) {
            (None, _) => Kind::Text,
            (Some(kind), None) => kind.clone(),
            (Some(kind), Some(other)) if kind == other => kind.clone(),
            (Some(Kind::Integer | Kind::Numeric), Some(Kind::Integer | Kind::Numeric)) => {
                Kind::Numeric
            }
            (Some(_), Some(_)) => Kind::Text,
        }
    }

    /// Makes up the change, as the stream would bring it.
    fn chunk(&self, relation: &Arc<Relation>) -> Result<Arc<Chunk>, Error> {
        let new = row(relation, &self.row, &self.unchanged);
        let before = self.before.as_deref().map(|before| row(relation, before, &[]));
        let old = before.as_deref().map(|cells| {
            if self.is_full { build::Old::Full(cells) } else { build::Old::Key(cells) }
        });
        let mut frame = Vec::new();
        match (self.operation, old) {
            (Operation::Update, old) => build::update(relation.oid, old, &new, &mut frame)?,
            (Operation::Delete, Some(old)) => build::delete(relation.oid, old, &mut frame)?,
            (Operation::Delete, None) => {
                build::delete(relation.oid, build::Old::Key(&new), &mut frame)?;
            }
            _ => build::insert(relation.oid, &new, &mut frame)?,
        }
        Ok(build::chunk(relation, self.operation, frame)?)
    }
}

/// Lays values out as the table has its columns.
fn row<'a>(
    relation: &Relation,
    given: &'a [(String, Given)],
    unchanged: &[String],
) -> Vec<Cell<'a>> {
    let cell = |column: &Column| {
        if unchanged.contains(&column.name) {
            return Cell::Unchanged;
        }
        let given = given.iter().find(|(name, _)| *name == column.name);
        given.map_or(Cell::Null, |(_, given)| Cell::Value(given.text.as_bytes()))
    };
    relation.columns.iter().map(cell).collect()
}

#[cfg(test)]
mod tests;
