//! The routed tables: published, whole, and with an identity that their routes can live on.

use super::report::Report;
use super::server::is_patched;
use crate::chunk::Operation;
use crate::config::Config;
use crate::mapping::{From, OutboxName, Policy, Route, Selector, Start};
use crate::relation::{ReplicaIdentity, quote_identifier};
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

/// A table as one route sees it.
struct Looked<'a> {
    route: &'a Route,
    table: &'a Table,
    publication: &'a Publication,
    entry: Option<&'a PublishedTable>,
    server: &'a Server,
    all: &'a [Table],
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
            let statement = add(self.publication, &[self.table], self.all);
            report.fail("table.published", &subject, seen, &statement);
            if can_be_added(self.table, self.all, self.server) {
                report.repair(statement.trim_end_matches(';').to_owned());
            }
            return;
        };
        self.published(entry, &subject, report);
        self.readable(&subject, report);
        self.apart(&subject, report);
        if self.breaks_writes(entry, &subject, report) {
            return;
        }
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

    /// The rows that are there can be read: a route that begins with them needs that.
    fn readable(&self, subject: &str, report: &mut Report) {
        if self.route.start != Start::Load {
            return;
        }
        let (table, role) = (name(self.table), quote_identifier(&self.server.role));
        let schema = quote_identifier(&self.table.namespace);
        let missing = [
            (self.table.may_use, format!("GRANT USAGE ON SCHEMA {schema} TO {role};")),
            (self.table.may_select, format!("GRANT SELECT ON {table} TO {role};")),
        ];
        let grants: Vec<_> =
            missing.into_iter().filter(|(may, _)| !may).map(|(_, grant)| grant).collect();
        if !grants.is_empty() {
            let seen = format!("role {role} may not read the rows that are there");
            let fix = format!("{} or start = \"now\"", grants.join(" "));
            report.fail("table.select", subject, seen, &fix);
        } else if self.table.row_security {
            let seen = format!(
                "row-level security is on for role {role}: the rows that are there can't be read; \
                 the stream has them all"
            );
            let fix = format!("ALTER ROLE {role} BYPASSRLS; or start = \"now\"");
            report.fail("table.row_security", subject, seen, &fix);
        }
    }

    /// Large values that an update leaves alone are not sent.
    fn apart(&self, subject: &str, report: &mut Report) {
        let updates = self.route.on.contains(Operation::Update) && self.publication.update;
        if !self.table.toasted || self.table.identity == ReplicaIdentity::Full || !updates {
            return;
        }
        let columns = self.table.columns.iter().filter(|column| column.toastable);
        let columns: Vec<String> = columns.map(|column| quote_identifier(&column.name)).collect();
        let seen = format!(
            "large values of {} are not sent with updates that leave them alone: the event names \
             them in `unchanged`",
            columns.join(", ")
        );
        let fix = format!(
            "nothing, if the receiver keeps what it has; else ALTER TABLE {} REPLICA IDENTITY FULL;",
            name(self.table)
        );
        report.warn("table.toast", subject, seen, &fix);
    }

    /// What of the identity is not published: then the server refuses updates and deletes.
    fn breaks_writes(&self, entry: &PublishedTable, subject: &str, report: &mut Report) -> bool {
        if !(self.publication.update || self.publication.delete) {
            return false;
        }
        let of_identity = self.table.identity_columns();
        let outside = entry.filter_columns.iter().filter(|it| !of_identity.contains(&it.as_str()));
        let outside: Vec<String> = outside.map(|it| quote_identifier(it)).collect();
        if !outside.is_empty() && !of_identity.is_empty() {
            let seen = format!(
                "the row filter is about {}, outside the replica identity: UPDATE and DELETE on it \
                 fail",
                outside.join(", ")
            );
            let fix = format!(
                "ALTER TABLE {} REPLICA IDENTITY FULL; or a row filter over the identity's columns",
                name(self.table)
            );
            report.fail("table.row_filter", subject, seen, &fix);
            return true;
        }
        let Some(list) = &entry.columns else { return false };
        let hidden = self.table.columns.iter().filter(|column| {
            // Up to PostgreSQL 17 generated columns count for no identity.
            (!column.generated || self.server.version_num >= GENERATED_SINCE)
                && of_identity.contains(&column.name.as_str())
                && !list.contains(&column.name)
        });
        let hidden: Vec<_> = hidden.collect();
        if hidden.is_empty() {
            return false;
        }
        let names: Vec<String> = hidden.iter().map(|it| quote_identifier(&it.name)).collect();
        let seen = format!(
            "{} of the replica identity is not published: UPDATE and DELETE on it fail",
            names.join(", ")
        );
        let fix = if hidden.iter().all(|column| column.generated) {
            format!(
                "ALTER PUBLICATION {} SET (publish_generated_columns = stored); or REPLICA \
                 IDENTITY DEFAULT",
                quote_identifier(&self.publication.name)
            )
        } else {
            "add it to the column list with ALTER PUBLICATION … SET TABLE; or another replica \
             identity"
                .to_owned()
        };
        report.fail("table.identity", subject, seen, &fix);
        true
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
                Some(found) if found.generated && !entry.sends(found, self.server.version_num) => (
                    format!(
                        "field \"{}\": column {quoted} is generated and not sent",
                        field.target
                    ),
                    self.generated("leave it out, or set on_missing"),
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

    /// Returns what brings a generated column, or goes without.
    fn generated(&self, without: &str) -> String {
        if self.server.version_num < GENERATED_SINCE {
            return without.to_owned();
        }
        format!(
            "{without}; or, of a stored one, ALTER PUBLICATION {} SET (publish_generated_columns = \
             stored);",
            quote_identifier(&self.publication.name)
        )
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
                Some(found) if found.generated && !entry.sends(found, self.server.version_num) => (
                    format!("outbox.{word}: column {quoted} is generated and not sent"),
                    self.generated(&format!("name another: outbox = {{ {word} = \"…\" }}")),
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
        let partitions = keyless(self.table, self.all);
        if self.table.partitioned
            && !partitions.is_empty()
            && (self.publication.update || self.publication.delete)
        {
            let names: Vec<String> = partitions.iter().take(NAMES_MAX).map(|it| name(it)).collect();
            let seen = format!(
                "partitions without a replica identity, on which UPDATE and DELETE fail while it \
                 is published: {}",
                names.join(", ")
            );
            let each =
                names.iter().map(|name| format!(" ALTER TABLE {name} REPLICA IDENTITY FULL;"));
            let fix = format!(
                "ALTER TABLE {table} ADD PRIMARY KEY (…); or {full}{}",
                each.collect::<String>()
            );
            report.fail("table.identity", subject, seen, &fix);
            return;
        }
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
