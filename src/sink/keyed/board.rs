//! [`Board`]: what became of each event of a batch.

use super::refused;
use crate::failure::Category;
use crate::sink::{Answer, Failure};

/// One outcome an event, while the requests of a batch come back. An event is done once all that
/// was expected of it is.
#[derive(Debug)]
pub(in crate::sink) struct Board {
    host: String,
    events: Vec<Outcome>,
    /// A rejection of several events at once: nobody knows which of them is at fault.
    shared: Option<Failure>,
    /// Why nothing more was sent.
    stopped: Option<Failure>,
    /// The far side did something of it.
    accepted: bool,
}

#[derive(Clone, Debug, Default)]
struct Outcome {
    left: usize,
    failure: Option<Failure>,
}

impl Board {
    /// Begins with so many events, of which nothing is expected yet.
    pub(in crate::sink) fn new(host: &str, events: usize) -> Self {
        let events = vec![Outcome::default(); events];
        Self { host: host.to_owned(), events, shared: None, stopped: None, accepted: false }
    }

    /// Something is to be done for these.
    pub(in crate::sink) fn expect(&mut self, events: &[usize]) {
        self.each(events, |outcome| outcome.left = outcome.left.saturating_add(1));
    }

    /// It was done.
    pub(in crate::sink) fn done(&mut self, events: &[usize]) {
        self.accepted = true;
        self.each(events, |outcome| outcome.left = outcome.left.saturating_sub(1));
    }

    /// It failed, for all of these together.
    pub(in crate::sink) fn fail(&mut self, events: &[usize], failure: &Failure) {
        if failure.category == Category::Rejected && events.len() > 1 {
            self.shared = Some(failure.clone());
        }
        self.each(events, |outcome| {
            let worse = |known: &Failure| severity(known) < severity(failure);
            if outcome.failure.as_ref().is_none_or(worse) {
                outcome.failure = Some(failure.clone());
            }
        });
    }

    /// These are not sent, since they are not fit to be.
    pub(in crate::sink) fn refuse(&mut self, events: &[usize], why: &str) {
        self.fail(events, &refused(&self.host, why));
    }

    /// A request failed as a whole. Returns whether others are worth a try: only where what was
    /// sent is at fault.
    pub(in crate::sink) fn failed_at_once(&mut self, events: &[usize], failure: &Failure) -> bool {
        self.fail(events, failure);
        let goes_on = failure.category == Category::Rejected;
        if !goes_on {
            self.stopped = Some(failure.clone());
        }
        goes_on
    }

    fn each(&mut self, events: &[usize], change: impl Fn(&mut Outcome)) {
        for index in events {
            if let Some(outcome) = self.events.get_mut(*index) {
                change(outcome);
            }
        }
    }

    /// Returns what is to be said of the batch. Where several events were rejected together, that
    /// is the whole batch's answer: it comes again in halves, until one stands alone.
    pub(in crate::sink) fn answer(self) -> Answer {
        let Self { host, events, shared, stopped, accepted } = self;
        // Events of which nothing was to be sent say nothing of the far side.
        if let Some(stopped) = stopped.as_ref().filter(|_| !accepted) {
            return Answer::Failed(stopped.clone());
        }
        let unsent = stopped.unwrap_or_else(|| {
            Failure::new(Category::Transient, format!("{host} did not say what became of it"))
        });
        let outcomes: Vec<Result<(), Failure>> = events
            .into_iter()
            .map(|Outcome { left, failure }| match failure {
                Some(failure) => Err(failure),
                None if left > 0 => Err(unsent.clone()),
                None => Ok(()),
            })
            .collect();
        if let Some(shared) = shared {
            let failures = outcomes.into_iter().filter_map(Result::err);
            let halts = failures.filter(|failure| {
                matches!(failure.category, Category::Setup | Category::Throttled)
            });
            return Answer::Failed(halts.max_by_key(severity).unwrap_or(shared));
        }
        if outcomes.iter().all(Result::is_ok) {
            return Answer::Acknowledged;
        }
        Answer::PerEvent(outcomes)
    }
}

/// Which of two failures of one event counts.
const fn severity(failure: &Failure) -> u8 {
    match failure.category {
        Category::Rejected => 0,
        Category::Transient | Category::Exhausted => 1,
        Category::Throttled => 2,
        Category::Setup => 3,
    }
}
