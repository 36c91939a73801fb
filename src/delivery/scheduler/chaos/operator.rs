//! What a person does meanwhile, and what an older change must not do to a newer one.

use super::*;

impl World {
    /// A person has a dead letter sent again, unless something newer was taken.
    pub(super) fn replay(&mut self, pick: prop::sample::Index) {
        self.commit();
        // What a TRUNCATE is newer than is known once that is on disk.
        if self.pending.iter().any(|pending| matches!(pending, Pending::Note(..))) {
            return;
        }
        let is_dead = |(id, row): &(&EventId, &(LetterState, _))| {
            // A TRUNCATE is never sent again.
            row.0 == LetterState::Dead && !self.events[index_of(**id)].truncate
        };
        let dead: Vec<EventId> = self.rows.iter().filter(is_dead).map(|(id, _)| *id).collect();
        if dead.is_empty() {
            return;
        }
        self.replay_one(dead[pick.index(dead.len())], false);
    }

    /// The same, whatever came since.
    pub(super) fn force(&mut self, pick: prop::sample::Index) {
        self.commit();
        if !self.rows.is_empty() {
            let id = *self.rows.keys().nth(pick.index(self.rows.len())).unwrap();
            self.replay_one(id, true);
        }
    }

    pub(super) fn replay_one(&mut self, id: EventId, forced: bool) {
        if self.pending.iter().any(|pending| matches!(pending, Pending::Note(..))) {
            return;
        }
        let is_truncate = self.events[index_of(id)].truncate;
        if is_truncate || self.rows.get(&id).is_none_or(|row| row.0 != LetterState::Dead) {
            return;
        }
        if !forced && self.noted.contains(&index_of(id)) {
            return;
        }
        let Some(row) = self.rows.get_mut(&id) else { return };
        row.0 = LetterState::Replaying;
        let mut stored = stored(id, *row, &self.events[index_of(id)]);
        stored.forced = forced;
        if forced {
            self.forced.insert(id);
        } else {
            self.forced.remove(&id);
        }
        // What is under way already is not held up; all else of its keys comes after it.
        let under_way = self.requests.iter().flat_map(|dispatch| match &dispatch.what {
            What::Batch(batch) => batch.events.iter().map(|event| event.id).collect(),
            What::Stored(id) => vec![*id],
        });
        let index = index_of(id);
        let is_late =
            |other: EventId| index_of(other) > index && self.are_in_order(index, index_of(other));
        let is_late = under_way.into_iter().any(is_late);
        let mut effects = Vec::new();
        self.scheduler.replay(&stored, self.now, &mut effects);
        if !is_late && !self.scheduler.is_overtaken(id) {
            self.dead.remove(&index);
        }
        self.apply(effects);
    }

    /// A person discards something that was set aside.
    pub(super) fn discard(&mut self, pick: prop::sample::Index) {
        let ids: Vec<EventId> = self.rows.keys().copied().collect();
        if !ids.is_empty() {
            self.pending.push(Pending::Discard(ids[pick.index(ids.len())]));
        }
    }

    /// Returns whether there was something to discard.
    pub(super) fn discard_row(&mut self, id: EventId) -> bool {
        let is_there = self.rows.remove(&id).is_some();
        if is_there {
            self.discarded.insert(id);
            // What is behind it may go, unless it is under way.
            self.dead.insert(index_of(id));
        }
        is_there
    }

    /// What a person has discarded meanwhile has landed: as the runner, which knows no row of it.
    pub(super) fn discarded_arrived(&mut self, id: EventId) {
        let mut effects = Vec::new();
        self.scheduler.resolved(id, self.now, &mut effects);
        self.apply(effects);
    }

    pub(super) fn hold(&mut self, table: usize, hold: bool) {
        self.holding[table] = hold;
        let mut effects = Vec::new();
        let route = Arc::clone(&self.routes[table]);
        self.scheduler.hold(&route.name, hold, self.now, &mut effects);
        self.apply(effects);
    }

    pub(super) fn relieve(&mut self) {
        let mut effects = Vec::new();
        self.scheduler.relieve(self.now, &mut effects);
        self.apply(effects);
    }

    /// What was taken of keys that have dead letters before it: to be noted.
    pub(super) fn overtaken(&mut self, index: usize) -> bool {
        let pending = self.pending.iter().filter_map(|pending| match pending {
            Pending::Put(_, id, LetterState::Dead, _) | Pending::Tried(id, LetterState::Dead) => {
                Some(*id)
            }
            _ => None,
        });
        let waits = |row: &(LetterState, [Option<u64>; 2])| {
            matches!(row.0, LetterState::Dead | LetterState::Replaying)
        };
        let rows = self.rows.iter().filter(|(_, row)| waits(row)).map(|(id, _)| *id);
        let older: Vec<usize> = rows.chain(pending).map(index_of).filter(|o| *o < index).collect();
        let is_older = older.into_iter().any(|older| self.are_in_order(older, index));
        let planned = self.events[index].clone();
        let id = EventId { timeline: 1, position: position(index) };
        for key in [Some(planned.key), planned.before].into_iter().flatten() {
            self.scheduler.overtake(key, id);
        }
        is_older
    }

    pub(super) fn note(&mut self, taken: &[usize]) {
        for (id, row) in &self.rows {
            let index = index_of(*id);
            let waits = matches!(row.0, LetterState::Dead | LetterState::Replaying);
            let is_newer = |taken: &usize| *taken > index && self.are_in_order(index, *taken);
            if waits && taken.iter().any(is_newer) {
                self.noted.insert(index);
            }
        }
    }

    /// What a person has sent again overwrites nothing newer.
    pub(super) fn check_replay(&self, id: DispatchId, index: usize) {
        let replays = id
            .stored()
            .is_some_and(|id| self.scheduler.replays(id) > 0 && !self.forced.contains(&id));
        let newer = |later: &&usize| **later > index && self.are_in_order(index, **later);
        if let Some(later) = self.taken.iter().find(newer).filter(|_| replays) {
            panic!("event {index} was sent again after event {later}");
        }
    }
}
