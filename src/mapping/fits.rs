//! What can be said of a field and a column's type without a row: that no value will ever pass.

use super::check::Check;
use super::decimal::is_same_number;
use super::field::{As, Field};
use super::refine::shortfall;
use crate::relation::Kind;

/// Says why no value of a column of this kind can become the field's; none: one may.
#[must_use]
pub fn never_fits(field: &Field, kind: &Kind) -> Option<String> {
    let Some(lookup) = &field.lookup else {
        return no_cast(field, kind).or_else(|| no_check(field, kind));
    };
    if !lookup.keys().any(|key| can_print(kind, key)) {
        return Some(format!("no key of the lookup is {} as the column has them", noun(kind)));
    }
    let found = Field { lookup: None, mask: None, ..field.clone() };
    let passes = |(kind, text): (&Kind, &[u8])| shortfall(&found, kind, text).is_none();
    let mut values = lookup.values().peekable();
    if values.peek().is_some() && !values.any(passes) {
        return Some("no value of the lookup passes `as` and `check`".to_owned());
    }
    None
}

fn no_cast(field: &Field, kind: &Kind) -> Option<String> {
    let target = field.convert?;
    let can = match target {
        As::String | As::Json => true,
        As::Integer | As::Number => matches!(
            kind,
            Kind::Boolean | Kind::Integer | Kind::Numeric | Kind::Float | Kind::Text | Kind::Json
        ),
        As::Boolean => {
            matches!(kind, Kind::Boolean | Kind::Integer | Kind::Numeric | Kind::Text | Kind::Json)
        }
        As::Date | As::Timestamp => matches!(
            kind,
            Kind::Date | Kind::Timestamp | Kind::TimestampTz | Kind::Text | Kind::Json
        ),
    };
    (!can).then(|| format!("{} can't become {} without loss", noun(kind), target.as_str()))
}

fn no_check(field: &Field, kind: &Kind) -> Option<String> {
    let shape = Shape::of(field.convert, kind);
    let check = field.checks.iter().find(|check| !shape.can_pass(check))?;
    Some(format!("{} never passes the check {check}", shape.noun()))
}

/// What values look like once they are what `as` says.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Number,
    Boolean,
    Time,
    /// base64, lists, objects.
    Other,
    /// Nobody knows.
    Any,
}

impl Shape {
    fn of(convert: Option<As>, kind: &Kind) -> Self {
        match (convert, kind) {
            (Some(As::Integer | As::Number), _) => Self::Number,
            (Some(As::Boolean), _) => Self::Boolean,
            (Some(As::Date | As::Timestamp), _) => Self::Time,
            (Some(As::String | As::Json) | None, kind) => match kind {
                Kind::Integer | Kind::Numeric | Kind::Float => Self::Number,
                Kind::Boolean => Self::Boolean,
                Kind::Date | Kind::Timestamp | Kind::TimestampTz => Self::Time,
                Kind::Bytea | Kind::Array { .. } | Kind::Composite { .. } | Kind::Hstore => {
                    Self::Other
                }
                Kind::Json | Kind::Text => Self::Any,
            },
        }
    }

    fn can_pass(self, check: &Check) -> bool {
        match (self, check) {
            (Self::Any, _) | (_, Check::Nonempty | Check::Pattern(_) | Check::MaxLength(_)) => true,
            (Self::Number, Check::Range { .. }) => true,
            (_, Check::Range { .. } | Check::Email | Check::Url | Check::Uuid) => false,
            (Self::Number, Check::OneOf(texts)) => {
                // NaN and the infinities are texts.
                texts.iter().any(|text| is_same_number(text, text) || is_odd_number(text))
            }
            (Self::Boolean, Check::OneOf(texts)) => {
                texts.iter().any(|text| matches!(text.as_str(), "true" | "false"))
            }
            (Self::Time | Self::Other, Check::OneOf(_)) => true,
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Time => "a date or time",
            Self::Other => "such a value",
            Self::Any => "a text",
        }
    }
}

fn can_print(kind: &Kind, key: &str) -> bool {
    match kind {
        Kind::Integer | Kind::Numeric | Kind::Float => {
            is_same_number(key, key) || is_odd_number(key)
        }
        Kind::Boolean => matches!(key, "true" | "false"),
        _ => true,
    }
}

fn is_odd_number(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity")
}

const fn noun(kind: &Kind) -> &'static str {
    match kind {
        Kind::Integer | Kind::Numeric | Kind::Float => "a number",
        Kind::Boolean => "a boolean",
        Kind::Date => "a date",
        Kind::Timestamp | Kind::TimestampTz => "a timestamp",
        Kind::Json => "JSON",
        Kind::Bytea => "a bytea",
        Kind::Array { .. } => "an array",
        Kind::Composite { .. } => "a composite",
        Kind::Hstore => "an hstore",
        Kind::Text => "a text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Decimal, Lookup, LookupEntry};

    #[track_caller]
    fn check(field: &Field, kind: &Kind, expected: Option<&str>) {
        assert_eq!(never_fits(field, kind).as_deref(), expected);
    }

    #[test]
    fn a_cast_that_no_value_survives_is_told() {
        let of = |convert| Field { convert: Some(convert), ..Field::column("a", "a") };
        let array = Kind::Array { element: Box::new(Kind::Integer), delimiter: b',' };
        check(&of(As::Number), &Kind::Date, Some("a date can't become number without loss"));
        check(&of(As::Date), &Kind::Integer, Some("a number can't become date without loss"));
        check(&of(As::Boolean), &array, Some("an array can't become boolean without loss"));
        for convert in As::ALL {
            check(&of(convert), &Kind::Text, None);
            check(&of(convert), &Kind::Json, None);
        }
    }

    #[test]
    fn a_check_that_no_value_passes_is_told() {
        let of = |check| Field { checks: vec![check], ..Field::column("a", "a") };
        let range = || Check::Range { min: Decimal::parse("0"), max: None };
        let one_of = |text: &str| of(Check::OneOf(vec![text.to_owned()]));
        check(&of(Check::Email), &Kind::Integer, Some("a number never passes the check email"));
        check(&of(range()), &Kind::Date, Some("a date or time never passes the check min = 0"));
        check(&of(range()), &Kind::Integer, None);
        check(&of(range()), &Kind::Text, None);
        check(&one_of("a"), &Kind::Integer, Some("a number never passes the check one_of"));
        check(&one_of("1e3"), &Kind::Integer, None);
        check(&one_of("1"), &Kind::Boolean, Some("a boolean never passes the check one_of"));
        let date = Field { convert: Some(As::Date), ..of(Check::Url) };
        check(&date, &Kind::Text, Some("a date or time never passes the check url"));
    }

    #[test]
    fn a_lookup_that_nothing_is_found_in_is_told() {
        let lookup = |key: &str, json: &str| Field {
            lookup: Some(Lookup::inline([(key, LookupEntry::Json(json))])),
            ..Field::column("a", "a")
        };
        let expected = Some("no key of the lookup is a number as the column has them");
        check(&lookup("g", "1"), &Kind::Integer, expected);
        check(&lookup("1", "1"), &Kind::Integer, None);
        check(&lookup("g", "1"), &Kind::Text, None);
        let date = Field { convert: Some(As::Date), ..lookup("g", "1") };
        check(&date, &Kind::Text, Some("no value of the lookup passes `as` and `check`"));
    }
}
