//! A mapping compiled for one version of a table: [`Plan`]. Rendering walks it and appends bytes.

mod outline;
mod field;

use serde_json::{Map, Value};

use self::field::FieldStep;
use self::outline::Outline;
use super::field::Mapping;
use super::row::Row;
use super::rule::Format;
use super::verdict::Verdict;
use crate::relation::Relation;

/// The output of one mapping for one version of a table.
#[derive(Debug)]
pub(super) struct Plan {
    steps: Vec<Step>,
    /// What a column that the table lacks means for every row.
    verdict: Option<Verdict>,
}

#[derive(Debug)]
enum Step {
    /// `"address":{`
    Open(Vec<u8>),
    Close,
    /// `"source":"shop"`
    Constant(Vec<u8>),
    Field(Box<FieldStep>),
}

/// Which row image is written, and what that means for values that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The row as it is now: what was not sent is named.
    New,
    /// The row of a delete: what was not sent is just not there.
    Gone,
    /// Old values beside the new ones: they inform, and reject nothing.
    Before,
}

/// Memory that is kept between rows.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// `"bio","notes"`: fields whose values were not sent.
    pub(super) unchanged: Vec<u8>,
    /// `"settings"`: fields that hold the JSON value null.
    pub(super) json_nulls: Vec<u8>,
    /// A policy left a field out.
    pub(super) omitted: bool,
    /// What an expression computed.
    value: Vec<u8>,
    /// What was not sent has a value that says so, as the format has it.
    stands_in: bool,
    /// For whoever writes the event.
    pub(super) text: Vec<u8>,
    /// Where the objects begin that are open.
    open: Vec<usize>,
}

impl Notes {
    pub(super) fn new(format: Format) -> Self {
        Self { stands_in: format == Format::Debezium, ..Self::default() }
    }

    pub(super) fn clear(&mut self) {
        self.unchanged.clear();
        self.json_nulls.clear();
        self.omitted = false;
    }
}

impl Plan {
    /// Compiles `mapping` (none: every column as it is) for `relation`.
    pub(super) fn compile(mapping: Option<&Mapping>, relation: &Relation) -> Self {
        Outline::of(mapping, relation).finish()
    }

    /// Compiles the plan of a delete that is sent as an update with more fields.
    pub(super) fn compile_set(
        mapping: Option<&Mapping>,
        relation: &Relation,
        values: &Map<String, Value>,
    ) -> Self {
        let mut outline = Outline::of(mapping, relation);
        for (name, value) in values {
            outline.set(name, value);
        }
        outline.finish()
    }

    /// Appends the object of one row.
    pub(super) fn write(
        &self,
        role: Role,
        row: Row<'_>,
        notes: &mut Notes,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        if role != Role::Before
            && let Some(verdict) = &self.verdict
        {
            return Err(verdict.clone());
        }
        notes.open.clear();
        out.push(b'{');
        for step in &self.steps {
            match step {
                Step::Field(field) => field.write(role, row, notes, out)?,
                Step::Constant(text) if role != Role::Before => {
                    field::comma(out);
                    out.extend_from_slice(text);
                }
                Step::Constant(_) => {}
                Step::Open(text) => {
                    notes.open.push(out.len());
                    field::comma(out);
                    out.extend_from_slice(text);
                }
                Step::Close => {
                    let start = notes.open.pop().unwrap_or_default();
                    // An object of which nothing was sent says nothing.
                    if out.last() == Some(&b'{') {
                        out.truncate(start);
                    } else {
                        out.push(b'}');
                    }
                }
            }
        }
        out.push(b'}');
        Ok(())
    }
}
