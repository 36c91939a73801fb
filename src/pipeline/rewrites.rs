//! [`Rewrites`]: tables with rows of which no event tells (pure).
//!
//! A change of a column's type, a new column with a default, a generated column with another
//! expression: the rows that are there have other values, and the stream brings none of them. Nor
//! does it bring those that a table had before it was published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::load::takes;
use super::wanted::Warning;
use crate::lsn::{Oid, Timestamp};
use crate::mapping::{Route, Start};
use crate::progress::files::{Reason, Stored};
use crate::relation::quote_identifier;
use crate::source::catalog::{FileColumn, TableFile};

/// So long it is told of, unless the table is loaded before.
const TOLD: Duration = Duration::from_hours(24);

/// A new route may have begun to load a table so long before it was found to be published.
const ROUTED_MICROS: i64 = 60_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rewrites {
    known: BTreeMap<Oid, Stored>,
}

impl Rewrites {
    /// Takes up what was known.
    pub(super) const fn new(known: BTreeMap<Oid, Stored>) -> Self {
        Self { known }
    }

    /// Notes the files of all tables. Returns what is to be stored. `all_tables`: the publication
    /// has each table from its first row on.
    pub(super) fn look(
        &mut self,
        files: &[TableFile],
        all_tables: bool,
        now: Timestamp,
    ) -> BTreeMap<Oid, Option<Stored>> {
        let mut changed = BTreeMap::new();
        let there: BTreeSet<Oid> = files.iter().map(|file| file.oid).collect();
        let is_first = self.known.is_empty();
        let gone = self.known.extract_if(.., |oid, _| !there.contains(oid));
        changed.extend(gone.map(|(oid, _)| (oid, None)));
        for file in files {
            let seen = serde_json::to_string(&(&file.file, &file.columns)).unwrap_or_default();
            let before = self.known.get(&file.oid);
            if before.is_some_and(|before| before.seen == seen) {
                continue;
            }
            let missing = match before {
                None => {
                    let is_added = !is_first && !all_tables && file.has_rows;
                    is_added.then_some((Reason::Added, now))
                }
                Some(before) if is_rewritten(&before.seen, file) => Some((Reason::Rewritten, now)),
                Some(before) => before.missing,
            };
            let stored = Stored { seen, missing };
            self.known.insert(file.oid, stored.clone());
            changed.insert(file.oid, Some(stored));
        }
        changed
    }

    /// Returns what a person has to do, of those of `files` that a route takes the rows of.
    /// `loaded`: when each table was last loaded as a whole.
    pub(super) fn warnings(
        &self,
        files: &[TableFile],
        routes: &[Arc<Route>],
        loaded: &BTreeMap<Oid, Timestamp>,
        now: Timestamp,
    ) -> Vec<Warning> {
        let warn = |file: &TableFile| {
            let (reason, at) = self.known.get(&file.oid)?.missing?;
            let before = match reason {
                Reason::Rewritten => 0,
                Reason::Added => ROUTED_MICROS,
            };
            let is_since = |loaded: &Timestamp| loaded.0.saturating_add(before) >= at.0;
            let is_over = loaded.get(&file.oid).is_some_and(is_since)
                || Duration::from_micros(now.unix_micros().abs_diff(at.unix_micros())) > TOLD;
            let TableFile { oid, namespace, name, .. } = file;
            let mut takers = routes.iter().filter(|route| takes(route, namespace, name));
            let is_wanted = match reason {
                Reason::Rewritten => takers.next().is_some(),
                Reason::Added => takers.any(|route| route.start == Start::Load),
            };
            if is_over || !is_wanted {
                return None;
            }
            let table = format!("{}.{}", quote_identifier(namespace), quote_identifier(name));
            let what = match reason {
                Reason::Rewritten => format!(
                    "ALTER TABLE wrote the rows of {table} anew: they may have other values, of \
                     which no event tells"
                ),
                Reason::Added => {
                    format!("{table} had rows when it was published: none tells of them")
                }
            };
            let text = format!("{what}; `walgate backfill start {table}` sends them");
            Some(Warning::new(format!("rows of {}", oid.0), text))
        };
        files.iter().filter_map(warn).collect()
    }
}

/// Whether the rows have other values than those of `before`, which is [`Stored::seen`].
fn is_rewritten(before: &str, now: &TableFile) -> bool {
    let before = serde_json::from_str::<(String, Vec<FileColumn>)>(before);
    let Ok((file, columns)) = before else { return false };
    let is_other_file = file != now.file;
    now.columns.iter().any(|column| {
        match columns.iter().find(|old| old.number == column.number) {
            None => is_other_file || column.filled,
            // What a VACUUM FULL writes into the rows is told to be there no longer.
            Some(old) => is_other_file && old.version != column.version && !old.filled,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Selector, TablePattern};

    const AT: Timestamp = Timestamp::from_unix_micros(0);
    const LATER: Timestamp = Timestamp::from_unix_micros(1);

    fn column(number: i32, version: &str, filled: bool) -> FileColumn {
        FileColumn { number, version: version.to_owned(), filled }
    }

    fn file(file: &str, columns: &[FileColumn]) -> [TableFile; 1] {
        let (namespace, name) = ("public".to_owned(), "t".to_owned());
        let (file, columns) = (file.to_owned(), columns.to_vec());
        [TableFile { oid: Oid(7), namespace, name, file, columns, has_rows: true }]
    }

    fn routes(start: Start) -> [Arc<Route>; 1] {
        let table = Selector::Table(TablePattern::parse("public.t").unwrap());
        [Arc::new(Route { start, ..Route::new("t", table, "far") })]
    }

    #[track_caller]
    fn check(old: (&str, &[FileColumn]), new: (&str, &[FileColumn]), rewritten: bool) {
        let mut rewrites = Rewrites::default();
        let (routes, loaded) = (routes(Start::Now), BTreeMap::new());
        let first = file(old.0, old.1);
        let stored = rewrites.look(&first, false, AT);
        assert_eq!(rewrites.warnings(&first, &routes, &loaded, AT), []);
        // Over a restart.
        let known = stored.into_iter().filter_map(|(oid, stored)| Some((oid, stored?)));
        let mut rewrites = Rewrites::new(known.collect());
        let new = file(new.0, new.1);
        let changed = rewrites.look(&new, false, LATER);
        assert_eq!(changed.len(), 1);
        let warned = |loaded, now| {
            rewrites.warnings(&new, &routes, &BTreeMap::from([(Oid(7), loaded)]), now)
        };
        assert_eq!(warned(AT, LATER).len(), usize::from(rewritten));
        assert_eq!(warned(LATER, LATER), [], "it was loaded since");
        let day = Timestamp::from_unix_micros(2 + 24 * 3600 * 1_000_000);
        assert_eq!(warned(AT, day), [], "told for long enough");
        assert_eq!(rewrites.warnings(&new, &[], &loaded, LATER), [], "nobody takes it");
    }

    #[test]
    fn rows_that_are_written_anew_are_told_from_a_file_that_is() {
        let (a, b) = (column(1, "5", false), column(2, "5", false));
        let both = [a.clone(), b];
        check(("f", &both), ("g", &both), false);
        check(("f", &both), ("g", &[a.clone(), column(2, "6", false)]), true);
        check(("f", &both), ("f", &[a.clone(), column(2, "6", false)]), false);
        check(("f", &both), ("f", &both[..1]), false);
        check(("f", &both), ("g", &both[..1]), false);
    }

    #[test]
    fn a_new_column_with_a_value_in_old_rows_is_told_from_an_empty_one() {
        let a = column(1, "5", false);
        let old = std::slice::from_ref(&a);
        check(("f", old), ("f", &[a.clone(), column(2, "6", false)]), false);
        check(("f", old), ("f", &[a.clone(), column(2, "6", true)]), true);
        check(("f", old), ("g", &[a.clone(), column(2, "6", false)]), true);
        // A VACUUM FULL writes the value into the rows.
        let filled = [a.clone(), column(2, "6", true)];
        check(("f", &filled), ("g", &[a.clone(), column(2, "7", false)]), false);
    }

    #[test]
    fn a_table_that_is_gone_is_forgotten() {
        let mut rewrites = Rewrites::default();
        assert_eq!(rewrites.look(&file("f", &[]), false, AT).len(), 1);
        assert_eq!(rewrites.look(&file("f", &[]), false, AT), BTreeMap::new());
        assert_eq!(rewrites.look(&[], false, AT), BTreeMap::from([(Oid(7), None)]));
    }

    #[test]
    fn a_table_that_had_rows_when_it_was_published_is_told_of_where_they_are_wanted() {
        let before = || Stored { seen: String::new(), missing: None };
        let warned = |known: BTreeMap<Oid, Stored>, all_tables, has_rows, start| {
            let mut rewrites = Rewrites::new(known);
            let mut files = file("f", &[]);
            files[0].has_rows = has_rows;
            let _stored = rewrites.look(&files, all_tables, AT);
            rewrites.warnings(&files, &routes(start), &BTreeMap::new(), AT).len()
        };
        let other = || BTreeMap::from([(Oid(6), before())]);
        let mut rewrites = Rewrites::new(other());
        let _stored = rewrites.look(&file("f", &[]), false, LATER);
        let loaded = BTreeMap::from([(Oid(7), AT)]);
        let told = rewrites.warnings(&file("f", &[]), &routes(Start::Load), &loaded, LATER);
        assert_eq!(told, [], "its route has begun to load it");
        assert_eq!(warned(other(), false, true, Start::Load), 1);
        assert_eq!(warned(other(), false, true, Start::Now), 0, "nobody wants them");
        assert_eq!(warned(other(), false, false, Start::Load), 0, "there are none");
        assert_eq!(warned(other(), true, true, Start::Load), 0, "it was published all along");
        assert_eq!(warned(BTreeMap::new(), false, true, Start::Load), 0, "nothing was known yet");
    }
}
