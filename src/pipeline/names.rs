//! [`Names`]: by which name each table was first known (pure).
//!
//! A table that is renamed, or moved to another schema, is the same table: whoever asked for it by
//! its name goes on getting it. Until another table has that name: then that one is meant.

use std::collections::{BTreeMap, HashMap};

use crate::lsn::Oid;
use crate::progress::tables::Named;
use crate::relation::TableName;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    known: BTreeMap<Oid, Named>,
    /// Whose first name it is.
    firsts: HashMap<TableName, Oid>,
    /// What is to be stored; none: it is known by no name any more.
    changed: BTreeMap<Oid, Option<Named>>,
}

impl Names {
    /// Takes up what was known.
    pub(super) fn new(known: BTreeMap<Oid, Named>) -> Self {
        let firsts = known.iter().map(|(oid, named)| (named.first.clone(), *oid)).collect();
        Self { known, firsts, changed: BTreeMap::new() }
    }

    /// Notes what a table is called at this point of the log. Returns the name that it was first
    /// known by, where that is another and nobody else's.
    pub(super) fn note(&mut self, table: Oid, name: &TableName) -> Option<TableName> {
        // Whoever was known by this name has lost it.
        if let Some(other) = self.firsts.get(name).copied().filter(|other| *other != table) {
            self.firsts.remove(name);
            self.known.remove(&other);
            self.changed.insert(other, None);
        }
        match self.known.get_mut(&table) {
            Some(named) if named.now == *name => {}
            Some(named) => {
                named.now.clone_from(name);
                self.changed.insert(table, Some(named.clone()));
            }
            None => {
                let named = Named { first: name.clone(), now: name.clone() };
                self.firsts.insert(name.clone(), table);
                self.changed.insert(table, Some(named.clone()));
                self.known.insert(table, named);
            }
        }
        self.formerly(table, name)
    }

    /// Returns the name that a table was first known by, where `name` is another.
    pub(super) fn formerly(&self, table: Oid, name: &TableName) -> Option<TableName> {
        let first = &self.known.get(&table)?.first;
        (first != name).then(|| first.clone())
    }

    /// Returns the table that was first known by a name.
    pub(super) fn first(&self, name: &TableName) -> Option<Oid> {
        self.firsts.get(name).copied()
    }

    /// Returns what is to be stored.
    pub(super) const fn changed(&self) -> &BTreeMap<Oid, Option<Named>> {
        &self.changed
    }

    /// Takes note of what was stored.
    pub(super) fn stored(&mut self, changed: &BTreeMap<Oid, Option<Named>>) {
        self.changed.retain(|oid, named| changed.get(oid) != Some(named));
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
        assert_eq!((names.first(&name("a")), names.first(&name("c"))), (Some(Oid(1)), None));
        assert_eq!(names.note(Oid(1), &name("a")), None);
    }

    #[test]
    fn a_table_that_takes_the_name_of_another_is_meant_by_it() {
        let mut names = Names::default();
        let _first = names.note(Oid(1), &name("a"));
        let _renamed = names.note(Oid(1), &name("a_old"));
        assert_eq!(names.note(Oid(2), &name("a")), None, "dropped and made anew, or swapped");
        assert_eq!(names.note(Oid(1), &name("a_old")), None);
        assert_eq!(names.first(&name("a")), Some(Oid(2)));
        assert_eq!(names.first(&name("a_old")), Some(Oid(1)));
    }

    #[test]
    fn what_changed_is_to_be_stored_until_it_is() {
        let mut names = Names::default();
        let _first = names.note(Oid(1), &name("a"));
        let stored = names.changed().clone();
        let _renamed = names.note(Oid(1), &name("b"));
        names.stored(&stored);
        let named = Named { first: name("a"), now: name("b") };
        assert_eq!(names.changed().get(&Oid(1)), Some(&Some(named)), "it changed meanwhile");
        let stored = names.changed().clone();
        names.stored(&stored);
        assert!(names.changed().is_empty());
        let _same = names.note(Oid(1), &name("b"));
        assert!(names.changed().is_empty());
        let _other = names.note(Oid(2), &name("a"));
        assert_eq!(names.changed().get(&Oid(1)), Some(&None));
    }
}
