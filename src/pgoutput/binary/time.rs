//! Dates and times: `DateStyle` ISO, `IntervalStyle` `iso_8601`, `TimeZone` UTC.

use super::Error;
use super::number::{push_padded, write_integer};
use super::take::Take;
use crate::pgoutput::value::civil;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Days from 1970-01-01 to 2000-01-01, which the server counts from.
const EPOCH_DAYS: i64 = 10_957;

pub(super) fn write_date(days: i32, out: &mut Vec<u8>) {
    match days {
        i32::MAX => out.extend_from_slice(b"infinity"),
        i32::MIN => out.extend_from_slice(b"-infinity"),
        _ => {
            let is_before_christ = write_day(days.into(), out);
            if is_before_christ {
                out.extend_from_slice(b" BC");
            }
        }
    }
}

pub(super) fn write_timestamp(micros: i64, zone: &[u8], out: &mut Vec<u8>) {
    match micros {
        i64::MAX => out.extend_from_slice(b"infinity"),
        i64::MIN => out.extend_from_slice(b"-infinity"),
        _ => {
            let is_before_christ = write_day(micros.div_euclid(MICROS_PER_DAY), out);
            out.push(b' ');
            write_time(micros.rem_euclid(MICROS_PER_DAY), out);
            out.extend_from_slice(zone);
            if is_before_christ {
                out.extend_from_slice(b" BC");
            }
        }
    }
}

/// Writes a day counted from 2000-01-01; true where its year is before Christ.
fn write_day(days: i64, out: &mut Vec<u8>) -> bool {
    let (year, month, day) = civil(days + EPOCH_DAYS);
    let shown = if year > 0 { year } else { 1 - year };
    push_padded(shown.unsigned_abs(), 4, out);
    for number in [month, day] {
        out.push(b'-');
        push_padded(number.unsigned_abs(), 2, out);
    }
    year <= 0
}

pub(super) fn write_time(micros: i64, out: &mut Vec<u8>) {
    let seconds = micros / 1_000_000;
    push_padded((seconds / 3600).unsigned_abs(), 2, out);
    for number in [seconds / 60 % 60, seconds % 60] {
        out.push(b':');
        push_padded(number.unsigned_abs(), 2, out);
    }
    write_fraction(micros % 1_000_000, out);
}

/// Writes parts of a second without trailing zeros, nothing where there are none.
fn write_fraction(micros: i64, out: &mut Vec<u8>) {
    if micros != 0 {
        out.push(b'.');
        push_padded(micros.unsigned_abs(), 6, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// Wire: `Int64(micros) Int32(zone)`, the zone in seconds west of Greenwich.
pub(super) fn write_time_tz(take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    write_time(take.int64()?, out);
    let west = take.int32()?;
    out.push(if west > 0 { b'-' } else { b'+' });
    let seconds = u64::from(west.unsigned_abs());
    push_padded(seconds / 3600, 2, out);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    if minutes != 0 || seconds != 0 {
        out.push(b':');
        push_padded(minutes, 2, out);
    }
    if seconds != 0 {
        out.push(b':');
        push_padded(seconds, 2, out);
    }
    Ok(())
}

/// Wire: `Int64(micros) Int32(days) Int32(months)`. All three at their ends are the infinities of
/// PostgreSQL 17.
pub(super) fn write_interval(take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let (micros, days, months) = (take.int64()?, take.int32()?, take.int32()?);
    match (micros, days, months) {
        (0, 0, 0) => out.extend_from_slice(b"PT0S"),
        (i64::MAX, i32::MAX, i32::MAX) => out.extend_from_slice(b"infinity"),
        (i64::MIN, i32::MIN, i32::MIN) => out.extend_from_slice(b"-infinity"),
        _ => write_finite_interval(micros, days, months, out),
    }
    Ok(())
}

fn write_finite_interval(micros: i64, days: i32, months: i32, out: &mut Vec<u8>) {
    let seconds = micros / 1_000_000;
    let (second, fraction) = (seconds % 60, micros % 1_000_000);
    out.push(b'P');
    let mut part = |number: i64, unit: u8| {
        if number != 0 {
            write_integer(number, out);
            out.push(unit);
        }
    };
    part((months / 12).into(), b'Y');
    part((months % 12).into(), b'M');
    part(days.into(), b'D');
    if micros == 0 {
        return;
    }
    out.push(b'T');
    for (number, unit) in [(seconds / 3600, b'H'), (seconds / 60 % 60, b'M')] {
        if number != 0 {
            write_integer(number, out);
            out.push(unit);
        }
    }
    if second != 0 || fraction != 0 {
        if second < 0 || fraction < 0 {
            out.push(b'-');
        }
        write_integer(second.unsigned_abs(), out);
        write_fraction(fraction, out);
        out.push(b'S');
    }
}
