//! [`Changes`]: the events of a batch as changes of rows, each with the table that it goes to.

use std::collections::HashMap;

use super::Board;
use crate::envelope::Envelope;
use crate::sink::Form;
use crate::sink::fold::{Action, Item, NoKey, fold};
use crate::sink::row::Change;
use crate::sink::template::{Event, Template};

/// What of a batch can be read.
#[derive(Debug)]
pub(in crate::sink) struct Changes<'a, N> {
    /// The tables of the far side, each once.
    pub(in crate::sink) tables: Vec<N>,
    /// In the batch's order.
    pub(in crate::sink) all: Vec<OfTable<'a>>,
}

/// A change and where it goes.
#[derive(Debug)]
pub(in crate::sink) struct OfTable<'a> {
    /// The event's index in its batch.
    pub(in crate::sink) event: usize,
    /// Its table's in [`Changes::tables`].
    pub(in crate::sink) table: usize,
    /// What it tells.
    pub(in crate::sink) change: Change<'a>,
}

impl<'a, N: PartialEq> Changes<'a, N> {
    /// Reads events; what can't be written is refused on the board. `name` makes a table of what
    /// the template made, `fits` looks at each change; both say what is wrong, without a value.
    pub(in crate::sink) fn read(
        events: &'a [Envelope],
        template: &Template,
        board: &mut Board,
        name: impl Fn(&str) -> Result<N, String>,
        fits: impl Fn(&Change<'_>) -> Result<(), &'static str>,
    ) -> Self {
        let mut changes = Self { tables: Vec::new(), all: Vec::with_capacity(events.len()) };
        let mut known: HashMap<String, usize> = HashMap::new();
        for (event, envelope) in events.iter().enumerate() {
            let read = Change::read(envelope).map_err(|unfit| unfit.to_string());
            let read = read.and_then(|change| {
                fits(&change)?;
                let text = template.render(&Event { envelope, form: Form::Walgate });
                let text = text.map_err(|error| error.to_string())?;
                let table = match known.get(&text) {
                    Some(table) => *table,
                    None => {
                        let table = changes.number(name(&text)?);
                        known.insert(text, table);
                        table
                    }
                };
                Ok(OfTable { event, table, change })
            });
            match read {
                Ok(change) => changes.all.push(change),
                Err(why) => board.refuse(&[event], &why),
            }
        }
        changes
    }

    fn number(&mut self, table: N) -> usize {
        let found = self.tables.iter().position(|known| *known == table);
        found.unwrap_or_else(|| {
            self.tables.push(table);
            self.tables.len().saturating_sub(1)
        })
    }

    /// Folds the changes of each key into one; a row without a key is refused with `no_key`.
    pub(in crate::sink) fn fold(&self, board: &mut Board, no_key: &str) -> Vec<Action<'a>> {
        let items = self.all.iter();
        let items = items.map(|OfTable { event, table, change }| Item {
            event: *event,
            scope: *table,
            change,
        });
        match fold(items) {
            Ok(actions) => actions,
            // None of the others is done either.
            Err(NoKey(event)) => {
                self.all.iter().for_each(|change| board.expect(&[change.event]));
                board.refuse(&[event], no_key);
                Vec::new()
            }
        }
    }
}
