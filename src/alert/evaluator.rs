//! [`Evaluator`]: from what is seen to what is told (pure; time is an argument).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::measure::{self, Measured};
use super::rule::{Rule, Subject};
use super::seen::Seen;
use super::usual::{Usual, micros};
use crate::lsn::Timestamp;

/// However short `for` is: what is over has to be so for this long before that is told, else
/// something that comes and goes would be told again and again.
const HOLD_MIN: Duration = Duration::from_secs(5);

/// Watches. Each look has the same or a later time.
///
/// Invariant: of a rule and a subject it says `Fired`, then any number of `Repeated`, then
/// `Resolved`, and so on: never two of the first or the last in a row.
#[derive(Debug)]
pub struct Evaluator {
    rules: Vec<Arc<Rule>>,
    subjects: Vec<Subject>,
    tracks: BTreeMap<Key, Track>,
    usual: BTreeMap<Key, Usual>,
}

/// A rule, by its place, and what it watches.
type Key = (usize, Subject);

#[derive(Clone, Copy, Debug)]
enum Track {
    /// It is too much, but not yet for long enough.
    Over { since: Timestamp },
    Firing {
        since: Timestamp,
        told: Timestamp,
        worst: f64,
        /// It is well, but not yet for long enough.
        well: Option<Timestamp>,
    },
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has begun.
    Fired,
    /// It goes on.
    Repeated,
    /// It is over.
    Resolved,
}

/// Something to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Happening {
    /// What.
    pub change: Change,
    /// Of which alert.
    pub rule: Arc<Rule>,
    /// Of what.
    pub subject: Subject,
    /// Since when it is, or was, so.
    pub since: Timestamp,
    /// Since when it is over.
    pub ended: Option<Timestamp>,
    /// The value, in the rule's own unit.
    pub value: f64,
    /// The worst value so far.
    pub worst: f64,
    /// In words, with value and threshold.
    pub message: String,
}

impl Happening {
    /// Returns what a person does next.
    #[must_use]
    pub fn next(&self) -> String {
        measure::next(self.rule.when, &self.subject)
    }
}

/// What was firing when an earlier run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The alert's name.
    pub alert: String,
    /// What it was about (`when`).
    pub what: String,
    /// Of what.
    pub subject: Subject,
    /// Since when.
    pub since: Timestamp,
    /// When it was told last.
    pub told: Timestamp,
    /// The worst value so far.
    pub worst: f64,
}

impl Evaluator {
    /// Watches these sinks, and the source.
    #[must_use]
    pub fn new(rules: Vec<Rule>, sinks: &[String]) -> Self {
        let sinks = sinks.iter().cloned().map(Subject::Sink);
        Self {
            rules: rules.into_iter().map(Arc::new).collect(),
            subjects: std::iter::once(Subject::Source).chain(sinks).collect(),
            tracks: BTreeMap::new(),
            usual: BTreeMap::new(),
        }
    }

    /// Goes on with what an earlier run had begun; false: nobody watches that any more.
    pub fn restore(&mut self, standing: &Standing) -> bool {
        let Standing { alert, what, subject, since, told, worst } = standing;
        let is_it = |rule: &Arc<Rule>| {
            rule.name == *alert && rule.when.as_str() == what && rule.watches(subject)
        };
        let Some(place) = self.rules.iter().position(is_it) else { return false };
        if !self.subjects.contains(subject) {
            return false;
        }
        let (since, told, worst) = (*since, *told, *worst);
        let track = Track::Firing { since, told, worst, well: None };
        self.tracks.insert((place, subject.clone()), track);
        true
    }

    /// Takes a look. Returns what is to be told by it.
    pub fn look(&mut self, seen: &Seen, now: Timestamp) -> Vec<Happening> {
        let mut happenings = Vec::new();
        for (place, rule) in self.rules.iter().enumerate() {
            for subject in self.subjects.iter().filter(|subject| rule.watches(subject)) {
                let key = (place, subject.clone());
                let usual = self.usual.entry(key.clone()).or_default();
                let measured = measure::measure(rule, subject, seen, usual, now);
                let Some(measured) = measured else { continue };
                let (track, change) = step(rule, self.tracks.get(&key).copied(), &measured, now);
                if let Some((change, since, ended, worst)) = change {
                    let (rule, subject) = (Arc::clone(rule), subject.clone());
                    let Measured { value, message, .. } = measured;
                    let happening =
                        Happening { change, rule, subject, since, ended, value, worst, message };
                    happenings.push(happening);
                }
                match track {
                    Some(track) => self.tracks.insert(key, track),
                    None => self.tracks.remove(&key),
                };
            }
        }
        happenings
    }

    /// Returns how much is firing of each alert, by its name.
    #[must_use]
    pub fn firing(&self) -> BTreeMap<String, u64> {
        let mut counts: BTreeMap<String, u64> =
            self.rules.iter().map(|rule| (rule.name.clone(), 0)).collect();
        for ((place, _), track) in &self.tracks {
            let rule = self.rules.get(*place).filter(|_| matches!(track, Track::Firing { .. }));
            if let Some(count) = rule.and_then(|rule| counts.get_mut(&rule.name)) {
                *count += 1;
            }
        }
        counts
    }
}

/// What is to be told: what, since when it is so, since when it is over, the worst value.
type Told = (Change, Timestamp, Option<Timestamp>, f64);

/// Goes one step.
fn step(
    rule: &Rule,
    track: Option<Track>,
    measured: &Measured,
    now: Timestamp,
) -> (Option<Track>, Option<Told>) {
    let has_lasted =
        |since: Timestamp, time: Duration| now.0.saturating_sub(since.0) >= micros(time);
    let value = measured.value;
    // What is averaged over that time has lasted for it.
    let lasting = if rule.when.is_usual() { Duration::ZERO } else { rule.lasting };
    match (track, measured.is_over) {
        (None, false) | (Some(Track::Over { .. }), false) => (None, None),
        (None, true) if lasting > Duration::ZERO => (Some(Track::Over { since: now }), None),
        (Some(Track::Over { since }), true) if !has_lasted(since, lasting) => {
            (Some(Track::Over { since }), None)
        }
        (before, true) if !matches!(before, Some(Track::Firing { .. })) => {
            let since = match before {
                Some(Track::Over { since }) => since,
                _ => now,
            };
            let track = Track::Firing { since, told: now, worst: value, well: None };
            (Some(track), Some((Change::Fired, since, None, value)))
        }
        (Some(Track::Firing { since, told, worst, .. }), true) => {
            let worst = worse(rule, worst, value);
            let again = has_lasted(told, rule.repeat);
            let track =
                Track::Firing { since, told: if again { now } else { told }, worst, well: None };
            (Some(track), again.then_some((Change::Repeated, since, None, worst)))
        }
        (Some(Track::Firing { since, told, worst, well }), _) => {
            let well = well.unwrap_or(now);
            if has_lasted(well, rule.lasting.max(HOLD_MIN)) {
                return (None, Some((Change::Resolved, since, Some(well), worst)));
            }
            (Some(Track::Firing { since, told, worst, well: Some(well) }), None)
        }
        (before, _) => (before, None),
    }
}

fn worse(rule: &Rule, worst: f64, value: f64) -> f64 {
    if rule.when == super::When::WalSecondsLeft { worst.min(value) } else { worst.max(value) }
}
