//! Names of tables and columns as SQL quotes them, and patterns over them.

use wildmatch::WildMatch;

use crate::relation::{Relation, quote_identifier};

/// A table's name with globs: `public.customers`, `sales.*`, `sales."Order Items"`.
///
/// `*` stands for any number of characters and `?` for one, within one part. A quoted part means
/// itself.
#[derive(Clone, Debug, PartialEq)]
pub struct TablePattern {
    text: String,
    namespace: Part,
    name: Part,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(String),
    Glob(WildMatch),
}

impl TablePattern {
    /// Reads `schema.table`.
    ///
    /// # Errors
    /// The text is not two names joined by a dot, or one of them needs quotes.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match split(text)?.as_slice() {
            [namespace, name] => Ok(Self {
                text: text.to_owned(),
                namespace: Part::new(namespace)?,
                name: Part::new(name)?,
            }),
            [_] => Err(NameError::NoSchema { name: text.to_owned() }),
            _ => Err(NameError::TooManyParts),
        }
    }

    /// Whether the pattern fits this table.
    #[must_use]
    pub fn matches(&self, relation: &Relation) -> bool {
        self.matches_names(&relation.namespace, &relation.name)
    }

    /// Whether the pattern fits the table `name` of schema `namespace`, both unquoted.
    #[must_use]
    pub fn matches_names(&self, namespace: &str, name: &str) -> bool {
        self.namespace.matches(namespace) && self.name.matches(name)
    }

    /// Returns schema and table when there is no glob in the pattern.
    #[must_use]
    pub fn literal(&self) -> Option<(&str, &str)> {
        match (&self.namespace, &self.name) {
            (Part::Literal(namespace), Part::Literal(name)) => Some((namespace, name)),
            _ => None,
        }
    }

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Part {
    fn new(piece: &Piece) -> Result<Self, NameError> {
        match piece {
            Piece::Quoted(name) => Ok(Self::Literal(name.clone())),
            Piece::Bare(name) if name.contains(['*', '?']) => {
                check_bare(&name.replace(['*', '?'], "a"), name)?;
                Ok(Self::Glob(WildMatch::new(name)))
            }
            Piece::Bare(name) => {
                check_bare(name, name)?;
                Ok(Self::Literal(name.clone()))
            }
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == name,
            Self::Glob(glob) => glob.matches(name),
        }
    }
}

/// A pattern over the prefixes of logical messages: `outbox`, `outbox.*`.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixPattern {
    text: String,
    glob: WildMatch,
}

impl PrefixPattern {
    /// Takes a prefix in which `*` and `?` are globs.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), glob: WildMatch::new(text) }
    }

    /// Whether a message with this prefix fits. walgate's own messages never do.
    #[must_use]
    pub fn matches(&self, prefix: &str) -> bool {
        !is_reserved_prefix(prefix) && self.glob.matches(prefix)
    }

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Whether a logical message's prefix is walgate's own (heartbeats, watermarks). No route takes
/// such a message.
#[must_use]
pub fn is_reserved_prefix(prefix: &str) -> bool {
    prefix == "walgate" || prefix.starts_with("walgate.")
}

/// Reads a column's name as SQL quotes it (`email`, `"Order Total"`) and returns it unquoted.
///
/// # Errors
/// The text is not one name, or it needs quotes.
pub fn parse_column(text: &str) -> Result<String, NameError> {
    match split(text)?.as_slice() {
        [Piece::Quoted(name)] => Ok(name.clone()),
        [Piece::Bare(name)] => check_bare(name, name).map(|()| name.clone()),
        _ => Err(NameError::NeedsQuotes { name: quote_identifier(text) }),
    }
}

/// The text is not a name as SQL quotes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing between two dots, or nothing at all.
    #[error("a name is empty")]
    Empty,
    /// A quote that does not end, or text right behind one.
    #[error("a quoted name does not end with its quote")]
    Quotes,
    /// Without quotes SQL would fold it to lower case or not read it at all.
    #[error("SQL reads another name unless it is quoted; write the quotes too: '{name}'")]
    NeedsQuotes {
        /// The name with its quotes.
        name: String,
    },
    /// A table without its schema.
    #[error("the schema is missing; write public.{name}")]
    NoSchema {
        /// As it was written.
        name: String,
    },
    /// More than schema and table.
    #[error("a table is named schema.table, nothing more")]
    TooManyParts,
}

enum Piece {
    Quoted(String),
    Bare(String),
}

fn split(text: &str) -> Result<Vec<Piece>, NameError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        let (piece, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_piece(quoted)?,
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                (Piece::Bare(name.to_owned()), after)
            }
        };
        if matches!(&piece, Piece::Quoted(name) | Piece::Bare(name) if name.is_empty()) {
            return Err(NameError::Empty);
        }
        pieces.push(piece);
        if after.is_empty() {
            return Ok(pieces);
        }
        rest = after.strip_prefix('.').ok_or(NameError::Quotes)?;
    }
}

/// Takes what stands behind an opening quote; two quotes in it mean one.
fn quoted_piece(text: &str) -> Result<(Piece, &str), NameError> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (head, tail) = rest.split_once('"').ok_or(NameError::Quotes)?;
        name.push_str(head);
        match tail.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Ok((Piece::Quoted(name), tail)),
        }
    }
}

/// Holds `name` against SQL's rule for names without quotes; `written` goes into the cure.
fn check_bare(name: &str, written: &str) -> Result<(), NameError> {
    let start = |c: char| c.is_ascii_lowercase() || c == '_' || !c.is_ascii();
    let inner = |c: char| start(c) || c.is_ascii_digit() || c == '$';
    if name.starts_with(start) && name.chars().all(inner) {
        Ok(())
    } else {
        Err(NameError::NeedsQuotes { name: quote_identifier(written) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, table: (&str, &str), fits: bool) {
        let pattern = TablePattern::parse(pattern).unwrap();
        assert_eq!(pattern.matches_names(table.0, table.1), fits, "{}", pattern.as_str());
    }

    #[test]
    fn a_pattern_fits_tables_part_by_part() {
        check("public.customers", ("public", "customers"), true);
        check("public.customers", ("public", "customer"), false);
        check("sales.*", ("sales", "Order Items"), true);
        check("sales.*", ("sales2", "a"), false);
        check("*.orders_20??", ("eu", "orders_2026"), true);
        check("*.orders_20??", ("eu", "orders_26"), false);
        check("sales.\"Order Items\"", ("sales", "Order Items"), true);
        check("sales.\"a.b\"", ("sales", "a.b"), true);
        check("sales.\"a\"\"b\"", ("sales", "a\"b"), true);
    }

    #[test]
    fn a_quoted_star_means_a_star() {
        check("sales.\"*\"", ("sales", "*"), true);
        check("sales.\"*\"", ("sales", "orders"), false);
    }

    #[test]
    fn a_name_that_sql_would_fold_is_refused_with_its_cure() {
        let needs = |name: &str| Err(NameError::NeedsQuotes { name: name.to_owned() });
        assert_eq!(parse_column("Email"), needs("\"Email\""));
        assert_eq!(parse_column("order total"), needs("\"order total\""));
        assert_eq!(parse_column("a.b"), needs("\"a.b\""));
        assert_eq!(parse_column("\"Email\""), Ok("Email".to_owned()));
        assert_eq!(parse_column("größe"), Ok("größe".to_owned()));
        assert_eq!(parse_column(""), Err(NameError::Empty));
        assert_eq!(parse_column("\"a"), Err(NameError::Quotes));
        assert_eq!(parse_column("\"a\"b"), Err(NameError::Quotes));
        assert_eq!(
            TablePattern::parse("customers").unwrap_err().to_string(),
            "the schema is missing; write public.customers"
        );
        assert!(TablePattern::parse("a.b.c").is_err());
        assert!(TablePattern::parse("public.").is_err());
        assert!(TablePattern::parse("Sales.*").is_err());
    }

    #[test]
    fn our_own_messages_fit_no_pattern() {
        assert!(PrefixPattern::new("*").matches("outbox"));
        assert!(!PrefixPattern::new("*").matches("walgate.heartbeat"));
        assert!(PrefixPattern::new("*").matches("walgated"));
    }
}
