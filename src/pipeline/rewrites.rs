//! [`Rewrites`]: tables whose rows an ALTER TABLE wrote anew, of which no event tells (pure).
//!
//! A change of a column's type, a new column with a default, a generated column with another
//! expression: the rows that are there have other values, and the stream brings none of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::wanted::Warning;
use crate::lsn::{Oid, Timestamp};
use crate::progress::files::Stored;
use crate::relation::TableName;
use crate::source::catalog::{FileColumn, TableFile};

/// So long it is told of that a table was written anew, unless it is loaded before.
const TOLD: Duration = Duration::from_hours(24);

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

    /// Notes the files of all tables. Returns what is to be stored.
    pub(super) fn look(
        &mut self,
        files: &[TableFile],
        now: Timestamp,
    ) -> BTreeMap<Oid, Option<Stored>> {
        let mut changed = BTreeMap::new();
        let is_there = |oid: &Oid| files.iter().any(|file| file.oid == *oid);
        let gone: Vec<Oid> = self.known.keys().filter(|oid| !is_there(oid)).copied().collect();
        for oid in gone {
            self.known.remove(&oid);
            changed.insert(oid, None);
        }
        for file in files {
            let seen = serde_json::to_string(&(&file.file, &file.columns)).unwrap_or_default();
            let before = self.known.get(&file.oid);
            if before.is_some_and(|before| before.seen == seen) {
                continue;
            }
            let was = before.and_then(|before| serde_json::from_str(&before.seen).ok());
            let is_rewritten = was.is_some_and(|(old, columns): (String, Vec<FileColumn>)| {
                is_rewritten(&columns, &file.columns, old != file.file)
            });
            let told = before.and_then(|before| before.rewritten_at);
            let rewritten_at = if is_rewritten { Some(now) } else { told };
            let stored = Stored { seen, rewritten_at };
            self.known.insert(file.oid, stored.clone());
            changed.insert(file.oid, Some(stored));
        }
        changed
    }

    /// Returns what a person has to do. `loaded`: when each table was last loaded as a whole.
    pub(super) fn warnings(
        &self,
        files: &[TableFile],
        loaded: &BTreeMap<Oid, Timestamp>,
        now: Timestamp,
    ) -> Vec<Warning> {
        let warn = |file: &TableFile| {
            let at = self.known.get(&file.oid)?.rewritten_at?;
            let is_over = loaded.get(&file.oid).is_some_and(|loaded| *loaded >= at)
                || Duration::from_micros(now.unix_micros().abs_diff(at.unix_micros())) > TOLD;
            if is_over {
                return None;
            }
            let TableFile { namespace, name, .. } = file.clone();
            let table = TableName { namespace, name }.quoted();
            let text = format!(
                "ALTER TABLE wrote the rows of {table} anew: they may have other values, of which \
                 no event tells; `walgate backfill start {table}` sends them"
            );
            Some(Warning::new(format!("rewritten {}", file.oid.0), text))
        };
        files.iter().filter_map(warn).collect()
    }
}

/// Whether the rows have other values than before.
fn is_rewritten(old: &[FileColumn], new: &[FileColumn], is_other_file: bool) -> bool {
    new.iter().any(|column| {
        match old.iter().find(|old| old.number == column.number) {
            None => is_other_file || column.filled,
            // What a VACUUM FULL writes into the rows is told to be there no longer.
            Some(old) => is_other_file && old.version != column.version && !old.filled,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_unix_micros(0);
    const LATER: Timestamp = Timestamp::from_unix_micros(1);

    fn column(number: i32, version: &str, filled: bool) -> FileColumn {
        FileColumn { number, version: version.to_owned(), filled }
    }

    fn file(file: &str, columns: &[FileColumn]) -> [TableFile; 1] {
        let (namespace, name) = ("public".to_owned(), "t".to_owned());
        [TableFile {
            oid: Oid(7),
            namespace,
            name,
            file: file.to_owned(),
            columns: columns.to_vec(),
        }]
    }

    #[track_caller]
    fn check(old: (&str, &[FileColumn]), new: (&str, &[FileColumn]), rewritten: bool) {
        let mut rewrites = Rewrites::default();
        let stored = rewrites.look(&file(old.0, old.1), AT);
        assert_eq!(rewrites.warnings(&file(old.0, old.1), &BTreeMap::new(), AT), []);
        // Over a restart.
        let known = stored.into_iter().filter_map(|(oid, stored)| Some((oid, stored?)));
        let mut rewrites = Rewrites::new(known.collect());
        let new = file(new.0, new.1);
        let changed = rewrites.look(&new, LATER);
        assert_eq!(changed.len(), 1);
        let warned =
            |loaded, now| rewrites.warnings(&new, &BTreeMap::from([(Oid(7), loaded)]), now);
        assert_eq!(warned(AT, LATER).len(), usize::from(rewritten));
        assert_eq!(warned(LATER, LATER), [], "it was loaded since");
        let day = Timestamp::from_unix_micros(2 + 24 * 3600 * 1_000_000);
        assert_eq!(warned(AT, day), [], "told for long enough");
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
        assert_eq!(rewrites.look(&file("f", &[]), AT).len(), 1);
        assert_eq!(rewrites.look(&file("f", &[]), AT), BTreeMap::new());
        assert_eq!(rewrites.look(&[], AT), BTreeMap::from([(Oid(7), None)]));
    }
}
