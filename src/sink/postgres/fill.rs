//! [`Filler`]: rows that are new there, which is what a load brings, by COPY straight into their
//! tables.
//!
//! That costs the server half as much as writing them over what may be there, or less, and
//! succeeds only where it comes to the same: a row whose key is there, an event that was applied before, a value
//! that does not fit each end the transaction. Whatever it is that the server refuses, the batch is
//! written once more as any other, and the tables of it are left alone for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};

use super::append;
use super::applied::Applied;
use super::failure::Error;
use super::name::Name;
use super::plan::{Plan, Planned};
use super::rows::{self, Cell, Group, Groups, Row};
use super::session::Session;
use super::settings::Mode;
use super::statement;
use super::table::Table;
use crate::chunk::Operation;
use crate::envelope::Envelope;

/// From so many events a batch on.
const EVENTS_MIN: usize = 100;

/// So many batches of a table go otherwise once one was refused; twice as many the next time.
const PASSES_MIN: u32 = 8;
/// And so many at most.
const PASSES_MAX: u32 = 1024;

/// What is sent at once.
const CHUNK: usize = 64 * 1024;

/// Knows which tables are worth the try.
#[derive(Debug, Default)]
pub(super) struct Filler {
    /// Only tables that took a batch otherwise: they have the unique index that is needed.
    tables: Mutex<HashMap<Name, Pace>>,
}

/// How it went with a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pace {
    /// So many batches are to go otherwise.
    passes: u32,
    /// How many it were the last time.
    last: u32,
}

impl Pace {
    /// A batch was refused.
    fn refused(&mut self) {
        self.last = self.last.saturating_mul(2).clamp(PASSES_MIN, PASSES_MAX);
        self.passes = self.last;
    }
}

impl Filler {
    fn with<T>(&self, use_it: impl FnOnce(&mut HashMap<Name, Pace>) -> T) -> T {
        use_it(&mut self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets what it knows of its tables.
    pub(super) fn forget(&self) {
        self.with(HashMap::clear);
    }

    /// Notes that a batch went otherwise.
    pub(super) fn passed(&self, plan: &Plan<'_>) {
        self.with(|known| {
            for name in &plan.tables {
                let pace = known.entry(name.clone()).or_default();
                pace.passes = pace.passes.saturating_sub(1);
            }
        });
    }

    /// Whether a batch is worth the try: it is large, brings rows that should be new, and its
    /// tables took the last ones.
    pub(super) fn fits(&self, plan: &Plan<'_>, mode: Mode) -> bool {
        let is_new = |event: &Planned<'_>| {
            mode == Mode::Append
                || matches!(event.change.operation, Operation::Read | Operation::Insert)
        };
        plan.events.len() >= EVENTS_MIN
            && plan.events.iter().all(is_new)
            && self.with(|known| {
                let is_ready = |name| known.get(name).is_some_and(|pace| pace.passes == 0);
                plan.tables.iter().all(is_ready)
            })
    }

    /// Writes a batch in one transaction; `applied` with the stream's number where events are
    /// noted. Returns whether it is there; else nothing of it is, and no transaction is open.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn write(
        &self,
        session: &mut Session<'_>,
        plan: &Plan<'_>,
        tables: &[Arc<Table>],
        applied: Option<(&Applied, i32)>,
        events: &[Envelope],
    ) -> Result<bool, Error> {
        let Ok(groups) = groups(plan, tables, applied.is_none()) else { return Ok(false) };
        match copy(session, tables, &groups, applied, events).await {
            Ok(()) => {
                self.with(|known| {
                    for name in &plan.tables {
                        known.entry(name.clone()).or_default().last = 0;
                    }
                });
                return Ok(true);
            }
            Err(Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        session.batch("ROLLBACK").await?;
        self.with(|known| {
            plan.tables.iter().for_each(|name| known.entry(name.clone()).or_default().refused());
        });
        Ok(false)
    }
}

async fn copy(
    session: &mut Session<'_>,
    tables: &[Arc<Table>],
    groups: &Groups<'_>,
    applied: Option<(&Applied, i32)>,
    events: &[Envelope],
) -> Result<(), Error> {
    session.batch("BEGIN").await?;
    if let Some((applied, stream)) = applied {
        applied.fill(session, stream, events).await?;
    }
    for group in &groups.all {
        let table = tables.get(group.table).ok_or(Error::Lost(None))?;
        let sql = statement::copy(table, &group.columns(table)?);
        session.copy(&sql, lines(group)).await?;
    }
    session.batch("COMMIT").await
}

/// Returns the rows that are to be there.
fn groups<'a>(plan: &Plan<'a>, tables: &[Arc<Table>], appends: bool) -> Result<Groups<'a>, Error> {
    let mut groups = Groups::default();
    for event in &plan.events {
        let table = tables.get(event.table).ok_or(Error::Lost(None))?;
        let (key, row) = match (&event.change.key, appends) {
            (_, true) => (append::KEY.len(), append::row(table, event, &plan.origin)?),
            (Some(key), false) => {
                let mut row: Row<'a> = rows::key(table, key)?;
                let is_taken = |name: &str| key.fields.iter().any(|field| *field.name == *name);
                rows::fields(table, event.change.data.iter(), &mut row, is_taken)?;
                (key.fields.len(), row)
            }
            (None, false) => return Err(Error::Event("the row has no key".to_owned())),
        };
        groups.add(event.table, key, row);
    }
    Ok(groups)
}

/// Returns rows as COPY reads them, a line each, in pieces of about [`CHUNK`] bytes.
/// See <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS>, text format.
fn lines(group: &Group<'_>) -> impl Iterator<Item = Bytes> {
    let mut rows = group.rows().peekable();
    std::iter::from_fn(move || {
        rows.peek()?;
        let mut out = BytesMut::with_capacity(CHUNK.saturating_mul(2));
        while out.len() < CHUNK
            && let Some(row) = rows.next()
        {
            line(&mut out, row);
        }
        Some(out.freeze())
    })
}

fn line<'r>(out: &mut BytesMut, row: impl Iterator<Item = &'r Cell<'r>>) {
    for (index, cell) in row.enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\t");
        }
        match cell {
            Some(text) => escaped(out, text),
            None => out.extend_from_slice(b"\\N"),
        }
    }
    out.extend_from_slice(b"\n");
}

fn escaped(out: &mut BytesMut, text: &str) {
    let mut rest = text;
    while let Some((plain, tail)) =
        rest.find(['\\', '\n', '\r', '\t']).and_then(|at| rest.split_at_checked(at))
    {
        out.extend_from_slice(plain.as_bytes());
        let mut chars = tail.chars();
        out.extend_from_slice(match chars.next() {
            Some('\n') => b"\\n",
            Some('\r') => b"\\r",
            Some('\t') => b"\\t",
            _ => b"\\\\",
        });
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is sent for rows of two columns.
    fn sent(rows: &[[Option<&str>; 2]]) -> Vec<Bytes> {
        let mut groups = Groups::default();
        for [a, b] in rows {
            let cells = [("a".into(), a.map(Into::into)), ("b".into(), b.map(Into::into))];
            groups.add(0, 1, cells.into());
        }
        lines(&groups.all[0]).collect()
    }

    #[test]
    fn a_row_is_a_line_whatever_it_holds() {
        let rows =
            [[Some("1"), Some("a\tb\\c\nd\r")], [Some("\\N"), None], [Some(""), Some("\u{b}é\\.")]];
        let expected = "1\ta\\tb\\\\c\\nd\\r\n\\\\N\t\\N\n\t\u{b}é\\\\.\n";
        assert_eq!(sent(&rows), [Bytes::from(expected)]);
    }

    #[test]
    fn many_rows_go_in_pieces_and_each_once() {
        let long = "x".repeat(100);
        let rows = vec![[Some(long.as_str()), None]; 2000];
        let pieces = sent(&rows);
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces.concat(), format!("{long}\t\\N\n").repeat(2000).into_bytes());
    }

    #[test]
    fn a_table_that_refuses_is_asked_less_and_less() {
        let mut pace = Pace::default();
        let mut passes = Vec::new();
        for _ in 0..10 {
            pace.refused();
            passes.push(pace.passes);
        }
        assert_eq!(passes, [8, 16, 32, 64, 128, 256, 512, 1024, 1024, 1024]);
    }
}
