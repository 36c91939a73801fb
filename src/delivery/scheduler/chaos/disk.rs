//! What is written, what of it survives a crash, and how it goes on.

use super::*;

impl World {
    pub(super) fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Acknowledged { ordinals, batch, sent } => {
                    for (event, place) in batch.events.iter().zip(&sent.places) {
                        assert_eq!(event.key_hash % u64::from(sent.lanes), u64::from(sent.lane));
                        self.has_its_place(index_of(event.id), (sent.lane, *place));
                    }
                    let ids = batch.events.iter().map(|event| index_of(event.id));
                    let ids: Vec<usize> = ids.collect();
                    self.taken.extend(&ids);
                    let hits = ids.iter().filter(|index| self.overtaken(**index)).count();
                    let waits = self.pending.iter().any(|p| matches!(p, Pending::Note(..)));
                    if hits > 0 || waits {
                        self.pending.push(Pending::Note(ids, ordinals));
                    } else {
                        ordinals.iter().for_each(|ordinal| self.ledger.acknowledge(*ordinal));
                    }
                }
                Effect::Safe { ordinal } => self.ledger.acknowledge(ordinal),
                Effect::SetAside { event, state, .. } => self.put(event, state),
                Effect::Park { event } => self.put(event, LetterState::Blocked),
                // Its row is not known any more.
                Effect::Tried { id, .. } | Effect::Refused { id }
                    if self.discarded.contains(&id) => {}
                Effect::Tried { id, state, .. } => {
                    if state == LetterState::Dead {
                        self.given_up.insert(index_of(id));
                        self.dead.insert(index_of(id));
                    }
                    self.pending.push(Pending::Tried(id, state));
                }
                Effect::Accepted { id, .. } => {
                    self.taken.insert(index_of(id));
                    let is_discarded = self.discarded.contains(&id);
                    if !is_discarded {
                        self.pending.push(Pending::Delete(id));
                    }
                    if self.overtaken(index_of(id)) {
                        self.pending.push(Pending::Note(vec![index_of(id)], Vec::new()));
                    }
                    if is_discarded {
                        self.discarded_arrived(id);
                    }
                }
                Effect::Withdrawn { id } => self.discarded_arrived(id),
                Effect::Refused { id } => {
                    self.given_up.insert(index_of(id));
                    self.dead.insert(index_of(id));
                    self.pending.push(Pending::Refuse(id));
                }
                Effect::Wait { .. } => {}
                Effect::Reopen { events } => {
                    let is_back = |id: &EventId| events.iter().any(|event| event.id == *id);
                    self.uncounted |= self
                        .pending
                        .iter()
                        .any(|pending| matches!(pending, Pending::Discard(id) if is_back(id)));
                    for event in &events {
                        self.dead.remove(&index_of(event.id));
                    }
                    self.pending.push(Pending::Reopen(events));
                }
            }
        }
        self.send();
    }

    pub(super) fn put(&mut self, event: Tracked, state: LetterState) {
        let envelope = event.envelope;
        if state == LetterState::Dead {
            self.given_up.insert(index_of(envelope.id));
            self.dead.insert(index_of(envelope.id));
        }
        let keys =
            [Some(envelope.key_hash), other_key(envelope.key_hash, envelope.before_key_hash)];
        self.pending.push(Pending::Put(event.ordinal, envelope.id, state, keys));
    }

    pub(super) fn commit(&mut self) {
        let mut effects = Vec::new();
        let mut recounts = false;
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Put(ordinal, id, state, keys) => {
                    self.put_row(id, state, keys);
                    self.ledger.acknowledge(ordinal);
                    self.scheduler.stored(id, self.now);
                }
                Pending::Tried(id, state) => {
                    self.rows.entry(id).and_modify(|row| row.0 = state);
                }
                Pending::Note(taken, ordinals) => {
                    self.note(&taken);
                    ordinals.iter().for_each(|ordinal| self.ledger.acknowledge(*ordinal));
                }
                Pending::Refuse(id) => {
                    self.rows.entry(id).and_modify(|row| row.0 = LetterState::Dead);
                }
                Pending::Delete(id) => {
                    self.rows.remove(&id);
                    self.saved = self.ledger.reached();
                    self.scheduler.resolved(id, self.now, &mut effects);
                }
                Pending::Discard(id) => {
                    recounts = true;
                    if self.discard_row(id) {
                        self.scheduler.discarded(id, self.now, &mut effects);
                    }
                }
                Pending::Reopen(events) => {
                    for Reopened { ordinal, id, .. } in events {
                        self.rows.remove(&id);
                        self.ledger.reopen(ordinal, id.position);
                    }
                    self.saved = self.ledger.reached();
                }
            }
        }
        if recounts {
            self.recount();
        }
        self.apply(effects);
    }

    /// What a person has discarded stays so.
    fn put_row(&mut self, id: EventId, state: LetterState, keys: [Option<u64>; 2]) {
        if !self.discarded.contains(&id) {
            self.rows.insert(id, (state, keys));
        }
    }

    /// Stores the position, which must not pass anything that is not safe.
    pub(super) fn save(&mut self) {
        self.saved = self.ledger.reached();
        for index in (0..self.read).take_while(|index| position(*index) < self.saved.floor) {
            let id = EventId { timeline: 1, position: position(index) };
            let is_safe = self.delivered.contains(&index)
                || self.rows.contains_key(&id)
                || self.discarded.contains(&id);
            assert!(is_safe, "the position passed event {index}");
        }
    }

    pub(super) fn crash(&mut self, durable: prop::sample::Index) {
        let count = durable.index(self.pending.len() + 1);
        for pending in std::mem::take(&mut self.pending).into_iter().take(count) {
            match pending {
                Pending::Put(_, id, state, keys) => self.put_row(id, state, keys),
                Pending::Tried(id, state) => {
                    self.rows.entry(id).and_modify(|row| row.0 = state);
                }
                // What is deleted later is deleted in a transaction that begins after this one.
                Pending::Note(taken, ordinals) => {
                    self.note(&taken);
                    ordinals.iter().for_each(|ordinal| self.ledger.acknowledge(*ordinal));
                }
                Pending::Refuse(id) => {
                    self.rows.entry(id).and_modify(|row| row.0 = LetterState::Dead);
                }
                Pending::Delete(id) => {
                    self.saved = self.ledger.reached();
                    self.rows.remove(&id);
                }
                Pending::Discard(id) => drop(self.discard_row(id)),
                Pending::Reopen(_) => break,
            }
        }
        self.start_again();
    }

    fn start_again(&mut self) {
        self.requests.clear();
        self.taken.clear();
        self.places.clear();
        (self.retries, self.accepted, self.begun) = (0, 0, self.now);
        self.scheduler = scheduler(&self.settings);
        for (route, hold) in self.routes.iter().zip(self.holding) {
            self.scheduler.hold(&route.name, hold, self.now, &mut Vec::new());
        }
        self.ledger = Ledger::restore(&self.saved);
        self.dead = self.discarded.iter().copied().map(index_of).collect();
        let block = self.settings.on_dead == OnDead::Block;
        let mut dead = 0;
        let mut again = Vec::new();
        for (id, row) in &self.rows {
            let (state, mut row) = (row.0, *row);
            let is_old = !self.forced.contains(id)
                && self.noted.contains(&index_of(*id))
                && state == LetterState::Replaying;
            row.0 = if is_old { LetterState::Dead } else { state };
            let mut stored = stored(*id, row, &self.events[index_of(*id)]);
            stored.forced = self.forced.contains(id);
            if state == LetterState::Dead {
                dead += 1;
                self.dead.insert(index_of(*id));
            }
            let goes_on = matches!(state, LetterState::Retrying | LetterState::Blocked);
            if goes_on || block || id.position >= self.saved.floor {
                self.scheduler.restore(&stored, self.saved.floor);
            }
            again.extend((state == LetterState::Replaying).then_some(stored));
        }
        for id in self.discarded.iter().filter(|id| id.position >= self.saved.floor) {
            let row = (LetterState::Dead, [None; 2]);
            let mut stored = stored(*id, row, &self.events[index_of(*id)]);
            stored.is_discarded = true;
            self.scheduler.restore(&stored, self.saved.floor);
        }
        self.scheduler.set_dead(dead, self.now);
        self.read = self
            .events
            .iter()
            .enumerate()
            .position(|(index, _)| position(index) >= self.saved.floor)
            .unwrap_or(self.events.len());
        self.scheduler.passed(position(self.read), self.now);
        let mut effects = Vec::new();
        for stored in again {
            let index = index_of(stored.id);
            if stored.forced || !self.noted.contains(&index) {
                self.scheduler.replay(&stored, self.now, &mut effects);
                continue;
            }
            self.rows.entry(stored.id).and_modify(|row| row.0 = LetterState::Dead);
            self.dead.insert(index);
        }
        self.apply(effects);
        self.recount();
        self.send();
    }
}
