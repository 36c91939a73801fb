//! What stands in the file once each value has been read: typed, with places and defaults.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;

use super::unit::Rate;
use crate::mapping::Given;
use crate::secret::Secret;

/// A place in the text, in bytes.
pub(super) type Span = Range<usize>;

/// A table whose keys are known ones with values of the right form.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Where it begins: its key, or its header in a list.
    pub(super) place: Span,
    /// In the order of the file; defaults follow.
    pub(super) entries: Vec<Entry>,
    /// Keys stand in the file that have been noted as wrong and left out.
    pub(super) refused: bool,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Of the key.
    pub(super) place: Span,
    /// Of the value.
    pub(super) span: Span,
    /// It stands in the file.
    pub(super) given: bool,
    pub(super) value: Value,
}

/// A value that has the form its key asks for.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(Secret),
    Path(PathBuf),
    Integer(u32),
    Boolean(bool),
    Duration(Duration),
    Size(u64),
    Rate(Rate),
    Any(Json),
    Cell(Given),
    /// A table with keys of its own, named tables, headers, values of any form.
    Table(Table),
    List(Vec<Entry>),
}

impl Table {
    /// Returns a key's entry; none when it is neither there nor has a default.
    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Whether the key stands in the file.
    pub(super) fn given(&self, name: &str) -> bool {
        self.entry(name).is_some_and(|entry| entry.given)
    }

    /// Returns where a key's value stands, or else the table.
    pub(super) fn span(&self, name: &str) -> Span {
        self.entry(name).filter(|e| e.given).map_or_else(|| self.place.clone(), |e| e.span.clone())
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.secret(name).map(Secret::expose)
    }

    pub(super) fn secret(&self, name: &str) -> Option<&Secret> {
        self.entry(name)?.secret()
    }

    pub(super) fn path(&self, name: &str) -> Option<&PathBuf> {
        match &self.entry(name)?.value {
            Value::Path(path) => Some(path),
            _ => None,
        }
    }

    pub(super) fn integer(&self, name: &str) -> Option<u32> {
        match &self.entry(name)?.value {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        match &self.entry(name)?.value {
            Value::Boolean(boolean) => Some(*boolean),
            _ => None,
        }
    }

    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        match &self.entry(name)?.value {
            Value::Duration(duration) => Some(*duration),
            _ => None,
        }
    }

    pub(super) fn size(&self, name: &str) -> Option<u64> {
        match &self.entry(name)?.value {
            Value::Size(size) => Some(*size),
            _ => None,
        }
    }

    pub(super) fn rate(&self, name: &str) -> Option<Rate> {
        match &self.entry(name)?.value {
            Value::Rate(rate) => Some(*rate),
            _ => None,
        }
    }

    pub(super) fn any(&self, name: &str) -> Option<&Json> {
        match &self.entry(name)?.value {
            Value::Any(json) => Some(json),
            _ => None,
        }
    }

    /// Returns the values of a row, by column; empty where there is none.
    pub(super) fn cells(&self, name: &str) -> Vec<(String, Given)> {
        let entries = self.named(name).iter();
        let cells = entries.filter_map(|entry| match &entry.value {
            Value::Cell(given) => Some((entry.name.clone(), given.clone())),
            _ => None,
        });
        cells.collect()
    }

    pub(super) fn table(&self, name: &str) -> Option<&Self> {
        self.entry(name)?.table()
    }

    /// Returns the entries of a list; empty where there is none.
    pub(super) fn list(&self, name: &str) -> &[Entry] {
        match self.entry(name).map(|entry| &entry.value) {
            Some(Value::List(entries)) => entries,
            _ => &[],
        }
    }

    /// Returns the entries of a table of names; empty where there is none.
    pub(super) fn named(&self, name: &str) -> &[Entry] {
        self.table(name).map_or(&[], |table| &table.entries)
    }
}

impl Entry {
    pub(super) fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(super) fn secret(&self) -> Option<&Secret> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        self.secret().map(Secret::expose)
    }
}
