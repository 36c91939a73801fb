//! Floats, as the server prints them: the fewest digits that read back as the same number.
//!
//! The server asks for a little more than most: the digits must read back whichever way a reader
//! rounds what lies exactly between two floats. So `1e23`, which is such a middle, is printed as
//! `9.999999999999999e+22`.

/// What differs between the two widths.
struct Width {
    /// Digits that always suffice.
    digits_max: usize,
    /// Exponents below it are written out.
    plain_below: i32,
}

pub(super) fn write_single(value: f32, out: &mut Vec<u8>) {
    let bits = value.abs().to_bits();
    let (mantissa, exponent) = (bits & 0x7F_FFFF, bits >> 23);
    let parts = Parts {
        mantissa: u64::from(if exponent == 0 { mantissa } else { mantissa | 0x80_0000 }),
        power: i32::try_from(exponent.max(1)).unwrap_or(0) - 150,
        is_lowest: mantissa == 0 && exponent > 1,
    };
    let width = Width { digits_max: 9, plain_below: 6 };
    let shortest = |precision: Option<usize>| match precision {
        None => format!("{:e}", value.abs()),
        Some(precision) => format!("{:.precision$e}", value.abs()),
    };
    let is_same = |text: &str| text.parse() == Ok(value.abs());
    write(f64::from(value), &parts, &width, (shortest, is_same), out);
}

pub(super) fn write_double(value: f64, out: &mut Vec<u8>) {
    let bits = value.abs().to_bits();
    let (mantissa, exponent) = (bits & 0xF_FFFF_FFFF_FFFF, bits >> 52);
    let parts = Parts {
        mantissa: if exponent == 0 { mantissa } else { mantissa | 0x10_0000_0000_0000 },
        power: i32::try_from(exponent.max(1)).unwrap_or(0) - 1075,
        is_lowest: mantissa == 0 && exponent > 1,
    };
    let width = Width { digits_max: 17, plain_below: 15 };
    let shortest = |precision: Option<usize>| match precision {
        None => format!("{:e}", value.abs()),
        Some(precision) => format!("{:.precision$e}", value.abs()),
    };
    let is_same = |text: &str| text.parse() == Ok(value.abs());
    write(value, &parts, &width, (shortest, is_same), out);
}

/// A float as mantissa times two to the power.
struct Parts {
    mantissa: u64,
    power: i32,
    /// The float below is only half as far away.
    is_lowest: bool,
}

fn write(
    value: f64,
    parts: &Parts,
    width: &Width,
    (print, is_same): (impl Fn(Option<usize>) -> String, impl Fn(&str) -> bool),
    out: &mut Vec<u8>,
) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    if value.is_infinite() {
        out.extend_from_slice(b"Infinity");
        return;
    }
    let mut text = print(None);
    let (mut digits, mut exponent) = read(&text);
    let mut precision = digits.len();
    while parts.is_middle(&digits, exponent) && precision < width.digits_max {
        text = print(Some(precision));
        (digits, exponent) = read(&text);
        precision += 1;
    }
    // Below a power of two the floats lie closer, and the even digits may be those of another.
    if let Some((even, at)) = parts.even_of_two(&digits, exponent)
        && is_same(&format!("{even}e{}", at - (length(&even) - 1)))
    {
        (digits, exponent) = (even, at);
    }
    lay_out(&digits, exponent, width.plain_below, out);
}

/// Takes `1.25e-7` apart: its digits without trailing zeros, and the exponent of the first.
fn read(text: &str) -> (String, i32) {
    let (number, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_end_matches('0');
    let digits = if significant.is_empty() { "0" } else { significant };
    (digits.to_owned(), exponent.parse().unwrap_or(0))
}

impl Parts {
    /// Where the float lies exactly between these digits and the next ones of their length, the
    /// server takes the even ones. None: these are right.
    fn even_of_two(&self, digits: &str, exponent: i32) -> Option<(String, i32)> {
        let number: u64 = digits.parse().ok().filter(|number| number % 2 == 1)?;
        let tens = exponent - (i32::try_from(digits.len()).unwrap_or(0) - 1);
        let zeros = self.mantissa.trailing_zeros();
        let odd = self.mantissa.checked_shr(zeros)?;
        let twos = self.power + 1 + i32::try_from(zeros).unwrap_or(0);
        let middle = [number * 2 - 1, number * 2 + 1]
            .into_iter()
            .find(|middle| is_equal(*middle, tens, odd, twos))?;
        let even = if middle < number * 2 { number - 1 } else { number + 1 };
        let text = even.to_string();
        let longer =
            i32::try_from(text.len()).unwrap_or(0) - i32::try_from(digits.len()).unwrap_or(0);
        let digits = text.trim_end_matches('0').to_owned();
        Some((digits, exponent + longer))
    }

    /// Whether the number lies exactly between this float and a neighbour.
    fn is_middle(&self, digits: &str, exponent: i32) -> bool {
        let Ok(number) = digits.parse::<u64>() else { return false };
        if number == 0 {
            return false;
        }
        let length = i32::try_from(digits.len()).unwrap_or(0);
        let tens = exponent - (length - 1);
        let below = if self.is_lowest {
            (self.mantissa.saturating_mul(4) - 1, self.power - 2)
        } else {
            (self.mantissa.saturating_mul(2).saturating_sub(1), self.power - 1)
        };
        let above = (self.mantissa.saturating_mul(2) + 1, self.power - 1);
        [below, above].into_iter().any(|(odd, twos)| is_equal(number, tens, odd, twos))
    }
}

/// Whether `number · 10^tens = odd · 2^twos`: both sides have one odd part and one power of two.
fn is_equal(number: u64, tens: i32, odd: u64, twos: i32) -> bool {
    let zeros = i32::try_from(number.trailing_zeros()).unwrap_or(0);
    let odd_number = number >> number.trailing_zeros();
    let times_fives = |mut value: u128, fives: u32| {
        for _ in 0..fives {
            value *= 5;
            if value > u128::from(u64::MAX) {
                return None;
            }
        }
        Some(value)
    };
    let fives = tens.unsigned_abs();
    let same_odd = if tens >= 0 {
        times_fives(odd_number.into(), fives) == Some(odd.into())
    } else {
        times_fives(odd.into(), fives) == Some(odd_number.into())
    };
    same_odd && zeros + tens == twos
}

fn length(digits: &str) -> i32 {
    i32::try_from(digits.len()).unwrap_or(0)
}

fn lay_out(digits: &str, exponent: i32, plain_below: i32, out: &mut Vec<u8>) {
    let bytes = digits.as_bytes();
    if !(-4..plain_below).contains(&exponent) {
        let (first, rest) = bytes.split_at(1.min(bytes.len()));
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        super::number::push_padded(exponent.unsigned_abs().into(), 2, out);
        return;
    }
    match usize::try_from(exponent) {
        Err(_) => {
            out.extend_from_slice(b"0.");
            let zeros = usize::try_from(exponent.unsigned_abs()).unwrap_or(1) - 1;
            out.extend(std::iter::repeat_n(b'0', zeros));
            out.extend_from_slice(bytes);
        }
        Ok(exponent) => {
            let whole = exponent + 1;
            let (before, after) = bytes.split_at(whole.min(bytes.len()));
            out.extend_from_slice(before);
            out.extend(std::iter::repeat_n(b'0', whole.saturating_sub(bytes.len())));
            if !after.is_empty() {
                out.push(b'.');
                out.extend_from_slice(after);
            }
        }
    }
}
