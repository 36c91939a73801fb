//! [`Row`]: the row image of a change that rules read.

use crate::change::{Cell, Change};
use crate::chunk::Operation;

/// A row of a change, as rules see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    change: &'a Change<'a>,
    image: Image,
    /// Nothing is known of what was before it.
    alone: bool,
}

/// Which image values are read from.
#[derive(Clone, Copy, Debug)]
enum Image {
    New,
    Old,
    /// The old one; the identity's columns, which come in it only when they change, else from the
    /// new one.
    Left,
}

impl<'a> Row<'a> {
    /// The row as it is now.
    pub(super) const fn new(change: &'a Change<'a>) -> Self {
        Self { change, image: Image::New, alone: false }
    }

    /// The row that is gone now.
    pub(super) const fn gone(change: &'a Change<'a>) -> Self {
        Self { change, image: Image::Old, alone: false }
    }

    /// The row as it was before the change.
    pub(super) const fn before(change: &'a Change<'a>) -> Self {
        Self { change, image: Image::Old, alone: true }
    }

    /// The row as it was before an update that takes it out of a route.
    pub(super) const fn left(change: &'a Change<'a>) -> Self {
        Self { change, image: Image::Left, alone: true }
    }

    /// The same row, as what is sent of it is made of it: one that is gone.
    pub(super) const fn leaving(change: &'a Change<'a>) -> Self {
        Self { change, image: Image::Left, alone: false }
    }

    /// The row that the change is about: of a delete the one that is gone.
    pub(super) const fn of(change: &'a Change<'a>) -> Self {
        match change.operation {
            Operation::Delete => Self::gone(change),
            _ => Self::new(change),
        }
    }

    /// Returns what is known of column `index`.
    #[inline]
    pub(super) fn cell(&self, index: usize) -> Cell<'a> {
        match self.image {
            Image::New => self.change.new_cell(index),
            Image::Old => self.change.old_cell(index),
            Image::Left => self.left_cell(index),
        }
    }

    #[cold]
    fn left_cell(&self, index: usize) -> Cell<'a> {
        let columns = self.change.relation.map(|relation| relation.columns.as_slice());
        let column = columns.and_then(|columns| columns.get(index));
        match self.change.old_cell(index) {
            Cell::Unchanged | Cell::Absent if column.is_some_and(|column| column.in_identity) => {
                self.change.new_cell(index)
            }
            Cell::Absent => Cell::Unchanged,
            cell => cell,
        }
    }

    /// Returns the row that it was; none where Postgres sent nothing of it.
    pub(super) fn old(&self) -> Option<Self> {
        match self.image {
            _ if self.alone => None,
            Image::Left => Some(Self::left(self.change)),
            Image::New | Image::Old => {
                self.change.images.old.present.then(|| Self::before(self.change))
            }
        }
    }

    /// Returns what became of it: what Postgres did, or the delete that leaving a route is.
    pub(super) const fn operation(&self) -> Operation {
        match self.image {
            Image::Left if !self.alone => Operation::Delete,
            Image::Left | Image::New | Image::Old => self.change.operation,
        }
    }
}
