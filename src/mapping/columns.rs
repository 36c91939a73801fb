//! Which columns of a row a mapping reads.

use std::collections::BTreeSet;

use super::field::{Field, Mapping};

impl Mapping {
    /// Returns the columns that its fields read, unquoted, in the order of the fields, each once.
    /// With `rest = "include"` every other column of the table comes besides.
    #[must_use]
    pub fn columns(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        self.fields.iter().flat_map(Field::columns).filter(|column| seen.insert(*column)).collect()
    }

    /// Whether a field hides the values of this column: they must not be shown either where the
    /// row itself is.
    #[must_use]
    pub fn is_masked(&self, column: &str) -> bool {
        self.masked_columns().any(|masked| masked == column)
    }
}

/// Returns the fields whose values must not be shown though another version of the mapping would:
/// those that read a column which one of the two hides.
#[must_use]
pub(crate) fn hidden_fields(one: &Mapping, other: &Mapping) -> BTreeSet<String> {
    let fields = || one.fields.iter().chain(&other.fields);
    let masked: BTreeSet<&str> =
        fields().filter(|field| field.mask.is_some()).flat_map(Field::columns).collect();
    let hidden = fields().filter(|field| field.columns().any(|column| masked.contains(column)));
    // What `rest` includes has the column's own name.
    let rest = masked.iter().map(|column| (*column).to_owned());
    hidden.map(|field| field.target.clone()).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mapping::From;

    #[test]
    fn a_mapping_knows_the_columns_that_it_reads() {
        let fields = vec![
            Field::column("id", "id"),
            Field::new("source", From::Value(json!("shop"))),
            Field::column("email", "mail"),
            Field::column("contact.email", "mail"),
        ];
        let mapping = Mapping::new("m", 1, fields);
        assert_eq!(mapping.columns(), ["id", "mail"]);
    }
}
