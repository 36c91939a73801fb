//! [`Shelf`]: the tables of lookups that lie in files, read once and kept.
//!
//! A config that is loaded reads its files. A mapping that somebody tries finds those tables that
//! the config in force has, by the same words, and no file besides.

use std::cell::RefCell;
use std::path::Path;

use crate::mapping::Lookup;

/// The words by which a lookup names its file: `file`, `key` and `value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) file: String,
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
}

/// Tables that were read.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Held(Vec<(Words, Lookup)>);

/// Where lookups are looked for.
#[derive(Debug)]
pub(in crate::config) struct Shelf<'a> {
    /// What files lie in; none: no file is read.
    folder: Option<&'a Path>,
    held: RefCell<Held>,
}

impl<'a> Shelf<'a> {
    /// Reads files beside a config.
    pub(in crate::config) fn open(folder: &'a Path) -> Self {
        Self { folder: Some(folder), held: RefCell::default() }
    }

    /// Reads nothing, and has what was read.
    pub(in crate::config) fn closed(held: Held) -> Self {
        Self { folder: None, held: RefCell::new(held) }
    }

    /// Returns what was read.
    pub(in crate::config) fn into_held(self) -> Held {
        self.held.into_inner()
    }

    /// Returns what files lie in; none: no file may be read.
    pub(super) const fn folder(&self) -> Option<&'a Path> {
        self.folder
    }

    pub(super) fn find(&self, words: &Words) -> Option<Lookup> {
        let held = self.held.borrow();
        held.0.iter().find(|(other, _)| other == words).map(|(_, lookup)| lookup.clone())
    }

    pub(super) fn keep(&self, words: Words, lookup: &Lookup) {
        self.held.borrow_mut().0.push((words, lookup.clone()));
    }
}
