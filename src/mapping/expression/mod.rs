//! Expressions over a row, in CEL: parsed once, bound to each version of a table.
//!
//! CEL's grammar is the `cel` crate's. What most expressions are made of (columns, literals,
//! comparisons, `&&`, `||`, `!`, `in`, `has`, `startsWith`, joining texts, `? :`) runs in a plan
//! of our own (`native`); the crate's interpreter runs the rest. Both read values and compare
//! numbers by the same code (`value`, `exact`), so that they have one meaning.
//!
//! Source: <https://github.com/google/cel-spec/blob/master/doc/langdef.md>.

mod exact;
mod value;
mod lower;
mod functions;
mod guards;
mod native;
mod interpreter;
mod ours;
mod bounded;
mod budget;
mod tree;
mod bound;

use std::fmt;
use std::sync::Arc;

use cel::IdedExpr;
use regex::Regex;

pub(super) use bound::{Bound, Found, Scene};
pub use budget::Budget;
pub(super) use budget::pattern;
pub use value::Fault;

/// An expression that has been parsed. Knows no table yet.
#[derive(Clone)]
pub struct Expression {
    source: String,
    parsed: Arc<Parsed>,
}

/// What is in an expression.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The tree, with a name of its own (`@0`, `@1`, …) for each of what it refers to.
    tree: IdedExpr,
    references: Vec<Reference>,
    /// The patterns of `matches`, each with a name of its own (`@p0`, …).
    patterns: Vec<Regex>,
}

/// A place of an expression that takes something from the change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reference {
    image: Image,
    /// The column, unquoted; empty where the whole row is meant.
    column: String,
    form: Form,
}

/// Which row is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Image {
    /// `row`: the row as it is now; of a delete as it was.
    Row,
    /// `before`: the row as it was, where Postgres sent it.
    Before,
}

/// What is asked of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `row.x`: its value.
    Value,
    /// `has(row.x)`: whether there is one, be it NULL.
    Has,
    /// `row.?x`: its value, or none where the table has no such column.
    Optional,
    /// `before == null`: whether there is no such row.
    Absent,
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// Where in the text, in bytes; none where it can't be told.
    pub offset: Option<usize>,
    /// What is wrong and, behind a semicolon, what mends it.
    pub message: String,
}

impl Expression {
    /// Parses an expression over `row`, `before`, `op` and `table`.
    ///
    /// # Errors
    /// It is no CEL, or names something that is not there.
    pub fn parse(source: &str) -> Result<Self, ExpressionError> {
        let parsed = Arc::new(lower::parse(source)?);
        Ok(Self { source: source.to_owned(), parsed })
    }

    /// Returns it as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the columns of the row, new or old, that it reads, each once, unquoted.
    #[must_use]
    pub fn columns(&self) -> Vec<&str> {
        let mut columns = Vec::new();
        for reference in &self.parsed.references {
            let column = reference.column.as_str();
            if reference.form != Form::Absent && !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    /// Returns the columns that the table must have, unquoted: those that it reads without asking
    /// for them with `has` or `.?`.
    #[must_use]
    pub fn needed_columns(&self) -> Vec<&str> {
        let mut columns = self.columns();
        columns.retain(|column| !guards::is_guarded(&self.parsed.references, column));
        columns
    }

    /// Returns the columns of the row that it asks for with `has`, unquoted.
    #[must_use]
    pub fn asked_columns(&self) -> Vec<&str> {
        let asks = |it: &&Reference| it.form == Form::Has && it.image == Image::Row;
        self.parsed.references.iter().filter(asks).map(|it| it.column.as_str()).collect()
    }

    /// Returns whether it looks at the row as it was.
    #[must_use]
    pub fn reads_before(&self) -> bool {
        self.parsed.references.iter().any(|reference| reference.image == Image::Before)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

/// One text has one meaning.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}
