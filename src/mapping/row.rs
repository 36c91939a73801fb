//! [`Row`]: the row image of a change that rules read.

use crate::change::{Cell, Change};

/// A row of a change: the new one, or the old one of a delete or beside the new one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    change: &'a Change<'a>,
    old: bool,
}

impl<'a> Row<'a> {
    /// The row as it is now.
    pub(super) fn new(change: &'a Change<'a>) -> Self {
        Self { change, old: false }
    }

    /// The row as it was.
    pub(super) fn old(change: &'a Change<'a>) -> Self {
        Self { change, old: true }
    }

    /// Returns what is known of column `index`.
    #[inline]
    pub(super) fn cell(&self, index: usize) -> Cell<'a> {
        if self.old { self.change.old_cell(index) } else { self.change.new_cell(index) }
    }
}
