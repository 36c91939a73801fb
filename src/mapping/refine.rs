//! What becomes of a value on its way into a field: `lookup`, `as`, `check`, `mask`, in this order.

use std::sync::Arc;

use super::check::{Check, Text};
use super::convert;
use super::field::{As, Field};
use super::lookup::{Looked, Lookup};
use super::mask::Masker;
use crate::pgoutput::value::write_json;
use crate::relation::Kind;
use crate::secret::Secret;

/// What a field does to a value beside `as`.
#[derive(Clone, Debug)]
pub(super) struct Refine {
    lookup: Option<Lookup>,
    /// With what rejections say of each.
    checks: Vec<(Check, Arc<str>)>,
    mask: Option<Masker>,
}

/// Why a value does not become the field's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shortfall {
    /// `lookup` has no entry for it.
    Miss,
    /// `lookup` has null for it.
    Null,
    /// It can't become this without loss.
    Invalid(As),
    /// It fails the check that is called so.
    Check(Arc<str>),
}

impl Refine {
    /// Takes what the field asks for; none: nothing beside `as`.
    pub(super) fn of(field: &Field, key: Option<&Secret>) -> Option<Box<Self>> {
        if field.lookup.is_none() && field.checks.is_empty() && field.mask.is_none() {
            return None;
        }
        let labelled = |check: &Check| (check.clone(), check.to_string().into());
        Some(Box::new(Self {
            lookup: field.lookup.clone(),
            checks: field.checks.iter().map(labelled).collect(),
            mask: field.mask.map(|mask| Masker::new(mask, key)),
        }))
    }

    /// Whether a value that passes is the column's own.
    pub(super) const fn keeps_values(&self) -> bool {
        self.lookup.is_none() && self.mask.is_none()
    }

    /// Appends what becomes of a value. After an error `out` may hold part of it.
    pub(super) fn write(
        &self,
        convert: Option<As>,
        kind: &Kind,
        text: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Shortfall> {
        let start = out.len();
        let (kind, text) = match &self.lookup {
            None => (kind, text),
            Some(lookup) => {
                write_json(kind, text, out);
                let found = lookup.find(&Text::of(out.get(start..).unwrap_or_default()).text);
                let Looked { kind, text } = found.ok_or(Shortfall::Miss)?;
                out.truncate(start);
                (kind.as_ref().ok_or(Shortfall::Null)?, text.as_slice())
            }
        };
        match convert {
            None => write_json(kind, text, out),
            Some(target) if convert::write(target, kind, text, out) => {}
            Some(target) => return Err(Shortfall::Invalid(target)),
        }
        if !self.checks.is_empty() {
            let value = Text::of(out.get(start..).unwrap_or_default());
            if let Some((_, label)) = self.checks.iter().find(|(check, _)| !check.passes(&value)) {
                return Err(Shortfall::Check(Arc::clone(label)));
            }
        }
        if let Some(mask) = &self.mask {
            mask.cover(start, out);
        }
        Ok(())
    }
}

/// Returns what keeps a value from becoming the field's; none: nothing does.
pub(super) fn shortfall(field: &Field, kind: &Kind, text: &[u8]) -> Option<Shortfall> {
    let mut out = Vec::new();
    match (Refine::of(field, None), field.convert) {
        (Some(refine), convert) => refine.write(convert, kind, text, &mut out).err(),
        (None, Some(target)) => {
            (!convert::write(target, kind, text, &mut out)).then_some(Shortfall::Invalid(target))
        }
        (None, None) => None,
    }
}
