//! The routed tables: published, whole, and with an identity that their routes can live on.

use super::report::Report;
use crate::chunk::Operation;
use crate::config::Config;
use crate::mapping::{From, OutboxName, Policy, Route, Selector};
use crate::relation::{ReplicaIdentity, quote_identifier};
use crate::source::catalog::{Publication, PublishedTable, Server, Table, add_to_publication};

pub(super) fn check(
    config: &Config,
    server: &Server,
    publication: &Publication,
    published: &[PublishedTable],
    all: &[Table],
    report: &mut Report,
) {
    for route in &config.routes {
        let Selector::Table(pattern) = &route.selector else { continue };
        let fits = |t: &&Table| pattern.matches_names(&t.namespace, &t.name);
        let mut tables: Vec<&Table> = all.iter().filter(fits).collect();
        let subject = format!("route {}", route.name);
        if tables.is_empty() {
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
                report.warn("table.published", &subject, seen, &add(publication, &outside));
            }
            tables = in_it;
        }
        for table in tables {
            let looked = Looked { route, table, publication, entry: entry(table), server };
            looked.check(report);
        }
    }
}

fn name(table: &Table) -> String {
    format!("{}.{}", quote_identifier(&table.namespace), quote_identifier(&table.name))
}

fn add(publication: &Publication, tables: &[&Table]) -> String {
    let names: Vec<(&str, &str)> =
        tables.iter().map(|table| (table.namespace.as_str(), table.name.as_str())).collect();
    format!("{};", add_to_publication(&publication.name, &names))
}

/// A table as one route sees it.
struct Looked<'a> {
    route: &'a Route,
    table: &'a Table,
    publication: &'a Publication,
    entry: Option<&'a PublishedTable>,
    server: &'a Server,
}

impl Looked<'_> {
    fn check(&self, report: &mut Report) {
        let subject = format!("table {} (route {})", name(self.table), self.route.name);
        if self.table.unlogged {
            let fix = format!("ALTER TABLE {} SET LOGGED;", name(self.table));
            report.fail("table.published", &subject, "unlogged: no change of it can be seen", &fix);
            return;
        }
        if self.partitions(&subject, report) {
            return;
        }
        let Some(entry) = self.entry else {
            let seen = format!("not in publication {}", quote_identifier(&self.publication.name));
            report.fail("table.published", &subject, seen, &add(self.publication, &[self.table]));
            return;
        };
        self.published(entry, &subject, report);
        self.fields(entry, &subject, report);
        self.outbox(entry, &subject, report);
        self.identity(&subject, report);
    }

    /// Looks under whose name a partition's changes come. True when the route never sees one.
    fn partitions(&self, subject: &str, report: &mut Report) -> bool {
        let publication = quote_identifier(&self.publication.name);
        let set = |on: bool| {
            format!("ALTER PUBLICATION {publication} SET (publish_via_partition_root = {on});")
        };
        if self.table.partitioned && !self.publication.via_root {
            let seen = "partitioned, and its changes come under its partitions' names";
            report.fail("table.partitions", subject, seen, &set(true));
            return true;
        }
        if self.table.partition && self.publication.via_root && self.entry.is_none() {
            let seen = "a partition, and its changes come under its root's name";
            let fix = format!("route the root table, or {}", set(false));
            report.fail("table.partitions", subject, seen, &fix);
            return true;
        }
        false
    }

    fn published(&self, entry: &PublishedTable, subject: &str, report: &mut Report) {
        let hidden: Vec<String> = match &entry.columns {
            Some(columns) => self
                .table
                .columns
                .iter()
                .filter(|column| !columns.contains(&column.name) && !column.generated)
                .map(|column| quote_identifier(&column.name))
                .collect(),
            None => Vec::new(),
        };
        match &entry.row_filter {
            Some(filter) => {
                let seen = format!("published only where {filter}");
                let fix = "nothing, if that is meant: other rows are never seen";
                report.warn("table.published", subject, seen, fix);
            }
            None if hidden.is_empty() => report.ok("table.published", subject, "published"),
            None => {
                let seen = format!("published without {}", hidden.join(", "));
                report.ok("table.published", subject, seen);
            }
        }
    }

    /// Every column that a field names is there and sent.
    fn fields(&self, entry: &PublishedTable, subject: &str, report: &mut Report) {
        let Some(mapping) = &self.route.mapping else { return };
        let columns = &self.table.columns;
        for field in &mapping.fields {
            let From::Column(column) = &field.from else { continue };
            let quoted = quote_identifier(column);
            let (seen, fix) = match columns.iter().find(|it| it.name == *column) {
                None => (
                    format!("field \"{}\": there is no column {quoted}", field.target),
                    "name another column, or set on_missing".to_owned(),
                ),
                Some(found) if found.generated && self.server.version_num < 180_000 => (
                    format!(
                        "field \"{}\": column {quoted} is generated and not sent",
                        field.target
                    ),
                    "leave it out, or set on_missing".to_owned(),
                ),
                Some(_) if entry.columns.as_ref().is_some_and(|list| !list.contains(column)) => (
                    format!(
                        "field \"{}\": column {quoted} is not in the publication's column list",
                        field.target
                    ),
                    "add it to the list with ALTER PUBLICATION … SET TABLE, or set on_missing"
                        .to_owned(),
                ),
                Some(_) => continue,
            };
            if matches!(field.on_missing, None | Some(Policy::Reject)) {
                report.fail("mapping.columns", subject, seen, &fix);
            } else {
                report.warn("mapping.columns", subject, seen, "nothing, if on_missing is meant");
            }
        }
    }

    /// Every column that makes up the events of an outbox is there and sent.
    fn outbox(&self, entry: &PublishedTable, subject: &str, report: &mut Report) {
        let Some(outbox) = &self.route.outbox else { return };
        let mut is_whole = true;
        for OutboxName { word, name, required } in outbox.names() {
            let quoted = quote_identifier(name);
            let found = self.table.columns.iter().find(|column| column.name == name);
            let (seen, fix) = match found {
                None if !required => continue,
                None => (
                    format!("outbox.{word}: there is no column {quoted}"),
                    format!("name another: outbox = {{ {word} = \"…\" }}"),
                ),
                Some(found) if found.generated && self.server.version_num < 180_000 => (
                    format!("outbox.{word}: column {quoted} is generated and not sent"),
                    format!("name another: outbox = {{ {word} = \"…\" }}"),
                ),
                Some(_)
                    if entry.columns.as_ref().is_some_and(|it| !it.iter().any(|c| c == name)) =>
                {
                    (
                        format!(
                            "outbox.{word}: column {quoted} is not in the publication's column list"
                        ),
                        "add it to the list with ALTER PUBLICATION … SET TABLE".to_owned(),
                    )
                }
                Some(_) => continue,
            };
            is_whole = false;
            report.fail("route.outbox", subject, seen, &fix);
        }
        if is_whole && !self.publication.insert {
            let seen = "an outbox, and the publication publishes no inserts";
            report.fail("route.outbox", subject, seen, "ALTER PUBLICATION … SET (publish = …)");
        } else if is_whole {
            report.ok("route.outbox", subject, "an outbox, with all its columns");
        }
    }

    fn identity(&self, subject: &str, report: &mut Report) {
        let table = name(self.table);
        let identity = self.table.identity_columns();
        let moves = [Operation::Update, Operation::Delete]
            .into_iter()
            .any(|operation| self.route.on.contains(operation));
        let full = format!("ALTER TABLE {table} REPLICA IDENTITY FULL;");
        if identity.is_empty() && (self.publication.update || self.publication.delete) {
            let seen = "no replica identity: UPDATE and DELETE on it fail while it is published";
            let fix = format!("ALTER TABLE {table} ADD PRIMARY KEY (…); or {full}");
            report.fail("table.identity", subject, seen, &fix);
            return;
        }
        let columns = &self.table.columns;
        if let Some(key) = &self.route.key {
            let missing = key.iter().find(|key| !columns.iter().any(|column| column.name == **key));
            if let Some(missing) = missing {
                let seen = format!("key: there is no column {}", quote_identifier(missing));
                report.fail("route.key", subject, seen, "name another column in `key`");
                return;
            }
            let outside = key.iter().find(|key| !identity.contains(&key.as_str()));
            if let (Some(outside), true) = (outside, moves) {
                let seen = format!(
                    "key: column {} lies outside the replica identity",
                    quote_identifier(outside)
                );
                let fix = format!("{full} or leave update and delete out of `on`");
                report.fail("route.key", subject, seen, &fix);
                return;
            }
        }
        let seen = match self.table.identity {
            ReplicaIdentity::Default => "replica identity: the primary key",
            ReplicaIdentity::Index => "replica identity: a unique index",
            ReplicaIdentity::Full => "replica identity: the whole row",
            ReplicaIdentity::Nothing => "no replica identity, and only inserts are published",
        };
        report.ok("table.identity", subject, seen);
    }
}
