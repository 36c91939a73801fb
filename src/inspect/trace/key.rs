//! The key of a row: read, and held against the rows of the journal (pure).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use serde_json::value::RawValue;

use super::Error;
use crate::change::{Cell, Change};
use crate::chunk::Operation;
use crate::mapping::Json;
use crate::pgoutput::value::write_json;
use crate::relation::Relation;

/// The values of a row's key, by column.
#[derive(Debug)]
pub struct Key {
    columns: Vec<(String, Json)>,
}

/// Where the key's columns lie in one version of a table.
#[derive(Clone, Debug)]
pub struct Place(Vec<usize>);

/// How a change has to do with the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bond {
    /// It is of this key, before and after.
    Same,
    /// It gave this key to a row that had another.
    Arrives,
    /// It gave the row another key.
    Leaves,
}

impl Key {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// [`Error::Asked`] when it is none, or empty.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let help = "write it as {\"id\": 42}, with every column of the route's key";
        let wrong = |what: String| Error::asked(what).with(help);
        let columns: BTreeMap<String, &RawValue> = serde_json::from_str(text)
            .map_err(|error| wrong(format!("the key is no JSON object: {error}")))?;
        if columns.is_empty() {
            return Err(wrong("the key names no column".to_owned()));
        }
        let columns = columns.into_iter();
        let columns = columns.map(|(name, value)| (name, Json::read(value.get())));
        Ok(Self { columns: columns.collect() })
    }

    /// Returns the names of its columns.
    pub fn names(&self) -> BTreeSet<&str> {
        self.columns.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Finds its columns in a version of the table; none when one is missing.
    pub fn place(&self, relation: &Relation) -> Option<Place> {
        self.columns.iter().map(|(name, _)| relation.column(name)).collect::<Option<_>>().map(Place)
    }

    /// Returns how a change has to do with this key; none: nothing at all. A TRUNCATE has to do
    /// with every row.
    pub fn bond<'a>(
        &self,
        place: &Place,
        relation: &Relation,
        change: &Change<'a>,
    ) -> Option<Bond> {
        let is = |cell: &dyn Fn(usize) -> Cell<'a>| {
            let mut pairs = self.columns.iter().zip(&place.0);
            pairs.all(|((_, wanted), index)| is(wanted, cell(*index), relation, *index))
        };
        match change.operation {
            Operation::Truncate => Some(Bond::Same),
            Operation::Message => None,
            Operation::Delete => is(&|index| change.old_cell(index)).then_some(Bond::Same),
            Operation::Read | Operation::Insert => {
                is(&|index| change.new_cell(index)).then_some(Bond::Same)
            }
            Operation::Update => {
                match (is(&|index| new(change, index)), is(&|index| old(change, index))) {
                    (true, true) => Some(Bond::Same),
                    (true, false) => Some(Bond::Arrives),
                    (false, true) => Some(Bond::Leaves),
                    (false, false) => None,
                }
            }
        }
    }
}

impl Place {
    /// Returns the key that a change leaves its row with, as JSON; none for a TRUNCATE.
    pub fn json(&self, relation: &Relation, change: &Change<'_>) -> Option<String> {
        match change.operation {
            Operation::Truncate | Operation::Message => None,
            Operation::Delete => Some(self.write(relation, |index| change.old_cell(index))),
            Operation::Read | Operation::Insert | Operation::Update => {
                Some(self.write(relation, |index| new(change, index)))
            }
        }
    }

    /// Returns the key that the row had before, as JSON.
    pub fn json_before(&self, relation: &Relation, change: &Change<'_>) -> String {
        self.write(relation, |index| old(change, index))
    }

    fn write<'a>(&self, relation: &Relation, cell: impl Fn(usize) -> Cell<'a>) -> String {
        let mut out = String::from("{");
        for index in &self.0 {
            let Some(column) = relation.columns.get(*index) else { continue };
            if out.len() > 1 {
                out.push(',');
            }
            out.push_str(&Value::from(column.name.as_str()).to_string());
            out.push(':');
            out.push_str(&json(cell(*index), relation, *index).unwrap_or_else(|| "null".into()));
        }
        out.push('}');
        out
    }
}

fn new<'a>(change: &Change<'a>, index: usize) -> Cell<'a> {
    match change.new_cell(index) {
        Cell::Unchanged | Cell::Absent => change.old_cell(index),
        cell => cell,
    }
}

/// An update that brings no old key did not change it.
fn old<'a>(change: &Change<'a>, index: usize) -> Cell<'a> {
    match change.old_cell(index) {
        Cell::Unchanged | Cell::Absent => change.new_cell(index),
        cell => cell,
    }
}

/// Returns a value as an event has it; none when Postgres did not send it.
fn json(cell: Cell<'_>, relation: &Relation, index: usize) -> Option<String> {
    match cell {
        Cell::Null => Some("null".to_owned()),
        Cell::Unchanged | Cell::Absent => None,
        Cell::Value(text) => {
            let mut out = Vec::new();
            write_json(&relation.columns.get(index)?.kind, text, &mut out);
            Some(String::from_utf8_lossy(&out).into_owned())
        }
    }
}

fn is(value: &Json, cell: Cell<'_>, relation: &Relation, index: usize) -> bool {
    json(cell, relation, index).is_some_and(|json| Json::read(&json) == *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(a: &str, b: &str, is: bool) {
        assert_eq!(Json::read(a) == Json::read(b), is, "{a} and {b}");
    }

    #[test]
    fn numbers_are_compared_by_their_digits() {
        same("42", "42", true);
        same("12.50", "12.5", true);
        same("1e3", "1000", true);
        same("-0", "0.0", true);
        same("100", "1", false);
        same("-1", "1", false);
        same("0.01", "0.1", false);
        let long = "123456789012345678901234567890.123456789";
        same(long, &format!("{long}00"), true);
        same(long, &format!("{long}1"), false);
        same("9007199254740993", "9007199254740992", false);
    }

    #[test]
    fn other_values_are_compared_by_what_they_say() {
        same(r#""a""#, r#""\u0061""#, true);
        same(r#""42""#, "42", false);
        same("null", "null", true);
        same("null", "0", false);
        same("[1, 2]", "[1,2]", true);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in ["", "42", "[1]", "{}", "{\"id\":}"] {
            let error = Key::parse(bad).unwrap_err();
            assert!(matches!(error, Error::Asked { help: Some(_), .. }), "{error:?}");
        }
        assert_eq!(Key::parse("{\"b\":1,\"a\":2}").unwrap().names(), BTreeSet::from(["a", "b"]));
    }
}
