//! [`Scalar`]: values of a row as expressions see them, and what comes of an expression.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use super::exact::{self, Number};
use crate::pgoutput::value::write_json;
use crate::relation::{Column, Kind};

/// A value without parts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Postgres did not send a column that it reads.
    Unsent,
    /// It can't be computed.
    Failed(Fault),
}

/// What is the matter with an expression. Never says a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An operation has no meaning for values of these types.
    Types {
        /// The operation, as it is written.
        operation: &'static str,
        /// The types that it was given.
        types: [&'static str; 2],
    },
    /// There is no old row.
    NoOldRow,
    /// The table has no column that it reads.
    NoColumn,
    /// Its value is not true or false.
    NotBoolean,
    /// What else the interpreter says.
    Other(Box<str>),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Types { operation, types: [left, right] } => {
                write!(f, "`{operation}` means nothing between {left} and {right}")
            }
            Self::NoOldRow => f.write_str("there is no old row"),
            Self::NoColumn => f.write_str("the table has no such column"),
            Self::NotBoolean => f.write_str("its value is not true or false"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// How the text of a column becomes a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// An int; a text where it does not fit 64 bits.
    Integer,
    /// A double; a text where no double is that number.
    Decimal,
    Boolean,
    /// A text as it stands.
    Text,
    /// The text that its JSON is.
    JsonText(Kind),
    /// A tree of lists and maps.
    Tree(Kind),
}

impl Reading {
    pub(super) fn of(column: &Column) -> Self {
        match &column.kind {
            Kind::Integer => Self::Integer,
            Kind::Numeric if is_whole(column.type_modifier) => Self::Integer,
            Kind::Numeric | Kind::Float => Self::Decimal,
            Kind::Boolean => Self::Boolean,
            Kind::Text | Kind::Date => Self::Text,
            kind @ (Kind::Timestamp | Kind::TimestampTz | Kind::Bytea) => {
                Self::JsonText(kind.clone())
            }
            kind @ (Kind::Json | Kind::Array { .. } | Kind::Composite { .. } | Kind::Hstore) => {
                Self::Tree(kind.clone())
            }
        }
    }

    /// Whether its values have no parts.
    pub(super) const fn is_scalar(&self) -> bool {
        !matches!(self, Self::Tree(_))
    }

    /// Reads a text. A tree is not read: its JSON is a text then.
    pub(super) fn read<'a>(&self, text: &'a [u8]) -> Scalar<'a> {
        let plain = || Scalar::Text(String::from_utf8_lossy(text));
        let utf8 = std::str::from_utf8(text).unwrap_or_default();
        match self {
            Self::Integer => utf8.parse().map_or_else(|_| plain(), Scalar::Int),
            Self::Decimal => number(utf8).unwrap_or_else(plain),
            Self::Boolean => Scalar::Bool(text == b"t"),
            Self::Text => plain(),
            Self::JsonText(kind) | Self::Tree(kind) => {
                let mut json = Vec::new();
                write_json(kind, text, &mut json);
                match serde_json::from_slice::<String>(&json) {
                    Ok(text) => Scalar::Text(Cow::Owned(text)),
                    Err(_) => Scalar::Text(Cow::Owned(String::from_utf8_lossy(&json).into_owned())),
                }
            }
        }
    }
}

/// `numeric(p)` and `numeric(p, 0)` hold whole numbers alone.
///
/// Source: <https://github.com/postgres/postgres/blob/master/src/backend/utils/adt/numeric.c>
/// (`numeric_typmod_scale`): 11 bits with a sign, behind an offset of 4.
fn is_whole(type_modifier: i32) -> bool {
    const OFFSET: i32 = 4;
    const SCALE_BITS: i32 = 0x7FF;
    const SIGN_BIT: i32 = 0x400;
    if type_modifier < OFFSET {
        return false;
    }
    let scale = (((type_modifier - OFFSET) & SCALE_BITS) ^ SIGN_BIT) - SIGN_BIT;
    scale <= 0
}

/// Reads a number that may have a fraction.
fn number(text: &str) -> Option<Scalar<'static>> {
    match text {
        "NaN" => Some(Scalar::Double(f64::NAN)),
        "Infinity" => Some(Scalar::Double(f64::INFINITY)),
        "-Infinity" => Some(Scalar::Double(f64::NEG_INFINITY)),
        text => exact::double(text).map(Scalar::Double),
    }
}

impl Scalar<'_> {
    /// Returns its type, as CEL calls it.
    pub(super) const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
        }
    }

    fn number(&self) -> Option<Number> {
        match self {
            Self::Int(number) => Some(Number::Integer((*number).into())),
            Self::Double(number) => Some(Number::Double(*number)),
            Self::Null | Self::Bool(_) | Self::Text(_) => None,
        }
    }

    /// Whether two values are the same; values of two types never are, but for numbers.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self.number(), other.number()) {
            (Some(left), Some(right)) => exact::compare(left, right) == Some(Ordering::Equal),
            _ => self == other,
        }
    }

    /// Orders two values; none where they have no order.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(left), Self::Text(right)) => Some(left.as_ref().cmp(right.as_ref())),
            (Self::Bool(left), Self::Bool(right)) => Some(left.cmp(right)),
            _ => exact::compare(self.number()?, other.number()?),
        }
    }

    /// Appends it as Postgres would print a value of the kind that is returned; none for null.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Option<Kind> {
        match self {
            Self::Null => return None,
            Self::Bool(value) => out.push(if *value { b't' } else { b'f' }),
            Self::Int(number) => {
                out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
            }
            Self::Double(number) => write_double(*number, out),
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
        }
        Some(match self {
            Self::Bool(_) => Kind::Boolean,
            Self::Int(_) => Kind::Integer,
            Self::Double(_) => Kind::Float,
            Self::Null | Self::Text(_) => Kind::Text,
        })
    }
}

/// Appends a double in its shortest digits, whole numbers without a point.
pub(super) fn write_double(number: f64, out: &mut Vec<u8>) {
    let text = if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        format!("{number:?}")
    };
    out.extend_from_slice(text.strip_suffix(".0").unwrap_or(&text).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Oid;

    #[track_caller]
    fn check(kind: Kind, type_modifier: i32, text: &str, expected: &Scalar<'_>) {
        let column = Column {
            name: "c".to_owned(),
            type_oid: Oid(0),
            type_modifier,
            in_identity: false,
            kind,
        };
        assert_eq!(&Reading::of(&column).read(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn what_64_bits_can_not_hold_is_a_text() {
        check(Kind::Integer, -1, "-9223372036854775808", &Scalar::Int(i64::MIN));
        check(Kind::Numeric, -1, "12.50", &Scalar::Double(12.5));
        check(Kind::Numeric, -1, "9007199254740993", &Scalar::Text("9007199254740993".into()));
        // numeric(20): whole numbers.
        check(
            Kind::Numeric,
            (20 << 16) + 4,
            "9007199254740993",
            &Scalar::Int(9_007_199_254_740_993),
        );
        let large = "98765432109876543210";
        check(Kind::Numeric, (20 << 16) + 4, large, &Scalar::Text(large.into()));
        // numeric(10, 2), and numeric(2, -3) of PostgreSQL 15.
        check(Kind::Numeric, (10 << 16) + 2 + 4, "12.00", &Scalar::Double(12.0));
        check(Kind::Numeric, (2 << 16) + 0x7FD + 4, "12000", &Scalar::Int(12_000));
        check(Kind::Float, -1, "-Infinity", &Scalar::Double(f64::NEG_INFINITY));
    }

    #[test]
    fn a_time_is_the_text_that_the_event_has() {
        let time = Scalar::Text("2026-01-02T03:04:05Z".into());
        check(Kind::TimestampTz, -1, "2026-01-02 03:04:05+00", &time);
        check(Kind::Date, -1, "2026-01-02", &Scalar::Text("2026-01-02".into()));
        check(Kind::Bytea, -1, "\\x00ff", &Scalar::Text("AP8=".into()));
    }

    #[test]
    fn a_double_is_written_in_its_shortest_digits() {
        for (number, text) in [
            (12.0, "12"),
            (12.5, "12.5"),
            (1e300, "1e300"),
            (1e-7, "1e-7"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            let mut out = Vec::new();
            write_double(number, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
