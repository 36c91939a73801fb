//! Numbers by their digits: read, compared and written out, with no double in between.

use std::cmp::Ordering;
use std::fmt;

/// The longest exponent of which an integer's zeros are written out; a double's is 308.
const EXPONENT_MAX: usize = 400;

/// The most digits of an exponent that is compared: so much fits 64 bits beside any length.
const EXPONENT_DIGITS_MAX: usize = 17;

/// A number that a config gives, as it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal(String);

impl Decimal {
    /// Reads a number as JSON writes one; none: it is no such number, or its exponent has more
    /// than 17 digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = Number::read(text.as_bytes())?;
        number.exponent()?;
        Some(Self(text.to_owned()))
    }

    /// Returns it as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares a text with it, exactly; none: the text is no number.
    pub(super) fn compare(&self, text: &[u8]) -> Option<Ordering> {
        Number::read(text)?.compare(&Number::read(self.0.as_bytes())?)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether two texts are the same number, however it is written: `1.0`, `1` and `10e-1` are.
#[must_use]
pub fn is_same_number(one: &str, other: &str) -> bool {
    Number::read(one.as_bytes())
        .zip(Number::read(other.as_bytes()))
        .is_some_and(|(one, other)| one.compare(&other) == Some(Ordering::Equal))
}

/// The parts of a JSON number. Its grammar has no leading zeros and no plus sign: what a text
/// like `007` or `+49` would lose as a number is kept from being lost.
pub(super) struct Number<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent_negative: bool,
    exponent: &'a [u8],
}

impl<'a> Number<'a> {
    pub(super) fn read(text: &'a [u8]) -> Option<Self> {
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

    /// Compares two numbers by their digits. None: an exponent has too many digits to be held.
    pub(super) fn compare(&self, other: &Number<'_>) -> Option<Ordering> {
        let (place, digits) = self.digits()?;
        let (other_place, other_digits) = other.digits()?;
        let (sign, other_sign) = (self.sign(), other.sign());
        if sign != other_sign || sign == 0 {
            return Some(sign.cmp(&other_sign));
        }
        let size = place.cmp(&other_place).then_with(|| compare_digits(digits, other_digits));
        Some(if sign < 0 { size.reverse() } else { size })
    }

    fn sign(&self) -> i8 {
        let zero = self.whole.iter().chain(self.fraction).all(|digit| *digit == b'0');
        match (zero, self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    /// Returns the digits from the first on that is not zero, and how many of them stand before
    /// the point (below zero: how many zeros stand behind it before them).
    fn digits(&self) -> Option<(i64, impl Iterator<Item = u8>)> {
        let digits = self.whole.iter().chain(self.fraction).copied();
        let zeros = digits.clone().take_while(|digit| *digit == b'0').count();
        let place = i64::try_from(self.whole.len()).ok()? - i64::try_from(zeros).ok()?;
        Some((place.checked_add(self.exponent()?)?, digits.skip(zeros)))
    }

    fn exponent(&self) -> Option<i64> {
        let zeros = self.exponent.iter().take_while(|digit| **digit == b'0').count();
        let digits = self.exponent.get(zeros..).unwrap_or_default();
        if digits.len() > EXPONENT_DIGITS_MAX {
            return None;
        }
        let add = |sum: i64, digit: &u8| sum * 10 + i64::from(digit - b'0');
        let exponent = digits.iter().fold(0, add);
        Some(if self.exponent_negative { -exponent } else { exponent })
    }

    /// Appends it without a fraction, unless that would lose something.
    pub(super) fn write_integer(&self, out: &mut Vec<u8>) -> bool {
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

/// Compares fractions by their digits: one that ends goes on with zeros.
fn compare_digits(
    mut one: impl Iterator<Item = u8>,
    mut other: impl Iterator<Item = u8>,
) -> Ordering {
    loop {
        match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (digit, other) => match digit.unwrap_or(b'0').cmp(&other.unwrap_or(b'0')) {
                Ordering::Equal => {}
                unequal => return unequal,
            },
        }
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
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(one: &str, other: &str, expected: Ordering) {
        let [a, b] = [one, other].map(|text| Number::read(text.as_bytes()).unwrap());
        assert_eq!(a.compare(&b), Some(expected), "{one} {other}");
        assert_eq!(b.compare(&a), Some(expected.reverse()), "{other} {one}");
    }

    #[test]
    fn numbers_are_compared_by_every_digit() {
        use Ordering::{Equal, Less};
        check("9007199254740992", "9007199254740993", Less);
        check("0.1", "0.10000000000000000000000000000000000001", Less);
        check("-2", "-1", Less);
        check("-1", "0", Less);
        check("0", "-0.00", Equal);
        check("0e99999999999999999", "0", Equal);
        check("1.50", "15e-1", Equal);
        check("100", "1E+2", Equal);
        check("9.99", "10", Less);
        check("0.09", "0.1", Less);
        check("1e-17", "1e-16", Less);
        check("-1e400", "-1e399", Less);
        check("99999999999999999999", "1e20", Less);
    }

    #[test]
    fn what_is_no_number_is_not_compared() {
        for text in ["", "NaN", "Infinity", "-Infinity", "1,5", "007", "+1", " 1", "0x10"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
            assert_eq!(Decimal::parse("1").unwrap().compare(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Decimal::parse("1e999999999999999999"), None);
        assert!(!is_same_number("1e999999999999999999", "1e999999999999999999"));
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_whole_numbers(a in any::<i128>(), b in any::<i128>()) {
            let [one, other] = [a, b].map(|n| n.to_string());
            let (read, with) = (Decimal::parse(&other).unwrap(), one.as_bytes());
            prop_assert_eq!(read.compare(with), Some(a.cmp(&b)));
        }

        #[test]
        fn the_way_a_number_is_written_does_not_matter(
            digits in any::<i64>(), shift in 0_usize..40, zeros in 0_usize..40,
        ) {
            let plain = format!("{digits}{}", "0".repeat(shift));
            let exponent = format!("{digits}e{shift}");
            let point = format!("{digits}{}.{}", "0".repeat(shift), "0".repeat(zeros + 1));
            prop_assert!(is_same_number(&plain, &exponent) || digits == 0);
            prop_assert!(digits == 0 || is_same_number(&point, &exponent));
            let longer = format!("{digits}1");
            prop_assert!(digits == 0 || shift > 0 || !is_same_number(&longer, &plain));
        }

        #[test]
        fn a_digit_more_makes_it_larger(whole in 0_u64.., fraction in "[0-9]{0,40}", more in "[1-9]") {
            let less = format!("{whole}.0{fraction}");
            let larger = format!("{less}{more}");
            prop_assert_eq!(
                Decimal::parse(&less).unwrap().compare(larger.as_bytes()),
                Some(Ordering::Greater)
            );
        }
    }
}
