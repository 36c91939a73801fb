//! [`Decimal`]: a number that is compared by its digits, however many.

/// A number as its digits, without those that say nothing: `-0012.50` and `-1.25e1` are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    /// From the first digit to the last that is not 0.
    digits: String,
    /// Of the digit behind the last, as a power of ten.
    exponent: i64,
}

impl Decimal {
    /// Reads a number as JSON writes it; none: the text is no number.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let significant = digits.trim_end_matches('0');
        if significant.is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        let dropped = i64::try_from(digits.len() - significant.len()).ok()?;
        let behind_point = i64::try_from(fraction.len()).ok()?;
        let exponent = exponent.checked_sub(behind_point)?.checked_add(dropped)?;
        Some(Self { negative, digits: significant.to_owned(), exponent })
    }
}
