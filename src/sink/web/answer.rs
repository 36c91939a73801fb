//! What an HTTP answer means: contract section 4 in one place.

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};

use super::limit;
use crate::failure::Category;
use crate::secret::Secret;
use crate::sink::Failure;

/// How long an answer asks that nothing is sent.
#[derive(Clone, Copy)]
pub(in crate::sink) struct Asked {
    /// Outright.
    retry_after: Option<Duration>,
    /// What its limits come to, where it does not ask outright.
    pub(in crate::sink) pause: Option<Duration>,
}

impl Asked {
    pub(in crate::sink) fn read(headers: &HeaderMap, now: SystemTime) -> Self {
        let retry_after = retry_after(headers, now);
        let pause = match retry_after {
            Some(_) => None,
            None => limit::pause(headers, now),
        };
        Self { retry_after, pause }
    }
}

/// Returns what an answer that is not a 2xx says. `templated`: see [`category`].
pub(in crate::sink) fn refusal(
    status: StatusCode,
    asked: Asked,
    templated: bool,
    host: &str,
    text: Option<String>,
) -> Failure {
    let category = category(status.as_u16(), asked.retry_after.is_some(), templated);
    let limits = asked.pause.filter(|_| category == Category::Throttled);
    Failure {
        category,
        message: format!("{host} answered {}", words(status)),
        retry_after: asked.retry_after.or(limits),
        status: Some(status.as_u16()),
        answer: text,
    }
}

/// Returns what an answer says whose body means no.
pub(in crate::sink) fn no(
    status: StatusCode,
    category: Category,
    why: &str,
    asked: Asked,
    host: &str,
    text: Option<String>,
) -> Failure {
    Failure {
        category,
        message: format!("{host} answered {}: {why}", words(status)),
        retry_after: asked.retry_after,
        status: Some(status.as_u16()),
        answer: text,
    }
}

/// Returns what a 2xx says to a request of which not all was sent.
pub(in crate::sink) fn early(status: StatusCode, host: &str) -> Failure {
    let words = words(status);
    let message = format!("{host} answered {words} before it had the whole request");
    Failure::new(Category::Transient, message)
}

/// Sorts a status that is not a 2xx. `asked_to_wait`: the answer had a Retry-After that can be
/// read. `templated`: the URL was built from the event, so that a 404 is the event's own.
const fn category(status: u16, asked_to_wait: bool, templated: bool) -> Category {
    match status {
        429 => Category::Throttled,
        503 if asked_to_wait => Category::Throttled,
        408 | 425 | 500..=599 => Category::Transient,
        404 if templated => Category::Rejected,
        300..=399 | 401 | 403 | 404 | 407 | 410 => Category::Setup,
        400..=499 => Category::Rejected,
        _ => Category::Transient,
    }
}

/// Sorts the status that an answer has for one event; none: it was taken. What would be the
/// set-up's fault of a whole answer is the event's there.
pub(in crate::sink) const fn category_of_item(status: u16) -> Option<Category> {
    match status {
        200..=299 => None,
        _ => Some(match category(status, false, true) {
            Category::Setup => Category::Rejected,
            other => other,
        }),
    }
}

/// Reads Retry-After: seconds or an HTTP date. Nonsense is none; a date that has passed is zero.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Returns the status as people write it: `422 Unprocessable Entity`.
fn words(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// Makes text of what was kept of an answer; none where there was nothing. A receiver that
/// echoes our credentials must not get them into a dead letter.
pub(in crate::sink) fn text(body: &[u8], hidden: &[Secret]) -> Option<String> {
    let mut text = String::from_utf8_lossy(body).into_owned();
    for secret in hidden {
        if text.contains(secret.expose()) {
            text = text.replace(secret.expose(), "***");
        }
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(statuses: &[u16], expected: Category) {
        for status in statuses {
            assert_eq!(category(*status, false, false), expected, "{status}");
        }
    }

    #[test]
    fn every_status_is_sorted_as_the_contract_says() {
        check(&[408, 425, 500, 501, 502, 503, 504, 599, 101, 600, 999], Category::Transient);
        check(&[429], Category::Throttled);
        check(&[400, 402, 405, 406, 409, 411, 413, 415, 418, 422, 451], Category::Rejected);
        check(&[300, 301, 302, 304, 307, 308, 401, 403, 404, 407, 410], Category::Setup);
    }

    #[test]
    fn a_busy_receiver_that_says_when_is_waited_for() {
        assert_eq!(category(503, true, false), Category::Throttled);
        assert_eq!(category(429, true, false), Category::Throttled);
        assert_eq!(category(500, true, false), Category::Transient);
    }

    #[test]
    fn a_404_blames_the_event_only_where_it_built_the_url() {
        assert_eq!(category(404, false, true), Category::Rejected);
        assert_eq!(category(404, false, false), Category::Setup);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_nonsense_is_ignored() {
        let now = httpdate::parse_http_date("Tue, 24 Nov 2026 05:00:00 GMT").unwrap();
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read(" 0 "), Some(Duration::ZERO));
        assert_eq!(read("Tue, 24 Nov 2026 05:01:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(read("Tue, 24 Nov 2026 04:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["", "soon", "-5", "+5", "1.5", "99999999999999999999", "5 minutes"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
