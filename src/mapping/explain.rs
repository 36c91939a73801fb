//! [`explain`]: where each field of an event comes from and which policy acted, for people.

use super::expression::{Bound, Expression, Found, Scene};
use super::field::{Field, From, OnUnchanged, Policy, Rest};
use super::mapper::Error;
use super::outbox::OutboxName;
use super::refine::{Shortfall, shortfall};
use super::row;
use super::rule::{OnDelete, OnWhereError, Route};
use super::verdict::Reason;
use crate::change::{Cell, Change, Images};
use crate::chunk::{Chunk, Operation};
use crate::pgoutput;
use crate::relation::{Column, Relation, quote_identifier};

/// How one field of an event came to be what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The field, as the mapping names it.
    pub field: String,
    /// Its origin and the policy that acted. Never says the value.
    pub how: String,
}

/// Explains the fields that `route` makes of one entry of a chunk, in the order of the output, and
/// before them its `where`. Decides nothing: what is sent is for the mapper to say.
///
/// # Errors
/// When the chunk has no such entry or its frame is malformed.
pub fn explain(route: &Route, chunk: &Chunk, entry: u32) -> Result<Vec<Explanation>, Error> {
    let entry = chunk.entries.get(entry as usize).ok_or(pgoutput::Error::Index)?;
    let mut images = Images::default();
    let change = pgoutput::change(chunk, entry, &mut images)?;
    let Some(relation) = change.relation else { return Ok(Vec::new()) };
    let row = Row { change, relation };
    let mut told: Vec<Explanation> = Vec::new();
    let mut tell = |field: &str, how: String| told.push(Explanation { field: field.into(), how });
    if let Some(condition) = &route.condition {
        tell("where", row.condition(condition, route.on_where_error));
    }
    match (&route.outbox, &route.mapping) {
        (Some(outbox), _) => {
            for OutboxName { word, name, required } in outbox.names() {
                let field =
                    if word == "payload" { "data".into() } else { format!("outbox.{word}") };
                tell(&field, row.outbox(name, required));
            }
        }
        (None, None) => {
            for column in &relation.columns {
                tell(&column.name, row.column(&plain(column), &column.name));
            }
        }
        (None, Some(mapping)) => {
            for field in &mapping.fields {
                tell(&field.target, row.field(field));
            }
            let is_named = |column: &Column| mapping.names(&column.name);
            if mapping.rest == Rest::Include {
                for column in relation.columns.iter().filter(|column| !is_named(column)) {
                    let how = match mapping.hides(&column.name) {
                        Some(field) => format!("left out: field \"{field}\" has its name"),
                        None => row.column(&plain(column), &column.name),
                    };
                    let column = quote_identifier(&column.name);
                    tell(&column, format!("{how} (rest = \"include\")"));
                }
            }
        }
    }
    if let (Operation::Delete, OnDelete::Set(values)) = (entry.operation, &route.on_delete) {
        for name in values.keys() {
            let below = format!("{name}.");
            told.retain(|told| told.field != *name && !told.field.starts_with(&below));
            told.push(Explanation { field: name.clone(), how: "set by on_delete".to_owned() });
        }
    }
    Ok(told)
}

/// Says why a route's `where` can't be computed for one entry of a chunk; none: it can be, or there
/// is none.
///
/// # Errors
/// When the chunk has no such entry or its frame is malformed.
pub fn where_fault(route: &Route, chunk: &Chunk, entry: u32) -> Result<Option<Reason>, Error> {
    let Some(condition) = &route.condition else { return Ok(None) };
    let entry = chunk.entries.get(entry as usize).ok_or(pgoutput::Error::Index)?;
    let mut images = Images::default();
    let change = pgoutput::change(chunk, entry, &mut images)?;
    let row = change.relation.map(|relation| Row { change, relation });
    Ok(row.and_then(|row| row.test(condition).err()))
}

/// A column that no field of a mapping shapes.
fn plain(column: &Column) -> Field {
    Field::column(column.name.as_str(), column.name.as_str())
}

struct Row<'a> {
    change: Change<'a>,
    relation: &'a Relation,
}

impl<'a> Row<'a> {
    fn test(&self, condition: &Expression) -> Result<bool, Reason> {
        let bound = Bound::lenient(condition, self.relation);
        let tested = bound.test(&Scene::new(row::Row::of(&self.change)));
        tested.map_err(|fault| fault.map_or(Reason::Unchanged, Reason::Expression))
    }

    fn condition(&self, condition: &Expression, on_error: OnWhereError) -> String {
        let reason = match self.test(condition) {
            Ok(is_true) => return format!("is {is_true}"),
            Err(reason) => reason,
        };
        let (done, word) = match on_error {
            OnWhereError::Send => ("sent", "send"),
            OnWhereError::Skip => ("skipped", "skip"),
            OnWhereError::Reject => ("rejected", "reject"),
        };
        format!("{reason}: {done} (on_where_error = \"{word}\")")
    }

    fn outbox(&self, name: &str, required: bool) -> String {
        let quoted = quote_identifier(name);
        let Some(index) = self.relation.column(name) else {
            let so = if required { "rejected" } else { "null" };
            return format!("the table sends no column {quoted}: {so}");
        };
        match self.cell(index) {
            Cell::Null => format!("column {quoted} is NULL"),
            Cell::Unchanged | Cell::Absent => format!("column {quoted} was not sent by Postgres"),
            Cell::Value(_) => format!("column {quoted}"),
        }
    }

    fn field(&self, field: &Field) -> String {
        match &field.from {
            From::Value(_) => "always the same value".to_owned(),
            From::Column(name) => self.column(field, name),
            From::Expr(expression) => self.expression(field, expression),
        }
    }

    fn expression(&self, field: &Field, expression: &Expression) -> String {
        let bound = match Bound::new(expression, self.relation) {
            Ok(bound) => bound,
            Err(column) => return missing(field, &column),
        };
        let columns = expression.columns();
        let columns: Vec<String> = columns.into_iter().map(quote_identifier).collect();
        let of = match columns.as_slice() {
            [] => "computed".to_owned(),
            columns => format!("computed from {}", columns.join(", ")),
        };
        let mut value = Vec::new();
        match bound.evaluate(&Scene::new(row::Row::of(&self.change)), &mut value) {
            Found::Null => null(field, &format!("{of} is null")),
            Found::Unsent => unsent(field, &format!("{of}, of which one")),
            Found::Failed(fault) => {
                let seen = format!("{of} can't be: {fault}");
                acted(&seen, "on_invalid", field.on_invalid.as_ref(), &field.invalid_policy())
            }
            Found::Value(kind) => match shortfall(field, &kind, &value) {
                None => format!("{of}{}", done(field)),
                Some(shortfall) => fell_short(field, &of, &shortfall),
            },
        }
    }

    fn column(&self, field: &Field, name: &str) -> String {
        let quoted = quote_identifier(name);
        let column = self.relation.column(name);
        let found = column.and_then(|index| Some((index, self.relation.columns.get(index)?)));
        let Some((index, column)) = found else { return missing(field, name) };
        match self.cell(index) {
            Cell::Null => null(field, &format!("column {quoted} is NULL")),
            Cell::Unchanged | Cell::Absent => unsent(field, &format!("column {quoted}")),
            Cell::Value(text) => match shortfall(field, &column.kind, text) {
                None => format!("column {quoted}{}", done(field)),
                Some(shortfall) => fell_short(field, &format!("column {quoted}"), &shortfall),
            },
        }
    }

    fn cell(&self, index: usize) -> Cell<'a> {
        match self.change.operation {
            Operation::Delete => self.change.old_cell(index),
            _ => self.change.new_cell(index),
        }
    }
}

fn missing(field: &Field, column: &str) -> String {
    let seen = format!("the table sends no column {}", quote_identifier(column));
    acted(&seen, "on_missing", field.on_missing.as_ref(), &field.missing_policy())
}

fn null(field: &Field, seen: &str) -> String {
    if field.on_null.is_none() && field.required {
        return format!("{seen}: rejected, as the field is required");
    }
    acted(seen, "on_null", field.on_null.as_ref(), &field.null_policy())
}

fn unsent(field: &Field, what: &str) -> String {
    let seen = format!("{what} was not sent by Postgres");
    match field.on_unchanged {
        OnUnchanged::Omit => format!("{seen}: left out"),
        OnUnchanged::Reject => format!("{seen}: rejected (on_unchanged = \"reject\")"),
    }
}

/// What was done to a value on its way.
fn done(field: &Field) -> String {
    let steps = [
        field.lookup.as_ref().map(|_| "looked up".to_owned()),
        field.convert.map(|target| format!("as {}", target.as_str())),
        (!field.checks.is_empty()).then(|| "checked".to_owned()),
        field.mask.map(|mask| format!("masked ({})", mask.as_str())),
    ];
    steps.into_iter().flatten().fold(String::new(), |done, step| format!("{done}, {step}"))
}

/// What kept a value from becoming the field's, and what was done.
fn fell_short(field: &Field, origin: &str, shortfall: &Shortfall) -> String {
    let looked_up = if field.lookup.is_some() { ", looked up," } else { "" };
    let invalid = |seen: &str| {
        let seen = format!("{origin}{looked_up} {seen}");
        acted(&seen, "on_invalid", field.on_invalid.as_ref(), &field.invalid_policy())
    };
    match shortfall {
        Shortfall::Invalid(target) => {
            invalid(&format!("can't become {} without loss", target.as_str()))
        }
        Shortfall::Check(check) => invalid(&format!("fails the check {check}")),
        Shortfall::Miss => {
            let seen = format!("{origin} is not in the lookup");
            acted(&seen, "on_miss", field.on_miss.as_ref(), &field.miss_policy())
        }
        Shortfall::Null => {
            let seen = format!("{origin}, looked up, is null");
            acted(&seen, "on_null", field.on_null.as_ref(), &field.null_policy())
        }
    }
}

/// What was seen, what was done, and whether the config asked for it.
fn acted(seen: &str, name: &str, given: Option<&Policy>, policy: &Policy) -> String {
    let (done, word) = match policy {
        Policy::Null => ("null", "\"null\"".to_owned()),
        Policy::Omit => ("left out", "\"omit\"".to_owned()),
        Policy::Reject => ("rejected", "\"reject\"".to_owned()),
        Policy::Skip => ("skipped", "\"skip\"".to_owned()),
        Policy::Default(value) => ("the default", format!("{{ default = {value} }}")),
    };
    match given {
        Some(_) => format!("{seen}: {done} ({name} = {word})"),
        None => format!("{seen}: {done} (as {name} is {word} unless it is set)"),
    }
}
