//! Expressions, with their problems where they stand.

use crate::config::problem::Notes;
use crate::config::tree::{Span, Table};
use crate::mapping::Expression;

/// Reads the expression of a key that is there.
pub(super) fn read(table: &Table, name: &str, notes: &mut Notes<'_>) -> Option<Expression> {
    let source = table.text(name)?;
    match Expression::parse(source) {
        Ok(expression) => Some(expression),
        Err(error) => {
            let span = table.span(name);
            let place = error.offset.and_then(|offset| within(&span, source, offset, notes));
            notes.problem(&place.unwrap_or(span), format!("\"{name}\" {}", error.message));
            None
        }
    }
}

/// Returns the place of a byte of the value, where the file has it letter by letter.
fn within(span: &Span, source: &str, offset: usize, notes: &Notes<'_>) -> Option<Span> {
    let written = notes.text(span)?;
    let quotes = ["\"\"\"", "'''", "\"", "'"];
    let quote = quotes.into_iter().find(|quote| written.starts_with(quote))?;
    let inner = written.get(quote.len()..)?.strip_suffix(quote)?;
    let dropped = if quote.len() > 1 && inner.starts_with('\n') { 1 } else { 0 };
    let start = span.start + quote.len() + dropped;
    (inner.get(dropped..)? == source).then(|| start + offset..start + offset)
}
