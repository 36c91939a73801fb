//! Numbers and bytes.

use super::Error;
use super::take::Take;

const HEX: &[u8; 16] = b"0123456789abcdef";

pub(super) fn write_integer(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

pub(super) fn push_hex(byte: u8, out: &mut Vec<u8>) {
    for digit in [byte >> 4, byte & 0xF] {
        out.push(HEX.get(usize::from(digit)).copied().unwrap_or_default());
    }
}

/// `\x00ff`.
pub(super) fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len().saturating_mul(2).saturating_add(2));
    out.extend_from_slice(b"\\x");
    for byte in bytes {
        push_hex(*byte, out);
    }
}

/// A byte outside ASCII is shown in octal; zero is no character at all.
pub(super) fn write_char(byte: u8, out: &mut Vec<u8>) {
    match byte {
        0 => {}
        1..=0x7F => out.push(byte),
        _ => {
            out.push(b'\\');
            for shift in [6, 3, 0] {
                out.push(b'0' + ((byte >> shift) & 7));
            }
        }
    }
}

/// `0/17C8338`.
pub(super) fn write_lsn([a, b, c, d, e, f, g, h]: [u8; 8], out: &mut Vec<u8>) {
    let high = u32::from_be_bytes([a, b, c, d]);
    let low = u32::from_be_bytes([e, f, g, h]);
    out.extend_from_slice(format!("{high:X}/{low:X}").as_bytes());
}

/// As `lc_monetary` C prints it: `-$1,234.11`.
pub(super) fn write_money(cents: i64, out: &mut Vec<u8>) {
    if cents < 0 {
        out.push(b'-');
    }
    out.push(b'$');
    let mut buffer = itoa::Buffer::new();
    let amount = cents.unsigned_abs();
    let whole = buffer.format(amount / 100);
    for (index, digit) in whole.bytes().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(b',');
        }
        out.push(digit);
    }
    out.push(b'.');
    push_padded(amount % 100, 2, out);
}

/// Appends a number in at least `width` digits.
pub(super) fn push_padded(number: u64, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number);
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(digits.len())));
    out.extend_from_slice(digits.as_bytes());
}

/// Wire: `Int16(digits) Int16(weight) Int16(sign) Int16(scale) Int16(digit)…`, digits in base
/// 10000, the first of them worth 10000 to the power of the weight.
pub(super) fn write_numeric(take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let count = usize::try_from(take.int16()?).map_err(|_| Error::Malformed)?;
    let weight = i32::from(take.int16()?);
    let sign: [u8; 2] = take.array()?;
    let scale = usize::from(u16::from_be_bytes(take.array()?));
    let digits = take.bytes(count.saturating_mul(2))?;
    match u16::from_be_bytes(sign) {
        0x0000 => {}
        0x4000 => out.push(b'-'),
        0xC000 => out.extend_from_slice(b"NaN"),
        0xD000 => out.extend_from_slice(b"Infinity"),
        0xF000 => out.extend_from_slice(b"-Infinity"),
        _ => return Err(Error::Malformed),
    }
    if sign[0] >= 0xC0 {
        return Ok(());
    }
    // The digit that is worth 10000 to the power of `place`.
    let digit = |place: i32| {
        let index = usize::try_from(weight - place).ok().and_then(|index| index.checked_mul(2));
        let bytes = index.and_then(|index| digits.get(index..)).and_then(<[u8]>::first_chunk);
        u64::from(u16::from_be_bytes(bytes.copied().unwrap_or_default()))
    };
    if weight < 0 {
        out.push(b'0');
    } else {
        write_integer(digit(weight), out);
        for place in (0..weight).rev() {
            push_padded(digit(place), 4, out);
        }
    }
    if scale > 0 {
        out.push(b'.');
        let end = out.len().saturating_add(scale);
        let mut place = -1;
        while out.len() < end {
            push_padded(digit(place), 4, out);
            place -= 1;
        }
        out.truncate(end);
    }
    Ok(())
}

/// Wire: `Int32(count) Int64(xmin) Int64(xmax) Int64(xid)…`; text `xmin:xmax:xid,xid`.
pub(super) fn write_snapshot(take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let count = take.count(8)?;
    write_integer(take.int64()?, out);
    out.push(b':');
    write_integer(take.int64()?, out);
    out.push(b':');
    for index in 0..count {
        if index > 0 {
            out.push(b',');
        }
        write_integer(take.int64()?, out);
    }
    Ok(())
}

/// Wire: `Int32(block) Int16(offset)`; text `(block,offset)`.
pub(super) fn write_tid(take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    out.push(b'(');
    write_integer(u32::from_be_bytes(take.array()?), out);
    out.push(b',');
    write_integer(u16::from_be_bytes(take.array()?), out);
    out.push(b')');
    Ok(())
}

/// Wire: `Int32(bits) Byten`, the first bit the highest of the first byte.
pub(super) fn write_bits(take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let count = usize::try_from(take.int32()?).map_err(|_| Error::Malformed)?;
    let bytes = take.bytes(count.div_ceil(8))?;
    let bits =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| b'0' + ((byte >> bit) & 1)));
    out.extend(bits.take(count));
    Ok(())
}
