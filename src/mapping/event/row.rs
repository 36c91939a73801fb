//! [`Pen`]: everything at hand while the event of one row is written.

use super::super::binding::Lane;
use super::super::mapper::{Draft, Mapped};
use super::super::plan::{Notes, Plan, Role};
use super::super::row::Row;
use super::super::rule::Format;
use super::super::verdict::Verdict;
use super::{Sheet, cloudevents, debezium, finish, walgate};
use crate::change::Change;
use crate::chunk::Operation;

/// Everything at hand while one row is written.
pub(in crate::mapping) struct Pen<'a> {
    pub(in crate::mapping) sheet: Sheet<'a>,
    pub(in crate::mapping) change: Change<'a>,
    pub(in crate::mapping) plan: &'a Plan,
    pub(in crate::mapping) lane: &'a Lane,
    /// An update after which the row is no longer one of the route's.
    pub(in crate::mapping) left: bool,
    /// The route's own, whatever the mapping says.
    pub(in crate::mapping) refusal: Option<Verdict>,
    pub(in crate::mapping) notes: &'a mut Notes,
    pub(in crate::mapping) draft: Draft,
}

impl Pen<'_> {
    /// Appends the event to `out`, or says what keeps it from being sent.
    pub(in crate::mapping) fn write(mut self, out: &mut Vec<u8>) -> Mapped {
        let start = out.len();
        self.draft.key_hash = self.lane.table_hash.finish();
        let written = match self.sheet.format() {
            Format::Walgate => walgate::row(&mut self, out),
            Format::Mapped => self.write_keys(b"", out).and_then(|()| {
                self.draft.body.start = out.len();
                self.write_data(out)
            }),
            Format::Debezium => debezium::row(&mut self, out),
            Format::CloudEvents => cloudevents::row(&mut self, out),
        };
        finish(written, self.draft, start, out)
    }

    /// Appends the key, and behind `mark` the one it had before, where an update changed it.
    pub(super) fn write_keys(&mut self, mark: &[u8], out: &mut Vec<u8>) -> Result<(), Verdict> {
        self.write_key(mark, out)?;
        self.refusal.take().map_or(Ok(()), Err)
    }

    fn write_key(&mut self, mark: &[u8], out: &mut Vec<u8>) -> Result<(), Verdict> {
        let (lane, change) = (self.lane, &self.change);
        if change.operation == Operation::Truncate || lane.key.is_none() {
            return Ok(());
        }
        let start = out.len();
        if self.left {
            lane.key.write_before(change, out)?;
        } else {
            lane.key.write(change, out)?;
        }
        let hash = |start: usize, out: &[u8]| {
            lane.table_hash.with(out.get(start..).unwrap_or_default()).finish()
        };
        self.draft.key_hash = hash(start, out);
        self.draft.key = Some(start..out.len());
        if !self.left && lane.key.has_changed(change) {
            out.extend_from_slice(mark);
            let start = out.len();
            lane.key.write_before(change, out)?;
            self.draft.before_key_hash = Some(hash(start, out));
            self.draft.before_key = Some(start..out.len());
        }
        Ok(())
    }

    /// Appends the mapping's output, or null where there is none.
    pub(super) fn write_data(&mut self, out: &mut Vec<u8>) -> Result<(), Verdict> {
        let change = &self.change;
        let gone = self.sheet.operation == Operation::Delete;
        let role = if gone { Role::Gone } else { Role::New };
        match change.operation {
            Operation::Truncate | Operation::Message => out.extend_from_slice(b"null"),
            Operation::Delete => self.plan.write(role, Row::gone(change), self.notes, out)?,
            Operation::Update if self.left => {
                self.plan.write(role, Row::leaving(change), self.notes, out)?;
            }
            Operation::Read | Operation::Insert | Operation::Update => {
                self.plan.write(Role::New, Row::new(change), self.notes, out)?;
            }
        }
        self.draft.whole = gone || (self.notes.unchanged.is_empty() && !self.notes.omitted);
        Ok(())
    }

    /// Appends what an update knows of the old row. False, and nothing appended: nothing.
    pub(super) fn write_before(&mut self, out: &mut Vec<u8>) -> Result<bool, Verdict> {
        let change = &self.change;
        let is_update = change.operation == Operation::Update && !self.left;
        if !is_update || !change.images.old.present {
            return Ok(false);
        }
        let start = out.len();
        self.plan.write(Role::Before, Row::before(change), self.notes, out)?;
        let says = out.get(start..) != Some(b"{}");
        if !says {
            out.truncate(start);
        }
        Ok(says)
    }
}
