//! Composite values: `(a,"b ""c""",)`, where nothing at all between two commas is NULL.

use std::borrow::Cow;

use super::{write_nested, write_text_json};
use crate::relation::Kind;

/// Appends a composite as an object of its fields. Returns false when the text is none, or does
/// not have as many fields as the type (which was altered since).
pub(super) fn write(fields: &[(String, Kind)], text: &[u8], depth: u32, out: &mut Vec<u8>) -> bool {
    let Some(inner) = text.strip_prefix(b"(").and_then(|inner| inner.strip_suffix(b")")) else {
        return false;
    };
    let mut rest = inner;
    out.push(b'{');
    for (index, (name, kind)) in fields.iter().enumerate() {
        if index > 0 {
            let Some(behind) = rest.strip_prefix(b",") else { return false };
            rest = behind;
            out.push(b',');
        }
        write_text_json(name.as_bytes(), out);
        out.push(b':');
        match read_field(&mut rest) {
            Some(Some(value)) => write_nested(kind, &value, depth, out),
            Some(None) => out.extend_from_slice(b"null"),
            None => return false,
        }
    }
    out.push(b'}');
    rest.is_empty()
}

/// Reads a field up to the comma behind it. `Some(None)` is NULL, `None` malformed.
fn read_field<'a>(rest: &mut &'a [u8]) -> Option<Option<Cow<'a, [u8]>>> {
    match rest.first() {
        None | Some(b',') => Some(None),
        Some(b'"') => read_quoted(rest).map(Some),
        Some(_) => {
            let end = memchr::memchr3(b',', b'"', b'\\', rest).unwrap_or(rest.len());
            let (value, behind) = rest.split_at_checked(end)?;
            *rest = behind;
            Some(Some(Cow::Borrowed(value)))
        }
    }
}

/// Reads `"…"` from the front: a quote or a backslash inside stands twice.
fn read_quoted<'a>(rest: &mut &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let mut tail = rest.strip_prefix(b"\"")?;
    let mut value = Cow::Borrowed(&[][..]);
    loop {
        let run = memchr::memchr2(b'"', b'\\', tail)?;
        let (plain, behind) = tail.split_at_checked(run)?;
        if value.is_empty() {
            value = Cow::Borrowed(plain);
        } else {
            value.to_mut().extend_from_slice(plain);
        }
        match behind {
            [b'"', b'"', behind @ ..] => {
                value.to_mut().push(b'"');
                tail = behind;
            }
            [b'\\', byte, behind @ ..] => {
                value.to_mut().push(*byte);
                tail = behind;
            }
            [b'"', behind @ ..] => {
                *rest = behind;
                return Some(value);
            }
            _ => return None,
        }
    }
}
