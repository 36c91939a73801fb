//! The name of an index.

use crate::sink::template::{Part, Template};

/// The longest name, in bytes.
const BYTES_MAX: usize = 255;

/// Text that is no name of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAnIndex;

/// Makes a name of what a template made: in small letters, without the quotes that SQL wants around
/// a table's name.
///
/// Rules: <https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-indices-create>.
pub(super) fn name(text: &str) -> Result<String, NotAnIndex> {
    let name = text.replace('"', "").to_lowercase();
    let is_wrong = |c: char| c.is_whitespace() || "\\/*?<>|,#:".contains(c);
    let begins = name.starts_with(['-', '_', '+', '.']);
    if name.is_empty() || begins || name.contains(is_wrong) || name.len() > BYTES_MAX {
        return Err(NotAnIndex);
    }
    Ok(name)
}

/// Looks whether a template can make a name.
pub(super) fn look(template: &Template) -> Result<(), NotAnIndex> {
    let piece = |part: &Part| match part {
        Part::Literal(text) => text.clone(),
        Part::Place(_) => "x".to_owned(),
    };
    let shaped: String = template.parts.iter().map(piece).collect();
    name(&shaped).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_elasticsearch_takes() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(name(text).ok().as_deref(), expected, "{text}");
        };
        check("orders", Some("orders"));
        check("public.\"Orders\"", Some("public.orders"));
        check("shop-\"Items\"-2", Some("shop-items-2"));
        for wrong in ["", "\"Order Items\"", "-a", "_a", "+a", ".a", "a/b", "a:b", "a,b", "a#b"] {
            check(wrong, None);
        }
        check(&"a".repeat(255), Some(&"a".repeat(255)));
        check(&"a".repeat(256), None);
    }
}
