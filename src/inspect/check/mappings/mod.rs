//! Each mapping against the tables of its routes: what their types and constraints say of it, and
//! what becomes of rows that are there.

mod fields;
mod sample;

use std::sync::Arc;

use super::report::Report;
use crate::config::Config;
use crate::mapping::{Route, Selector, routes_at};
use crate::relation::{Relation, quote_identifier};
use crate::source::catalog::{Publication, PublishedTable, Server, Table};
use crate::source::{Catalog, Error};

/// So many tables of a glob are looked at: each costs a few queries.
const TABLES_MAX: usize = 20;

/// A published table as a route with a mapping sees it.
struct Seen<'a> {
    route: &'a Arc<Route>,
    table: &'a Table,
    publication: &'a Publication,
    entry: &'a PublishedTable,
    relation: Arc<Relation>,
    subject: String,
}

/// Returns a route with the next version of its mapping, where it has one, and what to call it.
pub(super) fn next(
    config: &Config,
    route: &Arc<Route>,
    subject: &str,
) -> Option<(Arc<Route>, String)> {
    let name = &route.mapping.as_ref()?.name;
    let next = config.nexts.iter().find(|next| next.name == *name)?;
    let route = routes_at(std::slice::from_ref(route), next).pop()?;
    Some((route, format!("{subject}, next version {} of {name}", next.version)))
}

pub(super) async fn check(
    config: &Config,
    catalog: &mut Catalog,
    server: &Server,
    publication: &Publication,
    published: &[PublishedTable],
    all: &[Table],
    report: &mut Report,
) -> Result<(), Error> {
    let shapes = |route: &&Arc<Route>| route.mapping.is_some() || route.condition.is_some();
    for route in config.routes.iter().filter(shapes) {
        let Selector::Table(pattern) = &route.selector else { continue };
        let entry = |table: &Table| {
            let same =
                |it: &&PublishedTable| it.namespace == table.namespace && it.name == table.name;
            published.iter().find(same)
        };
        let fits = all.iter().filter(|it| pattern.matches_names(&it.namespace, &it.name));
        let tables: Vec<_> = fits.filter_map(|table| Some((table, entry(table)?))).collect();
        for (table, entry) in tables.iter().take(TABLES_MAX) {
            let sent = |column: &_| entry.sends(column, server.version_num);
            let relation = Arc::new(catalog.relation(table, sent).await?);
            let (namespace, name) =
                (quote_identifier(&table.namespace), quote_identifier(&table.name));
            let subject = format!("table {namespace}.{name} (route {})", route.name);
            let seen = Seen { route, table, publication, entry, relation, subject };
            seen.fields(report);
            seen.rows(catalog, report).await?;
            if let Some((route, subject)) = next(config, route, &seen.subject) {
                let mut of_next = Report::default();
                let seen = Seen { route: &route, subject, ..seen };
                seen.fields(&mut of_next);
                seen.rows(catalog, &mut of_next).await?;
                report.advise(of_next);
            }
        }
        if tables.len() > TABLES_MAX {
            let seen = format!("{TABLES_MAX} of {} tables were held against it", tables.len());
            report.ok("mapping.rows", &format!("route {}", route.name), seen);
        }
    }
    Ok(())
}
