//! [`View`]: what is counted, shown and logged of a sink.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::breaker::{BreakerState, HaltReason};
use super::handle::{Counters, SinkProgress, SinkState, bucket};
use super::parked::LetterState;
use super::scheduler::{Reopened, Scheduler};
use crate::envelope::{Envelope, RouteLabel};
use crate::failure::Category;
use crate::journal::record;
use crate::lsn::{EventId, Position, Timestamp};
use crate::progress::store::PAUSED;
use crate::sink::{Answer, Batch, Failure};

/// Dead letters are told of at most so often, with their number.
const DEAD_LOG_EVERY: Duration = Duration::from_secs(1);

/// Counts what becomes of events and logs when a sink's state changes, never per event.
#[derive(Debug)]
pub(super) struct View {
    sink: Arc<str>,
    progress: SinkProgress,
    state: SinkState,
    /// Since when it is so, in the loop's time.
    changed_at: Duration,
    /// Something failed since the reason was shown.
    stale: bool,
    /// It has taken something since it is in that state.
    has_taken: bool,
    /// Stored events under way: what is needed to count them.
    under_way: HashMap<EventId, (Arc<RouteLabel>, Option<Timestamp>)>,
    /// The next time of a sink that has some, and how much waits for it.
    rest: Option<(Timestamp, u64)>,
    dead_untold: u64,
    dead_told_at: Option<Duration>,
    dead_message: String,
}

impl View {
    pub(super) fn new(sink: &str, progress: SinkProgress) -> Self {
        Self {
            sink: Arc::from(sink),
            progress,
            state: SinkState::Ok,
            changed_at: Duration::ZERO,
            stale: true,
            has_taken: false,
            under_way: HashMap::new(),
            rest: None,
            dead_untold: 0,
            dead_told_at: None,
            dead_message: String::new(),
        }
    }

    /// A request was answered.
    pub(super) fn answered(&mut self, answer: &Answer, took: Duration) {
        let failure = match answer {
            Answer::Acknowledged => None,
            Answer::Failed(failure) => Some(failure),
            Answer::PerEvent(outcomes) => {
                outcomes.iter().find_map(|outcome| outcome.as_ref().err())
            }
        };
        let category = failure.map(|failure| failure.category);
        let status = failure.and_then(|failure| Some((failure.category, failure.status?)));
        self.stale |= category.is_some();
        self.has_taken |= match answer {
            Answer::Acknowledged => true,
            Answer::Failed(_) => false,
            Answer::PerEvent(outcomes) => outcomes.iter().any(Result::is_ok),
        };
        self.progress.with_snapshot(|snapshot| {
            let counters = &mut snapshot.counters;
            *counters.attempts.entry(category).or_default() += 1;
            if let Some(status) = status {
                *counters.statuses.entry(status).or_default() += 1;
            }
            if let Some(count) = counters.request.get_mut(bucket(took)) {
                *count += 1;
            }
            counters.request_sum_us += micros(took);
        });
    }

    /// The far side has these events.
    pub(super) fn delivered(&self, batch: &Batch) {
        let (events, now) = (&batch.events, Timestamp::now().unix_micros());
        self.progress.with_snapshot(|snapshot| {
            if batch.replay > 0 {
                for event in events {
                    *snapshot.counters.replayed.entry(event.route.name.clone()).or_default() += 1;
                }
                return;
            }
            // Events of one route mostly lie together: one look-up serves them all.
            for run in events.chunk_by(|a, b| Arc::ptr_eq(&a.route, &b.route)) {
                let Some(first) = run.first() else { continue };
                add_delivered(&mut snapshot.counters, &first.route, run.len() as u64);
                for event in run {
                    add_latency(&mut snapshot.counters, event.commit_time, now);
                    snapshot.newest_done = snapshot.newest_done.max(event.commit_time);
                }
            }
        });
    }

    /// An event left its lane with a failure.
    pub(super) fn set_aside(
        &mut self,
        envelope: &Envelope,
        state: LetterState,
        category: Category,
        failure: &Failure,
        now: Duration,
    ) {
        self.stale = true;
        match state {
            LetterState::Dead => self.died(&envelope.route, category, failure, now),
            LetterState::Retrying => tracing::warn!(
                sink = %self.sink, event = %envelope.id, route = envelope.route.name,
                reason = failure.message,
                "an event keeps failing while others are accepted; it goes on trying by itself"
            ),
            LetterState::Blocked | LetterState::Replaying => {}
        }
    }

    /// A stored event is sent again.
    pub(super) fn keep(&mut self, id: EventId, envelope: &Envelope) {
        self.under_way.insert(id, (Arc::clone(&envelope.route), envelope.commit_time));
    }

    /// A stored event failed again.
    pub(super) fn tried(
        &mut self,
        id: EventId,
        state: LetterState,
        category: Category,
        failure: &Failure,
        now: Duration,
    ) {
        self.stale = true;
        let route = self.under_way.remove(&id).map(|(route, _)| route);
        if state == LetterState::Dead {
            let unknown = || Arc::new(RouteLabel { name: String::new(), mapping: None });
            self.died(&route.unwrap_or_else(unknown), category, failure, now);
        }
    }

    /// A stored event was accepted, or is not wanted any more. Returns its route if it was
    /// delivered.
    pub(super) fn retry_done(&mut self, id: EventId, delivered: bool) -> Option<Arc<RouteLabel>> {
        self.stale = true;
        let (route, commit_time) = self.under_way.remove(&id).filter(|_| delivered)?;
        let now = Timestamp::now().unix_micros();
        self.progress.with_snapshot(|snapshot| {
            add_delivered(&mut snapshot.counters, &route, 1);
            add_latency(&mut snapshot.counters, commit_time, now);
            snapshot.newest_done = snapshot.newest_done.max(commit_time);
        });
        Some(route)
    }

    /// A person changed something.
    pub(super) const fn changed(&mut self) {
        self.stale = true;
    }

    /// The sink waits for this time, and so many changes with it.
    pub(super) fn rests(&mut self, rest: Option<(Timestamp, u64)>) {
        if self.rest != rest {
            self.rest = rest;
            self.stale = true;
        }
    }

    /// The row of a stored event is gone.
    pub(super) const fn resolved(&mut self) {
        self.stale = true;
    }

    fn died(&mut self, route: &RouteLabel, category: Category, failure: &Failure, now: Duration) {
        self.progress.with_snapshot(|snapshot| {
            *snapshot.counters.dead.entry((route.name.clone(), category)).or_default() += 1;
        });
        self.dead_untold += 1;
        self.dead_message.clone_from(&failure.message);
        self.tell_dead(now);
    }

    /// Dead letters were none.
    pub(super) fn reopened(&mut self, events: &[Reopened]) {
        self.stale = true;
        self.progress.with_snapshot(|snapshot| {
            for event in events {
                let of = (event.route.name.clone(), Category::Rejected);
                if let Some(count) = snapshot.counters.dead.get_mut(&of) {
                    *count = count.saturating_sub(1);
                }
            }
        });
    }

    /// The original of an event can't be written down. The event itself is stored.
    pub(super) fn cannot_copy(&self, error: &record::Error) {
        tracing::error!(sink = %self.sink, error = %error, "an event's original can't be stored");
    }

    /// Tells of dead letters that were not told of yet, now and then.
    pub(super) fn tell_dead(&mut self, now: Duration) {
        let next = self.dead_told_at.map(|at| at.saturating_add(DEAD_LOG_EVERY));
        if self.dead_untold == 0 || next.is_some_and(|next| next > now) {
            return;
        }
        tracing::warn!(
            sink = %self.sink, dead = self.dead_untold, reason = self.dead_message,
            "events became dead letters"
        );
        self.dead_untold = 0;
        self.dead_told_at = Some(now);
    }

    pub(super) fn wake_at(&self) -> Option<Duration> {
        let told_at = self.dead_told_at.filter(|_| self.dead_untold > 0)?;
        Some(told_at.saturating_add(DEAD_LOG_EVERY))
    }

    /// Shows how the sink is, and logs it when that changed.
    pub(super) fn show(
        &mut self,
        scheduler: &Scheduler,
        pinned_by_writes: Option<Position>,
        now: Duration,
    ) {
        self.tell_dead(now);
        let state = match scheduler.breaker().0 {
            _ if scheduler.paused().is_some() => SinkState::Halted,
            BreakerState::Halted => SinkState::Halted,
            BreakerState::Open => SinkState::Open,
            BreakerState::HalfOpen => SinkState::HalfOpen,
            BreakerState::Closed if scheduler.is_retrying() => SinkState::Retrying,
            BreakerState::Closed => SinkState::Ok,
        };
        let changed = state != self.state;
        let reason = (changed || self.stale).then(|| reason(scheduler, state, self.rest));
        let (retrying, blocked) = scheduler.parked_counts();
        let is_moving = self.stale.then(|| scheduler.is_moving());
        let pinned = scheduler.pinned_from().into_iter().chain(pinned_by_writes).min();
        self.progress.with_snapshot(|snapshot| {
            if changed {
                snapshot.since = Some(Timestamp::now());
            }
            snapshot.state = state;
            snapshot.next = self.rest.map(|(next, _)| next);
            snapshot.waiting = self.rest.map_or(0, |(_, waiting)| waiting);
            snapshot.in_flight = scheduler.in_flight();
            snapshot.retrying = retrying;
            snapshot.blocked = blocked;
            snapshot.is_moving = is_moving.unwrap_or(snapshot.is_moving);
            if snapshot.held != *scheduler.held() {
                snapshot.held.clone_from(scheduler.held());
            }
            snapshot.is_choked = scheduler.is_full() && scheduler.holds().0 == 0;
            snapshot.dead = scheduler.dead_letters();
            snapshot.pinned_from = pinned;
            snapshot.waiting_from = scheduler.waiting_from();
            if let Some(reason) = &reason {
                snapshot.reason.clone_from(reason);
            }
        });
        self.stale = false;
        if changed {
            self.log(state, reason.flatten().unwrap_or_default(), now);
            self.state = state;
            self.has_taken = false;
            self.changed_at = now;
            self.progress.notify();
        }
    }

    /// Logs a change, and how long what was before it has lasted.
    fn log(&self, state: SinkState, reason: String, now: Duration) {
        let (sink, before) = (&self.sink, self.state.as_str());
        let lasted = now.saturating_sub(self.changed_at);
        let lasted = Duration::from_millis(u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX));
        match state {
            SinkState::Ok if self.has_taken => {
                tracing::info!(%sink, before, ?lasted, "the sink takes what it is sent");
            }
            // Nothing was sent, or nothing of it taken.
            SinkState::Ok if self.state == SinkState::Retrying => {
                tracing::debug!(%sink, before, ?lasted, "nothing is tried again any more");
            }
            SinkState::Ok => {
                tracing::info!(%sink, before, ?lasted, "the sink is sent changes again");
            }
            SinkState::Retrying => {
                tracing::debug!(%sink, before, ?lasted, reason, "trying again");
            }
            SinkState::HalfOpen => {
                tracing::info!(%sink, before, ?lasted, "trying whether the sink is up again");
            }
            SinkState::Open => {
                tracing::warn!(%sink, before, ?lasted, reason, "the sink is down; its changes wait");
            }
            SinkState::Halted if reason.starts_with(PAUSED) => {
                tracing::info!(%sink, before, ?lasted, reason, "the sink is sent nothing more");
            }
            SinkState::Halted => tracing::error!(
                %sink, before, ?lasted, reason, "the sink is halted; a person must act"
            ),
        }
    }
}

fn reason(
    scheduler: &Scheduler,
    state: SinkState,
    rest: Option<(Timestamp, u64)>,
) -> Option<String> {
    if let Some(paused) = scheduler.paused() {
        return Some(paused.to_owned());
    }
    if state == SinkState::Ok {
        return rest.map(|(next, waiting)| match waiting {
            1 => format!("the next time is {next} (1 event waits)"),
            _ => format!("the next time is {next} ({waiting} events wait)"),
        });
    }
    match scheduler.breaker().1 {
        Some(HaltReason::Setup(message)) => return Some(message.clone()),
        Some(HaltReason::Misconfigured(message)) => {
            return Some(format!("it rejects everything: {message}"));
        }
        Some(HaltReason::TooManyDead) => {
            return Some(format!(
                "{} dead letters are more than max_dead",
                scheduler.dead_letters()
            ));
        }
        None => {}
    }
    let is_down = matches!(state, SinkState::Open | SinkState::HalfOpen);
    if let Some((failures, last)) = scheduler.outage().filter(|_| is_down) {
        return Some(match failures {
            1 => format!("a request failed: {last}"),
            _ => format!("{failures} requests in a row failed, the last one so: {last}"),
        });
    }
    if let Some((id, failure)) = scheduler.failing() {
        return Some(format!("event {id} fails: {failure}"));
    }
    let (retrying, blocked) = scheduler.parked_counts();
    Some(format!("{retrying} events are retrying, {blocked} wait behind them"))
}

/// Counts events that a receiver came for and has.
pub(super) fn count_delivered<'a>(
    progress: &SinkProgress,
    events: impl Iterator<Item = (&'a Arc<RouteLabel>, Option<Timestamp>)>,
) {
    let now = Timestamp::now().unix_micros();
    progress.with_snapshot(|snapshot| {
        for (route, commit_time) in events {
            add_delivered(&mut snapshot.counters, route, 1);
            add_latency(&mut snapshot.counters, commit_time, now);
            snapshot.newest_done = snapshot.newest_done.max(commit_time);
        }
    });
}

fn add_delivered(counters: &mut Counters, route: &RouteLabel, count: u64) {
    match counters.delivered.get_mut(&route.name) {
        Some(sum) => *sum += count,
        None => {
            counters.delivered.insert(route.name.clone(), count);
        }
    }
}

fn add_latency(counters: &mut Counters, commit_time: Option<Timestamp>, now_us: i64) {
    let Some(committed) = commit_time else { return };
    let latency_us = u64::try_from(now_us - committed.unix_micros()).unwrap_or_default();
    if let Some(count) = counters.latency.get_mut(bucket(Duration::from_micros(latency_us))) {
        *count += 1;
    }
    counters.latency_sum_us += latency_us;
}

/// In microseconds.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
