//! What a collector's answer means, and how long to wait then (pure). Source:
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>.

use std::time::Duration;

use serde_json::Value;

use crate::sink::Failure;

/// After the first failure.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// However many there were.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// However long a collector asks for.
const ASKED_MAX: Duration = Duration::from_secs(600);

/// What is to be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is sent again, not before the collector asked for, if it did.
    Again(Option<Duration>),
    /// The collector will not take it.
    Lost,
}

/// Says what is to be done: 429, 502, 503 and 504 are passing, as is no answer at all.
pub(super) const fn verdict(failure: &Failure) -> Verdict {
    match failure.status {
        None | Some(429 | 502..=504) => Verdict::Again(failure.retry_after),
        Some(_) => Verdict::Lost,
    }
}

/// Returns how long to wait after so many failures in a row. `jitter` lies in 0..1.
pub(super) fn wait(failures: u32, asked: Option<Duration>, jitter: f64) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let bound = WAIT_MIN.saturating_mul(doubled.max(1)).min(WAIT_MAX);
    let wait = bound.mul_f64(f64::midpoint(1.0, jitter));
    asked.map_or(wait, |asked| asked.clamp(wait.min(WAIT_MIN), ASKED_MAX))
}

/// What a collector took only in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partly {
    /// Spans or data points that it did not take.
    pub(super) refused: u64,
    /// What it says; empty: nothing.
    pub(super) message: String,
}

/// Reads what a collector says of what it took; none: all of it, or nothing that can be read.
pub(super) fn partly(body: &str) -> Option<Partly> {
    let body: Value = serde_json::from_str(body).ok()?;
    let partly = body.get("partialSuccess")?;
    let refused = ["rejectedSpans", "rejectedDataPoints"].into_iter().find_map(|name| {
        let count = partly.get(name)?;
        count.as_u64().or_else(|| count.as_str()?.parse().ok())
    });
    let message = partly.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
    let partly = Partly { refused: refused.unwrap_or_default(), message: message.to_owned() };
    (partly.refused > 0 || !partly.message.is_empty()).then_some(partly)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Category;

    fn failure(status: Option<u16>) -> Failure {
        Failure { status, ..Failure::new(Category::Transient, "no") }
    }

    #[test]
    fn what_passes_is_sent_again_and_nothing_else() {
        for status in [None, Some(429), Some(502), Some(503), Some(504)] {
            assert_eq!(verdict(&failure(status)), Verdict::Again(None), "{status:?}");
        }
        for status in [301, 400, 401, 404, 408, 413, 500, 501] {
            assert_eq!(verdict(&failure(Some(status))), Verdict::Lost, "{status}");
        }
        let asked = Some(Duration::from_secs(7));
        let failure = Failure { retry_after: asked, ..failure(Some(503)) };
        assert_eq!(verdict(&failure), Verdict::Again(asked));
    }

    #[test]
    fn waits_double_up_to_a_minute_and_heed_what_was_asked() {
        let seconds = Duration::from_secs;
        for (failures, expected) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (99, 60)] {
            assert_eq!(wait(failures, None, 1.0), seconds(expected), "{failures}");
            assert_eq!(wait(failures, None, 0.0), seconds(expected) / 2, "{failures}");
        }
        assert_eq!(wait(9, Some(seconds(5)), 1.0), seconds(5));
        assert_eq!(wait(1, Some(Duration::ZERO), 0.0), seconds(1) / 2);
        assert_eq!(wait(1, Some(seconds(86_400)), 1.0), seconds(600));
    }

    #[test]
    fn what_is_taken_in_part_is_told() {
        for whole in ["", "{}", "ok", r#"{"partialSuccess":{}}"#] {
            assert_eq!(partly(whole), None, "{whole}");
        }
        let said = r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#;
        let expected = Partly { refused: 3, message: "too old".to_owned() };
        assert_eq!(partly(said), Some(expected));
        let said = r#"{"partialSuccess":{"rejectedDataPoints":2}}"#;
        assert_eq!(partly(said).map(|partly| partly.refused), Some(2));
    }
}
