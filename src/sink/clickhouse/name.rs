//! [`Name`]: which table.

use crate::sink::NotAName;
use crate::sink::name;

/// A table, maybe with its database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) database: Option<String>,
    pub(super) table: String,
}

impl Name {
    /// Reads what a template made. Unlike SQL does it, letters stay as they are: ClickHouse tells
    /// `Orders` from `orders`.
    pub(super) fn parse(text: &str) -> Result<Self, NotAName> {
        Ok(match name::parse(text)? {
            (table, None) => Self { database: None, table: table.text },
            (database, Some(table)) => Self { database: Some(database.text), table: table.text },
        })
    }

    /// Writes it with its database, which is `default` unless it brings one.
    pub(super) fn quoted(&self, default: &str) -> String {
        let database = self.database.as_deref().unwrap_or(default);
        format!("{}.{}", quoted(database), quoted(&self.table))
    }
}

/// Quotes an identifier, whatever it is.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let name = Name::parse(text).ok();
        assert_eq!(name.map(|name| name.quoted("shop")).as_deref(), expected, "{text}");
    }

    #[test]
    fn names_keep_their_letters_and_lose_the_quotes_of_sql() {
        check("orders", Some("`shop`.`orders`"));
        check("Analytics.Orders", Some("`Analytics`.`Orders`"));
        check("\"Order Items\"", Some("`shop`.`Order Items`"));
        check("sales.\"a\"\"b.`c\\d\"", Some("`sales`.`a\"b.\\`c\\\\d`"));
        for wrong in ["", "a.b.c", "a b", "`a`", "1a", "a;b"] {
            check(wrong, None);
        }
    }
}
