//! What becomes of rows that are there: a sample of a table, mapped as the stream would be.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Seen;
use crate::chunk::Operation;
use crate::failure::chain;
use crate::inspect::check::report::Report;
use crate::inspect::made;
use crate::mapping::{
    Format, Mapped, Reason, Route, SinkMapper, Skip, SourceLabel, key_columns, where_fault,
};
use crate::source::{Catalog, Error};

/// Rows of a table that are looked at.
const ROWS_MAX: u32 = 100;

/// Keys that are named of each reason.
const KEYS_MAX: usize = 3;

/// The SQLSTATE of a statement that took too long.
const QUERY_CANCELED: &str = "57014";

/// What became of the rows of a sample.
#[derive(Default)]
struct Tally {
    rows: usize,
    sent: usize,
    /// By field and reason: how many, and keys.
    rejected: BTreeMap<(String, String), Fate>,
    /// By reason.
    skipped: BTreeMap<String, Fate>,
    /// Sent though their `where` can't be computed, by reason.
    unjudged: BTreeMap<String, Fate>,
}

#[derive(Default)]
struct Fate {
    count: usize,
    keys: Vec<String>,
    fix: &'static str,
}

impl Fate {
    fn add(&mut self, key: Option<String>) {
        self.count += 1;
        if self.keys.len() < KEYS_MAX {
            self.keys.extend(key);
        }
    }

    fn examples(&self) -> String {
        match self.keys.as_slice() {
            [] => String::new(),
            keys => format!("; for example {}", keys.join(", ")),
        }
    }
}

impl Seen<'_> {
    /// Maps a sample and tells what would not be sent.
    pub(super) async fn rows(
        &self,
        catalog: &mut Catalog,
        report: &mut Report,
    ) -> Result<(), Error> {
        let id = "mapping.rows";
        let Some(operation) = [Operation::Read, Operation::Insert, Operation::Update]
            .into_iter()
            .find(|operation| self.route.on.contains(*operation))
        else {
            return Ok(());
        };
        let filter = self.entry.row_filter.as_deref();
        let rows = match catalog.sample(&self.relation, filter, ROWS_MAX).await {
            Ok(rows) => rows,
            Err(error) if error.code().is_some() => {
                let seen = format!("no row could be read to try the mapping: {}", chain(&error));
                let fix = self.unread(error.code() == Some(QUERY_CANCELED));
                report.warn(id, &self.subject, seen, &fix);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if rows.is_empty() {
            report.ok(id, &self.subject, "no row to try the mapping with");
            return Ok(());
        }
        match self.tally(operation, &rows) {
            Ok(tally) => self.tell(&tally, report),
            Err(error) => {
                let fix = "please report this: a row of the table can't be read as the stream's";
                report.warn(id, &self.subject, chain(&error), fix);
            }
        }
        Ok(())
    }

    fn unread(&self, too_late: bool) -> String {
        let table = self.relation.quoted_name();
        if too_late {
            return format!("check again once nobody holds a lock on {table}");
        }
        format!("nothing, if that is meant; else GRANT SELECT ON {table} to the role")
    }

    fn tally(
        &self,
        operation: Operation,
        rows: &[Vec<Option<String>>],
    ) -> Result<Tally, crate::mapping::Error> {
        let source = SourceLabel::default();
        let mapper = |route| SinkMapper::new(vec![route], &source, Format::Walgate);
        let mut mapped = mapper(Arc::clone(self.route));
        // The same key, and nothing that could refuse it.
        let route = Route::new("", self.route.selector.clone(), "");
        let (key, on) = (self.route.key.clone(), self.route.on);
        let mut plain = mapper(Arc::new(Route { key, on, ..route }));
        let shows_keys = self.shows_keys();
        let mut tally = Tally { rows: rows.len(), ..Tally::default() };
        for row in rows {
            let Some(chunk) = made::chunk(&self.relation, operation, row)? else { continue };
            let mut key = || {
                let mut out = Vec::new();
                match plain.map(&chunk, 0, &mut out) {
                    Ok(Mapped::Event(draft)) if shows_keys => {
                        Some(String::from_utf8_lossy(out.get(draft.key?)?).into_owned())
                    }
                    _ => None,
                }
            };
            match mapped.map(&chunk, 0, &mut Vec::new())? {
                Mapped::Event(_) => {
                    tally.sent += 1;
                    if let Some(reason) = where_fault(self.route, &chunk, 0)? {
                        tally.unjudged.entry(reason.to_string()).or_default().add(key());
                    }
                }
                Mapped::Unrouted => {}
                Mapped::Rejected { field, reason, .. } => {
                    let fate = (field.to_string(), reason.to_string());
                    let fate = tally.rejected.entry(fate).or_default();
                    fate.add(key());
                    fate.fix = fix(&reason);
                }
                Mapped::Skipped { reason, .. } => {
                    let fate = tally.skipped.entry(skip(&reason)).or_default();
                    fate.add(key());
                }
            }
        }
        Ok(tally)
    }

    /// What a mapping masks is not shown as a key either.
    fn shows_keys(&self) -> bool {
        let key = key_columns(self.route.key.as_deref(), &self.relation);
        let mapping = self.route.mapping.iter();
        let mut masked = mapping.flat_map(|mapping| &mapping.fields);
        !masked.any(|field| {
            field.mask.is_some() && field.columns().any(|column| key.iter().any(|it| it == column))
        })
    }

    fn tell(&self, tally: &Tally, report: &mut Report) {
        let (id, rows) = ("mapping.rows", tally.rows);
        for ((field, reason), fate) in &tally.rejected {
            let seen = format!(
                "{} of {rows} sampled rows would become dead letters: field \"{field}\" {reason}{}",
                fate.count,
                fate.examples()
            );
            report.warn(id, &self.subject, seen, fate.fix);
        }
        for (reason, fate) in &tally.skipped {
            let seen = format!(
                "{} of {rows} sampled rows would be skipped: {reason}{}",
                fate.count,
                fate.examples()
            );
            report.ok(id, &self.subject, seen);
        }
        for (reason, fate) in &tally.unjudged {
            let seen = format!(
                "{} of {rows} sampled rows would be sent though `where` {reason}{}",
                fate.count,
                fate.examples()
            );
            let fix = "nothing, if that is meant; else mend `where`, or set on_where_error = \"skip\" \
                       or \"reject\"";
            report.warn(id, &self.subject, seen, fix);
        }
        if tally.sent > 0 || (tally.rejected.is_empty() && tally.skipped.is_empty()) {
            let seen = format!("{} of {rows} sampled rows would be sent", tally.sent);
            report.ok(id, &self.subject, seen);
        }
    }
}

fn skip(reason: &Skip) -> String {
    match reason {
        Skip::Policy { field, reason } => format!("field \"{field}\" {reason}"),
        other => other.to_string(),
    }
}

/// What mends a refusal; `walgate map` shows such a row in full.
const fn fix(reason: &Reason) -> &'static str {
    match reason {
        Reason::Null => "mend these rows, or set on_null: \"null\", \"skip\" or { default = … }",
        Reason::Miss => "add what is missing to the lookup, or set on_miss",
        Reason::NoColumn(_) => "name another column, or set on_missing",
        Reason::Invalid(_) | Reason::Check(_) => {
            "mend these rows, or set on_invalid: \"null\", \"omit\", \"skip\" or { default = … }"
        }
        Reason::Expression(_) => {
            "mend the expression (`walgate map` shows what it reads), or set on_invalid, for `where` \
             on_where_error"
        }
        _ => "`walgate map` shows what becomes of such a row",
    }
}
