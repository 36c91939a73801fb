//! The table that a route's row is of, and what of it the stream would bring.

use std::sync::Arc;

use super::broken;
use crate::cli::failure::{Exit, Failure};
use crate::config::Config;
use crate::mapping::{Route, Selector, TablePattern};
use crate::relation::{Relation, quote_identifier};
use crate::source::Catalog;
use crate::source::catalog::{Table, TableColumn};

/// A table as the route would see it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) table: Table,
    pub(super) relation: Arc<Relation>,
    /// The publication's row filter.
    pub(super) row_filter: Option<String>,
    /// What keeps its changes from coming, for people.
    pub(super) notes: Vec<String>,
}

/// Finds the one table that is meant; `wanted` says which where the route takes several.
pub(super) async fn find(
    config: &Config,
    route: &Route,
    wanted: Option<&str>,
    catalog: &mut Catalog,
) -> Result<Found, Failure> {
    let Selector::Table(pattern) = &route.selector else {
        let message = format!("route \"{}\" takes logical messages, not rows", route.name);
        return Err(Failure::new(Exit::Usage, message).help("name a route with `table`"));
    };
    let wanted = wanted.map(|name| named(name, pattern, route)).transpose()?;
    let publication = &config.source.publication;
    let server = catalog.server().await.map_err(|error| broken(&error))?;
    let published = catalog.publication_tables(publication).await;
    let published = published.map_err(|error| broken(&error))?;
    let all = catalog.tables(None).await.map_err(|error| broken(&error))?;
    let entry = |table: &Table| {
        published.iter().find(|it| it.namespace == table.namespace && it.name == table.name)
    };
    let fits = |table: &Table, by: &TablePattern| by.matches_names(&table.namespace, &table.name);
    let by = wanted.as_ref().unwrap_or(pattern);
    let mut tables: Vec<Table> = all.into_iter().filter(|table| fits(table, by)).collect();
    if tables.iter().any(|table| entry(table).is_some()) {
        tables.retain(|table| entry(table).is_some());
    }
    let table = only(tables, route, by)?;
    let entry = entry(&table);
    let is_sent = |column: &TableColumn| match entry {
        Some(entry) => entry.sends(column, server.version_num),
        None => !column.generated,
    };
    let relation = catalog.relation(&table, is_sent).await.map_err(|error| broken(&error))?;
    let mut notes = Vec::new();
    if entry.is_none() {
        let publication = quote_identifier(publication);
        notes.push(format!("warning: it is not in publication {publication}: no change will come"));
    }
    let row_filter = entry.and_then(|entry| entry.row_filter.clone());
    if let Some(filter) = &row_filter {
        notes.push(format!("published only where {filter}"));
    }
    Ok(Found { table, relation: Arc::new(relation), row_filter, notes })
}

/// Reads `--table`.
fn named(name: &str, pattern: &TablePattern, route: &Route) -> Result<TablePattern, Failure> {
    let wrong = |message: String| Failure::new(Exit::Usage, message);
    let wanted = TablePattern::parse(name).map_err(|error| wrong(format!("--table: {error}")))?;
    match wanted.literal() {
        None => Err(wrong(format!("--table: {name} is no single table"))),
        Some((namespace, name)) if pattern.matches_names(namespace, name) => Ok(wanted),
        Some(_) => {
            Err(wrong(format!("route \"{}\" takes {}, not {name}", route.name, pattern.as_str())))
        }
    }
}

fn only(mut tables: Vec<Table>, route: &Route, by: &TablePattern) -> Result<Table, Failure> {
    match (tables.pop(), tables.is_empty()) {
        (Some(table), true) => Ok(table),
        (None, _) => {
            let message = format!("there is no table {}", by.as_str());
            let help = "create it, name another, or look whether the role may see it";
            Err(Failure::new(Exit::Preflight, message).help(help))
        }
        (Some(last), false) => {
            tables.push(last);
            let name = |t: &Table| {
                format!("{}.{}", quote_identifier(&t.namespace), quote_identifier(&t.name))
            };
            let names: Vec<String> = tables.iter().map(name).collect();
            let message = format!("route \"{}\" takes {} tables", route.name, names.len());
            let help = format!("say which with --table: {}", names.join(", "));
            Err(Failure::new(Exit::Usage, message).help(help))
        }
    }
}
