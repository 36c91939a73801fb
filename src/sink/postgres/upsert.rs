//! `mode = "upsert"`: the tables hold the rows as they are at the source.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::failure::Error;
use super::rows::{self, Cell, Groups, Row};
use super::session::Session;
use super::statement::{self, Conflict};
use super::table::Table;
use crate::sink::fold::{Action, Put, Work};

/// Writes what a batch was folded to, in the open transaction. `tables` by their numbers.
///
/// The keys of the actions differ, so their order is free: tables are emptied first, then rows go,
/// then rows come. One that moved to another key is read before it goes.
pub(super) async fn write(
    session: &mut Session<'_>,
    tables: &[Arc<Table>],
    actions: &[Action<'_>],
) -> Result<(), Error> {
    for action in actions {
        let table = table(tables, action.scope)?;
        // One without columns is not there.
        if matches!(action.work, Work::Clear) && !table.columns.is_empty() {
            session.batch(&format!("TRUNCATE {}", table.name)).await?;
        }
    }
    let moved = moved(session, tables, actions).await?;
    let (mut gone, mut come) = (Groups::default(), Groups::default());
    for (index, action) in actions.iter().enumerate() {
        let table = table(tables, action.scope)?;
        match &action.work {
            Work::Clear => {}
            Work::Delete(key) => {
                gone.add(action.scope, key.fields.len(), rows::key(table, key)?);
            }
            Work::Put(put) => {
                let key = put.key.fields.len();
                if put.is_anew {
                    gone.add(action.scope, key, rows::key(table, &put.key)?);
                }
                let mut row = row(table, put)?;
                row.extend(moved.get(&index).into_iter().flatten().cloned());
                come.add(action.scope, key, row);
            }
        }
    }
    for group in &gone.all {
        let table = table(tables, group.table)?;
        let sql = statement::delete(table, &group.columns(table)?);
        session.execute(&sql, rows::values(&group.values())).await?;
    }
    for group in &come.all {
        let table = table(tables, group.table)?;
        let sql = statement::insert(table, &group.columns(table)?, &group.key(), Conflict::Update);
        session.execute(&sql, rows::values(&group.values())).await?;
    }
    Ok(())
}

fn table(tables: &[Arc<Table>], scope: usize) -> Result<&Table, Error> {
    tables.get(scope).map(AsRef::as_ref).ok_or(Error::Lost(None))
}

/// Returns a row: its key, then its other fields.
fn row<'a>(table: &Table, put: &Put<'a>) -> Result<Row<'a>, Error> {
    let mut row = rows::key(table, &put.key)?;
    let of_key: HashSet<&str> = put.key.fields.iter().map(|field| &*field.name).collect();
    rows::fields(table, put.fields.iter(), &mut row, |name| of_key.contains(name))?;
    Ok(row)
}

/// A table, and what is missing of some of its rows.
type Question<'a> = (usize, Vec<&'a str>);

/// Reads what was not sent of rows that move to another key, where it still is. By the actions'
/// indexes.
async fn moved<'a>(
    session: &mut Session<'_>,
    tables: &[Arc<Table>],
    actions: &[Action<'a>],
) -> Result<HashMap<usize, Row<'a>>, Error> {
    let mut found: HashMap<usize, Row<'a>> = HashMap::new();
    let mut asked: HashMap<Question<'_>, (Groups<'_>, Vec<usize>)> = HashMap::new();
    for (index, action) in actions.iter().enumerate() {
        let Work::Put(Put { missing, from: Some(from), .. }) = &action.work else { continue };
        let table = table(tables, action.scope)?;
        let is_there =
            |name: &&str| table.columns.get(*name).is_some_and(|column| !column.is_generated);
        let missing: Vec<&str> = missing.iter().map(|name| &**name).filter(is_there).collect();
        if missing.is_empty() {
            continue;
        }
        let (groups, places) = asked.entry((action.scope, missing)).or_default();
        groups.add(action.scope, from.fields.len(), rows::key(table, from)?);
        places.push(index);
    }
    for ((scope, missing), (groups, places)) in asked {
        let table = table(tables, scope)?;
        let columns: Vec<_> =
            missing.iter().map(|name| table.of(name)).collect::<Result<_, _>>()?;
        let Some(group) = groups.all.first() else { continue };
        let sql = statement::select(table, &group.columns(table)?, &columns);
        for answer in session.query(&sql, rows::values(&group.values())).await? {
            let place: i64 = answer.try_get(0)?;
            let place = usize::try_from(place.saturating_sub(1)).unwrap_or(usize::MAX);
            let Some(index) = places.get(place) else { continue };
            let mut row: Row<'a> = Vec::with_capacity(missing.len());
            for (n, name) in missing.iter().enumerate() {
                let value: Option<String> = answer.try_get(n.saturating_add(1))?;
                let cell: Cell<'a> = value.map(Cow::Owned);
                row.push((Cow::Owned((*name).to_owned()), cell));
            }
            found.insert(*index, row);
        }
    }
    Ok(found)
}
