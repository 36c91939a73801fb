//! `as`: a value becomes another type without loss, or not at all.

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};
use serde::de::IgnoredAny;

use super::decimal::Number;
use super::field::As;
use crate::pgoutput::value::{write_json, write_text_json};
use crate::relation::Kind;

/// The most digits of a second's fraction: nanoseconds.
const FRACTION_DIGITS_MAX: usize = 9;

/// Appends the value as `target`. False: it can't be had without loss, and `out` is as it was.
pub(super) fn write(target: As, kind: &Kind, text: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let written = match target {
        As::String => {
            write_string(kind, text, out);
            true
        }
        As::Json => write_as_json(kind, text, out),
        As::Integer => scalar(kind, text, |kind, text| write_integer(kind, text, out)),
        As::Number => scalar(kind, text, |kind, text| write_number(kind, text, out)),
        As::Boolean => scalar(kind, text, |kind, text| write_boolean(kind, text, out)),
        As::Date => scalar(kind, text, |kind, text| write_date(kind, text, out)),
        As::Timestamp => scalar(kind, text, |kind, text| write_timestamp(kind, text, out)),
    };
    if !written {
        out.truncate(start);
    }
    written
}

fn write_string(kind: &Kind, text: &[u8], out: &mut Vec<u8>) {
    match kind {
        Kind::Integer | Kind::Numeric | Kind::Float | Kind::Text => write_text_json(text, out),
        _ => {
            let start = out.len();
            write_json(kind, text, out);
            if out.get(start) != Some(&b'"') {
                let json = out.split_off(start);
                write_text_json(&json, out);
            }
        }
    }
}

fn write_as_json(kind: &Kind, text: &[u8], out: &mut Vec<u8>) -> bool {
    if *kind != Kind::Text {
        write_json(kind, text, out);
        return true;
    }
    let valid = serde_json::from_slice::<IgnoredAny>(text).is_ok();
    if valid {
        write_json(&Kind::Json, text, out);
    }
    valid
}

/// Looks into a json column: a string there is a text, a number a number, true and false are
/// booleans; anything else is no scalar.
fn scalar(kind: &Kind, text: &[u8], write: impl FnOnce(&Kind, &[u8]) -> bool) -> bool {
    if *kind != Kind::Json {
        return write(kind, text);
    }
    match text.trim_ascii() {
        b"true" => write(&Kind::Boolean, b"t"),
        b"false" => write(&Kind::Boolean, b"f"),
        string if string.starts_with(b"\"") => serde_json::from_slice::<String>(string)
            .is_ok_and(|string| write(&Kind::Text, string.as_bytes())),
        number if Number::read(number).is_some() => write(&Kind::Numeric, number),
        _ => false,
    }
}

fn write_integer(kind: &Kind, text: &[u8], out: &mut Vec<u8>) -> bool {
    match kind {
        Kind::Boolean => write_bit(text, out),
        Kind::Integer | Kind::Numeric | Kind::Float | Kind::Text => {
            Number::read(text).is_some_and(|number| number.write_integer(out))
        }
        _ => false,
    }
}

fn write_number(kind: &Kind, text: &[u8], out: &mut Vec<u8>) -> bool {
    match kind {
        Kind::Boolean => write_bit(text, out),
        Kind::Integer | Kind::Numeric | Kind::Float | Kind::Text => {
            let valid = Number::read(text).is_some();
            if valid {
                out.extend_from_slice(text);
            }
            valid
        }
        _ => false,
    }
}

fn write_bit(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.push(if text == b"t" { b'1' } else { b'0' });
    true
}

/// Reads a text as Postgres reads a boolean, but for its abbreviations.
fn write_boolean(kind: &Kind, text: &[u8], out: &mut Vec<u8>) -> bool {
    if !matches!(kind, Kind::Boolean | Kind::Integer | Kind::Numeric | Kind::Text) {
        return false;
    }
    let is_any = |words: &[&str]| words.iter().any(|w| text.eq_ignore_ascii_case(w.as_bytes()));
    let word: &[u8] = if is_any(&["t", "true", "1", "yes", "y", "on"]) {
        b"true"
    } else if is_any(&["f", "false", "0", "no", "n", "off"]) {
        b"false"
    } else {
        return false;
    };
    out.extend_from_slice(word);
    true
}

fn write_date(kind: &Kind, text: &[u8], out: &mut Vec<u8>) -> bool {
    match kind {
        Kind::Date => write_json(kind, text, out),
        // `2026-11-23 12:00:00+00`, `0044-03-15 12:00:00+00 BC`, `infinity`.
        Kind::Timestamp | Kind::TimestampTz => {
            let moment = text.strip_suffix(b" BC").unwrap_or(text);
            let is_utc = moment.ends_with(b"+00") || moment.ends_with(b"infinity");
            if *kind == Kind::TimestampTz && !is_utc {
                return false;
            }
            let end = memchr::memchr(b' ', text).unwrap_or(text.len());
            let mut date = text.get(..end).unwrap_or_default().to_vec();
            if text.ends_with(b" BC") {
                date.extend_from_slice(b" BC");
            }
            write_text_json(&date, out);
        }
        Kind::Text => {
            let Some(text) = std::str::from_utf8(text).ok() else { return false };
            let date = if is_day(text.as_bytes()) {
                text.parse::<Date>().ok()
            } else {
                moment(text).map(|(moment, _)| moment.date())
            };
            let Some(date) = date else { return false };
            write_text_json(date.to_string().as_bytes(), out);
        }
        _ => return false,
    }
    true
}

fn write_timestamp(kind: &Kind, text: &[u8], out: &mut Vec<u8>) -> bool {
    match kind {
        Kind::Timestamp | Kind::TimestampTz => write_json(kind, text, out),
        Kind::Date if text.ends_with(b"infinity") => write_json(kind, text, out),
        Kind::Date => {
            let (date, era) = match text.strip_suffix(b" BC") {
                Some(date) => (date, &b" BC"[..]),
                None => (text, &b""[..]),
            };
            write_text_json(&[date, b"T00:00:00", era].concat(), out);
        }
        Kind::Text => {
            let read = std::str::from_utf8(text).ok().and_then(moment);
            let Some((moment, is_utc)) = read else { return false };
            let zone = if is_utc { "Z" } else { "" };
            write_text_json(format!("{moment}{zone}").as_bytes(), out);
        }
        _ => return false,
    }
    true
}

/// `YYYY-MM-DD` and nothing else, as far as the shape goes.
fn is_day(text: &[u8]) -> bool {
    has_shape(text, b"0000-00-00")
}

/// Whether a text has a digit wherever the shape has one, and else what stands there.
fn has_shape(text: &[u8], shape: &[u8]) -> bool {
    let fits = |(byte, model): (&u8, &u8)| match model {
        b'0' => byte.is_ascii_digit(),
        model => byte == model,
    };
    text.len() == shape.len() && text.iter().zip(shape).all(fits)
}

/// Reads a time of day on a day, as RFC 3339 and ISO 8601 write it and Postgres prints it; one
/// with an offset in UTC, and true. What the parser would bend to fit is no such text: a leap
/// second, more than nine digits of a fraction, a zone's name.
fn moment(text: &str) -> Option<(DateTime, bool)> {
    let (day, rest) = text.split_at_checked(10)?;
    let time = rest.strip_prefix(['T', 't', ' '])?;
    let end = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, offset) = time.split_at_checked(end)?;
    let (whole, fraction) = match time.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (time, None),
    };
    let has_seconds = has_shape(whole.as_bytes(), b"00:00:00") && !whole.ends_with(":60");
    let has_time = match fraction {
        None => has_seconds || has_shape(whole.as_bytes(), b"00:00"),
        Some(fraction) => {
            let digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
            has_seconds && digits && (1..=FRACTION_DIGITS_MAX).contains(&fraction.len())
        }
    };
    if !is_day(day.as_bytes()) || !has_time {
        return None;
    }
    let moment: DateTime = format!("{day}T{time}").parse().ok()?;
    if offset.is_empty() {
        return Some((moment, false));
    }
    let moment = moment.checked_sub(SignedDuration::from_secs(offset_seconds(offset)?)).ok()?;
    (moment.year() >= 0).then_some((moment, true))
}

/// `Z`, `+02`, `+0200`, `+02:00`
fn offset_seconds(offset: &str) -> Option<i64> {
    if matches!(offset, "Z" | "z") {
        return Some(0);
    }
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let digits = offset.get(1..)?;
    let shapes: [&[u8]; 3] = [b"00", b"0000", b"00:00"];
    if !shapes.iter().any(|shape| has_shape(digits.as_bytes(), shape)) {
        return None;
    }
    let hours: i64 = digits.get(..2)?.parse().ok()?;
    let minutes = digits.get(2..)?.trim_start_matches(':');
    let minutes: i64 = if minutes.is_empty() { 0 } else { minutes.parse().ok()? };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use As::{Boolean, Date, Integer, Json, Number, String as Str, Timestamp};

    use super::*;

    #[track_caller]
    fn check(target: As, kind: &Kind, text: &str, expected: Option<&str>) {
        let mut out = b"{".to_vec();
        let written = write(target, kind, text.as_bytes(), &mut out);
        let found = String::from_utf8(out).unwrap();
        assert_eq!(written.then(|| &found[1..]), expected, "{text}");
        assert!(written || found == "{", "{text} left {found}");
    }

    #[test]
    fn anything_becomes_a_string() {
        check(Str, &Kind::Integer, "42", Some("\"42\""));
        check(Str, &Kind::Numeric, "12.50", Some("\"12.50\""));
        check(Str, &Kind::Boolean, "t", Some("\"true\""));
        check(Str, &Kind::Text, "a\"b", Some(r#""a\"b""#));
        check(Str, &Kind::Json, r#"{"a": 1}"#, Some(r#""{\"a\": 1}""#));
        check(Str, &Kind::Json, "\"a\"", Some("\"a\""));
        check(Str, &Kind::Bytea, "\\x00ff", Some("\"AP8=\""));
        let array = Kind::Array { element: Box::new(Kind::Integer), delimiter: b',' };
        check(Str, &array, "{1,2}", Some("\"[1,2]\""));
        check(Integer, &array, "{1,2}", None);
    }

    #[test]
    fn an_integer_loses_no_fraction_and_no_zeros() {
        check(Integer, &Kind::Integer, "-42", Some("-42"));
        check(Integer, &Kind::Numeric, "12.00", Some("12"));
        check(Integer, &Kind::Numeric, "12.01", None);
        check(Integer, &Kind::Numeric, "0.00", Some("0"));
        check(Integer, &Kind::Numeric, "NaN", None);
        check(Integer, &Kind::Float, "1e+20", Some("100000000000000000000"));
        check(Integer, &Kind::Float, "1.5e+1", Some("15"));
        check(Integer, &Kind::Float, "1.5e-1", None);
        check(Integer, &Kind::Float, "10e-1", Some("1"));
        check(Integer, &Kind::Float, "-0", Some("0"));
        check(Integer, &Kind::Text, "98765432109876543210", Some("98765432109876543210"));
        check(Integer, &Kind::Boolean, "t", Some("1"));
        for bad in ["007", "+49", "", "-", "1.", ".5", " 1", "1e999", "x", "Infinity", "1e"] {
            check(Integer, &Kind::Text, bad, None);
        }
        check(Integer, &Kind::Json, "7", Some("7"));
        check(Integer, &Kind::Json, "\"7\"", Some("7"));
        check(Integer, &Kind::Json, "null", None);
        check(Integer, &Kind::Json, "[7]", None);
        check(Integer, &Kind::Date, "2026-01-02", None);
    }

    #[test]
    fn a_number_keeps_its_digits() {
        check(Number, &Kind::Text, "12.50", Some("12.50"));
        check(Number, &Kind::Text, "1E-7", Some("1E-7"));
        check(Number, &Kind::Text, "12,50", None);
        check(Number, &Kind::Numeric, "Infinity", None);
        check(Number, &Kind::Json, "1.10", Some("1.10"));
        let long = "123456789012345678901234567890.123456789012345678901234567890";
        for kind in [Kind::Numeric, Kind::Text, Kind::Json] {
            check(Number, &kind, long, Some(long));
            check(Number, &kind, "9007199254740993", Some("9007199254740993"));
        }
        for word in ["NaN", "Infinity", "-Infinity"] {
            for kind in [Kind::Numeric, Kind::Float, Kind::Text] {
                check(Number, &kind, word, None);
                check(Integer, &kind, word, None);
                check(Str, &kind, word, Some(&format!("\"{word}\"")));
            }
        }
    }

    #[test]
    fn a_boolean_is_read_as_postgres_reads_one() {
        check(Boolean, &Kind::Boolean, "f", Some("false"));
        check(Boolean, &Kind::Integer, "1", Some("true"));
        check(Boolean, &Kind::Integer, "2", None);
        check(Boolean, &Kind::Text, "Yes", Some("true"));
        check(Boolean, &Kind::Text, "off", Some("false"));
        check(Boolean, &Kind::Text, "perhaps", None);
        check(Boolean, &Kind::Json, "true", Some("true"));
    }

    #[test]
    fn a_date_is_a_day_in_utc() {
        check(Date, &Kind::Date, "2026-01-02", Some("\"2026-01-02\""));
        check(Date, &Kind::TimestampTz, "2026-01-02 03:04:05+00", Some("\"2026-01-02\""));
        check(Date, &Kind::Timestamp, "0044-03-15 12:00:00 BC", Some("\"0044-03-15 BC\""));
        check(Date, &Kind::Text, "2026-01-02", Some("\"2026-01-02\""));
        check(Date, &Kind::Text, "2026-01-02T03:04:05Z", Some("\"2026-01-02\""));
        check(Date, &Kind::Text, "2026-01-02T01:00:00+02:00", Some("\"2026-01-01\""));
        check(Date, &Kind::Text, "2026-02-30", None);
        check(Date, &Kind::Text, "02.01.2026", None);
        check(Date, &Kind::Integer, "20260102", None);
        check(Date, &Kind::TimestampTz, "12026-01-02 03:04:05+00", Some("\"12026-01-02\""));
        check(Date, &Kind::TimestampTz, "infinity", Some("\"infinity\""));
        check(Date, &Kind::TimestampTz, "2026-01-02 01:00:00+02", None);
        check(Date, &Kind::Date, "5874897-12-31", Some("\"5874897-12-31\""));
        for text in ["20260102", "2026-1-2", "+2026-01-02", "12026-01-02", "infinity", ""] {
            check(Date, &Kind::Text, text, None);
        }
    }

    #[test]
    fn a_timestamp_has_a_time() {
        let midnight = Some("\"2026-01-02T00:00:00\"");
        check(Timestamp, &Kind::Date, "2026-01-02", midnight);
        check(Timestamp, &Kind::Date, "0044-03-15 BC", Some("\"0044-03-15T00:00:00 BC\""));
        check(Timestamp, &Kind::Date, "-infinity", Some("\"-infinity\""));
        let utc = Some("\"2026-01-02T03:04:05Z\"");
        check(Timestamp, &Kind::TimestampTz, "2026-01-02 03:04:05+00", utc);
        check(Timestamp, &Kind::Text, "2026-01-02T05:04:05+02:00", utc);
        check(Timestamp, &Kind::Text, "2026-01-02 03:04:05", Some("\"2026-01-02T03:04:05\""));
        check(Timestamp, &Kind::Text, "2026-01-02", None);
        check(Timestamp, &Kind::Text, "now", None);
        for (text, expected) in [
            ("2026-01-02 03:04:05.5+00", "2026-01-02T03:04:05.5Z"),
            ("2026-01-02t03:04z", "2026-01-02T03:04:00Z"),
            ("2026-01-02T03:04:05.123456789-0030", "2026-01-02T03:34:05.123456789Z"),
            ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
            ("2026-03-01T00:30:00+01:00", "2026-02-28T23:30:00Z"),
        ] {
            check(Timestamp, &Kind::Text, text, Some(&format!("\"{expected}\"")));
        }
    }

    #[test]
    fn a_text_that_the_parser_would_bend_to_a_time_is_none() {
        for text in [
            "2016-12-31T23:59:60Z",
            "2026-01-02T24:00:00",
            "2026-01-02T03:04:05.1234567890Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05[Europe/Berlin]",
            "2026-01-02T03:04:05+02:00[Europe/Berlin]",
            "9999-12-31T23:59:59-02:00",
            "0000-01-01T00:00:00+01:00",
            "2026-01-02T03:04:05+24:00",
            "2026-01-02T03:04:05+2",
            "2026-01-02T03",
            "20260102T030405Z",
            "2026-01-02  03:04:05",
            "2026-02-30T03:04:05",
            "2026-01-02T03:04:05Z ",
            "0044-03-15 12:00:00 BC",
            "12026-01-02T03:04:05Z",
            "2026-01-0\u{661}T03:04:05Z",
        ] {
            check(Timestamp, &Kind::Text, text, None);
            check(Date, &Kind::Text, text, None);
        }
    }

    #[test]
    fn a_text_that_holds_json_becomes_json() {
        check(Json, &Kind::Text, "{\"a\":\n1.50}", Some("{\"a\":1.50}"));
        check(Json, &Kind::Text, "{a:1}", None);
        check(Json, &Kind::Integer, "42", Some("42"));
    }
}
