//! [`Budget`]: how much of the org's daily requests has been used, by whomever.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName};

use crate::failure::Category;
use crate::sink::Failure;

/// On every answer: `api-usage=18/5000`.
const HEADER: HeaderName = HeaderName::from_static("sforce-limit-info");

/// How long to leave the org alone once its requests are used up: the window is of 24 hours and
/// slides.
pub(super) const REST: Duration = Duration::from_secs(300);

/// See the module.
#[derive(Debug)]
pub(super) struct Budget {
    percent: u64,
    seen: Mutex<Option<Usage>>,
}

/// What the org said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) used: u64,
    pub(super) max: u64,
}

impl Budget {
    /// `percent` of the requests may be used.
    pub(super) fn new(percent: u32) -> Self {
        Self { percent: percent.into(), seen: Mutex::default() }
    }

    /// Reads what an answer says.
    pub(super) fn note(&self, headers: &HeaderMap) {
        let text = headers.get(HEADER).and_then(|value| value.to_str().ok());
        if let Some(usage) = text.and_then(usage) {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(usage);
        }
    }

    /// Returns what was said last.
    pub(super) fn seen(&self) -> Option<Usage> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns why nothing is to be sent; none where something is left.
    pub(super) fn spent(&self, host: &str) -> Option<Failure> {
        let Usage { used, max } = self.seen()?;
        if used.saturating_mul(100) < max.saturating_mul(self.percent) {
            return None;
        }
        let percent = self.percent;
        let message = format!(
            "{host}: {used} of the org's {max} API requests a day are used, and daily_budget = \
             {percent} leaves the rest to others"
        );
        let mut failure = Failure::new(Category::Throttled, message);
        failure.retry_after = Some(REST);
        Some(failure)
    }
}

/// Reads `api-usage=18/5000`, alone or beside others.
fn usage(text: &str) -> Option<Usage> {
    let named = text.split([';', ',']).find_map(|part| part.trim().strip_prefix("api-usage="))?;
    let (used, max) = named.split_once('/')?;
    let digits = |text: &str| text.trim().parse::<u64>().ok();
    Some(Usage { used: digits(used)?, max: digits(max).filter(|max| *max > 0)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_says_of_the_usage_is_read() {
        let usage = |text| usage(text).map(|usage| (usage.used, usage.max));
        assert_eq!(usage("api-usage=18/5000"), Some((18, 5000)));
        assert_eq!(
            usage("api-usage=25/5000; per-app-api-usage=17/250(appName=x)"),
            Some((25, 5000))
        );
        for nonsense in ["", "api-usage=", "api-usage=1", "api-usage=1/0", "api-usage=a/b"] {
            assert_eq!(usage(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn the_last_tenth_is_left_to_others() {
        let budget = Budget::new(90);
        assert_eq!(budget.spent("x"), None);
        let said = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, text.parse().unwrap());
            budget.note(&headers);
            budget.spent("x").map(|failure| failure.category)
        };
        assert_eq!(said("api-usage=4499/5000"), None);
        assert_eq!(said("api-usage=4500/5000"), Some(Category::Throttled));
        assert_eq!(said("nonsense"), Some(Category::Throttled));
        assert_eq!(said("api-usage=100/5000"), None);
    }
}
