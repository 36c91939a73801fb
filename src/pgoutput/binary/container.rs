//! Values made of values: arrays, composites, ranges, hstore.

use super::built_in::built_in;
use super::form::Form;
use super::take::Take;
use super::{Error, write};
use crate::lsn::Oid;

/// As Postgres has it.
const DIMENSIONS_MAX: usize = 6;

/// What the server takes for white space where it decides on quotes.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// How the text of a part is quoted within the whole.
struct Quotes<'a> {
    /// Signs that ask for quotes, beside white space, `"` and `\`.
    signs: &'a [u8],
    /// `"` and `\` within are doubled; else a `\` stands before them.
    doubled: bool,
}

impl Quotes<'_> {
    /// Quotes what was written from `start` on, where that is needed.
    fn quote(&self, start: usize, out: &mut Vec<u8>) {
        let text = out.get(start..).unwrap_or_default();
        let asks = |byte: &u8| {
            is_space(*byte) || matches!(byte, b'"' | b'\\') || self.signs.contains(byte)
        };
        let is_null = !self.doubled && text.eq_ignore_ascii_case(b"NULL");
        if !text.is_empty() && !is_null && !text.iter().any(asks) {
            return;
        }
        let text = out.split_off(start);
        out.push(b'"');
        push_escaped(&text, self.doubled, out);
        out.push(b'"');
    }
}

/// Appends text within quotes.
fn push_escaped(text: &[u8], doubled: bool, out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' | b'\\' if doubled => out.extend_from_slice(&[*byte, *byte]),
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            _ => out.push(*byte),
        }
    }
}

/// Wire: `Int32(dimensions) Int32(flags) Int32(element oid)`, then a dimension:
/// `Int32(length) Int32(lower bound)`, then an element: `Int32(length or -1) Byten`.
pub(super) fn write_array(
    element: &Form,
    delimiter: u8,
    take: &mut Take<'_>,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let (lengths, bounds) = dimensions(take)?;
    if lengths.is_empty() || lengths.contains(&0) {
        out.extend_from_slice(b"{}");
        return Ok(());
    }
    if bounds.iter().any(|bound| *bound != 1) {
        for (length, bound) in lengths.iter().zip(&bounds) {
            let upper = i64::from(*bound) + i64::try_from(*length).unwrap_or(0) - 1;
            out.extend_from_slice(format!("[{bound}:{upper}]").as_bytes());
        }
        out.push(b'=');
    }
    let quotes = Quotes { signs: &[b'{', b'}', delimiter], doubled: false };
    nest(&lengths, delimiter, out, &mut |out| match take.value()? {
        None => {
            out.extend_from_slice(b"NULL");
            Ok(())
        }
        Some(value) => {
            let start = out.len();
            write(element, value, depth, out)?;
            quotes.quote(start, out);
            Ok(())
        }
    })
}

/// Reads the head of an array: how long each dimension is, and where it begins to count.
fn dimensions(take: &mut Take<'_>) -> Result<(Vec<usize>, Vec<i32>), Error> {
    let count = take.int32()?;
    take.int32()?;
    take.int32()?;
    let count = usize::try_from(count).ok().filter(|count| *count <= DIMENSIONS_MAX);
    let (mut lengths, mut bounds) = (Vec::new(), Vec::new());
    for _ in 0..count.ok_or(Error::Malformed)? {
        lengths.push(usize::try_from(take.int32()?).map_err(|_| Error::Malformed)?);
        bounds.push(take.int32()?);
    }
    Ok((lengths, bounds))
}

/// Writes one level of braces, and those within. Ends at the first element that is not there: a
/// length that lies costs no memory.
fn nest(
    lengths: &[usize],
    delimiter: u8,
    out: &mut Vec<u8>,
    element: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some((length, inner)) = lengths.split_first() else { return element(out) };
    out.push(b'{');
    for index in 0..*length {
        if index > 0 {
            out.push(delimiter);
        }
        nest(inner, delimiter, out, element)?;
    }
    out.push(b'}');
    Ok(())
}

/// Wire: as an array of one dimension; text `1 2 3`.
pub(super) fn write_vector(take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let (lengths, _) = dimensions(take)?;
    for index in 0..lengths.iter().sum() {
        if index > 0 {
            out.push(b' ');
        }
        let value = take.value()?.ok_or(Error::Malformed)?;
        let form = if value.len() == 2 { &Form::Int2 } else { &Form::Unsigned4 };
        write(form, value, 0, out)?;
    }
    Ok(())
}

/// Wire: `Int32(fields)`, then a field: `Int32(oid) Int32(length or -1) Byten`; text `(1,"a b",)`.
pub(super) fn write_record(
    fields: &[(Oid, Form)],
    take: &mut Take<'_>,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let count = take.count(8)?;
    let quotes = Quotes { signs: b"(),", doubled: true };
    out.push(b'(');
    for index in 0..count {
        if index > 0 {
            out.push(b',');
        }
        let oid = Oid(u32::from_be_bytes(take.array()?));
        let Some(value) = take.value()? else { continue };
        let start = out.len();
        // The value tells its own type: the composite may have been altered since.
        match fields.iter().find(|(other, _)| *other == oid) {
            Some((_, form)) => write(form, value, depth, out)?,
            None => {
                let unknown = || Error::NoForm(format!("with oid {}", oid.0).into());
                write(&built_in(oid).ok_or_else(unknown)?, value, depth, out)?;
            }
        }
        quotes.quote(start, out);
    }
    out.push(b')');
    Ok(())
}

const EMPTY: u8 = 0x01;
const LOWER_INCLUDED: u8 = 0x02;
const UPPER_INCLUDED: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;

/// Wire: `Int8(flags)`, then each bound that is there: `Int32(length) Byten`; text `[1,11)`.
pub(super) fn write_range(
    bound: &Form,
    take: &mut Take<'_>,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let flags = take.byte()?;
    let has = |flag: u8| flags & flag != 0;
    if has(EMPTY) {
        out.extend_from_slice(b"empty");
        return Ok(());
    }
    let quotes = Quotes { signs: b"()[],", doubled: true };
    let mut write_bound = |is_there: bool, out: &mut Vec<u8>| {
        if !is_there {
            return Ok(());
        }
        let value = take.value()?.ok_or(Error::Malformed)?;
        let start = out.len();
        write(bound, value, depth, out)?;
        quotes.quote(start, out);
        Ok(())
    };
    out.push(if has(LOWER_INCLUDED) { b'[' } else { b'(' });
    write_bound(!has(LOWER_INFINITE), out)?;
    out.push(b',');
    write_bound(!has(UPPER_INFINITE), out)?;
    out.push(if has(UPPER_INCLUDED) { b']' } else { b')' });
    Ok(())
}

/// Wire: `Int32(ranges)`, then a range: `Int32(length) Byten`; text `{[1,4),[5,7)}`.
pub(super) fn write_multirange(
    bound: &Form,
    take: &mut Take<'_>,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let count = take.count(5)?;
    out.push(b'{');
    for index in 0..count {
        if index > 0 {
            out.push(b',');
        }
        let mut range = Take(take.value()?.ok_or(Error::Malformed)?);
        write_range(bound, &mut range, depth, out)?;
        range.end()?;
    }
    out.push(b'}');
    Ok(())
}

/// Wire: `Int32(pairs)`, then a pair: `Int32(length) Byten Int32(length or -1) Byten`; text
/// `"a"=>"1", "b"=>NULL`.
pub(super) fn write_hstore(take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let count = take.count(8)?;
    let quoted = |text: &[u8], out: &mut Vec<u8>| {
        out.push(b'"');
        push_escaped(text, false, out);
        out.push(b'"');
    };
    for index in 0..count {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        quoted(take.value()?.ok_or(Error::Malformed)?, out);
        out.extend_from_slice(b"=>");
        match take.value()? {
            Some(value) => quoted(value, out),
            None => out.extend_from_slice(b"NULL"),
        }
    }
    Ok(())
}
