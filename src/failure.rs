//! The five answers ([`Category`]) and what sorts an error into them ([`Classify`]).

use std::fmt;

/// What a failure means: whether waiting helps and, if not, whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// Waiting mends it: retry with backoff; counts for the breaker.
    Transient,
    /// The far side asked for time: wait as told; uses up no attempt, no breaker counts it.
    Throttled,
    /// The event is at fault: it becomes a dead letter.
    Rejected,
    /// The set-up is at fault (address, password, rights): halt and tell.
    Setup,
    /// An event that kept failing while the sink accepted others.
    Exhausted,
}

impl Category {
    /// Every category, in the order of the contract.
    pub const ALL: [Self; 5] =
        [Self::Transient, Self::Throttled, Self::Rejected, Self::Setup, Self::Exhausted];

    /// Returns the word used in `status`, metrics and dead letters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Rejected => "rejected",
            Self::Setup => "setup",
            Self::Exhausted => "exhausted",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Sorts an error. Implementations match every variant by name, so that whoever adds one must
/// sort it.
pub trait Classify {
    /// Returns what the failure means.
    fn category(&self) -> Category;

    /// Returns the operator's next step, where there is one to tell.
    fn help(&self) -> Option<String> {
        None
    }
}

/// Returns an error and its causes as one line: `error: cause: cause`.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries print their cause themselves; nothing is said twice.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
