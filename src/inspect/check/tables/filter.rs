//! What a route's `where`, `on_leave` and `columns_changed` need of a table.

use super::super::report::Report;
use super::looked::Looked;
use super::name;
use crate::chunk::Operation;
use crate::mapping::{Expression, OnDelete, OnLeave, OnWhereError};
use crate::relation::{ReplicaIdentity, quote_identifier};
use crate::source::catalog::PublishedTable;

impl Looked<'_> {
    /// Every column that lets rows through is there, and its old values are sent where they count.
    pub(super) fn filter(&self, entry: &PublishedTable, subject: &str, report: &mut Report) {
        if let Some(condition) = &self.route.condition {
            for column in condition.needed_columns() {
                let Some((lack, cure)) = self.lacks(entry, column) else { continue };
                let seen = format!("`where` can't be computed: {lack}");
                report.fail("route.where", subject, seen, &cure);
            }
            self.deletes(condition, subject, report);
            self.leaving(condition, subject, report);
        }
        for column in self.route.columns_changed.iter().flatten() {
            if let Some((lack, cure)) = self.lacks(entry, column) {
                let seen = format!("`columns_changed`: {lack}, so that every update goes");
                report.fail("route.columns_changed", subject, seen, &cure);
            }
        }
        self.watched(subject, report);
    }

    /// A delete carries only the identity's columns.
    fn deletes(&self, condition: &Expression, subject: &str, report: &mut Report) {
        let unknown = self.unknown(condition.columns());
        let takes = self.route.on.contains(Operation::Delete)
            && self.publication.delete
            && self.route.on_delete != OnDelete::Ignore;
        if unknown.is_empty() || !takes {
            return;
        }
        let asked = self.unknown(condition.asked_columns());
        if !asked.is_empty() {
            let seen = format!(
                "a delete does not bring {}: `has` is false of it, and `where` goes by that",
                asked.join(", ")
            );
            report.warn("route.where", subject, seen, &self.full("nothing, if that is meant"));
            return;
        }
        let becomes = match self.route.on_where_error {
            OnWhereError::Send => return,
            OnWhereError::Skip => "is skipped",
            OnWhereError::Reject => "becomes a dead letter",
        };
        let seen = format!(
            "a delete does not bring {}: `where` can't be computed, and each delete {becomes}",
            unknown.join(", ")
        );
        report.warn("route.where", subject, seen, &self.full("nothing, if that is meant"));
    }

    fn leaving(&self, condition: &Expression, subject: &str, report: &mut Report) {
        let unknown = self.unknown(condition.columns());
        let takes = self.route.on.contains(Operation::Update) && self.publication.update;
        if self.route.on_leave != OnLeave::Delete || unknown.is_empty() || !takes {
            return;
        }
        let seen = format!(
            "an update does not bring the old {}: a delete is sent for every update for which \
             `where` is false, whether it was true before or not",
            unknown.join(", ")
        );
        let fix = self.full("nothing, where such deletes do no harm");
        report.warn("route.on_leave", subject, seen, &fix);
    }

    fn watched(&self, subject: &str, report: &mut Report) {
        let Some(watched) = &self.route.columns_changed else { return };
        let takes = self.route.on.contains(Operation::Update) && self.publication.update;
        let mut columns: Vec<&str> = watched.iter().map(String::as_str).collect();
        // Whether a row is new to the route is asked of its old values too.
        columns.extend(self.route.condition.iter().flat_map(Expression::columns));
        let unknown = if takes { self.unknown(columns) } else { Vec::new() };
        if !unknown.is_empty() {
            let seen = format!(
                "an update does not bring the old {}: what nobody can tell counts as changed, and \
                 nearly every update goes",
                unknown.join(", ")
            );
            report.warn("route.columns_changed", subject, seen, &self.full("leave it out"));
        }
    }

    /// Returns those of the columns whose old values are not sent.
    fn unknown(&self, columns: Vec<&str>) -> Vec<String> {
        if self.table.identity == ReplicaIdentity::Full {
            return Vec::new();
        }
        let identity = self.table.identity_columns();
        let is_there = |name: &&str| self.table.columns.iter().any(|column| column.name == **name);
        let mut columns = columns;
        let mut seen = std::collections::BTreeSet::new();
        columns.retain(|column| seen.insert(*column));
        let outside = columns.into_iter().filter(|it| !identity.contains(it)).filter(is_there);
        outside.map(quote_identifier).collect()
    }

    fn full(&self, without: &str) -> String {
        format!("ALTER TABLE {} REPLICA IDENTITY FULL; or {without}", name(self.table))
    }
}
