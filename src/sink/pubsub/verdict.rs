//! What an answer of Google's means that is a no.
//!
//! Source: <https://cloud.google.com/pubsub/docs/reference/error-codes>, and
//! <https://cloud.google.com/apis/design/errors> for its form.

use std::time::Duration;

use serde::Deserialize;

use crate::failure::Category;
use crate::sink::Failure;

/// `google.rpc.Status`, as REST has it.
#[derive(Deserialize)]
struct Refusal {
    error: Status,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    status: String,
    #[serde(default)]
    details: Vec<Detail>,
}

/// Of `google.rpc.ErrorInfo` and `google.rpc.RetryInfo` what is read here.
#[derive(Deserialize)]
struct Detail {
    reason: Option<String>,
    #[serde(rename = "retryDelay")]
    retry_delay: Option<String>,
}

/// Returns what a refusal says, given what its status says alone. `is_of_event`: the topic was
/// named by the event, so that it is the event's fault if there is none.
pub(super) fn refusal(plain: Failure, body: &[u8], is_of_event: bool) -> Failure {
    let read: Option<Refusal> = serde_json::from_slice(body).ok();
    let word = read.as_ref().map(|read| read.error.status.as_str()).unwrap_or_default();
    let by_status = match plain.status {
        Some(409 | 499) => Category::Transient,
        _ => plain.category,
    };
    let category = match of_status(word).unwrap_or(by_status) {
        Category::Setup if is_of_event && plain.status == Some(404) => Category::Rejected,
        category => category,
    };
    let details = read.as_ref().map(|read| read.error.details.as_slice()).unwrap_or_default();
    let asked = details.iter().find_map(|detail| seconds(detail.retry_delay.as_deref()?));
    let reason = details.iter().find_map(|detail| detail.reason.as_deref());
    let mut message = plain.message;
    for said in std::iter::once(word).chain(reason).filter(|said| is_word(said)) {
        message.push_str(": ");
        message.push_str(said);
    }
    let retry_after = plain.retry_after.max(asked.filter(|_| category == Category::Throttled));
    Failure { category, message, retry_after, ..plain }
}

/// Sorts a status of `google.rpc.Code`; none where it says nothing.
fn of_status(status: &str) -> Option<Category> {
    Some(match status {
        "RESOURCE_EXHAUSTED" => Category::Throttled,
        "INVALID_ARGUMENT" | "OUT_OF_RANGE" => Category::Rejected,
        // FAILED_PRECONDITION: no billing, a KMS key that can't be used, a region that the topic
        // does not allow.
        "PERMISSION_DENIED"
        | "UNAUTHENTICATED"
        | "NOT_FOUND"
        | "FAILED_PRECONDITION"
        | "UNIMPLEMENTED" => Category::Setup,
        "ABORTED" | "ALREADY_EXISTS" | "CANCELLED" | "DATA_LOSS" | "DEADLINE_EXCEEDED"
        | "INTERNAL" | "UNAVAILABLE" | "UNKNOWN" => Category::Transient,
        _ => return None,
    })
}

/// Whether it is a code, and not something of the request.
fn is_word(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Reads a `google.protobuf.Duration`: `1.5s`.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(http: u16, word: &str, expected: Category) {
        // As HTTP alone has it.
        let category = match http {
            429 => Category::Throttled,
            401 | 403 | 404 => Category::Setup,
            500.. => Category::Transient,
            _ => Category::Rejected,
        };
        let plain = Failure { status: Some(http), ..Failure::new(category, "pubsub answered") };
        let body = format!(r#"{{"error":{{"code":{http},"message":"m","status":"{word}"}}}}"#);
        let refusal = refusal(plain, body.as_bytes(), false);
        assert_eq!(refusal.category, expected, "{http} {word}");
        let said = if word.is_empty() { String::new() } else { format!(": {word}") };
        assert_eq!(refusal.message, format!("pubsub answered{said}"));
    }

    #[test]
    fn every_code_is_sorted() {
        check(400, "INVALID_ARGUMENT", Category::Rejected);
        check(400, "OUT_OF_RANGE", Category::Rejected);
        check(400, "FAILED_PRECONDITION", Category::Setup);
        check(401, "UNAUTHENTICATED", Category::Setup);
        check(403, "PERMISSION_DENIED", Category::Setup);
        check(404, "NOT_FOUND", Category::Setup);
        check(409, "ABORTED", Category::Transient);
        check(409, "ALREADY_EXISTS", Category::Transient);
        check(429, "RESOURCE_EXHAUSTED", Category::Throttled);
        check(499, "CANCELLED", Category::Transient);
        check(500, "INTERNAL", Category::Transient);
        check(500, "UNKNOWN", Category::Transient);
        check(500, "DATA_LOSS", Category::Transient);
        check(501, "UNIMPLEMENTED", Category::Setup);
        check(503, "UNAVAILABLE", Category::Transient);
        check(504, "DEADLINE_EXCEEDED", Category::Transient);
        // Without a code the status speaks.
        check(413, "", Category::Rejected);
        check(409, "", Category::Transient);
        check(502, "", Category::Transient);
        check(400, "SOMETHING_NEW", Category::Rejected);
    }

    #[test]
    fn reasons_and_delays_are_told() {
        let plain = || Failure { status: Some(429), ..Failure::new(Category::Throttled, "no") };
        let body = br#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[
            {"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED"},
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.5s"}]}}"#;
        let told = refusal(plain(), body, false);
        assert_eq!(told.message, "no: RESOURCE_EXHAUSTED: RATE_LIMIT_EXCEEDED");
        assert_eq!(told.retry_after, Some(Duration::from_millis(1500)));
        // What is no code is not repeated, and nonsense is none.
        let body = br#"{"error":{"status":"of row 7","details":[{"retryDelay":"soon"}]}}"#;
        assert_eq!(refusal(plain(), body, false), plain());
        assert_eq!(refusal(plain(), b"<html>", false), plain());
    }

    #[test]
    fn a_topic_that_is_missing_is_the_events_fault_only_where_it_names_it() {
        let plain = || Failure { status: Some(404), ..Failure::new(Category::Setup, "no") };
        let body = br#"{"error":{"code":404,"status":"NOT_FOUND"}}"#;
        assert_eq!(refusal(plain(), body, true).category, Category::Rejected);
        assert_eq!(refusal(plain(), b"", true).category, Category::Rejected);
        assert_eq!(refusal(plain(), body, false).category, Category::Setup);
    }
}
