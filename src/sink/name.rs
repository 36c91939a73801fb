//! Names of tables as SQL writes them: one part or two, bare or in quotes.

use super::template::{Part as Piece, Template};

/// A part of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink) struct Part {
    /// As it was written, without quotes.
    pub(in crate::sink) text: String,
    /// It stood in quotes: each letter counts.
    pub(in crate::sink) is_quoted: bool,
}

/// Text that is no name of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a table's name such as `orders`, `sales.orders` or `sales.\"Order Items\"`; with a \
     schema of your own write `schema.{{{{ table.name }}}}`"
)]
pub struct NotAName;

/// Reads one or two parts with a dot between.
pub(in crate::sink) fn parse(text: &str) -> Result<(Part, Option<Part>), NotAName> {
    let (first, rest) = part(text)?;
    let Some(rest) = rest else { return Ok((first, None)) };
    match part(rest)? {
        (second, None) => Ok((first, Some(second))),
        (_, Some(_)) => Err(NotAName),
    }
}

/// Looks whether a template can make a name, whatever fills it.
pub(in crate::sink) fn look(template: &Template) -> Result<(), NotAName> {
    let piece = |piece: &Piece| match piece {
        Piece::Literal(text) => text.clone(),
        Piece::Place(path) if path.is("table") => "s.t".to_owned(),
        Piece::Place(_) => "x".to_owned(),
    };
    let shaped: String = template.parts.iter().map(piece).collect();
    parse(&shaped).map(drop)
}

/// Takes a part and what follows its dot.
fn part(text: &str) -> Result<(Part, Option<&str>), NotAName> {
    let quoted = |text: String| Part { text, is_quoted: true };
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
                None if after.is_empty() => return Ok((quoted(name), None)),
                None => return Ok((quoted(name), Some(after.strip_prefix('.').ok_or(NotAName)?))),
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
    Ok((Part { text: name.to_owned(), is_quoted: false }, rest))
}
