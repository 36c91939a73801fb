//! [`Ramp`]: how many requests may be under way (pure).

use crate::failure::Category;
use crate::sink::Answer;

/// Finds out how many requests at a time the far side bears: between one and `concurrency`.
///
/// As TCP does. It begins with one; each acceptance lets one more go, so that the limit doubles
/// with every round of answers, up to a threshold. Past it a whole round of acceptances is worth
/// one. Where the far side pushes back the limit is halved, and the threshold put there.
#[derive(Debug)]
pub(super) struct Ramp {
    max: u32,
    limit: u32,
    threshold: u32,
    /// Acceptances past the threshold since the limit rose last.
    accepted: u32,
    /// Requests up to this number were sent before the limit fell last: that they were too many
    /// is known already.
    fell_at: u64,
}

/// What an answer says of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It is borne.
    Accepted,
    /// It may be too much.
    PushedBack,
    /// Nothing: the far side speaks of the event, or of the set-up.
    Nothing,
}

impl Ramp {
    pub(super) fn new(max: u32) -> Self {
        let max = max.max(1);
        Self { max, limit: 1, threshold: max, accepted: 0, fell_at: 0 }
    }

    /// Returns how many requests may be under way.
    ///
    /// Invariant: at least one, at most `concurrency`.
    pub(super) const fn limit(&self) -> u32 {
        self.limit
    }

    /// A request was answered; `sent_last` is the number of the newest one.
    pub(super) fn heard(&mut self, sign: Sign, number: u64, sent_last: u64) {
        match sign {
            Sign::Accepted => self.rise(),
            Sign::PushedBack if number > self.fell_at => self.fall(sent_last),
            Sign::PushedBack | Sign::Nothing => {}
        }
    }

    /// The sink is down: once it is up again it is met as one that is not known.
    pub(super) const fn restart(&mut self, sent_last: u64) {
        self.limit = 1;
        self.threshold = self.max;
        self.accepted = 0;
        self.fell_at = sent_last;
    }

    fn rise(&mut self) {
        if self.limit >= self.threshold {
            self.accepted += 1;
            if self.accepted < self.limit {
                return;
            }
        }
        self.accepted = 0;
        self.limit = (self.limit + 1).min(self.max);
    }

    fn fall(&mut self, sent_last: u64) {
        self.limit = (self.limit / 2).max(1);
        self.threshold = self.limit;
        self.accepted = 0;
        self.fell_at = sent_last;
    }
}

impl Sign {
    /// Reads an answer. `retried`: it is that to an event that was set aside, whose failures are
    /// its own.
    pub(super) fn of(answer: &Answer, retried: bool) -> Self {
        match answer {
            Answer::Acknowledged => Self::Accepted,
            Answer::Failed(failure) => Self::of_failure(failure.category, retried),
            Answer::PerEvent(outcomes) => {
                let failures = || outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
                if failures().any(|failure| failure.category == Category::Throttled) {
                    Self::PushedBack
                } else if failures().count() < outcomes.len() {
                    Self::Accepted
                } else {
                    let mut signs = failures().map(|f| Self::of_failure(f.category, retried));
                    signs.find(|sign| *sign == Self::PushedBack).unwrap_or(Self::Nothing)
                }
            }
        }
    }

    const fn of_failure(category: Category, retried: bool) -> Self {
        match category {
            Category::Throttled => Self::PushedBack,
            Category::Transient | Category::Exhausted if !retried => Self::PushedBack,
            _ => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::sink::Failure;

    /// A ramp and the numbers of the requests under way.
    struct Line {
        ramp: Ramp,
        sent: u64,
        under_way: VecDeque<u64>,
    }

    impl Line {
        fn new(max: u32) -> Self {
            Self { ramp: Ramp::new(max), sent: 0, under_way: VecDeque::new() }
        }

        fn send(&mut self) {
            while self.under_way.len() < self.ramp.limit() as usize {
                self.sent += 1;
                self.under_way.push_back(self.sent);
            }
        }

        /// Sends all that may go and has all of it answered; returns how many that were.
        fn round(&mut self, sign: Sign) -> usize {
            self.send();
            let round = self.under_way.len();
            for number in self.under_way.drain(..) {
                self.ramp.heard(sign, number, self.sent);
            }
            round
        }
    }

    #[test]
    fn the_limit_doubles_with_each_round_up_to_the_concurrency() {
        let mut line = Line::new(32);
        let rounds: Vec<usize> = (0..8).map(|_| line.round(Sign::Accepted)).collect();
        assert_eq!(rounds, [1, 2, 4, 8, 16, 32, 32, 32]);
    }

    #[test]
    fn a_round_that_fails_halves_once_and_then_it_rises_by_one_a_round() {
        let mut line = Line::new(32);
        while line.round(Sign::Accepted) < 32 {}
        assert_eq!(line.round(Sign::PushedBack), 32);
        let rounds: Vec<usize> = (0..4).map(|_| line.round(Sign::Accepted)).collect();
        assert_eq!(rounds, [16, 17, 18, 19]);
        for _ in 0..8 {
            line.round(Sign::PushedBack);
        }
        assert_eq!(line.ramp.limit(), 1);
    }

    #[test]
    fn what_was_sent_before_an_outage_says_nothing_after_it() {
        let mut line = Line::new(8);
        while line.round(Sign::Accepted) < 8 {}
        line.send();
        line.ramp.restart(line.sent);
        assert_eq!(line.ramp.limit(), 1);
        line.ramp.heard(Sign::Accepted, line.sent + 1, line.sent + 1);
        for number in line.under_way.drain(..) {
            line.ramp.heard(Sign::PushedBack, number, line.sent + 1);
        }
        assert_eq!(line.ramp.limit(), 2);
    }

    #[test]
    fn only_answers_of_the_far_side_about_its_load_are_signs() {
        let failed = |category| Answer::Failed(Failure::new(category, "no"));
        let err = |category| Err(Failure::new(category, "no"));
        let of = |answer: &Answer| Sign::of(answer, false);
        assert_eq!(of(&Answer::Acknowledged), Sign::Accepted);
        assert_eq!(of(&failed(Category::Transient)), Sign::PushedBack);
        assert_eq!(of(&failed(Category::Throttled)), Sign::PushedBack);
        assert_eq!(of(&failed(Category::Rejected)), Sign::Nothing);
        assert_eq!(of(&failed(Category::Setup)), Sign::Nothing);
        let mixed = |outcomes| of(&Answer::PerEvent(outcomes));
        assert_eq!(mixed(vec![Ok(()), err(Category::Transient)]), Sign::Accepted);
        assert_eq!(mixed(vec![Ok(()), err(Category::Throttled)]), Sign::PushedBack);
        assert_eq!(
            mixed(vec![err(Category::Rejected), err(Category::Transient)]),
            Sign::PushedBack
        );
        assert_eq!(mixed(vec![err(Category::Rejected)]), Sign::Nothing);
        assert_eq!(Sign::of(&failed(Category::Transient), true), Sign::Nothing);
        assert_eq!(Sign::of(&failed(Category::Throttled), true), Sign::PushedBack);
    }

    proptest! {
        #[test]
        fn the_limit_lies_between_one_and_the_concurrency_and_recovers(
            max in 0u32..40,
            rounds in prop::collection::vec((0u8..10, any::<bool>()), 0..60),
        ) {
            let mut line = Line::new(max);
            for (what, early) in rounds {
                line.send();
                if early {
                    line.under_way.rotate_left(1);
                }
                let number = line.under_way.pop_front().unwrap();
                match what {
                    0 => line.ramp.restart(line.sent),
                    1..4 => line.ramp.heard(Sign::PushedBack, number, line.sent),
                    4 => line.ramp.heard(Sign::Nothing, number, line.sent),
                    _ => line.ramp.heard(Sign::Accepted, number, line.sent),
                }
                prop_assert!((1..=max.max(1)).contains(&line.ramp.limit()));
            }
            line.under_way.clear();
            for _ in 0..max {
                line.round(Sign::Accepted);
            }
            prop_assert_eq!(line.ramp.limit(), max.max(1));
        }
    }
}
