//! [`Change`]: one committed row change, borrowed from its chunk, and the four states of a value.

use std::sync::Arc;

use crate::chunk::{Operation, Transaction};
use crate::relation::Relation;

/// What is known of one column in one row image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// The value, as Postgres text.
    Value(&'a [u8]),
    /// SQL NULL.
    Null,
    /// Not sent: an unchanged TOASTed value, or a column outside the key in an old key image.
    Unchanged,
    /// The table has no such column, or there is no such row image.
    Absent,
}

/// Which row images a change carries and where each value lies in its frame. Filled by
/// `pgoutput`, kept between changes so that no row costs an allocation.
#[derive(Clone, Debug, Default)]
pub struct Images {
    /// The new row: of insert, update and read.
    pub new: Image,
    /// The old row or old key: of update and delete, when the server sent it.
    pub old: Image,
    /// `old` holds the whole row (`REPLICA IDENTITY FULL`), not only its key.
    pub old_is_full: bool,
}

/// One row image: a place a column, in the relation's order. Empty when the server sent none.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Whether the server sent this image at all (a table may have no columns).
    pub present: bool,
    /// One a column.
    pub slots: Vec<Slot>,
}

/// Where one value lies in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Text of `length` bytes at `offset` of the frame.
    Value {
        /// From the start of the frame, in bytes.
        offset: u32,
        /// In bytes.
        length: u32,
    },
    /// SQL NULL.
    Null,
    /// Not sent.
    Unchanged,
}

impl Image {
    /// Returns what is known of column `index`, reading values from `frame`.
    #[must_use]
    pub fn cell<'a>(&self, frame: &'a [u8], index: usize) -> Cell<'a> {
        match self.slots.get(index) {
            Some(Slot::Value { offset, length }) => {
                let start = *offset as usize;
                frame
                    .get(start..start.saturating_add(*length as usize))
                    .map_or(Cell::Absent, Cell::Value)
            }
            Some(Slot::Null) => Cell::Null,
            Some(Slot::Unchanged) => Cell::Unchanged,
            None => Cell::Absent,
        }
    }
}

/// One committed row change, truncate or message, borrowed from its chunk.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What was done.
    pub operation: Operation,
    /// The table as it was then; none for a logical message.
    pub relation: Option<&'a Arc<Relation>>,
    /// The transaction that did it.
    pub transaction: &'a Transaction,
    /// Its place in the transaction.
    pub seq: u32,
    /// The pgoutput message.
    pub frame: &'a [u8],
    /// Where the values lie in `frame`.
    pub images: &'a Images,
}

impl<'a> Change<'a> {
    /// Returns the new value of column `index`. With a full old row, a value that was not sent
    /// because it did not change is taken from there.
    #[must_use]
    pub fn new_cell(&self, index: usize) -> Cell<'a> {
        match self.images.new.cell(self.frame, index) {
            Cell::Unchanged if self.images.old_is_full => self.images.old.cell(self.frame, index),
            cell => cell,
        }
    }

    /// Returns the old value of column `index`; outside the key of a key-only image it is
    /// [`Cell::Unchanged`], never NULL.
    #[must_use]
    pub fn old_cell(&self, index: usize) -> Cell<'a> {
        let cell = self.images.old.cell(self.frame, index);
        let in_key = || {
            self.relation
                .and_then(|relation| relation.columns.get(index))
                .is_some_and(|column| column.in_identity)
        };
        match cell {
            Cell::Null if !self.images.old_is_full && !in_key() => Cell::Unchanged,
            cell => cell,
        }
    }
}
