//! What a table's columns say of a mapping's fields without looking at a row.

use super::Seen;
use crate::chunk::Operation;
use crate::inspect::check::report::Report;
use crate::mapping::{Field, From, Mapping, OnDelete, OnUnchanged, Policy, Rest, never_fits};
use crate::relation::{Column, ReplicaIdentity, quote_identifier};
use crate::source::catalog::TableColumn;

impl Seen<'_> {
    /// Looks at each field whose column is there; those that are missing have been told.
    pub(super) fn fields(&self, report: &mut Report) {
        let Some(mapping) = &self.route.mapping else { return };
        let mut is_fine = true;
        for field in &mapping.fields {
            for name in field.columns() {
                let sent = self.relation.columns.iter().find(|column| column.name == name);
                let column = self.table.columns.iter().find(|column| column.name == name);
                let (Some(sent), Some(column)) = (sent, column) else {
                    is_fine = false;
                    continue;
                };
                is_fine &= self.unchanged_fits(field, sent, column, report);
                // What an expression makes of its columns only rows can tell.
                if matches!(field.from, From::Column(_)) {
                    is_fine &= self.type_fits(field, sent, column, report)
                        & self.nulls_fit(field, column, report);
                }
            }
        }
        is_fine &= self.rest_fits(mapping, report);
        if is_fine {
            let seen = format!("mapping {}: types and NULLs fit its fields", mapping.name);
            report.ok("mapping.fields", &self.subject, seen);
        }
    }

    /// Columns of `rest = "include"` that can't stand under their own names.
    fn rest_fits(&self, mapping: &Mapping, report: &mut Report) -> bool {
        if mapping.rest == Rest::Omit {
            return true;
        }
        let rest = self.relation.columns.iter().filter(|column| !mapping.names(&column.name));
        let mut is_fine = true;
        for (column, field) in rest.filter_map(|it| Some((it, mapping.hides(&it.name)?))) {
            let name = quote_identifier(&column.name);
            let seen = format!("column {name} is left out: field \"{field}\" has its name");
            let fix = format!(
                "name the field otherwise, or give the column a field of its own: … = {{ column = \
                 '{name}' }}"
            );
            report.warn("mapping.rest", &self.subject, seen, &fix);
            is_fine = false;
        }
        is_fine
    }

    /// A cast, check or lookup that no value of the type can pass.
    fn type_fits(
        &self,
        field: &Field,
        sent: &Column,
        column: &TableColumn,
        report: &mut Report,
    ) -> bool {
        let Some(why) = never_fits(field, &sent.kind) else { return true };
        let (name, seen) = (quote_identifier(&column.name), &column.type_name);
        let seen = format!("field \"{}\": column {name} is {seen}, and {why}", field.target);
        let policy = if why.starts_with("no key") { &field.on_miss } else { &field.on_invalid };
        if matches!(policy, None | Some(Policy::Reject)) {
            let fix = "change the field to fit its column: as it is, every value is refused";
            report.fail("mapping.types", &self.subject, seen, fix);
        } else {
            let fix =
                "change the field to fit its column: as it is, its policy acts on every value";
            report.warn("mapping.types", &self.subject, seen, fix);
        }
        false
    }

    /// A column that may be NULL under a field that must not be.
    fn nulls_fit(&self, field: &Field, column: &TableColumn, report: &mut Report) -> bool {
        if !field.required || field.on_null.is_some() || column.not_null {
            return true;
        }
        let name = quote_identifier(&column.name);
        let seen = format!(
            "field \"{}\" is required, and column {name} may be NULL: each such row becomes a dead \
             letter",
            field.target
        );
        let fix = format!(
            "say what is meant: on_null = \"reject\", \"skip\" or {{ default = … }}; or ALTER TABLE \
             {} ALTER COLUMN {name} SET NOT NULL;",
            self.relation.quoted_name()
        );
        report.warn("mapping.nulls", &self.subject, seen, &fix);
        false
    }

    /// `on_unchanged = "reject"` where Postgres leaves values out.
    fn unchanged_fits(
        &self,
        field: &Field,
        sent: &Column,
        column: &TableColumn,
        report: &mut Report,
    ) -> bool {
        let is_whole = self.relation.identity == ReplicaIdentity::Full || sent.in_identity;
        if field.on_unchanged != OnUnchanged::Reject || is_whole {
            return true;
        }
        let on = self.route.on;
        let deletes = on.contains(Operation::Delete)
            && self.publication.delete
            && self.route.on_delete != OnDelete::Ignore;
        let updates = on.contains(Operation::Update) && self.publication.update && column.toastable;
        let which = match (deletes, updates) {
            (true, true) => "every delete, and each update that leaves a large value alone,",
            (true, false) => "every delete",
            (false, true) => "each update that leaves a large value alone",
            (false, false) => return true,
        };
        let name = quote_identifier(&column.name);
        let seen = format!(
            "field \"{}\": {which} comes without column {name} and becomes a dead letter \
             (on_unchanged = \"reject\")",
            field.target
        );
        let table = self.relation.quoted_name();
        let fix = format!("ALTER TABLE {table} REPLICA IDENTITY FULL; or on_unchanged = \"omit\"");
        report.warn("mapping.unchanged", &self.subject, seen, &fix);
        false
    }
}
