//! [`Plan`]: a batch as it is read before the server is asked for anything.

use std::collections::HashMap;

use super::name::Name;
use crate::chunk::Operation;
use crate::envelope::Envelope;
use crate::failure::Category;
use crate::relation::Relation;
use crate::sink::row::{Change, Origin};
use crate::sink::template::{Event, Template};
use crate::sink::{Batch, Failure, Form};

/// What a batch tells, and of which tables.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The stream that it comes from.
    pub(super) origin: Origin,
    /// The tables, each once.
    pub(super) tables: Vec<Name>,
    /// One an event, in order.
    pub(super) events: Vec<Planned<'a>>,
}

/// An event that was read.
#[derive(Debug)]
pub(super) struct Planned<'a> {
    pub(super) envelope: &'a Envelope,
    pub(super) change: Change<'a>,
    /// Its table in the plan's.
    pub(super) table: usize,
}

impl<'a> Plan<'a> {
    /// Reads a batch.
    ///
    /// # Errors
    /// An event that is no row's, or whose table has no name: the batch is refused, so that
    /// halving it finds the event.
    pub(super) fn read(
        batch: &'a Batch,
        template: &Template,
        by_key: bool,
    ) -> Result<Self, Failure> {
        let rejected = |message: String| Failure::new(Category::Rejected, message);
        let mut known: HashMap<String, usize> = HashMap::new();
        let (mut tables, mut events) = (Vec::new(), Vec::with_capacity(batch.events.len()));
        for envelope in &batch.events {
            let change = Change::read(envelope).map_err(|unfit| rejected(unfit.to_string()))?;
            let is_of_a_row = change.operation != Operation::Truncate;
            if by_key && is_of_a_row && change.key.is_none() {
                let cure = "give the route a key, or use mode = \"append\"";
                return Err(rejected(format!("the row has no key to be kept by: {cure}")));
            }
            let event = Event { envelope, form: Form::Walgate };
            let text = template.render(&event).map_err(|e| rejected(format!("`table`: {e}")))?;
            let table = match known.get(&text) {
                Some(table) => *table,
                None => {
                    let name = Name::parse(&text).map_err(|e| rejected(format!("`table` {e}")))?;
                    let table = tables.iter().position(|other| *other == name);
                    let table = table.unwrap_or_else(|| {
                        tables.push(name);
                        tables.len().saturating_sub(1)
                    });
                    known.insert(text, table);
                    table
                }
            };
            events.push(Planned { envelope, change, table });
        }
        let origin = match batch.events.first() {
            Some(envelope) => {
                Origin::read(envelope).map_err(|unfit| rejected(unfit.to_string()))?
            }
            None => Origin::default(),
        };
        Ok(Self { origin, tables, events })
    }

    /// Returns the events of one table.
    pub(super) fn of(&self, table: usize) -> impl Iterator<Item = &Planned<'a>> {
        self.events.iter().filter(move |event| event.table == table)
    }
}

impl Planned<'_> {
    /// Returns the source's table, where the event's fields are its columns as they are.
    pub(super) fn relation(&self) -> Option<&Relation> {
        let entry = self.envelope.chunk.entries.get(self.envelope.entry as usize)?;
        self.envelope.chunk.relation(entry).map(AsRef::as_ref)
    }

    /// Whether a mapping made its fields: their types are not the source's.
    pub(super) fn is_mapped(&self) -> bool {
        self.envelope.route.mapping.is_some()
    }

    /// Whether it brings a row, or takes one.
    pub(super) fn is_of_a_row(&self) -> bool {
        self.change.operation != Operation::Truncate
    }
}
