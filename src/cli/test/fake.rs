//! Made-up values in place of masked ones (pure).

use crate::relation::Kind;

/// Returns a value of the same form that says nothing: digits become 1, letters `a` or `A`, all
/// else stays. Of values with a structure of their own nothing stays.
pub(super) fn fake(kind: &Kind, text: &str) -> String {
    match kind {
        Kind::Json | Kind::Array { .. } => "{}".to_owned(),
        Kind::Hstore => String::new(),
        Kind::Bytea => "\\x".to_owned(),
        Kind::Boolean => "f".to_owned(),
        // `NaN` and infinities say what they are.
        Kind::Integer | Kind::Numeric | Kind::Float
            if !text.bytes().any(|b| b.is_ascii_digit()) =>
        {
            "1".to_owned()
        }
        Kind::Date | Kind::Timestamp | Kind::TimestampTz if text.ends_with("infinity") => {
            text.to_owned()
        }
        // Rows come in UTC, and a year has its digits.
        Kind::TimestampTz => {
            let (time, zone) = text.split_once('+').unwrap_or((text, "00"));
            format!("{}+{zone}", time.chars().map(alike).collect::<String>())
        }
        _ => text.chars().map(alike).collect(),
    }
}

fn alike(sign: char) -> char {
    match sign {
        _ if sign.is_numeric() => '1',
        _ if sign.is_uppercase() => 'A',
        _ if sign.is_alphabetic() => 'a',
        _ => sign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        check(&Kind::Numeric, "NaN", "1");
        check(&Kind::Json, "{\"card\": 4111}", "{}");
        check(&Kind::Bytea, "\\x00ff", "\\x");
        check(&Kind::Boolean, "t", "f");
    }
}
