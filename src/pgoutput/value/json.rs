//! json and jsonb: the JSON itself, checked, with line ends between tokens dropped.

use super::number::number_prefix;
use crate::relation::Kind;

/// Whether a value is the JSON value null, as against SQL NULL: what an event's `json_nulls`
/// lists.
#[must_use]
pub fn is_json_null(kind: &Kind, text: &[u8]) -> bool {
    *kind == Kind::Json && text.trim_ascii() == b"null"
}

/// Appends JSON as it stands, digits and key order kept. Returns false when it is none.
///
/// The check does not recurse: Postgres lets documents nest thousands deep, and that costs a bit
/// a level here.
pub(super) fn write(text: &[u8], out: &mut Vec<u8>) -> bool {
    if !is_json(text) {
        return false;
    }
    // Inside a string a line end is never raw, so whatever raw one there is lies between tokens.
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        let (line, behind) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(line);
        rest = behind.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    true
}

/// The containers that are open, innermost last: a bit each, set for an object.
#[derive(Default)]
struct Open {
    top: u64,
    depth: usize,
    below: Vec<u64>,
}

impl Open {
    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.below.push(self.top);
        }
        self.top = (self.top << 1) | u64::from(object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.top >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.top = self.below.pop().unwrap_or_default();
        }
    }

    const fn in_object(&self) -> bool {
        self.top & 1 == 1
    }
}

/// Whether a text is one JSON value, as Postgres's own parser would say.
fn is_json(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok() && check(skip_blank(text)).is_some()
}

fn check(mut rest: &[u8]) -> Option<()> {
    let mut open = Open::default();
    loop {
        // A value, or a container's start.
        rest = match rest {
            [b'{', inner @ ..] => {
                let inner = skip_blank(inner);
                if let [b'}', behind @ ..] = inner {
                    behind
                } else {
                    open.push(true);
                    rest = key(inner)?;
                    continue;
                }
            }
            [b'[', inner @ ..] => {
                let inner = skip_blank(inner);
                if let [b']', behind @ ..] = inner {
                    behind
                } else {
                    open.push(false);
                    rest = inner;
                    continue;
                }
            }
            _ => scalar(rest)?,
        };
        // What follows it: the ends of containers, then a comma, or the end of all.
        loop {
            rest = skip_blank(rest);
            if open.depth == 0 {
                return rest.is_empty().then_some(());
            }
            match (rest, open.in_object()) {
                ([b'}', behind @ ..], true) | ([b']', behind @ ..], false) => {
                    open.pop();
                    rest = behind;
                }
                ([b',', behind @ ..], true) => {
                    rest = key(skip_blank(behind))?;
                    break;
                }
                ([b',', behind @ ..], false) => {
                    rest = skip_blank(behind);
                    break;
                }
                _ => return None,
            }
        }
    }
}

/// Drops JSON's four blanks from the front.
fn skip_blank(mut rest: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', behind @ ..] = rest {
        rest = behind;
    }
    rest
}

/// Reads `"key" :` and returns what follows.
fn key(rest: &[u8]) -> Option<&[u8]> {
    let behind = skip_blank(string(rest)?);
    behind.strip_prefix(b":").map(skip_blank)
}

fn scalar(rest: &[u8]) -> Option<&[u8]> {
    match rest.first()? {
        b'"' => string(rest),
        b't' => rest.strip_prefix(b"true"),
        b'f' => rest.strip_prefix(b"false"),
        b'n' => rest.strip_prefix(b"null"),
        _ => match number_prefix(rest) {
            (true, behind) => Some(behind),
            (false, _) => None,
        },
    }
}

/// Reads a string and returns what follows.
fn string(rest: &[u8]) -> Option<&[u8]> {
    let mut rest = rest.strip_prefix(b"\"")?;
    loop {
        let at = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'))?;
        match rest.get(at..)? {
            [b'"', behind @ ..] => return Some(behind),
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', behind @ ..] => {
                rest = behind;
            }
            [b'\\', b'u', a, b, c, d, behind @ ..]
                if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
            {
                rest = behind;
            }
            _ => return None,
        }
    }
}
