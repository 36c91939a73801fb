//! Durations, sizes and rates: numbers with their unit in the value.

use std::time::Duration;

/// So many in so long: `50/s` is 50 in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; never 0.
    pub count: u64,
    /// In how long: a second, a minute or an hour.
    pub per: Duration,
}

const DURATIONS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads `250ms`, `1s`, `5m`, `12h`, `7d`; none for anything else.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    quantity(text, DURATIONS).map(Duration::from_millis)
}

/// Reads `64KiB`, `10GiB`, `5MB` (a million bytes each), `0`; in bytes, none for anything else.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    if text == "0" { Some(0) } else { quantity(text, SIZES) }
}

/// Reads `50/s`, `1000/m`, `7200/h`; none for anything else and for a count of 0.
#[must_use]
pub fn rate(text: &str) -> Option<Rate> {
    let (count, per) = split_rate(text)?;
    checked(number(count)?, per)
}

/// Reads `10MiB/s`: a size in a time.
#[must_use]
pub fn byte_rate(text: &str) -> Option<Rate> {
    let (count, per) = split_rate(text)?;
    checked(size(count)?, per)
}

fn checked(count: u64, per: Duration) -> Option<Rate> {
    (count > 0).then_some(Rate { count, per })
}

fn split_rate(text: &str) -> Option<(&str, Duration)> {
    let (count, per) = text.split_once('/')?;
    let seconds = match per {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    Some((count, Duration::from_secs(seconds)))
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number(count)?.checked_mul(*factor)
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_carries_its_unit() {
        for (text, millis) in
            [("250ms", 250), ("1s", 1_000), ("5m", 300_000), ("2h", 7_200_000), ("7d", 604_800_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "ms", "1.5s", "-1s", "1 s", "1S", "1s ", "99999999999999999999s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_is_in_powers_of_two_with_an_i_and_of_ten_without() {
        for (text, bytes) in
            [("0", 0), ("12B", 12), ("64KiB", 65_536), ("10GiB", 10 << 30), ("5MB", 5_000_000)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "1", "1K", "1kb", "KiB", "99999999999TiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn a_rate_is_a_count_in_a_time() {
        let second = Duration::from_secs(1);
        assert_eq!(rate("50/s"), Some(Rate { count: 50, per: second }));
        assert_eq!(rate("1000/m"), Some(Rate { count: 1000, per: second * 60 }));
        assert_eq!(byte_rate("1MiB/s"), Some(Rate { count: 1 << 20, per: second }));
        for text in ["0/s", "50", "50/d", "/s", "x/s", "50/ s"] {
            assert_eq!(rate(text), None, "{text}");
        }
    }
}
