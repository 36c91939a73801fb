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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Environment, parse};

    const REST: &str = "
[source]
url = \"postgres://localhost/shop\"
[sink.out.stdout]
[mapping.m]
version = 1
[mapping.m.fields]
id = { column = \"id\" }
";

    #[track_caller]
    fn problems(route: &str, fields: &str) -> Vec<String> {
        let text = format!(
            "{REST}{fields}\n[[route]]\nname = \"r\"\ntable = \"public.t\"\nmapping = \"m\"\n\
             sink = \"out\"\n{route}\n"
        );
        let variable = |_: &str| None;
        let environment = Environment { variable: &variable, folder: Path::new(".") };
        match parse("w.toml", &text, &environment) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.to_string().lines().map(str::to_owned).collect(),
        }
    }

    #[track_caller]
    fn check(route: &str, fields: &str, expected: &str) {
        assert_eq!(problems(route, fields), [expected]);
    }

    #[test]
    fn a_problem_of_an_expression_points_into_it() {
        assert_eq!(problems("where = 'row.a > 3'\non_leave = \"delete\"", ""), [""; 0]);
        check(
            "where = 'row.a > 3 && foo'",
            "",
            "w.toml:15:23: \"where\" names \"foo\", which there is not; did you mean row.foo?",
        );
        let field = "x = { expr = \"row.name.lowerAsci()\" }";
        check(
            "",
            field,
            "w.toml:9:33: \"expr\" calls \"lowerAsci\", which there is not; did you mean \"lowerAscii\"?",
        );
        // Where the file has it in other letters, the value is all that can be named.
        check(
            "where = \"row.a == \\\"x\\\" && foo\"",
            "",
            "w.toml:15:9: \"where\" names \"foo\", which there is not; did you mean row.foo?",
        );
        check(
            "where = '''\nrow.a > 3 &&\n  foo'''",
            "",
            "w.toml:17:3: \"where\" names \"foo\", which there is not; did you mean row.foo?",
        );
    }

    #[test]
    fn what_is_about_where_needs_one() {
        check(
            "on_leave = \"delete\"",
            "",
            "w.toml:15:12: \"on_leave\" needs \"where\"; add one, or drop it",
        );
        check(
            "columns_changed = []",
            "",
            "w.toml:15:19: \"columns_changed\" names no column; leave it out to send every update",
        );
        check(
            "",
            "x = { expr = 'row.a', column = \"a\" }",
            "w.toml:9:1: a field has one of \"column\", \"expr\" and \"value\"; drop the others",
        );
    }
}
