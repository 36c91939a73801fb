//! [`Breaker`]: whether a sink is up, down, or needs a person (pure; time is an argument).

use std::time::Duration;

use super::settings::{BreakerSettings, Settings};

/// What may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    #[default]
    Closed,
    /// One request that shows whether the sink is up again.
    HalfOpen,
    /// Nothing until the cooldown is over.
    Open,
    /// One request now and then; a person must act.
    Halted,
}

/// Why a sink is halted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HaltReason {
    /// The far side says that the set-up is wrong (password, address, rights).
    Setup(String),
    /// It rejects everything, so that the set-up must be wrong and not the data.
    Misconfigured(String),
    /// More dead letters than `max_dead`.
    TooManyDead,
}

/// Closed, open, half-open, and halted.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    halt_probe: Duration,
    state: State,
    /// Failures in a row since the last acceptance, as far as they lie within the window.
    failures: u32,
    first_failure: Duration,
}

#[derive(Debug)]
enum State {
    Closed,
    Open { until: Duration },
    HalfOpen { probing: bool },
    Halted { reason: HaltReason, next: Duration, probing: bool },
}

impl Breaker {
    pub(super) const fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.breaker,
            halt_probe: settings.halt_probe,
            state: State::Closed,
            failures: 0,
            first_failure: Duration::ZERO,
        }
    }

    pub(super) const fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
            State::Halted { .. } => BreakerState::Halted,
        }
    }

    pub(super) const fn halted(&self) -> Option<&HaltReason> {
        match &self.state {
            State::Halted { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Whether it is halted because everything was refused.
    pub(super) const fn is_misconfigured(&self) -> bool {
        matches!(self.halted(), Some(HaltReason::Misconfigured(_)))
    }

    /// Whether everything may go.
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether a probe is due. An open breaker whose cooldown is over becomes half-open.
    pub(super) fn wants_probe(&mut self, now: Duration) -> bool {
        match &self.state {
            State::Closed => false,
            State::Open { until } if *until <= now => {
                self.state = State::HalfOpen { probing: false };
                true
            }
            State::Open { .. } => false,
            State::HalfOpen { probing } => !probing,
            State::Halted { reason: HaltReason::TooManyDead, .. } => false,
            State::Halted { next, probing, .. } => !probing && *next <= now,
        }
    }

    /// Whether a probe is wanted, and none is under way.
    pub(super) fn lacks_probe(&self, now: Duration) -> bool {
        match &self.state {
            State::HalfOpen { probing } => !probing,
            State::Halted { reason: HaltReason::TooManyDead, .. } => false,
            State::Halted { next, probing, .. } => !probing && *next <= now,
            State::Closed | State::Open { .. } => false,
        }
    }

    /// A probe was sent.
    pub(super) const fn probing(&mut self) {
        match &mut self.state {
            State::HalfOpen { probing } | State::Halted { probing, .. } => *probing = true,
            State::Closed | State::Open { .. } => {}
        }
    }

    /// When to ask again, none where nothing happens by itself.
    pub(super) const fn wake_at(&self) -> Option<Duration> {
        match &self.state {
            State::Open { until } => Some(*until),
            State::Halted { reason: HaltReason::TooManyDead, .. } => None,
            State::Halted { next, probing: false, .. } => Some(*next),
            _ => None,
        }
    }

    /// The sink took something. `probe`: it was the answer to a probe.
    pub(super) fn accepted(&mut self, probe: bool) {
        self.failures = 0;
        if probe && !matches!(self.halted(), Some(HaltReason::TooManyDead)) {
            self.state = State::Closed;
        }
    }

    /// The sink failed in a way that waiting mends.
    pub(super) fn failed(&mut self, now: Duration, probe: bool) {
        if self.failures == 0 || now.saturating_sub(self.first_failure) > self.settings.window {
            self.failures = 0;
            self.first_failure = now;
        }
        self.failures = self.failures.saturating_add(1);
        match &mut self.state {
            State::Closed if self.failures >= self.settings.failures => self.open(now),
            State::HalfOpen { .. } if probe => self.open(now),
            State::Halted { next, probing, .. } if probe => {
                *probing = false;
                *next = now.saturating_add(self.halt_probe);
            }
            _ => {}
        }
    }

    /// The sink answered, but neither yes nor no: the probe has to be sent again.
    pub(super) fn inconclusive(&mut self, now: Duration) {
        match &mut self.state {
            State::HalfOpen { probing } => *probing = false,
            State::Halted { next, probing, .. } => {
                *probing = false;
                *next = now.saturating_add(self.halt_probe);
            }
            State::Closed | State::Open { .. } => {}
        }
    }

    /// The sink is down.
    pub(super) fn open(&mut self, now: Duration) {
        self.state = State::Open { until: now.saturating_add(self.settings.cooldown) };
    }

    /// Nothing goes until a person has acted.
    pub(super) fn halt(&mut self, reason: HaltReason, now: Duration) {
        self.failures = 0;
        let next = now.saturating_add(self.halt_probe);
        self.state = State::Halted { reason, next, probing: false };
    }

    /// There are no more dead letters than allowed.
    pub(super) fn dead_letters_fit(&mut self) {
        if matches!(self.halted(), Some(HaltReason::TooManyDead)) {
            self.state = State::Closed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn open() -> Breaker {
        let mut breaker = Breaker::new(&Settings::default());
        (0..5).for_each(|second| breaker.failed(at(second), false));
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it() {
        let mut breaker = Breaker::new(&Settings::default());
        (0..4).for_each(|second| breaker.failed(at(second), false));
        breaker.accepted(false);
        (4..8).for_each(|second| breaker.failed(at(second), false));
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.failed(at(9), false);
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn failures_that_lie_further_apart_than_the_window_do_not_open_it() {
        let mut breaker = Breaker::new(&Settings::default());
        (0..20).for_each(|n| breaker.failed(at(n * 16), false));
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn after_the_cooldown_one_probe_decides() {
        let mut breaker = open();
        assert!(!breaker.wants_probe(at(33)));
        assert!(breaker.wants_probe(at(34)));
        breaker.probing();
        assert!(!breaker.wants_probe(at(35)));
        breaker.failed(at(36), true);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.wants_probe(at(66)));
        breaker.probing();
        breaker.accepted(true);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn a_halted_sink_is_tried_now_and_then_and_goes_on_by_itself() {
        let mut breaker = Breaker::new(&Settings::default());
        breaker.halt(HaltReason::Setup("401".to_owned()), at(0));
        assert!(!breaker.wants_probe(at(29)));
        assert!(breaker.wants_probe(at(30)));
        breaker.probing();
        breaker.failed(at(31), true);
        assert_eq!(breaker.state(), BreakerState::Halted);
        assert!(breaker.wants_probe(at(61)));
        breaker.accepted(true);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn too_many_dead_letters_are_not_mended_by_a_probe() {
        let mut breaker = Breaker::new(&Settings::default());
        breaker.halt(HaltReason::TooManyDead, at(0));
        assert!(!breaker.wants_probe(at(1000)));
        breaker.dead_letters_fit();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
