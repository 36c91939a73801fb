//! What is hidden of a dead letter's original: the columns that its mapping masks.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::cli::asking;
use crate::cli::failure::Failure;
use crate::config::Config;
use crate::delivery::{DeadLetter, kept_mapping};
use crate::mapping::{Mapping, Members};
use crate::state::Reader;

/// The columns of a row that are not shown.
#[derive(Debug)]
pub(in crate::cli) enum Hidden {
    /// These.
    Columns(BTreeSet<String>),
    /// Every one: nobody can tell any more which the mapping masked.
    All,
}

impl Hidden {
    /// Nothing.
    pub(in crate::cli) const fn nothing() -> Self {
        Self::Columns(BTreeSet::new())
    }

    /// What is hidden of a letter: what its version of a mapping masks, and what today's does.
    pub(in crate::cli) fn of(
        letter: &DeadLetter,
        config: &Config,
        reader: &Reader,
    ) -> Result<Self, Failure> {
        let mut routes = config.routes.iter().filter(|route| route.is_called(&letter.route));
        let routed = routes.find_map(|route| route.mapping.as_ref());
        let mut masking: Vec<Arc<Mapping>> = routed.map(Arc::clone).into_iter().collect();
        if let Some((name, version)) = &letter.mapping {
            let today = config.mappings.iter().find(|mapping| mapping.name == *name);
            let lent = today.map(Arc::as_ref);
            let kept = asking::read(reader, |c| kept_mapping(c, name, *version, lent))?;
            // Without its key or its lookup's file nobody can tell what the version hid.
            let Ok(kept) = kept else { return Ok(Self::All) };
            masking.push(Arc::new(kept));
            masking.extend(today.map(Arc::clone));
        }
        let columns = masking.iter().flat_map(|mapping| mapping.masked_columns());
        Ok(Self::Columns(columns.map(str::to_owned).collect()))
    }

    /// Whether a column is not shown.
    pub(in crate::cli) fn hides(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Columns(columns) => columns.contains(name),
        }
    }

    /// Returns a row with `***` in place of what is hidden; NULL is shown.
    pub(in crate::cli) fn cover(&self, row: Box<RawValue>) -> Box<RawValue> {
        if matches!(self, Self::Columns(columns) if columns.is_empty()) {
            return row;
        }
        let raw = |text: &str| serde_json::value::to_raw_value(text).unwrap_or_default();
        // What is no object, the content of a message, no mapping has masked.
        let Ok(mut members) = serde_json::from_str::<Members>(row.get()) else { return row };
        for (name, value) in &mut members.0 {
            if self.hides(name) && value.get() != "null" {
                *value = raw("***");
            }
        }
        serde_json::value::to_raw_value(&members).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_covered_and_the_rest_stays_to_the_digit() {
        let row = r#"{"id":9007199254740993,"phone":"123","n":12.50,"fax":null}"#;
        let cover = |hidden: Hidden| hidden.cover(serde_json::from_str(row).unwrap()).to_string();
        let columns = ["phone", "fax", "gone"].map(str::to_owned).into_iter().collect();
        assert_eq!(
            cover(Hidden::Columns(columns)),
            r#"{"id":9007199254740993,"phone":"***","n":12.50,"fax":null}"#
        );
        assert_eq!(cover(Hidden::nothing()), row);
        assert_eq!(cover(Hidden::All), r#"{"id":"***","phone":"***","n":"***","fax":null}"#);
    }
}
