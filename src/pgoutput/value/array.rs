//! Arrays: `{1,2,NULL,"a \"b\""}`, nested, with bounds before an `=` when they don't start at 1.

use std::borrow::Cow;

use super::write_nested;
use crate::relation::Kind;

/// The most dimensions that Postgres allows (`MAXDIM`).
const DIMENSIONS_MAX: u32 = 6;

/// Appends an array of `kind`. Returns false when the text is none.
pub(super) fn write(
    kind: &Kind,
    delimiter: u8,
    text: &[u8],
    depth: u32,
    out: &mut Vec<u8>,
) -> bool {
    let Some(mut rest) = without_bounds(text) else { return false };
    let writer = Writer { kind, delimiter, depth };
    writer.braces(&mut rest, DIMENSIONS_MAX, out) && rest.is_empty()
}

/// Drops `[0:1][-1:2]=` from the front.
fn without_bounds(text: &[u8]) -> Option<&[u8]> {
    if text.first() != Some(&b'[') {
        return Some(text);
    }
    let equals = memchr::memchr(b'=', text)?;
    text.get(equals..)?.get(1..)
}

struct Writer<'k> {
    kind: &'k Kind,
    delimiter: u8,
    depth: u32,
}

impl Writer<'_> {
    /// Writes one dimension, from `{` to its `}`.
    fn braces(&self, rest: &mut &[u8], dimensions: u32, out: &mut Vec<u8>) -> bool {
        let Some(dimensions) = dimensions.checked_sub(1) else { return false };
        let [b'{', inner @ ..] = *rest else { return false };
        *rest = inner;
        out.push(b'[');
        if let [b'}', behind @ ..] = *rest {
            *rest = behind;
            out.push(b']');
            return true;
        }
        loop {
            let written = match rest.first() {
                Some(b'{') => self.braces(rest, dimensions, out),
                Some(b'"') => self.quoted(rest, out),
                _ => self.bare(rest, out),
            };
            let Some((end, behind)) = rest.split_first() else { return false };
            *rest = behind;
            if !written {
                return false;
            }
            if *end == b'}' {
                out.push(b']');
                return true;
            }
            if *end != self.delimiter {
                return false;
            }
            out.push(b',');
        }
    }

    /// Writes an element without quotes; `NULL` is one that is not there.
    fn bare(&self, rest: &mut &[u8], out: &mut Vec<u8>) -> bool {
        let end = rest
            .iter()
            .position(|byte| *byte == self.delimiter || matches!(byte, b'}' | b'{' | b'"' | b'\\'));
        let Some((element, behind)) = end.and_then(|end| rest.split_at_checked(end)) else {
            return false;
        };
        *rest = behind;
        match element {
            [] => return false,
            b"NULL" => out.extend_from_slice(b"null"),
            element => write_nested(self.kind, element, self.depth, out),
        }
        true
    }

    /// Writes an element in quotes, where a backslash stands before a quote or a backslash.
    fn quoted(&self, rest: &mut &[u8], out: &mut Vec<u8>) -> bool {
        let Some(element) = read_quoted(rest) else { return false };
        write_nested(self.kind, &element, self.depth, out);
        true
    }
}

/// Reads `"…"` from the front, taking a backslash before any byte away.
pub(super) fn read_quoted<'a>(rest: &mut &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let inner = rest.strip_prefix(b"\"")?;
    let end = memchr::memchr2(b'"', b'\\', inner)?;
    let (element, behind) = inner.split_at_checked(end)?;
    if let [b'"', behind @ ..] = behind {
        *rest = behind;
        return Some(Cow::Borrowed(element));
    }
    let mut element = element.to_vec();
    let mut tail = behind;
    loop {
        match tail {
            [b'\\', byte, behind @ ..] => {
                element.push(*byte);
                tail = behind;
            }
            [b'"', behind @ ..] => {
                *rest = behind;
                return Some(Cow::Owned(element));
            }
            _ => {
                let run = memchr::memchr2(b'"', b'\\', tail).filter(|run| *run > 0)?;
                let (plain, behind) = tail.split_at_checked(run)?;
                element.extend_from_slice(plain);
                tail = behind;
            }
        }
    }
}
