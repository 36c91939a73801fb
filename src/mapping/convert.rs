//! `as`: a value becomes another type without loss, or not at all.

use serde::de::IgnoredAny;

use super::rule::As;
use crate::pgoutput::value::{write_json, write_text_json};
use crate::relation::Kind;

/// The longest exponent of which an integer's zeros are written out; a double's is 308.
const EXPONENT_MAX: usize = 400;

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
            let end = memchr::memchr(b' ', text).unwrap_or(text.len());
            let mut date = text.get(..end).unwrap_or_default().to_vec();
            if text.ends_with(b" BC") {
                date.extend_from_slice(b" BC");
            }
            write_text_json(&date, out);
        }
        Kind::Text => {
            let Some(text) = std::str::from_utf8(text).ok() else { return false };
            let date = if is_day(text) {
                text.parse::<jiff::civil::Date>().ok()
            } else {
                moment(text).map(jiff::civil::DateTime::date)
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
            let Some(text) = std::str::from_utf8(text).ok() else { return false };
            let written = if let Ok(time) = text.parse::<jiff::Timestamp>() {
                time.to_string()
            } else if let (Some(moment), false) = (moment(text), is_day(text)) {
                moment.to_string()
            } else {
                return false;
            };
            write_text_json(written.as_bytes(), out);
        }
        _ => return false,
    }
    true
}

/// `YYYY-MM-DD` and nothing else, as far as the shape goes.
fn is_day(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

/// Reads a time of day on a day; with an offset, in UTC.
fn moment(text: &str) -> Option<jiff::civil::DateTime> {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => Some(jiff::tz::Offset::UTC.to_datetime(time)),
        Err(_) => text.parse().ok(),
    }
}

/// The parts of a JSON number. Its grammar has no leading zeros and no plus sign: what a text
/// like `007` or `+49` would lose as a number is kept from being lost.
struct Number<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent_negative: bool,
    exponent: &'a [u8],
}

impl<'a> Number<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        let (negative, rest) = strip(text, b"-");
        let (whole, rest) = digits(rest);
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with(b"0")) {
            return None;
        }
        let (fraction, rest) = match rest.strip_prefix(b".") {
            Some(rest) => some_digits(rest)?,
            None => (&b""[..], rest),
        };
        let (exponent_negative, exponent, rest) = match rest.split_first() {
            Some((b'e' | b'E', rest)) => {
                let (negative, rest) = strip(rest, b"-");
                let (_, rest) = if negative { (false, rest) } else { strip(rest, b"+") };
                let (exponent, rest) = some_digits(rest)?;
                (negative, exponent, rest)
            }
            _ => (false, &b""[..], rest),
        };
        rest.is_empty().then_some(Self { negative, whole, fraction, exponent_negative, exponent })
    }

    /// Appends it without a fraction, unless that would lose something.
    fn write_integer(&self, out: &mut Vec<u8>) -> bool {
        let exponent = std::str::from_utf8(self.exponent).unwrap_or_default();
        let exponent = if exponent.is_empty() { Ok(0) } else { exponent.parse::<usize>() };
        let Some(exponent) = exponent.ok().filter(|exponent| *exponent <= EXPONENT_MAX) else {
            return false;
        };
        let mut number = [self.whole, self.fraction].concat();
        let point = if self.exponent_negative {
            self.whole.len().saturating_sub(exponent)
        } else {
            number.resize(number.len().max(self.whole.len() + exponent), b'0');
            self.whole.len() + exponent
        };
        if number.get(point..).is_some_and(|rest| rest.iter().any(|digit| *digit != b'0')) {
            return false;
        }
        number.truncate(point);
        let zeros = number.iter().take_while(|digit| **digit == b'0').count();
        match number.get(zeros..) {
            None | Some([]) => out.push(b'0'),
            Some(rest) => {
                if self.negative {
                    out.push(b'-');
                }
                out.extend_from_slice(rest);
            }
        }
        true
    }
}

fn strip<'a>(text: &'a [u8], sign: &[u8]) -> (bool, &'a [u8]) {
    text.strip_prefix(sign).map_or((false, text), |rest| (true, rest))
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at(count)
}

fn some_digits(text: &[u8]) -> Option<(&[u8], &[u8])> {
    Some(digits(text)).filter(|(found, _)| !found.is_empty())
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
    }

    #[test]
    fn a_text_that_holds_json_becomes_json() {
        check(Json, &Kind::Text, "{\"a\":\n1.50}", Some("{\"a\":1.50}"));
        check(Json, &Kind::Text, "{a:1}", None);
        check(Json, &Kind::Integer, "42", Some("42"));
    }
}
