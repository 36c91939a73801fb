//! Numbers and booleans: their text is JSON already, but for NaN and the infinities.

/// Appends an integer. Returns false when the text is none.
#[inline]
pub(super) fn write_integer(text: &[u8], out: &mut Vec<u8>) -> bool {
    let (digits, rest) = integer_part(text);
    if digits == 0 || !rest.is_empty() {
        return false;
    }
    out.extend_from_slice(text);
    true
}

/// Appends numeric, real or double precision with exactly its digits. Returns false when the
/// text is not a JSON number, so also for `NaN` and `Infinity`.
#[inline]
pub(super) fn write_number(text: &[u8], out: &mut Vec<u8>) -> bool {
    if !is_number(text) {
        return false;
    }
    out.extend_from_slice(text);
    true
}

/// Appends a boolean: `t` or `f` on the wire. The long words are what a cast to text gives.
#[inline]
pub(super) fn write_boolean(text: &[u8], out: &mut Vec<u8>) -> bool {
    let word: &[u8] = match text {
        b"t" | b"true" => b"true",
        b"f" | b"false" => b"false",
        _ => return false,
    };
    out.extend_from_slice(word);
    true
}

/// Whether a text is a number as JSON writes it.
pub(super) fn is_number(text: &[u8]) -> bool {
    let (digits, rest) = number_prefix(text);
    digits && rest.is_empty()
}

/// Splits a JSON number from the front; false when there is none.
pub(super) fn number_prefix(text: &[u8]) -> (bool, &[u8]) {
    let (digits, mut rest) = integer_part(text);
    if digits == 0 {
        return (false, text);
    }
    if let [b'.', fraction @ ..] = rest {
        let (digits, behind) = split_digits(fraction);
        if digits == 0 {
            return (false, text);
        }
        rest = behind;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        let (digits, behind) = split_digits(exponent);
        if digits == 0 {
            return (false, text);
        }
        rest = behind;
    }
    (true, rest)
}

/// Returns how many digits the integer part has, and what follows: 0 when there is none or it
/// has a leading zero.
#[inline]
fn integer_part(text: &[u8]) -> (usize, &[u8]) {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let (digits, rest) = split_digits(unsigned);
    if digits > 1 && unsigned.first() == Some(&b'0') { (0, text) } else { (digits, rest) }
}

#[inline]
fn split_digits(text: &[u8]) -> (usize, &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits, text.get(digits..).unwrap_or_default())
}
