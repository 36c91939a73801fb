//! [`Names`]: by which name each table was first known (pure).
//!
//! A table that is renamed, or moved to another schema, is the same table: whoever asked for it by
//! its name goes on getting it. Until another table has that name: then that one is meant.

use std::collections::BTreeMap;

use crate::lsn::Oid;
use crate::relation::TableName;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names(BTreeMap<Oid, TableName>);

impl Names {
    /// Takes up what was known.
    pub(super) const fn new(known: BTreeMap<Oid, TableName>) -> Self {
        Self(known)
    }

    /// Notes what a table is called at this point of the log. Returns the name that it was first
    /// known by, where that is another and nobody else's.
    pub(super) fn note(&mut self, table: Oid, name: &TableName) -> Option<TableName> {
        // Whoever was known by this name has lost it.
        self.0.retain(|other, first| *other == table || first != name);
        let first = self.0.entry(table).or_insert_with(|| name.clone());
        (first != name).then(|| first.clone())
    }

    /// Returns what is known, by oid.
    pub(super) const fn known(&self) -> &BTreeMap<Oid, TableName> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> TableName {
        TableName { namespace: "public".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_table_that_is_renamed_is_known_by_its_first_name() {
        let mut names = Names::default();
        assert_eq!(names.note(Oid(1), &name("a")), None);
        assert_eq!(names.note(Oid(1), &name("b")), Some(name("a")));
        assert_eq!(names.note(Oid(1), &name("c")), Some(name("a")));
        assert_eq!(names.note(Oid(1), &name("a")), None);
    }

    #[test]
    fn a_table_that_takes_the_name_of_another_is_meant_by_it() {
        let mut names = Names::default();
        let _first = names.note(Oid(1), &name("a"));
        let _renamed = names.note(Oid(1), &name("a_old"));
        assert_eq!(names.note(Oid(2), &name("a")), None, "dropped and made anew, or swapped");
        assert_eq!(names.note(Oid(1), &name("a_old")), None);
        assert_eq!(names.known().len(), 2);
    }
}
