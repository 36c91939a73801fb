//! One field of a plan: from the cell that it reads to the bytes that are written.

use std::sync::Arc;

use super::super::convert;
use super::super::event;
use super::super::row::Row;
use super::super::rule::{As, Field, OnUnchanged, Policy};
use super::super::verdict::{Reason, Verdict};
use super::outline::last_name;
use super::{Notes, Role};
use crate::change::Cell;
use crate::pgoutput::value::{is_json_null, write_json, write_text_json};
use crate::relation::{Column, Kind};

#[derive(Debug)]
pub(super) struct FieldStep {
    /// `"email":`
    name: Vec<u8>,
    source: Source,
    convert: Option<As>,
    on_null: Rendered,
    on_invalid: Rendered,
    on_unchanged: OnUnchanged,
    /// The field's full name, as `unchanged` and rejections say it.
    field: Arc<str>,
}

/// Where the value comes from.
#[derive(Debug)]
enum Source {
    Column { index: usize, kind: Kind },
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
    /// Compiles a field that reads a column.
    pub(super) fn column(field: &Field, path: &[&str], index: usize, column: &Column) -> Self {
        Self::new(field, path, Source::Column { index, kind: column.kind.clone() })
    }

    fn new(field: &Field, path: &[&str], source: Source) -> Self {
        Self {
            name: last_name(path),
            source,
            convert: field.convert,
            on_null: Rendered::new(&field.null_policy()),
            on_invalid: Rendered::new(&field.invalid_policy()),
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
        }
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
            Cell::Null if role == Role::Before => {
                match &self.on_null {
                    Rendered::Value(value) => self.put(value, out),
                    Rendered::Omit => {}
                    Rendered::Reject | Rendered::Skip => self.put(b"null", out),
                }
                Ok(())
            }
            Cell::Null => self.apply(&self.on_null, Reason::Null, notes, out),
            Cell::Unchanged | Cell::Absent => self.write_unchanged(role, kind, notes, out),
        }
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
        let start = out.len();
        comma(out);
        out.extend_from_slice(&self.name);
        match self.convert {
            None => write_json(kind, text, out),
            Some(target) if convert::write(target, kind, text, out) => {}
            Some(target) => {
                out.truncate(start);
                return match (&self.on_invalid, role) {
                    (Rendered::Reject | Rendered::Skip, Role::Before) => Ok(()),
                    (policy, _) => self.apply(policy, Reason::Invalid(target), notes, out),
                };
            }
        }
        if *kind == Kind::Json
            && role != Role::Before
            && matches!(self.convert, None | Some(As::Json))
            && is_json_null(kind, text)
        {
            note(&self.field, &mut notes.json_nulls);
        }
        Ok(())
    }

    #[cold]
    fn write_unchanged(
        &self,
        role: Role,
        kind: &Kind,
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
                    event::unavailable(Some(kind).filter(|_| self.convert.is_none()), out);
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
