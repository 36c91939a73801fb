//! Values of a row as they stand in the file: nothing rounded, and a date is no text.

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::DeValue;
use toml::value::Datetime;

use super::walk::{Walker, in_order};
use crate::mapping::Given;
use crate::relation::Kind;

impl Walker<'_, '_> {
    /// Reads a value as Postgres would have it; none when it can't be had (which is then noted).
    pub(super) fn cell(&mut self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<Given> {
        let (kind, text) = match value.get_ref() {
            DeValue::String(text) => (Kind::Text, self.interpolated(text, &value.span())?),
            DeValue::Boolean(true) => (Kind::Boolean, "t".to_owned()),
            DeValue::Boolean(false) => (Kind::Boolean, "f".to_owned()),
            DeValue::Integer(number) => match integer(number.as_str(), number.radix()) {
                Some(digits) if digits.parse::<i64>().is_ok() => (Kind::Integer, digits),
                Some(digits) => (Kind::Numeric, digits),
                None => return self.not_json(name, "a number of 64 bits", value),
            },
            DeValue::Float(number) => (Kind::Numeric, float(number.as_str())),
            DeValue::Datetime(time) => match moment(*time) {
                Some(read) => read,
                None => return self.not_json(name, "a time that there is", value),
            },
            DeValue::Array(_) | DeValue::Table(_) => (Kind::Json, self.cell_json(name, value)?),
        };
        Some(Given { kind, text })
    }

    /// Returns a value's JSON with all its digits.
    fn cell_json(&mut self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        match value.get_ref() {
            DeValue::Array(items) => {
                let read: Vec<_> = items.iter().map(|item| self.cell_json(name, item)).collect();
                let read: Option<Vec<String>> = read.into_iter().collect();
                Some(format!("[{}]", read?.join(",")))
            }
            DeValue::Table(members) => {
                let mut read = Vec::new();
                for (key, value) in in_order(members) {
                    let value = self.cell_json(key.get_ref(), value);
                    read.push((Json::from(key.get_ref().as_ref()), value));
                }
                let read: Option<Vec<String>> = read
                    .into_iter()
                    .map(|(key, value)| Some(format!("{key}:{}", value?)))
                    .collect();
                Some(format!("{{{}}}", read?.join(",")))
            }
            _ => {
                let given = self.cell(name, value)?;
                let mut out = Vec::new();
                crate::pgoutput::value::write_json(&given.kind, given.text.as_bytes(), &mut out);
                String::from_utf8(out).ok()
            }
        }
    }
}

/// Returns an integer's decimal digits, however many there are.
fn integer(digits: &str, radix: u32) -> Option<String> {
    if radix == 10 {
        return Some(digits.trim_start_matches('+').to_owned());
    }
    i64::from_str_radix(digits, radix).ok().map(|number| number.to_string())
}

/// Returns a float as Postgres writes it, with its own digits.
fn float(text: &str) -> String {
    let text = text.trim_start_matches('+');
    match text {
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        "nan" | "-nan" => "NaN".to_owned(),
        digits => digits.to_owned(),
    }
}

/// Returns a date or time as Postgres writes it, in UTC.
fn moment(time: Datetime) -> Option<(Kind, String)> {
    let text = time.to_string();
    match (time.date, time.time, time.offset) {
        (Some(_), Some(_), Some(_)) => {
            let time: jiff::Timestamp = text.parse().ok()?;
            Some((Kind::TimestampTz, postgres(&time.to_string()).replace('Z', "+00")))
        }
        (Some(_), Some(_), None) => {
            let time: jiff::civil::DateTime = text.parse().ok()?;
            Some((Kind::Timestamp, postgres(&time.to_string())))
        }
        (Some(_), None, _) => Some((Kind::Date, text)),
        (None, ..) => Some((Kind::Text, text)),
    }
}

fn postgres(iso: &str) -> String {
    iso.replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(toml: &str, kind: &Kind, text: &str) {
        let file = format!("x = {toml}");
        let folder = std::path::Path::new(".");
        let variable = |_: &str| Some("v".to_owned());
        let environment = crate::config::Environment { variable: &variable, folder };
        let mut notes = crate::config::problem::Notes::new("f", &file);
        let document = toml::de::DeTable::parse(&file).unwrap();
        let value = document.get_ref().get("x").unwrap();
        let mut walker = Walker { notes: &mut notes, environment: &environment, is_closed: false };
        let given = walker.cell("x", value).unwrap();
        assert_eq!((&given.kind, given.text.as_str()), (kind, text), "{toml}");
    }

    #[test]
    fn a_value_keeps_its_digits_and_its_type() {
        check("1", &Kind::Integer, "1");
        check("+1_000", &Kind::Integer, "1000");
        check("0xff", &Kind::Integer, "255");
        check("9223372036854775808", &Kind::Numeric, "9223372036854775808");
        check("12.50", &Kind::Numeric, "12.50");
        check("0.12345678901234567890123", &Kind::Numeric, "0.12345678901234567890123");
        check("-inf", &Kind::Numeric, "-Infinity");
        check("nan", &Kind::Numeric, "NaN");
        check("true", &Kind::Boolean, "t");
        check("\"a ${X}\"", &Kind::Text, "a v");
        check("2026-01-02", &Kind::Date, "2026-01-02");
        check("2026-01-02T03:04:05", &Kind::Timestamp, "2026-01-02 03:04:05");
        check("2026-01-02T03:04:05.5Z", &Kind::TimestampTz, "2026-01-02 03:04:05.5+00");
        check("2026-01-02T03:04:05+02:00", &Kind::TimestampTz, "2026-01-02 01:04:05+00");
        check("03:04:05", &Kind::Text, "03:04:05");
        let nested = "[1, 2.50, {a = \"b\", c = [2026-01-02]}]";
        check(nested, &Kind::Json, r#"[1,2.50,{"a":"b","c":["2026-01-02"]}]"#);
    }
}
