//! Numbers compared by what they are, never by a rounded copy.

use std::cmp::Ordering;

use crate::mapping::decimal::is_same_number;

/// A number of CEL.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Integer(i128),
    Double(f64),
}

/// 2^127: doubles beyond it and its negative lie outside every integer that is compared.
const INTEGER_BOUND: f64 = 170_141_183_460_469_230_000_000_000_000_000_000_000.0;

/// Orders two numbers; none where one is not a number.
pub(super) fn compare(left: Number, right: Number) -> Option<Ordering> {
    match (left, right) {
        (Number::Integer(left), Number::Integer(right)) => Some(left.cmp(&right)),
        (Number::Double(left), Number::Double(right)) => left.partial_cmp(&right),
        (Number::Integer(left), Number::Double(right)) => with_double(left, right),
        (Number::Double(left), Number::Integer(right)) => {
            with_double(right, left).map(Ordering::reverse)
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the double is whole and within the bounds of an i128"
)]
fn with_double(integer: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    if double >= INTEGER_BOUND {
        return Some(Ordering::Less);
    }
    if double <= -INTEGER_BOUND {
        return Some(Ordering::Greater);
    }
    let whole = double.trunc();
    let order = integer.cmp(&(whole as i128));
    // Of two equal whole parts the fraction decides.
    Some(order.then_with(|| whole.partial_cmp(&double).unwrap_or(Ordering::Equal)))
}

/// A decimal of so many digits is read and printed again by every double.
const DIGITS_SURE: usize = 15;

/// Reads a decimal as the double that prints the same number again; none where no double does, or
/// where it is no decimal.
pub(super) fn double(text: &str) -> Option<f64> {
    let double: f64 = text.parse().ok()?;
    if !double.is_finite() {
        return None;
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-');
    if plain && text.len() <= DIGITS_SURE {
        return Some(double);
    }
    is_same_number(text, &format!("{double:e}")).then_some(double)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(left: i128, right: f64, expected: Option<Ordering>) {
        assert_eq!(compare(Number::Integer(left), Number::Double(right)), expected);
        let reversed = compare(Number::Double(right), Number::Integer(left));
        assert_eq!(reversed, expected.map(Ordering::reverse));
    }

    #[test]
    fn integers_and_doubles_are_compared_without_rounding() {
        check(1, 1.0, Some(Ordering::Equal));
        check(9_007_199_254_740_993, 9_007_199_254_740_992.0, Some(Ordering::Greater));
        check(-9_007_199_254_740_993, -9_007_199_254_740_992.0, Some(Ordering::Less));
        check(i64::MAX.into(), 9_223_372_036_854_775_808.0, Some(Ordering::Less));
        check(u64::MAX.into(), 18_446_744_073_709_551_616.0, Some(Ordering::Less));
        check(1, 1.5, Some(Ordering::Less));
        check(-1, -1.5, Some(Ordering::Greater));
        check(0, -0.5, Some(Ordering::Greater));
        check(5, f64::INFINITY, Some(Ordering::Less));
        check(5, f64::NEG_INFINITY, Some(Ordering::Greater));
        check(5, f64::NAN, None);
    }

    #[test]
    fn a_decimal_is_a_double_only_where_it_prints_again() {
        for (text, expected) in [
            ("12.50", Some(12.5)),
            ("0.1", Some(0.1)),
            ("-0.0", Some(-0.0)),
            ("1e2", Some(100.0)),
            ("1.5E-7", Some(1.5e-7)),
            ("9007199254740992", Some(9_007_199_254_740_992.0)),
            ("9007199254740993", None),
            ("0.1000000000000000055511151231257827", None),
            ("123456789012345678901234567890", None),
            ("100000000000000000000000000000", Some(1e29)),
            ("1e400", None),
            ("1e-400", None),
            ("NaN", None),
            ("Infinity", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(double(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_double_is_read_back_from_its_own_text(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            prop_assert_eq!(double(&format!("{number}")), Some(number));
            prop_assert_eq!(double(&format!("{number:e}")), Some(number));
        }
    }
}
