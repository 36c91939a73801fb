//! [`Budget`]: how much what somebody only tries may take in all (pure).
//!
//! The expressions and patterns of the config are those of whoever runs walgate, and each is bounded
//! by what a row could do to it. What is posted to the playground is bounded beyond that, over all
//! its expressions, patterns and tests together, and can be stopped from another thread.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use regex::{Regex, RegexBuilder};

/// What a step of a loop counts.
pub(super) const STEP: usize = 256;
/// What a comparison counts, or a look at a value.
pub(super) const LOOK: usize = 16;
/// What a pattern counts: compiled it has no more, and what it keeps while it searches.
const PATTERN: usize = 2 << 20;
/// A pattern that is larger once it is compiled counts what it may have at most.
const SMALL_PATTERN_BYTES: usize = 256 << 10;
const LARGE_PATTERN: usize = 32 << 20;

thread_local! {
    static AT_HAND: RefCell<Option<Budget>> = const { RefCell::new(None) };
}

/// What is left, in about as many bytes. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<AtomicU64>);

/// Puts back what was at hand before, however the work ends.
struct Before(Option<Budget>);

impl Drop for Before {
    fn drop(&mut self) {
        let before = self.0.take();
        AT_HAND.with_borrow_mut(|at_hand| *at_hand = before);
    }
}

impl Budget {
    /// Begins with so much.
    #[must_use]
    pub fn new(units: u64) -> Self {
        Self(Arc::new(AtomicU64::new(units)))
    }

    /// Does something whose expressions and patterns take of it: once nothing is left they fail as
    /// ones that take too much to compute.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = AT_HAND.with_borrow_mut(|at_hand| at_hand.replace(self.clone()));
        let _before = Before(before);
        work()
    }

    /// Takes all that is left: what goes on stops at its next step.
    pub fn exhaust(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    fn take(&self, units: usize) -> bool {
        let units = u64::try_from(units).unwrap_or(u64::MAX);
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            Some(left.saturating_sub(units))
        });
        left.is_ok_and(|left| left > units)
    }
}

/// Takes of the budget at hand; false where that has not as much. Without one there is no end.
pub(super) fn take(units: usize) -> bool {
    AT_HAND.with_borrow(|at_hand| at_hand.as_ref().is_none_or(|budget| budget.take(units)))
}

/// Compiles a pattern, with the limits that all have.
///
/// # Errors
/// Why it is none; where a budget is at hand and has not as much, that it is too large.
pub(in crate::mapping) fn pattern(text: &str) -> Result<Regex, regex::Error> {
    if AT_HAND.with_borrow(Option::is_none) {
        return Regex::new(text);
    }
    let small = RegexBuilder::new(text).size_limit(SMALL_PATTERN_BYTES).build();
    match small {
        Err(regex::Error::CompiledTooBig(_)) if take(LARGE_PATTERN) => Regex::new(text),
        Ok(_) if !take(PATTERN) => Err(regex::Error::CompiledTooBig(SMALL_PATTERN_BYTES)),
        small => small,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_gone_and_without_a_budget_there_is_no_end() {
        assert!(take(usize::MAX));
        let budget = Budget::new(100);
        budget.run(|| {
            assert!(take(60));
            assert!(!take(60));
            assert!(!take(1));
        });
        assert!(budget.is_exhausted());
        assert!(take(usize::MAX));
        let other = Budget::new(100);
        other.clone().exhaust();
        other.run(|| assert!(!take(1)));
    }

    #[test]
    fn large_patterns_are_few() {
        let large = r"\pL{40}";
        assert!(pattern(large).is_ok());
        Budget::new(256 << 20).run(|| {
            let made = (0..100).filter(|_| pattern(large).is_ok()).count();
            assert!((1..=8).contains(&made), "{made}");
        });
        Budget::new(256 << 20).run(|| {
            let made = (0..1000).filter(|_| pattern("^[a-z]+$").is_ok()).count();
            assert!((100..=128).contains(&made), "{made}");
        });
    }
}
