//! Values: Postgres text becomes JSON, straight into a buffer.
//!
//! Nothing rounded, nothing lost, nothing silently null: the digits of a number are copied, never
//! read. A text that is not what its type should be (which no server sends) becomes a JSON string
//! of that text; bytes that are not UTF-8 (an `SQL_ASCII` database) become U+FFFD. So what is
//! written is always one JSON value on one line.

mod array;
mod composite;
mod hstore;
mod json;
mod number;
mod text;
mod time;

use crate::relation::Kind;

pub use json::is_json_null;
pub use text::write_text_json;
pub use time::civil;

/// How deep composites and arrays of them may nest before they are printed as text. Postgres has
/// no such bound; nobody was seen to pass four.
const DEPTH_MAX: u32 = 64;

/// Appends the JSON of a value whose type is read as `kind`. It can't fail: see the module's page.
#[inline]
pub fn write_json(kind: &Kind, text: &[u8], out: &mut Vec<u8>) {
    write_nested(kind, text, DEPTH_MAX, out);
}

fn write_nested(kind: &Kind, text: &[u8], depth: u32, out: &mut Vec<u8>) {
    let start = out.len();
    let written = match kind {
        Kind::Text | Kind::Date => false,
        Kind::Integer => number::write_integer(text, out),
        Kind::Numeric | Kind::Float => number::write_number(text, out),
        Kind::Boolean => number::write_boolean(text, out),
        Kind::Timestamp | Kind::TimestampTz => time::write_timestamp(text, out),
        Kind::Json => json::write(text, out),
        Kind::Bytea => text::write_bytea(text, out),
        Kind::Array { element, delimiter } => depth
            .checked_sub(1)
            .is_some_and(|depth| array::write(element, *delimiter, text, depth, out)),
        Kind::Composite { fields } => {
            depth.checked_sub(1).is_some_and(|depth| composite::write(fields, text, depth, out))
        }
        Kind::Hstore => hstore::write(text, out),
    };
    if !written {
        out.truncate(start);
        write_text_json(text, out);
    }
}

#[cfg(test)]
mod tests;
