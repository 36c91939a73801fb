//! [`Name`]: which table, read from text as SQL reads it.

use std::fmt;

/// Schema and name of a table at the far side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name {
    pub(super) schema: String,
    pub(super) table: String,
}

/// Where a name without a schema lies.
const SCHEMA: &str = "public";

/// Text that is no name of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a table's name such as `orders`, `sales.orders` or `sales.\"Order Items\"`; with a \
     schema of your own write `schema.{{{{ table.name }}}}`"
)]
pub struct NotAName;

impl Name {
    /// Reads one or two parts: quoted ones as they are, others in lower case, as SQL does.
    pub(super) fn parse(text: &str) -> Result<Self, NotAName> {
        let (first, rest) = part(text)?;
        let Some(rest) = rest else {
            return Ok(Self { schema: SCHEMA.to_owned(), table: first });
        };
        match part(rest)? {
            (second, None) => Ok(Self { schema: first, table: second }),
            (_, Some(_)) => Err(NotAName),
        }
    }
}

/// Takes a part and what follows its dot.
fn part(text: &str) -> Result<(String, Option<&str>), NotAName> {
    if let Some(mut rest) = text.strip_prefix('"') {
        let mut name = String::new();
        loop {
            let (piece, after) = rest.split_once('"').ok_or(NotAName)?;
            name.push_str(piece);
            match after.strip_prefix('"') {
                Some(after) => {
                    name.push('"');
                    rest = after;
                }
                None if name.is_empty() => return Err(NotAName),
                None if after.is_empty() => return Ok((name, None)),
                None => return Ok((name, Some(after.strip_prefix('.').ok_or(NotAName)?))),
            }
        }
    }
    let (name, rest) = match text.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (text, None),
    };
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    let begins = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if !begins || !name.chars().all(fits) {
        return Err(NotAName);
    }
    Ok((name.to_lowercase(), rest))
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
