//! Days, and timestamps: a `T` between date and time, and `Z` for the session's zone, which is UTC.

/// Appends timestamp or timestamptz as a string: `2026-11-23 12:00:00.5+00` becomes
/// `2026-11-23T12:00:00.5Z`, and ` BC` stays behind it. Returns false for what has no time of
/// day (`infinity`, `-infinity`), which is a plain string.
///
/// An offset other than `+00` (another session's zone) stays as it is.
#[inline]
pub(super) fn write_timestamp(text: &[u8], out: &mut Vec<u8>) -> bool {
    let known = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b':' | b'.' | b'+' | b' ');
    let (moment, era) = match text.strip_suffix(b" BC") {
        Some(moment) => (moment, true),
        None => (text, false),
    };
    // The year has four digits or more, so the blank is at 10 or behind it.
    let Some(blank) = moment.iter().position(|byte| *byte == b' ') else { return false };
    let Some((date, [b' ', time @ ..])) = moment.split_at_checked(blank) else { return false };
    if !date.iter().chain(time).all(known) {
        return false;
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(date);
    out.push(b'T');
    match time.strip_suffix(b"+00") {
        Some(utc) => {
            out.extend_from_slice(utc);
            out.push(b'Z');
        }
        None => out.extend_from_slice(time),
    }
    if era {
        out.extend_from_slice(b" BC");
    }
    out.push(b'"');
    true
}

/// Returns year, month and day of a day counted from 1970-01-01.
///
/// Source: <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
#[must_use]
pub fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}
