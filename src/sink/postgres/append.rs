//! `mode = "append"`: each event is a row of its own, never changed.

use std::borrow::Cow;
use std::sync::Arc;

use super::failure::Error;
use super::plan::{Plan, Planned};
use super::rows::{self, Groups, Row};
use super::session::Session;
use super::statement::{self, Conflict};
use super::table::Table;
use crate::sink::row::Origin;

/// What each row has beside the event's data, with their types.
pub(super) const COLUMNS: [(&str, &str); 10] = [
    ("_id", "text COLLATE \"C\""),
    ("_source", "text COLLATE \"C\""),
    ("_op", "text"),
    ("_table", "text"),
    ("_lsn", "pg_lsn"),
    ("_seq", "bigint"),
    ("_time", "timestamp with time zone"),
    ("_key", "jsonb"),
    ("_before_key", "jsonb"),
    ("_unchanged", "text[]"),
];

/// The same event is never there twice.
pub(super) const KEY: [&str; 2] = ["_id", "_source"];

/// Writes the rows of a batch, in the open transaction. What an operator sends again takes the
/// place of what is there.
pub(super) async fn write(
    session: &mut Session<'_>,
    tables: &[Arc<Table>],
    plan: &Plan<'_>,
    is_replay: bool,
) -> Result<(), Error> {
    let mut groups = Groups::default();
    for event in &plan.events {
        let table = tables.get(event.table).ok_or(Error::Lost(None))?;
        groups.add(event.table, KEY.len(), row(table, event, &plan.origin)?);
    }
    let conflict = if is_replay { Conflict::Update } else { Conflict::Nothing };
    for group in &groups.all {
        let table = tables.get(group.table).ok_or(Error::Lost(None))?;
        let sql = statement::insert(table, &group.columns(table)?, &KEY, conflict);
        session.execute(&sql, rows::values(&group.values())).await?;
    }
    Ok(())
}

/// Returns the row of an event.
pub(super) fn row<'a>(
    table: &Table,
    event: &Planned<'a>,
    origin: &Origin,
) -> Result<Row<'a>, Error> {
    let Planned { envelope, change, .. } = event;
    let text = |text: String| Some(Cow::Owned(text));
    let Origin { system, database, .. } = origin;
    let position = envelope.id.position;
    let unchanged = (!change.unchanged.is_empty()).then(|| {
        let names: Vec<_> = change.unchanged.iter().map(|name| quote(name)).collect();
        Cow::Owned(format!("{{{}}}", names.join(",")))
    });
    let raw = |raw: &'a str| Some(Cow::Borrowed(raw));
    let mut row: Row<'a> = vec![
        ("_id".into(), text(envelope.id.to_string())),
        ("_source".into(), text(format!("{system}/{database}"))),
        ("_op".into(), Some(change.operation.as_str().into())),
        ("_table".into(), envelope.table().map(Cow::Owned)),
        ("_lsn".into(), text(position.commit_lsn.to_string())),
        ("_seq".into(), text(position.seq.to_string())),
        ("_time".into(), envelope.commit_time.and_then(|time| text(time.to_string()))),
        ("_key".into(), change.key.as_ref().and_then(|key| raw(key.raw))),
        ("_before_key".into(), change.before_key.as_ref().and_then(|key| raw(key.raw))),
        ("_unchanged".into(), unchanged),
    ];
    // A table of one's own may leave out what it does not want.
    row.retain(|(name, _)| KEY.contains(&&**name) || table.columns.contains_key(&**name));
    let is_taken = |name: &str| COLUMNS.iter().any(|(own, _)| *own == name);
    rows::fields(table, change.data.iter(), &mut row, is_taken)?;
    Ok(row)
}

/// Quotes an element of an array.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
