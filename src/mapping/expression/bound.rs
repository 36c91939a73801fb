//! [`Bound`]: an expression with its columns found in one version of a table.

use std::sync::Arc;

use cel::IdedExpr;

use super::native::Native;
use super::ours::Pattern;
use super::value::{Fault, Reading, Scalar, Trouble};
use super::{Expression, Form, Image, Parsed, interpreter, tree};
use crate::change::Cell;
use crate::mapping::row::Row;
use crate::relation::{Kind, Relation};

/// What an expression is computed of: a row, and the row that it was.
#[derive(Clone, Copy, Debug)]
pub(in crate::mapping) struct Scene<'a> {
    row: Row<'a>,
    before: Option<Row<'a>>,
}

impl<'a> Scene<'a> {
    pub(in crate::mapping) fn new(row: Row<'a>) -> Self {
        Self { row, before: row.old() }
    }

    /// Returns what Postgres did.
    pub(super) const fn operation(&self) -> &'static str {
        self.row.operation().as_str()
    }
}

/// An expression for one version of a table.
#[derive(Debug)]
pub(in crate::mapping) struct Bound {
    places: Places,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    /// Our own plan.
    Native(Native),
    /// The crate's interpreter.
    Interpreter(Vec<Pattern>),
}

/// What comes of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mapping) enum Found {
    Null,
    /// The text that was appended, as Postgres would print a value of this kind.
    Value(Kind),
    /// Postgres did not send a column that it reads.
    Unsent,
    /// It can't be computed.
    Failed(Fault),
}

impl Bound {
    /// Finds the columns. The error names one that the table lacks and that it can't do without.
    pub(in crate::mapping) fn new(
        expression: &Expression,
        relation: &Relation,
    ) -> Result<Self, String> {
        let lacks = |column: &&&str| relation.column(column).is_none();
        if let Some(column) = expression.needed_columns().iter().find(lacks) {
            return Err((**column).to_owned());
        }
        Ok(Self::lenient(expression, relation))
    }

    /// Finds the columns that there are: what reads another can't be computed.
    pub(in crate::mapping) fn lenient(expression: &Expression, relation: &Relation) -> Self {
        let places = Places::of(&expression.parsed, relation);
        let engine = match Native::compile(&expression.parsed.tree, &places) {
            Some(native) => Engine::Native(native),
            None => Engine::Interpreter(patterns(&expression.parsed)),
        };
        Self { places, engine }
    }

    /// Whether its value says something of an old row by itself: it reads columns of the row, and
    /// asks neither for what was before it nor whether a value was sent.
    pub(in crate::mapping) fn tells_of_old_rows(&self) -> bool {
        let references = &self.places.parsed.references;
        !references.is_empty()
            && references.iter().all(|reference| {
                reference.image == Image::Row
                    && matches!(reference.form, Form::Value | Form::Optional)
            })
    }

    /// Whether it has a value of an old row that says nothing: it asks what was before it, or with
    /// `has` for a value that was not sent.
    pub(in crate::mapping) fn guesses(&self, scene: &Scene<'_>) -> bool {
        self.places.places.iter().any(|place| match place.form {
            _ if place.image == Image::Before => true,
            Form::Has => matches!(place.look(scene), Looked::Unsent),
            Form::Value | Form::Optional | Form::Absent => false,
        })
    }

    /// As `lenient`, always with the interpreter: what the plan is held against.
    #[cfg(test)]
    pub(in crate::mapping) fn interpreted(expression: &Expression, relation: &Relation) -> Self {
        let places = Places::of(&expression.parsed, relation);
        Self { places, engine: Engine::Interpreter(patterns(&expression.parsed)) }
    }

    /// Whether our own plan runs it.
    #[cfg(test)]
    pub(in crate::mapping) fn is_native(&self) -> bool {
        matches!(self.engine, Engine::Native(_))
    }

    /// Computes it, appending the value to `out`.
    pub(in crate::mapping) fn evaluate(&self, scene: &Scene<'_>, out: &mut Vec<u8>) -> Found {
        let start = out.len();
        let written = match &self.engine {
            Engine::Native(native) => {
                native.evaluate(&self.places, scene).map(|scalar| scalar.write(out))
            }
            Engine::Interpreter(patterns) => interpreter::evaluate(&self.places, patterns, scene)
                .and_then(|value| {
                    let none = || Fault::Other("its value has no form in JSON".into());
                    tree::write(&value, out).ok_or_else(none).map_err(Trouble::Failed)
                }),
        };
        match written {
            Ok(Some(kind)) => Found::Value(kind),
            Ok(None) => Found::Null,
            Err(trouble) => {
                out.truncate(start);
                match trouble {
                    Trouble::Unsent => Found::Unsent,
                    Trouble::Failed(fault) => Found::Failed(fault),
                }
            }
        }
    }

    /// Computes it where it is a condition; the error says why it can't be.
    pub(in crate::mapping) fn test(&self, scene: &Scene<'_>) -> Result<bool, Option<Fault>> {
        let value = match &self.engine {
            Engine::Native(native) => {
                native.evaluate(&self.places, scene).map(|scalar| match scalar {
                    Scalar::Bool(value) => Some(value),
                    _ => None,
                })
            }
            Engine::Interpreter(patterns) => interpreter::evaluate(&self.places, patterns, scene)
                .map(|value| match value {
                    cel::Value::Bool(value) => Some(value),
                    _ => None,
                }),
        };
        match value {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(Some(Fault::NotBoolean)),
            Err(Trouble::Unsent) => Err(None),
            Err(Trouble::Failed(fault)) => Err(Some(fault)),
        }
    }
}

fn patterns(parsed: &Parsed) -> Vec<Pattern> {
    parsed.patterns.iter().cloned().map(Pattern).collect()
}

/// Where an expression takes its values from.
#[derive(Debug)]
pub(super) struct Places {
    parsed: Arc<Parsed>,
    places: Vec<Place>,
    table: String,
}

/// Where one reference of an expression points.
#[derive(Debug)]
pub(super) struct Place {
    image: Image,
    pub(super) form: Form,
    /// None: the table has no such column.
    column: Option<usize>,
    pub(super) reading: Reading,
}

/// What is at a place in one row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Looked<'a> {
    Value(&'a [u8]),
    Null,
    Unsent,
    NoColumn,
    NoRow,
}

impl Places {
    fn of(parsed: &Arc<Parsed>, relation: &Relation) -> Self {
        let place = |reference: &super::Reference| {
            let column = relation.column(&reference.column);
            let found = column.and_then(|index| relation.columns.get(index));
            Place {
                image: reference.image,
                form: reference.form,
                column,
                reading: found.map_or(Reading::Text, Reading::of),
            }
        };
        Self {
            places: parsed.references.iter().map(place).collect(),
            parsed: Arc::clone(parsed),
            table: relation.quoted_name(),
        }
    }

    pub(super) fn tree(&self) -> &IdedExpr {
        &self.parsed.tree
    }

    pub(super) fn parsed(&self) -> &Parsed {
        &self.parsed
    }

    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Place> {
        self.places.get(index)
    }

    pub(super) fn table(&self) -> &str {
        &self.table
    }
}

impl Place {
    /// Looks into a row.
    #[inline]
    pub(super) fn look<'a>(&self, scene: &Scene<'a>) -> Looked<'a> {
        let row = match self.image {
            Image::Row => scene.row,
            Image::Before => match scene.before {
                Some(before) => before,
                None => return Looked::NoRow,
            },
        };
        let Some(index) = self.column else { return Looked::NoColumn };
        match row.cell(index) {
            Cell::Value(text) => Looked::Value(text),
            Cell::Null => Looked::Null,
            Cell::Unchanged | Cell::Absent => Looked::Unsent,
        }
    }
}
