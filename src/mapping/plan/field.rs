//! One field of a plan: from the cell that it reads to the bytes that are written.

use std::sync::Arc;

use super::super::convert;
use super::super::event;
use super::super::expression::{Bound, Found, Scene};
use super::super::field::{As, Field, OnUnchanged, Policy};
use super::super::refine::{Refine, Shortfall};
use super::super::row::Row;
use super::super::verdict::{Reason, Verdict};
use super::outline::last_name;
use super::{Notes, Role};
use crate::change::Cell;
use crate::pgoutput::value::{is_json_null, write_json, write_text_json};
use crate::relation::{Column, Kind};
use crate::secret::Secret;

#[derive(Debug)]
pub(super) struct FieldStep {
    /// `"email":`
    name: Vec<u8>,
    source: Source,
    convert: Option<As>,
    /// None: nothing but `convert` happens to a value.
    refine: Option<Box<Refine>>,
    on_null: Rendered,
    on_invalid: Rendered,
    on_miss: Rendered,
    on_unchanged: OnUnchanged,
    /// The field's full name, as `unchanged` and rejections say it.
    field: Arc<str>,
}

/// Where the value comes from.
#[derive(Debug)]
enum Source {
    Column {
        index: usize,
        kind: Kind,
    },
    Expr {
        bound: Box<Bound>,
        /// It is written of old rows too.
        in_before: bool,
    },
}

/// A policy whose value is JSON already.
#[derive(Debug)]
enum Rendered {
    Omit,
    Reject,
    Skip,
    Value(Vec<u8>),
}

impl FieldStep {
    /// Compiles a field that reads a column; `key` is the mapping's `mask_key`.
    pub(super) fn column(
        field: &Field,
        path: &[&str],
        index: usize,
        column: &Column,
        key: Option<&Secret>,
    ) -> Self {
        Self::new(field, path, Source::Column { index, kind: column.kind.clone() }, key)
    }

    /// Compiles a field that is computed.
    pub(super) fn expression(
        field: &Field,
        path: &[&str],
        bound: Bound,
        key: Option<&Secret>,
    ) -> Self {
        Self::new(
            field,
            path,
            Source::Expr { in_before: bound.tells_of_old_rows(), bound: Box::new(bound) },
            key,
        )
    }

    fn new(field: &Field, path: &[&str], source: Source, key: Option<&Secret>) -> Self {
        Self {
            name: last_name(path),
            source,
            convert: field.convert,
            refine: Refine::of(field, key),
            on_null: Rendered::new(&field.null_policy()),
            on_invalid: Rendered::new(&field.invalid_policy()),
            on_miss: Rendered::new(&field.miss_policy()),
            on_unchanged: field.on_unchanged,
            field: field.target.as_str().into(),
        }
    }

    /// Appends the field as the row has it, or does what its policies say.
    #[inline]
    pub(super) fn write(
        &self,
        role: Role,
        row: Row<'_>,
        notes: &mut Notes,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        match &self.source {
            Source::Column { index, kind } => {
                self.write_cell(role, kind, row.cell(*index), notes, out)
            }
            Source::Expr { in_before: false, .. } if role == Role::Before => Ok(()),
            Source::Expr { bound, .. } => self.write_computed(role, bound, row, notes, out),
        }
    }

    fn write_computed(
        &self,
        role: Role,
        bound: &Bound,
        row: Row<'_>,
        notes: &mut Notes,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        let mut value = std::mem::take(&mut notes.value);
        value.clear();
        let written = match bound.evaluate(&Scene::new(row), &mut value) {
            Found::Value(kind) => self.write_value(role, &kind, &value, notes, out),
            Found::Null => self.write_null(role, notes, out),
            Found::Unsent => self.write_unchanged(role, None, notes, out),
            // Old values inform: one that can't be had is not made up.
            Found::Failed(_) if role == Role::Before => Ok(()),
            Found::Failed(fault) => {
                let reason = Reason::Expression(fault);
                self.fall_back(role, &self.on_invalid, reason, notes, out)
            }
        };
        notes.value = value;
        written
    }

    #[inline]
    fn write_cell(
        &self,
        role: Role,
        kind: &Kind,
        cell: Cell<'_>,
        notes: &mut Notes,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        match cell {
            Cell::Value(text) => self.write_value(role, kind, text, notes, out),
            Cell::Null => self.write_null(role, notes, out),
            Cell::Unchanged | Cell::Absent => self.write_unchanged(role, Some(kind), notes, out),
        }
    }

    #[inline]
    fn write_null(&self, role: Role, notes: &mut Notes, out: &mut Vec<u8>) -> Result<(), Verdict> {
        if role != Role::Before {
            return self.apply(&self.on_null, Reason::Null, notes, out);
        }
        match &self.on_null {
            Rendered::Value(value) => self.put(value, out),
            Rendered::Omit => {}
            Rendered::Reject | Rendered::Skip => self.put(b"null", out),
        }
        Ok(())
    }

    #[inline]
    fn write_value(
        &self,
        role: Role,
        kind: &Kind,
        text: &[u8],
        notes: &mut Notes,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        if let Some(refine) = &self.refine {
            return self.write_refined(refine, role, kind, text, notes, out);
        }
        let start = out.len();
        comma(out);
        out.extend_from_slice(&self.name);
        match self.convert {
            None => write_json(kind, text, out),
            Some(target) if convert::write(target, kind, text, out) => {}
            Some(target) => {
                out.truncate(start);
                let reason = Reason::Invalid(target);
                return self.fall_back(role, &self.on_invalid, reason, notes, out);
            }
        }
        self.note_json_null(role, kind, text, notes);
        Ok(())
    }

    /// As `write_value`, for a field that looks values up, checks or hides them.
    fn write_refined(
        &self,
        refine: &Refine,
        role: Role,
        kind: &Kind,
        text: &[u8],
        notes: &mut Notes,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        let start = out.len();
        comma(out);
        out.extend_from_slice(&self.name);
        let Err(shortfall) = refine.write(self.convert, kind, text, out) else {
            if refine.keeps_values() {
                self.note_json_null(role, kind, text, notes);
            }
            return Ok(());
        };
        out.truncate(start);
        let (policy, reason) = match shortfall {
            Shortfall::Null => return self.write_null(role, notes, out),
            Shortfall::Miss => (&self.on_miss, Reason::Miss),
            Shortfall::Invalid(target) => (&self.on_invalid, Reason::Invalid(target)),
            Shortfall::Check(check) => (&self.on_invalid, Reason::Check(check)),
        };
        self.fall_back(role, policy, reason, notes, out)
    }

    #[inline]
    fn note_json_null(&self, role: Role, kind: &Kind, text: &[u8], notes: &mut Notes) {
        if *kind == Kind::Json
            && role != Role::Before
            && matches!(self.convert, None | Some(As::Json))
            && is_json_null(kind, text)
        {
            note(&self.field, &mut notes.json_nulls);
        }
    }

    /// Does what a policy says of a value that does not fit. An old one rejects nothing.
    fn fall_back(
        &self,
        role: Role,
        policy: &Rendered,
        reason: Reason,
        notes: &mut Notes,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        match (policy, role) {
            (Rendered::Reject | Rendered::Skip | Rendered::Omit, Role::Before) => Ok(()),
            (policy, _) => self.apply(policy, reason, notes, out),
        }
    }

    #[cold]
    fn write_unchanged(
        &self,
        role: Role,
        kind: Option<&Kind>,
        notes: &mut Notes,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        match (role, self.on_unchanged) {
            (Role::Before, _) => {}
            (_, OnUnchanged::Reject) => {
                return Err(Verdict::reject(&self.field, Reason::Unchanged));
            }
            (Role::New, OnUnchanged::Omit) => {
                note(&self.field, &mut notes.unchanged);
                if notes.stands_in {
                    self.put(b"", out);
                    let plain = self.convert.is_none() && self.refine.is_none();
                    event::unavailable(kind.filter(|_| plain), out);
                }
            }
            (Role::Gone, OnUnchanged::Omit) => {}
        }
        Ok(())
    }

    fn apply(
        &self,
        policy: &Rendered,
        reason: Reason,
        notes: &mut Notes,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        match policy {
            Rendered::Value(value) => self.put(value, out),
            Rendered::Omit => notes.omitted = true,
            Rendered::Reject => return Err(Verdict::reject(&self.field, reason)),
            Rendered::Skip => return Err(Verdict::skip(&self.field, reason)),
        }
        Ok(())
    }

    fn put(&self, value: &[u8], out: &mut Vec<u8>) {
        comma(out);
        out.extend_from_slice(&self.name);
        out.extend_from_slice(value);
    }
}

/// Parts a member from the one before it. No value ends in an opening brace, so the last byte
/// tells whether there is one.
#[inline]
pub(super) fn comma(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}

fn note(field: &str, list: &mut Vec<u8>) {
    if !list.is_empty() {
        list.push(b',');
    }
    write_text_json(field.as_bytes(), list);
}

impl Rendered {
    fn new(policy: &Policy) -> Self {
        match policy {
            Policy::Null => Self::Value(b"null".to_vec()),
            Policy::Omit => Self::Omit,
            Policy::Reject => Self::Reject,
            Policy::Skip => Self::Skip,
            Policy::Default(value) => Self::Value(value.to_string().into_bytes()),
        }
    }
}
