//! What a person asks of the sink.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::dead_letter::{Begin, Begun, DeadKeys, Discarded, Newer, Stored};
use super::super::lane::keys;
use super::super::orders::Order;
use super::super::record::Delivered;
use super::super::registry::Versions;
use super::super::shapes::Look;
use super::super::ward::{FEED_MAX, Write};
use super::Runner;
use crate::chunk::Operation;
use crate::envelope::Envelope;
use crate::lsn::{EventId, Position, Timestamp};
use crate::mapping::{Mapping, SinkMapper};
use crate::progress::ledger::Ordinal;

/// What was asked and is not answered yet.
#[derive(Debug)]
pub(super) struct Operator {
    versions: Versions,
    /// The mapper of another version that was used last.
    older: Option<(String, u32, SinkMapper)>,
    /// In the order in which it was asked.
    begins: VecDeque<(Box<Begin>, oneshot::Sender<Begun>)>,
    discards: VecDeque<oneshot::Sender<u64>>,
    /// From where on dead letters that are sent again are still to be loaded; none: there are no
    /// more.
    feed_from: Option<Position>,
    /// They are being loaded.
    feeding: bool,
    /// The keys of dead letters: a later change of one has to be noted.
    dead_keys: DeadKeys,
    /// What was noted and is not on disk yet, in the order in which it was asked.
    noting: VecDeque<Vec<Newer>>,
}

impl Operator {
    pub(super) fn new(versions: Versions) -> Self {
        Self {
            versions,
            older: None,
            begins: VecDeque::new(),
            discards: VecDeque::new(),
            feed_from: None,
            feeding: false,
            dead_keys: DeadKeys::default(),
            noting: VecDeque::new(),
        }
    }

    /// Returns the mapper of a version that is not today's; none where none is asked for.
    pub(super) fn mapper(&mut self, mapping: Option<&Arc<Mapping>>) -> Option<&mut SinkMapper> {
        let mapping = mapping?;
        let fits = |(name, version, _): &(String, u32, _)| {
            *name == mapping.name && *version == mapping.version
        };
        if !self.older.as_ref().is_some_and(fits) {
            let mapper = self.versions.at(std::slice::from_ref(mapping));
            self.older = Some((mapping.name.clone(), mapping.version, mapper));
        }
        self.older.as_mut().map(|(.., mapper)| mapper)
    }

    /// Returns what makes mappers of other versions.
    pub(super) const fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Takes up what an earlier run knew.
    pub(super) fn restore(&mut self, dead_keys: DeadKeys) {
        self.dead_keys = dead_keys;
        self.feed_from = Some(Position::ZERO);
    }

    /// Notes that an event of these keys is dead.
    pub(super) fn died(&mut self, keys: impl Iterator<Item = u64>, id: EventId) {
        self.dead_keys.died(keys, id.position.commit_lsn);
    }

    /// Returns what has to be noted because the sink took these events.
    pub(super) fn newer(&mut self, events: &[Envelope]) -> Vec<Newer> {
        if self.dead_keys.is_empty() {
            return Vec::new();
        }
        let mut noted = Vec::new();
        for event in events {
            if event.operation == Operation::Truncate {
                noted.extend(event.table().map(|table| Newer::Table(table, event.id)));
            } else if !is_keyless(event) {
                noted.extend(self.newer_of(keys(event), event.id));
            }
        }
        noted
    }

    /// As [`Operator::newer`], of one event.
    pub(super) fn newer_of(&mut self, keys: impl Iterator<Item = u64>, id: EventId) -> Vec<Newer> {
        self.dead_keys.took(keys, id)
    }
}

/// Events of a table without a key overwrite nothing.
pub(in crate::delivery) fn is_keyless(event: &Envelope) -> bool {
    event.key.is_empty() || event.key.as_ref() == b"null"
}

impl Runner {
    /// Begins with what was asked.
    pub(super) fn ordered(&mut self, order: Order, now: Duration) {
        match order {
            Order::Replay(what, asked) => {
                self.ward.add(Write::Begin(what.clone()));
                self.operator.begins.push_back((what, asked));
            }
            Order::Discard(filter, reason, asked) => {
                self.ward.add(Write::Discard { filter, reason });
                self.operator.discards.push_back(asked);
            }
            Order::Window(order, asked) => {
                let _gone = asked.send(self.begin_window(*order));
            }
            Order::Pause(reason, asked) => {
                self.scheduler.set_paused(reason);
                self.view.changed();
                let _gone = asked.send(());
            }
            Order::Hold(route, hold, asked) => {
                if !hold {
                    // Behind what a change of shape may have left to be written.
                    self.ward.add(Write::Hold { route: route.clone(), reason: None });
                    let accepted = self.shapes.accept(&route);
                    accepted.into_iter().for_each(|shape| self.ward.add(Write::Shape(shape)));
                }
                if hold {
                    self.held.insert(route.clone());
                } else {
                    self.held.remove(&route);
                }
                self.scheduler.hold(&route, hold, now, &mut self.effects);
                self.view.changed();
                self.apply(now, None);
                let _gone = asked.send(());
            }
        }
    }

    /// Holds the route of an event whose table has another shape than its owner knows, before
    /// the event is sent. Returns whether that is so.
    pub(super) fn look_at_shape(&mut self, event: &Envelope) -> bool {
        if self.shapes.is_idle() {
            return false;
        }
        let entry = event.chunk.entries.get(event.entry as usize);
        let Some(relation) = entry.and_then(|entry| event.chunk.relation(entry)) else {
            return false;
        };
        let route = &event.route.name;
        match self.shapes.look(route, relation) {
            Look::Known => false,
            Look::First(shape) => {
                self.ward.add(Write::Shape(shape));
                false
            }
            Look::Changed(what) => {
                if self.held.insert(route.clone()) {
                    let table = relation.quoted_name();
                    tracing::error!(sink = %self.name, route, table, what,
                        "a table changed: the route is held until `walgate route release` lets it go on");
                    let reason = format!("{table} changed: {what}");
                    self.ward.add(Write::Hold { route: route.clone(), reason: Some(reason) });
                    self.scheduler.hold_what_comes(route);
                    self.view.changed();
                }
                true
            }
        }
    }

    /// A note is on disk.
    pub(super) fn noted(&mut self) {
        self.operator.noting.pop_front();
    }

    /// Loads the next dead letters that are to be sent again, a bounded number at a time.
    pub(super) fn feed(&mut self) {
        let operator = &mut self.operator;
        let Some(from) = operator.feed_from.filter(|_| !operator.feeding) else { return };
        if self.scheduler.replaying() <= FEED_MAX / 2 {
            operator.feeding = true;
            operator.feed_from = None;
            self.ward.add(Write::Feed { from });
        }
    }

    /// Dead letters are marked to be sent again.
    pub(super) fn begun(&mut self, begun: Begun) {
        if let Some((_, asked)) = self.operator.begins.pop_front() {
            let _gone = asked.send(begun);
        }
        if begun.begun > 0 {
            self.operator.feed_from = Some(Position::ZERO);
        }
    }

    /// These dead letters are sent again, unless the sink took something newer while they were
    /// loaded.
    pub(super) fn fed(&mut self, stored: &[Stored], now: Duration) {
        self.operator.feeding = false;
        let noting = || self.operator.noting.iter().flatten();
        if noting().any(|newer| matches!(newer, Newer::Table(..))) {
            // What a TRUNCATE is newer than is known once that is on disk.
            let again = stored.first().map_or(Position::ZERO, |stored| stored.id.position);
            let asked = self.operator.feed_from.unwrap_or(again);
            self.operator.feed_from = Some(asked.min(again));
            return;
        }
        // A request that came meanwhile begins at the beginning.
        let next = stored.last().map(|stored| stored.id.position.next());
        self.operator.feed_from = self.operator.feed_from.or(next);
        if next.is_none() {
            self.count_dead();
        }
        for stored in stored {
            self.scheduler.replay(stored, now, &mut self.effects);
        }
        for newer in self.operator.noting.iter().flatten() {
            if let Newer::Key(key, id) = newer {
                self.scheduler.overtake(*key, *id);
            }
        }
        self.view.changed();
    }

    /// What a person discarded is gone.
    pub(super) fn discarded(&mut self, discarded: &Discarded, now: Duration) {
        if let Some(asked) = self.operator.discards.pop_front() {
            let _gone = asked.send(discarded.count);
        }
        for (id, _) in &discarded.held {
            self.ward.forget(*id);
            self.scheduler.discarded(*id, now, &mut self.effects);
        }
        self.view.changed();
        self.count_dead();
    }

    /// The sink took these events: what is older of their keys among the dead letters is noted
    /// before they count as done.
    pub(super) fn acknowledge(&mut self, ordinals: Vec<Ordinal>, delivered: &Delivered<'_>) {
        let newer = self.operator.newer(delivered.events);
        // What came after something that is not noted yet must not count as done before it: a
        // crash would repeat the older one alone.
        if newer.is_empty() && self.operator.noting.is_empty() {
            return self.progress.acknowledge(&ordinals, delivered);
        }
        self.progress.acknowledge(&[], delivered);
        self.note(newer, ordinals);
    }

    /// Notes what the sink took of keys that have dead letters.
    pub(super) fn note(&mut self, newer: Vec<Newer>, ordinals: Vec<Ordinal>) {
        for newer in &newer {
            if let Newer::Key(key, id) = newer {
                self.scheduler.overtake(*key, *id);
            }
        }
        self.operator.noting.push_back(newer.clone());
        self.ward.add(Write::Newer { newer, ordinals, at_us: Timestamp::now().unix_micros() });
    }
}
