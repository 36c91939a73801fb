//! What a person asks for: a dead letter sent again, a sink stopped for a while, a route held.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::dead_letter::Stored;
use super::super::parked::{Again, Entry, LetterState};
use super::super::settings::OnDead;
use super::{DispatchId, Effect, Origin, Scheduler};
use crate::envelope::TableTag;
use crate::lsn::EventId;

impl Scheduler {
    /// Has a dead letter sent again, before everything of its keys that was not sent yet.
    ///
    /// What is under way of its keys is newer: it is waited for, and once the sink has taken it
    /// the letter is [overtaken](Scheduler::is_overtaken).
    pub(in crate::delivery) fn replay(
        &mut self,
        stored: &Stored,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let Stored { id, keys, replays, forced, .. } = *stored;
        let table = keys.into_iter().flatten().next().map(TableTag::of);
        let again = Again { replays, forced, overtaken: false };
        if id.position >= self.read {
            // The stream brings it again.
            self.settled.insert(id);
        }
        match self.parked.get(id).map(|entry| entry.state) {
            None => {
                let mut entry = Entry::new(LetterState::Replaying, keys, 0);
                entry.stored = true;
                entry.truncates = stored.is_truncate;
                entry.again = Some(again);
                entry.held = self.is_held(&stored.route);
                entry.route = Some(self.name_of(&stored.route));
                self.parked.add(id, entry, now);
            }
            // What is behind it waits there already.
            Some(LetterState::Dead) => self.parked.revive(id, again, now),
            Some(_) => return,
        }
        for lane in &mut self.lanes {
            if lane.is_sending(keys.into_iter().flatten()) && lane.mark(0, id) {
                self.parked.wait_apart(id);
            }
        }
        // The stream brings what is older than it again, too; one that its mapping refused did not
        // wait for the TRUNCATE before it; and one behind it may be under way.
        let is_at_fence = |table| self.is_at_fence(table, id);
        if (id.position >= self.read || table.is_some_and(is_at_fence)) && self.ahead.insert(id) {
            self.parked.wait_once_more(id);
        }
        self.set_dead(self.dead.saturating_sub(1), now);
        // Should the sink turn out to refuse everything, this one does not come back by itself.
        self.rejected.retain(|event| event.envelope.id != id);
        self.park_followers(keys.into_iter().flatten(), 0, now, effects);
        self.pass_fences(now, effects);
    }

    /// Whether a dead letter that is being sent again is older than what the sink has taken since,
    /// and nobody said that this does not matter.
    #[must_use]
    pub fn is_overtaken(&self, id: EventId) -> bool {
        let again = self.parked.get(id).and_then(|entry| entry.again);
        again.is_some_and(|again| again.overtaken && !again.forced)
    }

    /// Returns how often a person had this event sent again.
    #[must_use]
    pub fn replays(&self, id: EventId) -> u32 {
        self.parked.get(id).and_then(|entry| entry.again).map_or(0, |again| again.replays)
    }

    /// Notes that the sink took an event of a key.
    pub fn overtake(&mut self, key: u64, newer: EventId) {
        self.parked.overtake(key, newer);
    }

    /// Leaves a dead letter dead that was about to be sent again.
    pub fn stays_dead(&mut self, id: DispatchId, now: Duration, effects: &mut Vec<Effect>) {
        let Origin::Parked(event) = id.from else { return };
        self.landed_parked();
        if id.number == self.probe_number {
            self.breaker.inconclusive(now);
        }
        if self.parked.is_discarded(event) {
            self.parked.remove(event, now);
        } else {
            match self.settings.on_dead {
                OnDead::Continue => self.parked.remove(event, now),
                OnDead::Block => self.parked.bury(event, now),
            }
            effects.push(Effect::Refused { id: event });
            self.died(now);
        }
        self.pass_fences(now, effects);
    }

    /// Returns how many dead letters are being sent again.
    #[must_use]
    pub const fn replaying(&self) -> usize {
        self.parked.replaying()
    }

    /// Stops the sink with a reason, or lets it go on: what is under way is waited for, nothing
    /// new is sent.
    pub fn set_paused(&mut self, reason: Option<String>) {
        self.paused = reason;
        self.list_all();
    }

    /// Returns why a person has stopped the sink.
    #[must_use]
    pub fn paused(&self) -> Option<&str> {
        self.paused.as_deref()
    }

    /// Holds a route, or lets it go: its events wait as references, in order, and others flow.
    pub fn hold(&mut self, route: &str, hold: bool, now: Duration, effects: &mut Vec<Effect>) {
        let name = self.name_of(route);
        if hold {
            self.held.insert(name);
            self.parked.hold(route, true, now);
            // What waits in the lanes comes again, and is held then.
            self.put_back(Vec::new(), now, effects);
        } else {
            self.held.remove(&name);
            self.parked.hold(route, false, now);
            self.pass_fences(now, effects);
        }
    }

    /// Holds a route from its next event on: what is in the lanes goes before.
    pub fn hold_what_comes(&mut self, route: &str) {
        let name = self.name_of(route);
        self.held.insert(name);
    }

    /// Returns how many events wait because their route is held, by route.
    #[must_use]
    pub const fn held(&self) -> &BTreeMap<Arc<str>, u64> {
        self.parked.held()
    }

    pub(super) fn is_held(&self, route: &str) -> bool {
        self.held.contains(route)
    }

    /// Returns the one copy of a route's name.
    pub(super) fn name_of(&mut self, route: &str) -> Arc<str> {
        if let Some(name) = self.names.get(route) {
            return Arc::clone(name);
        }
        let name: Arc<str> = Arc::from(route);
        self.names.insert(Arc::clone(&name));
        name
    }
}
