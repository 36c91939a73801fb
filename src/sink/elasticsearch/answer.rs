//! What the answer to a bulk request says of each of its items.

use serde::Deserialize;

use super::plan::Act;
use super::version;
use crate::failure::Category;
use crate::lsn::Lsn;

/// The answer, in the order of the request.
#[derive(Debug, Deserialize)]
pub(super) struct Bulk {
    pub(super) items: Vec<Item>,
}

/// An item: one of the members is there, as its action is called.
#[derive(Debug, Deserialize)]
pub(super) struct Item {
    index: Option<Outcome>,
    update: Option<Outcome>,
    delete: Option<Outcome>,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    status: u16,
    error: Option<Problem>,
}

#[derive(Debug, Default, Deserialize)]
struct Problem {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    reason: Option<String>,
}

/// The answer to a `_delete_by_query`.
#[derive(Debug, Deserialize)]
pub(super) struct Cleared {
    #[serde(default)]
    timed_out: bool,
    #[serde(default)]
    version_conflicts: u64,
    #[serde(default)]
    failures: Vec<serde::de::IgnoredAny>,
}

impl Cleared {
    /// Whether every document is gone that was there.
    pub(super) const fn is_done(&self) -> bool {
        !self.timed_out && self.version_conflicts == 0 && self.failures.is_empty()
    }
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is done, or something newer is there.
    Done,
    /// Another change of the same commit stands in the way: it is older, as this one is sent after
    /// it.
    Again,
    /// A document that was to change is not there.
    Missing,
    /// It is not.
    No {
        category: Category,
        status: u16,
        /// The error's type: never a value.
        kind: String,
        /// What was said, which may have values.
        reason: String,
    },
}

impl Item {
    /// Sorts what was said to the delete of a document that isn't there: an older one than what has
    /// deleted it meets a conflict.
    pub(super) fn probed(self) -> Said {
        let outcome = self.delete.as_ref().map(|delete| (delete.status, delete.error.is_some()));
        match outcome {
            Some((409, _)) => Said::Done,
            Some((200..=299, _) | (404, false)) => Said::Missing,
            _ => self.said(Act::Delete, Lsn::ZERO),
        }
    }

    /// Sorts the item of a change that was committed at `commit`.
    pub(super) fn said(self, act: Act, commit: Lsn) -> Said {
        let Some(Outcome { status, error }) = self.index.or(self.update).or(self.delete) else {
            return no(Category::Transient, 0, "no answer", String::new());
        };
        let Problem { kind, reason } = error.unwrap_or_default();
        let reason = reason.unwrap_or_default();
        match (status, act) {
            (200..=299, _) => Said::Done,
            (404, Act::Delete) if kind.is_empty() => Said::Done,
            (404, Act::Update) if kind == "document_missing_exception" => Said::Missing,
            (409, Act::Index | Act::Delete) => match current(&reason) {
                Some(version) if !version::is_of(version, commit) => Said::Done,
                // Where it isn't said what is there, it is put right by what follows.
                Some(_) | None => Said::Again,
            },
            _ => no(category(status, &kind), status, &kind, reason),
        }
    }
}

fn no(category: Category, status: u16, kind: &str, reason: String) -> Said {
    Said::No { category, status, kind: kind.to_owned(), reason }
}

/// Sorts an item's error. What is the same for each document of an index is the set-up's.
fn category(status: u16, kind: &str) -> Category {
    match (status, kind) {
        (429, _) => Category::Throttled,
        (408 | 409 | 500..=599, _) => Category::Transient,
        (401 | 403, _) | (404, "index_not_found_exception") => Category::Setup,
        // Of 400: an index that is closed, and too many shards.
        (_, "index_closed_exception" | "validation_exception") => Category::Setup,
        (404, _) => Category::Transient,
        (400..=499, _) => Category::Rejected,
        _ => Category::Transient,
    }
}

/// Reads the version that is there from the words of a conflict: `version conflict, current version
/// [7] is higher than the one provided [6]`.
fn current(reason: &str) -> Option<u64> {
    let (_, rest) = reason.split_once("current version [")?;
    rest.split_once(']')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Position;

    #[track_caller]
    fn check(json: &str, act: Act, expected: &str) {
        let item: Item = serde_json::from_str(json).unwrap();
        let said = match item.said(act, Lsn(8)) {
            Said::No { category, .. } => format!("{category:?}"),
            other => format!("{other:?}"),
        };
        assert_eq!(said, expected, "{json}");
    }

    fn failed(word: &str, status: u16, kind: &str, reason: &str) -> String {
        let error = serde_json::json!({ "type": kind, "reason": reason });
        serde_json::json!({ word: { "_index": "t", "status": status, "error": error } }).to_string()
    }

    #[test]
    fn every_item_is_sorted_by_itself() {
        check(r#"{"index":{"status":201,"result":"created"}}"#, Act::Index, "Done");
        check(r#"{"delete":{"status":404,"result":"not_found"}}"#, Act::Delete, "Done");
        for (act, status, kind, expected) in [
            (Act::Update, 404, "document_missing_exception", "Missing"),
            (Act::Update, 409, "version_conflict_engine_exception", "Transient"),
            (Act::Index, 400, "document_parsing_exception", "Rejected"),
            (Act::Index, 400, "mapper_parsing_exception", "Rejected"),
            (Act::Index, 400, "strict_dynamic_mapping_exception", "Rejected"),
            (Act::Index, 400, "illegal_argument_exception", "Rejected"),
            (Act::Index, 400, "index_closed_exception", "Setup"),
            (Act::Index, 400, "validation_exception", "Setup"),
            (Act::Index, 403, "cluster_block_exception", "Setup"),
            (Act::Index, 403, "security_exception", "Setup"),
            (Act::Index, 404, "index_not_found_exception", "Setup"),
            (Act::Delete, 404, "index_not_found_exception", "Setup"),
            (Act::Index, 404, "shard_not_found_exception", "Transient"),
            (Act::Index, 429, "es_rejected_execution_exception", "Throttled"),
            (Act::Index, 429, "cluster_block_exception", "Throttled"),
            (Act::Index, 500, "exception", "Transient"),
            (Act::Index, 503, "cluster_block_exception", "Transient"),
            (Act::Index, 503, "unavailable_shards_exception", "Transient"),
        ] {
            let word = match act {
                Act::Index => "index",
                Act::Update => "update",
                Act::Delete => "delete",
            };
            check(&failed(word, status, kind, "x"), act, expected);
        }
        check("{}", Act::Index, "Transient");
    }

    #[test]
    fn a_conflict_is_with_something_newer_or_with_the_same_commit() {
        let conflict = |version: u64| {
            let reason = format!(
                "[1]: version conflict, current version [{version}] is higher than the one provided [7]"
            );
            failed("index", 409, "version_conflict_engine_exception", &reason)
        };
        let at = |lsn: u64, seq: u32| version::of(Position::new(Lsn(lsn), seq));
        check(&conflict(at(16, 0)), Act::Index, "Done");
        check(&conflict(at(8, 3) + 5), Act::Index, "Again");
        check(
            &failed("delete", 409, "version_conflict_engine_exception", "?"),
            Act::Index,
            "Again",
        );
    }
}
