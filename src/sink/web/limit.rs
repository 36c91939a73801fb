//! What an answer says of its rate limit: how long to send nothing, because all is used up.
//!
//! Read are the structured field `RateLimit` of the IETF's draft in its newer and its older form,
//! and the pairs of headers that came before it. Anything that can't be read says nothing.

use std::time::{Duration, SystemTime};

use hyper::header::{HeaderMap, HeaderName};

/// The structured field.
const FIELD: HeaderName = HeaderName::from_static("ratelimit");

/// What is left, and when it is filled up again.
static PAIRS: [(HeaderName, HeaderName); 3] = [
    pair("ratelimit-remaining", "ratelimit-reset"),
    pair("x-ratelimit-remaining", "x-ratelimit-reset"),
    pair("x-rate-limit-remaining", "x-rate-limit-reset"),
];

const fn pair(remaining: &'static str, reset: &'static str) -> (HeaderName, HeaderName) {
    (HeaderName::from_static(remaining), HeaderName::from_static(reset))
}

/// A reset above this is a time since 1970, below it a wait, in seconds: the one would lie before
/// 2002, the other be longer than thirty years.
const EPOCH_MIN: Duration = Duration::from_secs(1_000_000_000);
/// A time since 1970 above this lies thousands of years ahead: it does not count seconds.
const EPOCH_MAX: Duration = Duration::from_secs(100_000_000_000);

/// Returns how long to wait before the next request; none where some are left, or nothing is
/// said. Of several limits that are used up the longest wait counts.
pub(in crate::sink) fn pause(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok();
    let fields = headers.get_all(FIELD).iter().filter_map(|value| value.to_str().ok());
    let fields = fields.filter_map(|field| of_field(field, now));
    let pairs =
        PAIRS.iter().filter_map(|(remaining, reset)| of_pair(text(remaining)?, text(reset)?, now));
    fields.chain(pairs).max().filter(|wait| !wait.is_zero())
}

fn of_pair(remaining: &str, reset: &str, now: SystemTime) -> Option<Duration> {
    number(remaining)?.is_zero().then(|| until(reset, now))?
}

/// Reads `"default";r=0;t=5`, one or a list of them, or `limit=10, remaining=0, reset=5`.
fn of_field(field: &str, now: SystemTime) -> Option<Duration> {
    let value = |part: &'_ str, name: &str| {
        let (key, value) = part.split_once('=')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    };
    let item = |member: &str| {
        let find = |name: &str| parts(member, ';').find_map(|part| value(part, name));
        of_pair(&find("r")?, &find("t")?, now)
    };
    let items = parts(field, ',').filter_map(item).max();
    let find =
        |name: &str| parts(field, ',').find_map(|member| value(parts(member, ';').next()?, name));
    let older = || of_pair(&find("remaining")?, &find("reset")?, now);
    items.or_else(older)
}

/// Parts a text at a sign that does not stand between quotes.
fn parts(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let is_end = move |sign: char| {
        quoted ^= sign == '"' && !escaped;
        escaped = sign == '\\' && quoted && !escaped;
        sign == separator && !quoted
    };
    text.split(is_end).map(str::trim)
}

/// Reads when a limit is filled up again: in how many seconds, or at which second since 1970.
fn until(reset: &str, now: SystemTime) -> Option<Duration> {
    let reset = number(reset)?;
    if reset <= EPOCH_MIN {
        return Some(reset);
    }
    let at = SystemTime::UNIX_EPOCH.checked_add(reset).filter(|_| reset <= EPOCH_MAX)?;
    Some(at.duration_since(now).unwrap_or_default())
}

/// Reads a number that is not negative, with a fraction or without.
fn number(text: &str) -> Option<Duration> {
    let text = text.trim();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = is_plain.then_some(text)?.parse().ok()?;
    Duration::try_from_secs_f64(number).ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    /// 2026-11-24T05:00:00Z
    const NOW: u64 = 1_795_496_400;

    #[track_caller]
    fn check(headers: &[(&str, &str)], expected: Option<f64>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        let expected = expected.map(Duration::from_secs_f64);
        assert_eq!(pause(&map, now), expected, "{headers:?}");
    }

    fn field(value: &str, expected: Option<f64>) {
        check(&[("RateLimit", value)], expected);
    }

    #[test]
    fn the_drafts_field_is_read_in_both_its_forms() {
        field(r#""default";r=0;t=5"#, Some(5.0));
        field(r#""default"; r=0; t=5; pk=:c2VjcmV0:"#, Some(5.0));
        field(r#"default;t=5;r=0"#, Some(5.0));
        field(r#""burst";r=0;t=5, "daily";r=0;t=3600"#, Some(3600.0));
        field(r#""burst";r=0;t=5, "daily";r=7;t=3600"#, Some(5.0));
        field(r#""a;r=0,\";t=9";r=3;t=5"#, None);
        field(r#""a;r=3,\";t=9";r=0;t=5"#, Some(5.0));
        field("limit=10, remaining=0, reset=5", Some(5.0));
        field("limit=10,remaining=0,reset=5;x=y", Some(5.0));
        check(&[("RateLimit", r#""a";r=0;t=2"#), ("RateLimit", r#""b";r=0;t=4"#)], Some(4.0));
    }

    #[test]
    fn pairs_of_headers_are_read_with_seconds_or_a_time() {
        for name in ["RateLimit", "X-RateLimit", "x-rate-limit"] {
            let pair = |remaining: &str, reset: &str, expected| {
                let names = [format!("{name}-Remaining"), format!("{name}-Reset")];
                check(&[(&names[0], remaining), (&names[1], reset)], expected);
            };
            pair("0", "30", Some(30.0));
            pair("0", "0.25", Some(0.25));
            pair("0.0", " 30 ", Some(30.0));
            pair("0", &(NOW + 90).to_string(), Some(90.0));
            pair("0", &format!("{}.5", NOW + 90), Some(90.5));
            pair("0", &(NOW - 90).to_string(), None);
            pair("1", "30", None);
        }
        check(&[("x-ratelimit-remaining", "0")], None);
        check(&[("x-ratelimit-reset", "30")], None);
        let both = [("ratelimit-remaining", "3"), ("ratelimit-reset", "9")];
        let more = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2")];
        check(&[both, more].concat(), Some(2.0));
    }

    #[test]
    fn nonsense_says_nothing() {
        check(&[], None);
        for value in [
            "",
            "0",
            r#""default""#,
            r#""default";r=0"#,
            r#""default";t=5"#,
            r#""default";r=0;t=0"#,
            r#""default";r=0;t=-5"#,
            r#""default";r=0;t=soon"#,
            r#""default";r=-1;t=5"#,
            r#""default";r=0;t=1e3"#,
            r#""default";r=0;t=inf"#,
            r#""default";r=0;t=99999999999999999999999999"#,
            // Milliseconds.
            r#""default";r=0;t=1795496405000"#,
            "remaining=0",
            "reset=5",
            r#"";r=0;t=5"#,
        ] {
            field(value, None);
        }
        let pair = |remaining, reset| {
            check(&[("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", reset)], None);
        };
        pair("none", "5");
        pair("0", "Tue, 24 Nov 2026 05:01:30 GMT");
        pair("0", ".");
        pair("", "5");
    }
}
