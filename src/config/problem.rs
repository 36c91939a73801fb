//! [`Problem`]: what is wrong in a config file, where, and what mends it.

use std::fmt;
use std::ops::Range;

/// One thing that is wrong, with its place and its cure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// From 1; 0 when the file could not be read at all.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The file as it was given.
    pub file: String,
    /// What is wrong and, behind a semicolon, what mends it. Holds no secrets.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file, self.message);
        }
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// Everything that is wrong in a config file, sorted by place. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// Collects problems while a file is read, each by its place in the text.
#[derive(Debug)]
pub(super) struct Notes<'a> {
    file: &'a str,
    text: &'a str,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'a> Notes<'a> {
    pub(super) const fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, problems: Vec::new(), warnings: Vec::new() }
    }

    /// Adds a problem that lies at `span` (in bytes).
    pub(super) fn problem(&mut self, span: &Range<usize>, message: impl Into<String>) {
        let problem = self.at(span, message.into());
        self.problems.push(problem);
    }

    /// Adds something that works but that the user should know.
    pub(super) fn warning(&mut self, span: &Range<usize>, message: impl Into<String>) {
        let warning = self.at(span, message.into());
        self.warnings.push(warning);
    }

    /// Returns the problems and the warnings, each sorted by place and said once.
    pub(super) fn finish(mut self) -> (Vec<Problem>, Vec<Problem>) {
        for list in [&mut self.problems, &mut self.warnings] {
            list.sort();
            list.dedup();
        }
        (self.problems, self.warnings)
    }

    /// Returns what stands in the file at `span`.
    pub(super) fn text(&self, span: &Range<usize>) -> Option<&str> {
        self.text.get(span.clone())
    }

    fn at(&self, span: &Range<usize>, message: String) -> Problem {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Problem { line, column, file: self.file.to_owned(), message }
    }
}
