//! Tables that grow with their source: made where they are not there, columns added, types widened.
//! Nothing is ever dropped or narrowed.

use std::collections::HashSet;

use super::append;
use super::failure::Error;
use super::name::{Name, quoted};
use super::plan::{Plan, Planned};
use super::session::Session;
use super::table::Table;
use super::widen::widens;
use crate::lsn::Oid;
use crate::relation::{Column, Kind};
use crate::sink::row::Field;

/// What a table is to have.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Names and types, in order.
    columns: Vec<(String, Type)>,
    names: HashSet<String>,
    /// The primary key of a table that is made.
    key: Vec<String>,
}

/// A column's type.
#[derive(Clone, Debug)]
enum Type {
    /// One of the source's: the server here prints its name.
    Source(Oid, i32, Kind),
    /// A name.
    Named(&'static str),
}

/// User-made types have numbers from here on, which mean something else on another server.
const FIRST_OF_USERS: u32 = 16384;

impl Wanted {
    /// Collects what the events of a batch bring for a table beyond what is there.
    pub(super) fn of(plan: &Plan<'_>, table: usize, there: Option<&Table>, appends: bool) -> Self {
        let mut wanted = Self::default();
        if appends {
            for (name, type_name) in append::COLUMNS {
                wanted.add(name, Type::Named(type_name));
            }
            wanted.key = append::KEY.map(str::to_owned).to_vec();
        }
        let mut seen = HashSet::new();
        for event in plan.of(table).filter(|event| event.is_of_a_row()) {
            wanted.fields(event, there, appends);
            if let Some(relation) = event.relation().filter(|_| !event.is_mapped())
                && seen.insert(std::ptr::from_ref(relation))
            {
                for column in &relation.columns {
                    // What a rule left out of the event is left out here.
                    if wanted.names.contains(&column.name)
                        || there.is_some_and(|table| table.columns.contains_key(&column.name))
                    {
                        wanted.add(&column.name, Type::of(column));
                    }
                }
            }
        }
        wanted
    }

    /// Adds the fields of one event that have no column.
    fn fields(&mut self, event: &Planned<'_>, there: Option<&Table>, appends: bool) {
        let key = event.change.key.iter().flat_map(|key| &key.fields);
        let key: Vec<_> = key.map(|field| (field, true)).collect();
        if !appends && self.key.is_empty() {
            self.key = key.iter().map(|(field, _)| field.name.to_string()).collect();
        }
        let key = key.into_iter().filter(|_| !appends);
        let data = event.change.data.iter().map(|field| (field, false));
        // Columns as they are keep their order.
        let fields: Vec<_> = match event.is_mapped() {
            true => key.chain(data).collect(),
            false => data.chain(key).collect(),
        };
        for (field, is_of_key) in fields {
            let name: &str = &field.name;
            if self.names.contains(name)
                || there.is_some_and(|table| table.columns.contains_key(name))
            {
                continue;
            }
            let column = event
                .relation()
                .and_then(|relation| relation.columns.iter().find(|column| column.name == name));
            match column.filter(|_| is_of_key || !event.is_mapped()) {
                Some(column) => self.add(name, Type::of(column)),
                // Of a value that is NULL nothing is known: its column comes with the first other.
                None if field.is_null() => {}
                None => self.add(name, Type::of_json(field)),
            }
        }
    }

    fn add(&mut self, name: &str, of: Type) {
        if self.names.insert(name.to_owned()) {
            self.columns.push((name.to_owned(), of));
        } else if let Some((_, old)) = self.columns.iter_mut().find(|(other, _)| other == name)
            && matches!((&*old, &of), (Type::Source(..), Type::Source(..)))
        {
            // A later version of the table.
            *old = of;
        }
    }

    /// Whether the table lacks a column.
    pub(super) fn lacks(&self, table: &Table) -> Option<&str> {
        let missing = |(name, _): &&(String, Type)| !table.columns.contains_key(name);
        self.columns.iter().find(missing).map(|(name, _)| name.as_str())
    }

    /// Makes the table have it, in a transaction of its own: an ALTER TABLE would wait for the
    /// other lanes, and they for it, with rows of this batch written.
    pub(super) async fn make(&self, session: &mut Session<'_>, name: &Name) -> Result<(), Error> {
        session.batch("BEGIN").await?;
        let lock = "SELECT pg_advisory_xact_lock(hashtext('walgate'), hashtext($1))";
        session.query(lock, &[&name.to_string()]).await?;
        let types = self.types(session).await?;
        let sql = match Table::read(session, name).await? {
            None => self.create(session, name, &types).await?,
            Some(table) => self.alter(&table, &types),
        };
        if let Some(sql) = sql {
            tracing::info!(table = %name, "the table is made or changed");
            session.batch(&sql).await?;
        }
        session.batch("COMMIT").await
    }

    async fn create(
        &self,
        session: &mut Session<'_>,
        name: &Name,
        types: &[String],
    ) -> Result<Option<String>, Error> {
        let there = "SELECT to_regnamespace($1) IS NOT NULL";
        let rows = session.query(there, &[&quoted(&name.schema)]).await?;
        if rows.first().map(|row| row.try_get(0)).transpose()? != Some(true) {
            let schema = quoted(&name.schema);
            session.batch(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await?;
        }
        let mut parts: Vec<String> = Vec::new();
        for ((column, _), type_name) in self.columns.iter().zip(types) {
            parts.push(format!("{} {type_name}", quoted(column)));
        }
        let key: Vec<_> = self.key.iter().map(|name| quoted(name)).collect();
        if !key.is_empty() {
            parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        }
        Ok(Some(format!("CREATE TABLE {name} ({})", parts.join(", "))))
    }

    fn alter(&self, table: &Table, types: &[String]) -> Option<String> {
        let mut parts: Vec<String> = Vec::new();
        for ((name, of), type_name) in self.columns.iter().zip(types) {
            let quoted = quoted(name);
            match table.columns.get(name) {
                None => parts.push(format!("ADD COLUMN {quoted} {type_name}")),
                Some(column)
                    if matches!(of, Type::Source(..)) && widens(&column.type_name, type_name) =>
                {
                    parts.push(format!("ALTER COLUMN {quoted} TYPE {type_name}"));
                }
                Some(_) => {}
            }
        }
        (!parts.is_empty()).then(|| format!("ALTER TABLE {} {}", table.name, parts.join(", ")))
    }

    /// Has the server name the types, in order.
    async fn types(&self, session: &mut Session<'_>) -> Result<Vec<String>, Error> {
        let source = |of: &Type| match of {
            Type::Source(oid, modifier, _) if oid.0 < FIRST_OF_USERS => (oid.0.into(), *modifier),
            Type::Source(..) | Type::Named(_) => (0_i64, -1_i32),
        };
        let (oids, modifiers): (Vec<i64>, Vec<i32>) =
            self.columns.iter().map(|(_, of)| source(of)).unzip();
        let sql = "SELECT u.n, format_type(t.oid, u.modifier)
                   FROM unnest($1::int8[], $2::int4[]) WITH ORDINALITY AS u(oid, modifier, n)
                   JOIN pg_type t ON t.oid = u.oid::oid AND t.typtype IN ('b', 'r', 'm')";
        let mut types: Vec<String> = self.columns.iter().map(|(_, of)| of.name()).collect();
        for row in session.query(sql, &[&oids, &modifiers]).await? {
            let place: i64 = row.try_get(0)?;
            let place = usize::try_from(place.saturating_sub(1)).unwrap_or(usize::MAX);
            if let Some(slot) = types.get_mut(place) {
                *slot = row.try_get(1)?;
            }
        }
        Ok(types)
    }
}

impl Type {
    fn of(column: &Column) -> Self {
        Self::Source(column.type_oid, column.type_modifier, column.kind.clone())
    }

    /// Of a value that a mapping made, its JSON tells.
    fn of_json(field: &Field<'_>) -> Self {
        Self::Named(match field.value.get().as_bytes().first() {
            Some(b'"') => "text",
            Some(b't' | b'f') => "boolean",
            Some(b'{' | b'[' | b'n') => "jsonb",
            _ => "numeric",
        })
    }

    /// Returns what stands in for a type that this server does not have.
    fn name(&self) -> String {
        match self {
            Self::Named(name) => (*name).to_owned(),
            Self::Source(_, _, kind) => of_kind(kind),
        }
    }
}

fn of_kind(kind: &Kind) -> String {
    match kind {
        Kind::Integer => "bigint",
        Kind::Numeric => "numeric",
        Kind::Float => "double precision",
        Kind::Boolean => "boolean",
        Kind::Date => "date",
        Kind::Timestamp => "timestamp without time zone",
        Kind::TimestampTz => "timestamp with time zone",
        Kind::Bytea => "bytea",
        Kind::Json | Kind::Composite { .. } | Kind::Hstore => "jsonb",
        Kind::Text => "text",
        Kind::Array { element, .. } => {
            // Lists of lists in JSON can't be told from lists of JSON.
            return match of_kind(element).as_str() {
                "jsonb" => "jsonb".to_owned(),
                name => format!("{name}[]"),
            };
        }
    }
    .to_owned()
}
