//! What came of a trial (pure).

use maud::{Markup, html};

use super::Form;
use crate::admin::console::parts::{self, shell, twin};
use crate::config::Problems;
use crate::inspect::playground::{ColumnSeen, RowTried, Step, Tried, Verdict};
use crate::inspect::proof::Told;

/// So much of a line is shown on either side of what is wrong.
const AROUND: usize = 60;

/// A row as it may stand in a command.
const ROW_CHARS_MAX: usize = 400;

pub(super) fn told(tried: &Tried, form: &Form) -> Markup {
    html! {
        @if let Some(row) = &tried.row { (row_told(row)) }
        (tests(&tried.tests))
        (use_it(tried, form))
    }
}

/// Why there is nothing.
pub(super) fn refused(message: &str) -> Markup {
    html! { p.banner.bad role="alert" { (message) } }
}

/// What is wrong with a text, each with its place.
pub(super) fn problems(problems: &Problems, text: &str) -> Markup {
    html! {
        section.card role="alert" {
            header.row { h2 { "The mapping can't be read" } span class="badge bad" { "wrong" } }
            @for problem in &problems.0 {
                p { "Line " (problem.line) ", column " (problem.column) ": " (problem.message) }
                pre.json { code { (at(text, problem.line, problem.column)) } }
            }
        }
    }
}

/// The line with what is wrong, and a caret under it.
fn at(text: &str, line: usize, column: usize) -> String {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let column = column.saturating_sub(1);
    let from = column.saturating_sub(AROUND);
    let shown: String = line.chars().skip(from).take(2 * AROUND).collect();
    format!("{}\n{}^", shown.replace('\t', " "), " ".repeat(column - from))
}

fn row_told(row: &RowTried) -> Markup {
    let (tone, word) = match &row.verdict {
        Verdict::Sent { .. } => ("badge good", "sent"),
        Verdict::Skipped { .. } => ("badge warn", "skipped"),
        Verdict::Rejected { .. } => ("badge bad", "rejected"),
        Verdict::Unrouted { .. } => ("badge warn", "not taken"),
    };
    html! {
        div.sides {
            section.card {
                header.row { h2 { "What becomes of it" } span class=(tone) { (word) } }
                @match &row.verdict {
                    Verdict::Sent { event_op, data } => {
                        @if *event_op != row.op { p.note { "As " (event_op) "." } }
                        (parts::json(data.get()))
                    },
                    Verdict::Skipped { reason } | Verdict::Unrouted { reason } => p.reason { (reason) },
                    Verdict::Rejected { field, reason } => p.reason { "Field " code { (field) } ": " (reason) },
                }
            }
            section.card {
                h2 { "The row: " (row.op) " of " (row.table) }
                @match &row.values { Some(values) => (parts::json(values.get())), None => p.note { "It has no values." } }
                @if !row.made_up.is_empty() {
                    p.note { "Made up, as the config in force masks it: " (row.made_up.join(", ")) ". The real value may meet another fate." }
                }
            }
        }
        section.card {
            h2 { "Field by field" }
            div.scroll { table.trace {
                thead { tr { th { "Field" } th { "From" } th { "Becomes" } th { "How" } } }
                tbody { @for step in &row.trace { (step_told(step)) } }
            } }
        }
    }
}

fn step_told(step: &Step) -> Markup {
    let value = |column: &ColumnSeen| column.value.as_ref().map(|value| parts::cut(value.get()));
    html! {
        tr {
            td { code { (step.field) } }
            td { @for column in &step.columns {
                div { (column.name) ": " @match value(column) { Some(value) => code { (value) }, None => span.note { "not there" } } }
            } }
            td { @match &step.out { Some(out) => code { (parts::cut(out.get())) }, None => span.note { "–" } } }
            td { (step.how) }
        }
    }
}

fn tests(tests: &[Told]) -> Markup {
    let failed = tests.iter().filter(|test| !test.ok).count();
    html! {
        section.card {
            header.row {
                h2 { "Tests" }
                @if failed > 0 { span class="badge bad" { (failed) " failed" } }
                @else if !tests.is_empty() { span class="badge good" { (tests.len()) " passed" } }
            }
            @if tests.is_empty() { p.note { "The text has none: add [[mapping.NAME.test]]." } }
            @for test in tests {
                p { @if test.ok { span class="badge good" { "ok" } } @else { span class="badge bad" { "fail" } } " " (test.name) }
                @for difference in &test.diff { p.reason { (difference.text) } }
            }
        }
    }
}

/// In what it differs from what is in force, and how it gets there.
fn use_it(tried: &Tried, form: &Form) -> Markup {
    html! {
        section.card {
            h2 { "To put it to use" }
            @if tried.differences.is_empty() { p.note { "It is the mapping in force." } }
            @else {
                p { "It is not the mapping in force:" }
                ul { @for difference in &tried.differences { li { (difference) } } }
            }
            @for note in &tried.notes { p.reason { (note) } }
            p.note { "Nothing was stored. Put the text into the config in place of " code { "[mapping." (tried.mapping) "]" } ", its secrets in place of the stars, raise its version, and look before you start with it." }
            (twin("walgate check"))
            (twin("walgate test"))
            @if let Some(command) = map(tried, form) { (twin(&command)) }
        }
    }
}

/// The command that maps the same row with the mapping of the config.
fn map(tried: &Tried, form: &Form) -> Option<String> {
    let route = tried.route.as_ref()?;
    let mut command = format!("walgate map --route {}", shell(route));
    if let Some(row) = tried.row.as_ref().filter(|row| row.made_up.is_empty()) {
        let is_typed = form.on.split_once(':').is_none();
        let values = row.values.as_ref().map(|values| values.get());
        let json = if is_typed { Some(form.row.trim()) } else { values };
        if let Some(json) = json.filter(|json| json.chars().count() <= ROW_CHARS_MAX) {
            command.push_str(&format!(" --op {} --row {}", row.op, shell(json)));
        }
    }
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_has_a_caret_under_it() {
        assert_eq!(at("a\n\tb = x\n", 2, 6), " b = x\n     ^");
        assert_eq!(at("a", 9, 1), "\n^");
        let long = format!("{}!{}", "x".repeat(200), "y".repeat(200));
        let shown = at(&long, 1, 201);
        let (line, caret) = shown.split_once('\n').unwrap();
        assert_eq!(
            (line.chars().count(), line.find('!'), caret.find('^')),
            (120, Some(60), Some(60))
        );
    }
}
