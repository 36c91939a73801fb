//! [`Looked`]: one routed table, and all that may be wrong with it.

use super::super::report::Report;
use super::{NAMES_MAX, add, can_be_added, keyless, name};
use crate::chunk::Operation;
use crate::config::suggestion;
use crate::mapping::{OutboxName, Policy, Route, Start};
use crate::relation::{ReplicaIdentity, quote_identifier};
use crate::source::catalog::{GENERATED_SINCE, Publication, PublishedTable, Server, Table};

/// A table as one route sees it.
pub(super) struct Looked<'a> {
    pub(super) route: &'a Route,
    pub(super) table: &'a Table,
    pub(super) publication: &'a Publication,
    pub(super) entry: Option<&'a PublishedTable>,
    pub(super) server: &'a Server,
    pub(super) all: &'a [Table],
}

impl Looked<'_> {
    pub(super) fn check(&self, report: &mut Report) {
        let subject = self.subject();
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
        let breaks_writes = self.breaks_writes(entry, &subject, report);
        self.fields(entry, &subject, report);
        self.filter(entry, &subject, report);
        self.outbox(entry, &subject, report);
        if !breaks_writes {
            self.identity(&subject, report);
        }
    }

    pub(super) fn subject(&self) -> String {
        format!("table {} (route {})", name(self.table), self.route.name)
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

    /// Every column that a field needs is there and sent.
    pub(super) fn fields(&self, entry: &PublishedTable, subject: &str, report: &mut Report) {
        let Some(mapping) = &self.route.mapping else { return };
        for field in &mapping.fields {
            for column in field.needed_columns() {
                let Some((lack, cure)) = self.lacks(entry, column) else { continue };
                let seen = format!("field \"{}\": {lack}", field.target);
                if matches!(field.on_missing, None | Some(Policy::Reject)) {
                    let fix = format!("{cure}; or set on_missing: as it is, every row is refused");
                    report.fail("mapping.columns", subject, seen, &fix);
                } else {
                    let fix = "nothing, if on_missing is meant";
                    report.warn("mapping.columns", subject, seen, fix);
                }
            }
        }
    }

    /// Says why a column is never there, and what mends it.
    pub(super) fn lacks(&self, entry: &PublishedTable, column: &str) -> Option<(String, String)> {
        let columns = &self.table.columns;
        let quoted = quote_identifier(column);
        match columns.iter().find(|it| it.name == *column) {
            None => {
                let names = columns.iter().map(|column| column.name.as_str());
                let meant = suggestion(column, names).map(quote_identifier);
                let cure = meant.map_or_else(
                    || "name another column".to_owned(),
                    |meant| format!("did you mean {meant}?"),
                );
                Some((format!("there is no column {quoted}"), cure))
            }
            Some(found) if found.generated && !entry.sends(found, self.server.version_num) => {
                let cure = self.generated("leave it out");
                Some((format!("column {quoted} is generated and not sent"), cure))
            }
            Some(_) if entry.columns.as_ref().is_some_and(|it| !it.iter().any(|c| c == column)) => {
                let cure = "add it to the list with ALTER PUBLICATION … SET TABLE".to_owned();
                Some((format!("column {quoted} is not in the publication's column list"), cure))
            }
            Some(_) => None,
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
