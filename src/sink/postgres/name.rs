//! [`Name`]: which table, read from text as SQL reads it.

use std::fmt;

use crate::sink::name::{self, NotAName, Part};

/// Schema and name of a table at the far side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name {
    pub(super) schema: String,
    pub(super) table: String,
}

/// Where a name without a schema lies.
const SCHEMA: &str = "public";

impl Name {
    /// Reads one or two parts: quoted ones as they are, others in lower case, as SQL does.
    pub(super) fn parse(text: &str) -> Result<Self, NotAName> {
        let own = |part: Part| if part.is_quoted { part.text } else { part.text.to_lowercase() };
        Ok(match name::parse(text)? {
            (table, None) => Self { schema: SCHEMA.to_owned(), table: own(table) },
            (schema, Some(table)) => Self { schema: own(schema), table: own(table) },
        })
    }
}

/// As SQL takes it, always quoted.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", quoted(&self.schema), quoted(&self.table))
    }
}

/// Quotes an identifier, whatever it is.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str)>) {
        let name = Name::parse(text).ok();
        let parts = name.as_ref().map(|name| (name.schema.as_str(), name.table.as_str()));
        assert_eq!(parts, expected, "{text}");
    }

    #[test]
    fn names_are_read_as_sql_reads_them() {
        check("orders", Some(("public", "orders")));
        check("Sales.Orders", Some(("sales", "orders")));
        check("sales.\"Order Items\"", Some(("sales", "Order Items")));
        check("\"a.b\".\"c\"\"d\"", Some(("a.b", "c\"d")));
        for wrong in ["", ".", "a.", ".a", "a.b.c", "a b", "\"a", "\"\"", "\"a\"b", "1a", "a;b"] {
            check(wrong, None);
        }
        assert_eq!(Name::parse("a.\"b\"\"c\"").unwrap().to_string(), "\"a\".\"b\"\"c\"");
    }
}
