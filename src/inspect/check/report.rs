//! What was checked: a line each, or one JSON document.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is as it should be.
    Ok,
    /// It works, but the user should know.
    Warn,
    /// `run` would not work.
    Fail,
}

impl Status {
    /// Returns the word used in `check`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// Something that was looked at.
#[derive(Debug)]
pub struct Check {
    /// What programs know it by.
    pub id: &'static str,
    /// What was looked at.
    pub subject: String,
    /// How it went.
    pub status: Status,
    /// What was seen.
    pub seen: String,
    /// The statement or setting that mends it.
    pub fix: Option<String>,
    /// A statement of `fix` that takes no heavy lock and loses nothing.
    repair: Option<String>,
}

/// Checks in the order in which they were made.
#[derive(Debug, Default)]
pub struct Report {
    checks: Vec<Check>,
}

impl Report {
    /// `id` names the check for programs, `subject` what was looked at.
    pub(super) fn ok(&mut self, id: &'static str, subject: &str, seen: impl Into<String>) {
        self.add(id, subject, Status::Ok, seen.into(), "");
    }

    /// It works, but the user should know.
    pub(super) fn warn(
        &mut self,
        id: &'static str,
        subject: &str,
        seen: impl Into<String>,
        fix: &str,
    ) {
        self.add(id, subject, Status::Warn, seen.into(), fix);
    }

    /// `run` would not work; `fix` is the statement or setting that mends it.
    pub(super) fn fail(
        &mut self,
        id: &'static str,
        subject: &str,
        seen: impl Into<String>,
        fix: &str,
    ) {
        self.add(id, subject, Status::Fail, seen.into(), fix);
    }

    fn add(&mut self, id: &'static str, subject: &str, status: Status, seen: String, fix: &str) {
        let fix = (!fix.is_empty()).then(|| fix.to_owned());
        let subject = subject.to_owned();
        self.checks.push(Check { id, subject, status, seen, fix, repair: None });
    }

    /// Takes over what another report found, as nothing that keeps `run` from working.
    pub(super) fn advise(&mut self, other: Self) {
        let milder = |check: Check| match check.status {
            Status::Fail => Check { status: Status::Warn, ..check },
            Status::Ok | Status::Warn => check,
        };
        self.checks.extend(other.checks.into_iter().map(milder));
    }

    /// Lets `check --fix` run a statement that mends what was said last.
    pub(super) fn repair(&mut self, statement: String) {
        if let Some(check) = self.checks.last_mut() {
            check.repair = Some(statement);
        }
    }

    /// Returns the checks, in order.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Returns what `check --fix` may run, in order.
    #[must_use]
    pub fn repairs(&self) -> Vec<String> {
        let mut repairs: Vec<String> = Vec::new();
        for repair in self.checks.iter().filter_map(|check| check.repair.clone()) {
            if !repairs.contains(&repair) {
                repairs.push(repair);
            }
        }
        repairs
    }

    /// Whether nothing failed.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.status != Status::Fail)
    }

    /// Returns the document of `check --json`.
    #[must_use]
    pub fn json(&self) -> Value {
        let checks: Vec<Value> = self
            .checks
            .iter()
            .map(|check| {
                json!({
                    "id": check.id,
                    "subject": check.subject,
                    "status": check.status.as_str(),
                    "seen": check.seen,
                    "fix": check.fix,
                })
            })
            .collect();
        json!({ "ok": self.is_ok(), "checks": checks })
    }

    /// Returns a line a check, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        for Check { subject, status, seen, fix, .. } in &self.checks {
            // Writing to a String can't fail.
            let _ = writeln!(out, "{:<4}  {subject}: {seen}", status.as_str());
            for line in fix.iter().flat_map(|fix| fix.lines()) {
                let _ = writeln!(out, "      fix: {line}");
            }
        }
        out
    }
}
