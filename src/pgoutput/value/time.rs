//! Timestamps: a `T` between date and time, and `Z` for the session's zone, which is UTC.

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
