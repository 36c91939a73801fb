//! Which columns an expression can do without.

use super::{Form, Reference};

/// Whether the expression asks anywhere with `has` or `.?` for the column: it is then written for
/// tables that have it and for those that don't.
pub(super) fn is_guarded(references: &[Reference], column: &str) -> bool {
    references.iter().any(|reference| {
        reference.column == column && matches!(reference.form, Form::Has | Form::Optional)
    })
}
