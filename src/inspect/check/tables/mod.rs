//! The routed tables: published, whole, and with an identity that their routes can live on.

mod filter;
mod looked;

use self::looked::Looked;
use super::mappings;
use super::report::Report;
use super::server::is_patched;
use crate::config::Config;
use crate::mapping::Selector;
use crate::relation::quote_identifier;
use crate::source::catalog::{
    GENERATED_SINCE, NotTable, Publication, PublishedTable, Server, Table, TableColumn,
    add_to_publication,
};

pub(super) fn check(
    config: &Config,
    server: &Server,
    publication: &Publication,
    published: &[PublishedTable],
    (all, others): (&[Table], &[NotTable]),
    report: &mut Report,
) {
    whole(config, publication, published, all, report);
    for route in &config.routes {
        let Selector::Table(pattern) = &route.selector else { continue };
        let fits = |t: &&Table| pattern.matches_names(&t.namespace, &t.name);
        let mut tables: Vec<&Table> = all.iter().filter(fits).collect();
        let subject = format!("route {}", route.name);
        if tables.is_empty() {
            let is_it = |it: &&NotTable| pattern.matches_names(&it.namespace, &it.name);
            if let Some(NotTable { kind, .. }) = others.iter().find(is_it) {
                let seen =
                    format!("{} is a {kind}: no change of it is in the log", pattern.as_str());
                let fix = "name the table that its rows come from";
                report.fail("table.exists", &subject, seen, fix);
                continue;
            }
            let seen = format!("there is no table {}", pattern.as_str());
            let fix = "create it, name another, or look whether the role may see it";
            if pattern.literal().is_some() {
                report.fail("table.exists", &subject, seen, fix);
            } else {
                report.warn("table.exists", &subject, seen, fix);
            }
            continue;
        }
        let entry = |table: &Table| {
            let same =
                |it: &&PublishedTable| it.namespace == table.namespace && it.name == table.name;
            published.iter().find(same)
        };
        if pattern.literal().is_none() {
            // A glob takes what is published; what is not was hardly meant.
            let (in_it, outside): (Vec<&Table>, Vec<&Table>) =
                tables.iter().copied().partition(|table| entry(table).is_some());
            if !outside.is_empty() {
                let names: Vec<String> = outside.iter().copied().map(name).collect();
                let seen = format!("not published, though the glob fits: {}", names.join(", "));
                report.warn("table.published", &subject, seen, &add(publication, &outside, all));
            }
            tables = in_it;
        }
        for table in tables {
            let entry = entry(table);
            let looked = Looked { route, table, publication, entry, server, all };
            looked.check(report);
            if let (Some(entry), Some((route, subject))) =
                (entry, mappings::next(config, route, &looked.subject()))
            {
                let mut of_next = Report::default();
                Looked { route: &route, ..looked }.fields(entry, &subject, &mut of_next);
                report.advise(of_next);
            }
        }
    }
}

/// Lets `--fix` make the publication where the role may and nobody's writes fail by it.
pub(super) fn may_create(
    config: &Config,
    server: &Server,
    all: &[Table],
    statement: &str,
    report: &mut Report,
) {
    let mut tables = config.routes.iter().map(|route| {
        let Selector::Table(pattern) = &route.selector else { return false };
        let mut fitting =
            all.iter().filter(|table| pattern.matches_names(&table.namespace, &table.name));
        pattern.literal().is_some()
            && fitting.next().is_some_and(|table| can_be_added(table, all, server))
    });
    if server.create && tables.all(|fits| fits) {
        report.repair(statement.trim_end_matches(';').to_owned());
    }
}

/// Whether the role may publish a table, and no write of it fails or is lost by that.
fn can_be_added(table: &Table, all: &[Table], server: &Server) -> bool {
    let of_identity = table.identity_columns();
    let is_sent = |column: &TableColumn| !column.generated || server.version_num < GENERATED_SINCE;
    table.owned
        && !of_identity.is_empty()
        && table.columns.iter().all(|it| is_sent(it) || !of_identity.contains(&it.name.as_str()))
        && keyless(table, all).is_empty()
        && !table.unlogged
        && is_patched(server)
}

/// Returns what of a table has no replica identity: of a partitioned one, each partition has its
/// own.
fn keyless<'a>(table: &'a Table, all: &'a [Table]) -> Vec<&'a Table> {
    let is_keyless = |table: &&Table| !table.partitioned && table.identity_columns().is_empty();
    let of_root = |it: &&Table| table.partitioned && it.root == Some(table.oid);
    let itself = std::iter::once(table).filter(is_keyless);
    itself.chain(all.iter().filter(of_root).filter(is_keyless)).collect()
}

/// The publication as a whole: what is in it for no route, and what breaks by being in it.
fn whole(
    config: &Config,
    publication: &Publication,
    published: &[PublishedTable],
    all: &[Table],
    report: &mut Report,
) {
    let subject = format!("publication {}", quote_identifier(&publication.name));
    let is_routed = |it: &&PublishedTable| {
        config.routes.iter().any(|route| match &route.selector {
            Selector::Table(pattern) => pattern.matches_names(&it.namespace, &it.name),
            Selector::Message(_) => false,
        })
    };
    let quoted = |it: &PublishedTable| {
        format!("{}.{}", quote_identifier(&it.namespace), quote_identifier(&it.name))
    };
    let others: Vec<&PublishedTable> = published.iter().filter(|it| !is_routed(it)).collect();
    let list = |tables: &[&PublishedTable]| {
        let shown: Vec<String> = tables.iter().take(NAMES_MAX).map(|it| quoted(it)).collect();
        let more = tables.len().saturating_sub(NAMES_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", shown.join(", "))
    };
    if published.is_empty() {
        let fix = "ALTER PUBLICATION … ADD TABLE …;";
        report.fail("publication.tables", &subject, "has no table", fix);
    } else if publication.all_tables {
        report.ok("publication.tables", &subject, "of all tables, those to come included");
    } else if others.is_empty() {
        report.ok("publication.tables", &subject, "every table of it is taken by a route");
    } else {
        let seen = format!(
            "published and taken by no route: {}; their rows cost the network and the journal",
            list(&others)
        );
        let name = quote_identifier(&publication.name);
        let fix = format!("ALTER PUBLICATION {name} DROP TABLE …; or a route for them");
        report.warn("publication.tables", &subject, seen, &fix);
    }
    if !(publication.update || publication.delete) {
        return;
    }
    let breaks = |it: &&PublishedTable| {
        let same = |table: &&Table| table.namespace == it.namespace && table.name == it.name;
        all.iter().find(same).is_some_and(|table| !keyless(table, all).is_empty())
    };
    let broken: Vec<&PublishedTable> = others.into_iter().filter(breaks).collect();
    if !broken.is_empty() {
        let seen = format!(
            "no replica identity, so that UPDATE and DELETE on them fail while they are \
             published: {}",
            list(&broken)
        );
        let fix = "give each a primary key, or ALTER TABLE … REPLICA IDENTITY FULL;";
        report.warn("publication.identity", &subject, seen, fix);
    }
}

/// Names in one line.
const NAMES_MAX: usize = 8;

fn name(table: &Table) -> String {
    format!("{}.{}", quote_identifier(&table.namespace), quote_identifier(&table.name))
}

/// Returns what publishes these tables and breaks no write to them.
fn add(publication: &Publication, tables: &[&Table], all: &[Table]) -> String {
    let names: Vec<(&str, &str)> =
        tables.iter().map(|table| (table.namespace.as_str(), table.name.as_str())).collect();
    let needs = publication.update || publication.delete;
    let first = if needs { identities(tables, all) } else { String::new() };
    format!("{first}{};", add_to_publication(&publication.name, &names))
}

/// Returns what gives a replica identity to those of the tables that have none.
pub(super) fn identities(tables: &[&Table], all: &[Table]) -> String {
    let keyless = tables.iter().flat_map(|table| keyless(table, all));
    keyless.map(|it| format!("ALTER TABLE {} REPLICA IDENTITY FULL; ", name(it))).collect()
}
