//! Names, numbers and times, as text.

use crate::lsn::Timestamp;
use crate::pgoutput::value::{civil, write_text_json};

/// Appends a number in decimal digits.
pub(super) fn write_integer(number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a number in upper-case hex, with leading zeros up to `width` digits.
pub(super) fn write_hex(number: u64, width: u32, out: &mut Vec<u8>) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(width);
    for place in (0..digits).rev() {
        let digit = ((number >> (place * 4)) & 0xF).to_le_bytes()[0];
        out.push(if digit < 10 { b'0' + digit } else { b'A' + digit - 10 });
    }
}

/// Appends `"name":`, escaped as JSON asks.
pub(super) fn write_name(name: &str, out: &mut Vec<u8>) {
    write_text_json(name.as_bytes(), out);
    out.push(b':');
}

/// Appends what [`Timestamp`]'s Display prints, at a tenth of the cost: a transaction of one row
/// pays it for that row.
pub(super) fn write_timestamp(time: Timestamp, out: &mut Vec<u8>) {
    const MICROS_PER_DAY: i64 = 86_400_000_000;
    let micros = time.unix_micros();
    let (year, month, day) = civil(micros.div_euclid(MICROS_PER_DAY));
    let within = micros.rem_euclid(MICROS_PER_DAY);
    let Some(year) = u32::try_from(year).ok().filter(|year| *year <= 9999) else {
        out.extend_from_slice(time.to_string().as_bytes());
        return;
    };
    let seconds = within / 1_000_000;
    write_digits(i64::from(year), 4, out);
    for (mark, number) in [
        (b'-', month),
        (b'-', day),
        (b'T', seconds / 3600),
        (b':', seconds / 60 % 60),
        (b':', seconds % 60),
    ] {
        out.push(mark);
        write_digits(number, 2, out);
    }
    let mut fraction = within % 1_000_000;
    if fraction != 0 {
        let mut width = 6;
        while fraction % 10 == 0 {
            fraction /= 10;
            width -= 1;
        }
        out.push(b'.');
        write_digits(fraction, width, out);
    }
    out.push(b'Z');
}

fn write_digits(number: i64, width: u32, out: &mut Vec<u8>) {
    for place in (0..width).rev() {
        let digit = (number / 10_i64.pow(place)).rem_euclid(10).to_le_bytes()[0];
        out.push(b'0' + digit);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hex_is_padded_and_upper_case() {
        let mut out = Vec::new();
        write_hex(0xAB, 4, &mut out);
        write_hex(0, 1, &mut out);
        write_hex(u64::MAX, 1, &mut out);
        assert_eq!(out, b"00AB0FFFFFFFFFFFFFFFF");
    }

    proptest! {
        #[test]
        fn a_time_is_written_as_it_prints(micros in -400_000_000_000_000_000_i64..400_000_000_000_000_000) {
            let time = Timestamp(micros);
            let mut out = Vec::new();
            write_timestamp(time, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), time.to_string());
        }
    }
}
