//! Made-up values in place of masked ones (pure).

use crate::mapping::{As, Check, Decimal, Field, From, Given, Lookup, Mapping};
use crate::pgoutput::value::write_text_json;
use crate::relation::Kind;

/// So many keys of a lookup are tried.
const KEYS_MAX: usize = 64;

/// Returns values to try in a column's place, the plainest first.
///
/// One of the same form that says nothing, others of that form, and what the fields that read the
/// column would take. `turn` says with which key of a lookup it begins, so that the key does not
/// tell the real one. Never empty.
#[must_use]
pub fn candidates(column: &str, real: &Given, mapping: &Mapping, turn: u64) -> Vec<String> {
    let Given { kind, text } = real;
    let mut found = vec![fake(kind, text)];
    match kind {
        Kind::Boolean => found.push("t".to_owned()),
        Kind::Bytea => found.push("\\x11".to_owned()),
        Kind::Text => {
            if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
                found.push(fake_json(text));
            }
            found.push(text.chars().map(|sign| alike(sign, OTHERS)).collect());
        }
        Kind::Integer | Kind::Numeric | Kind::Float => found.push(digits(text, OTHERS)),
        _ => {}
    }
    let is_of = |field: &&Field| matches!(&field.from, From::Column(name) if name == column);
    for field in mapping.fields.iter().filter(is_of) {
        let mut words: Vec<&str> = field.lookup.iter().flat_map(Lookup::keys).collect();
        words.sort_unstable();
        let count = u64::try_from(words.len()).unwrap_or(u64::MAX).max(1);
        words.rotate_left(usize::try_from(turn % count).unwrap_or_default());
        words.truncate(KEYS_MAX);
        if field.convert == Some(As::Boolean) {
            words.extend(["false", "true"]);
        }
        for check in &field.checks {
            match check {
                Check::OneOf(texts) => words.extend(texts.iter().map(String::as_str)),
                Check::Range { min, max } => {
                    words.extend(min.iter().chain(max).map(Decimal::as_str));
                }
                Check::Url => words.push("https://example.com/"),
                _ => {}
            }
        }
        found.extend(words.into_iter().filter_map(|word| suited(kind, word)));
    }
    // Where the form itself is the real value, it says so of every value of that form.
    let mut is_first = true;
    found.retain(|made| std::mem::take(&mut is_first) || made != text);
    found
}

/// Returns a value of the same form that says nothing: digits become 1, letters `a` or `A`, all
/// else stays; of JSON the members' names, too, and every truth is false.
#[must_use]
pub fn fake(kind: &Kind, text: &str) -> String {
    match kind {
        Kind::Json => fake_json(text),
        // These are JSON by the time they stand in a test.
        Kind::Array { .. } | Kind::Composite { .. } | Kind::Hstore => "{}".to_owned(),
        Kind::Bytea => "\\x".to_owned(),
        Kind::Boolean => "f".to_owned(),
        // `NaN` and infinities say what they are.
        Kind::Integer | Kind::Numeric | Kind::Float
            if !text.bytes().any(|b| b.is_ascii_digit()) =>
        {
            "1".to_owned()
        }
        Kind::Integer | Kind::Numeric | Kind::Float => digits(text, ONES),
        Kind::Date | Kind::Timestamp | Kind::TimestampTz if text.ends_with("infinity") => {
            text.to_owned()
        }
        // Rows come in UTC, and a year has its digits.
        Kind::TimestampTz => {
            let (time, zone) = text.split_once('+').unwrap_or((text, "00"));
            format!("{}+{zone}", time.chars().map(|sign| alike(sign, ONES)).collect::<String>())
        }
        Kind::Date | Kind::Timestamp | Kind::Text => {
            text.chars().map(|sign| alike(sign, ONES)).collect()
        }
    }
}

/// A digit, a capital letter and a small one.
type Signs = (char, char, char);

const ONES: Signs = ('1', 'A', 'a');
const OTHERS: Signs = ('2', 'B', 'b');

fn alike(sign: char, (digit, capital, letter): Signs) -> char {
    match sign {
        _ if sign.is_numeric() => digit,
        _ if sign.is_uppercase() => capital,
        _ if sign.is_alphabetic() => letter,
        _ => sign,
    }
}

/// Of a number all but its digits stays.
fn digits(text: &str, (digit, ..): Signs) -> String {
    text.chars().map(|sign| if sign.is_ascii_digit() { digit } else { sign }).collect()
}

/// Returns JSON with the same members and items, its strings and numbers made up. What is none
/// becomes an empty object.
fn fake_json(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            't' | 'n' => 4,
            'f' => 5,
            _ => first.len_utf8(),
        };
        let Some((token, behind)) = rest.split_at_checked(length) else { return "{}".to_owned() };
        match first {
            '"' if behind.trim_start().starts_with(':') => out.extend_from_slice(token.as_bytes()),
            '"' => {
                let Ok(real) = serde_json::from_str::<String>(token) else {
                    return "{}".to_owned();
                };
                let made: String = real.chars().map(|sign| alike(sign, ONES)).collect();
                write_text_json(made.as_bytes(), &mut out);
            }
            't' => out.extend_from_slice(b"false"),
            '0'..='9' => out.push(b'1'),
            _ => out.extend_from_slice(token.as_bytes()),
        }
        rest = behind;
    }
    let made = String::from_utf8_lossy(&out).into_owned();
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&made).is_ok();
    if is_json { made } else { "{}".to_owned() }
}

/// How many bytes the string takes that a text begins with, its quotes included.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Returns what a column of this kind holds whose text is `word`; none: nothing does.
fn suited(kind: &Kind, word: &str) -> Option<String> {
    let is_it = match kind {
        Kind::Text => true,
        Kind::Integer => word.parse::<i64>().is_ok_and(|number| number.to_string() == word),
        Kind::Numeric => Decimal::parse(word).is_some() && !word.contains(['e', 'E']),
        Kind::Date => word.len() == 10 && word.parse::<jiff::civil::Date>().is_ok(),
        Kind::Boolean => {
            return ["true", "false"].contains(&word).then(|| word.chars().take(1).collect());
        }
        _ => false,
    };
    is_it.then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{LookupEntry, Mask};

    #[track_caller]
    fn check(kind: &Kind, text: &str, made: &str) {
        assert_eq!(fake(kind, text), made);
    }

    #[test]
    fn what_is_made_up_has_the_form_of_what_was_there() {
        check(&Kind::Text, "Ana.Müller@shop.example", "Aaa.Aaaaaa@aaaa.aaaaaaa");
        check(&Kind::Text, "+49 170 1234-5", "+11 111 1111-1");
        check(&Kind::Text, "6F9619FF-8b86", "1A1111AA-1a11");
        check(&Kind::Date, "2026-11-23", "1111-11-11");
        check(&Kind::TimestampTz, "2026-11-23 12:00:59.5+00", "1111-11-11 11:11:11.1+00");
        check(&Kind::Integer, "-4200", "-1111");
        check(&Kind::Float, "1.5e-07", "1.1e-11");
        check(&Kind::Numeric, "NaN", "1");
        check(&Kind::Bytea, "\\x00ff", "\\x");
        check(&Kind::Boolean, "t", "f");
    }

    #[test]
    fn json_keeps_its_members_and_nothing_that_they_hold() {
        check(&Kind::Json, "{\"card\": 4111}", "{\"card\": 1111}");
        check(
            &Kind::Json,
            r#"{"a:\"b" : ["x\"y:", -0.50, true, null, {}], "ssn":"123-45-6789"}"#,
            r#"{"a:\"b" : ["a\"a:", -1.11, false, null, {}], "ssn":"111-11-1111"}"#,
        );
        check(&Kind::Json, "\"4111\"", "\"1111\"");
        check(&Kind::Json, "\"\\u00e9\\n\"", "\"a\\n\"");
        check(&Kind::Json, "0", "1");
        check(&Kind::Json, "{\"secret", "{}");
        check(&Kind::Json, "4111 x", "{}");
    }

    #[test]
    fn fields_say_what_else_may_stand_there() {
        let entries = ["1", "22", "x"].map(|key| (key, LookupEntry::Text("v")));
        let mut field = Field::column("f", "c");
        (field.lookup, field.mask) = (Some(Lookup::inline(entries)), Some(Mask::Redact));
        let mapping = Mapping::new("m", 1, vec![field]);
        let of = |kind: Kind, text: &str, turn| {
            let given = Given { kind, text: text.to_owned() };
            candidates("c", &given, &mapping, turn)
        };
        assert_eq!(of(Kind::Text, "x", 0), ["a", "b", "1", "22"]);
        assert_eq!(of(Kind::Text, "x", 1), ["a", "b", "22", "1"]);
        assert_eq!(of(Kind::Integer, "22", 0), ["11", "1"]);
        assert_eq!(of(Kind::Integer, "2", 0), ["1", "1", "22"]);
        assert_eq!(of(Kind::Text, "bb", 0), ["aa", "1", "22", "x"]);
        assert_eq!(of(Kind::Boolean, "t", 0), ["f"]);
    }
}
