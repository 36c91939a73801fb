//! A sink that does its worst, crashes included, against the scheduler's promises.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use proptest::prelude::*;

use super::super::dead_letter::Stored;
use super::super::settings::OnDead;
use super::*;
use crate::chunk::{Chunk, Transaction};
use crate::envelope::{Envelope, RouteLabel};
use crate::lsn::Lsn;
use crate::progress::ledger::{Ledger, Reached};
use crate::sink::Answer;

mod input;
mod operator;

use input::{Nature, Planned, Step, TABLES, Weather, planned, settings, step};

/// Something that is not durable yet.
#[derive(Debug)]
enum Pending {
    Put(Ordinal, EventId, LetterState, [Option<u64>; 2]),
    Tried(EventId, LetterState),
    Delete(EventId),
    /// What was taken of keys that have dead letters, and what is done once that is noted.
    Note(Vec<usize>, Vec<Ordinal>),
    Refuse(EventId),
    Reopen(Vec<Reopened>),
}

struct World {
    settings: Settings,
    events: Vec<Planned>,
    scheduler: Scheduler,
    ledger: Ledger,
    /// How much of the stream was read.
    read: usize,
    requests: Vec<Dispatch>,
    pending: Vec<Pending>,
    now: Duration,
    weather: Weather,
    // What survives a crash.
    saved: Reached,
    rows: BTreeMap<EventId, (LetterState, [Option<u64>; 2])>,
    // What the far side and the books say.
    delivered: BTreeSet<usize>,
    /// When each event came last: the how manieth delivery it was.
    last_arrivals: BTreeMap<usize, usize>,
    arrivals: usize,
    /// What was a dead letter once, stored or not.
    given_up: BTreeSet<usize>,
    /// The places in their lanes of what was acknowledged in this run.
    places: BTreeMap<(u32, u64), usize>,
    dead: BTreeSet<usize>,
    /// Dead letters known to be older than what was taken.
    noted: BTreeSet<usize>,
    /// What was taken since the last crash.
    taken: BTreeSet<usize>,
    /// Which tables' routes are held.
    holding: [bool; TABLES],
    /// Since the last crash: retries that were not accepted, requests that were, and when it was.
    retries: i64,
    accepted: i64,
    begun: Duration,
    chunk: Arc<Chunk>,
    /// One of a table.
    routes: [Arc<RouteLabel>; TABLES],
}

/// One that comes to the end of its patience within a test.
fn scheduler(settings: &Settings) -> Scheduler {
    let mut scheduler = Scheduler::new(settings);
    scheduler.rejections_max = 4;
    scheduler
}

fn stored(id: EventId, row: (LetterState, [Option<u64>; 2]), planned: &Planned) -> Stored {
    let (state, keys) = row;
    let (route, is_truncate) = (planned.route(), planned.truncate);
    Stored { row: 0, id, keys, state, attempts: 2, is_truncate, route, replays: 1, forced: false }
}

fn index_of(id: EventId) -> usize {
    usize::try_from(id.position.commit_lsn.0 - 1).unwrap()
}

fn position(index: usize) -> Position {
    Position::new(Lsn(index as u64 + 1), 0)
}

impl World {
    fn new(settings: Settings, events: Vec<Planned>) -> Self {
        let transaction =
            Transaction { commit_lsn: Lsn(1), end_lsn: None, xid: None, commit_time: None };
        let chunk = Chunk::of_one(1, transaction, None, 0, Operation::Insert, Bytes::new());
        Self {
            scheduler: scheduler(&settings),
            settings,
            events,
            ledger: Ledger::default(),
            read: 0,
            requests: Vec::new(),
            pending: Vec::new(),
            now: Duration::ZERO,
            weather: Weather::Fair,
            saved: Reached::default(),
            rows: BTreeMap::new(),
            delivered: BTreeSet::new(),
            last_arrivals: BTreeMap::new(),
            arrivals: 0,
            given_up: BTreeSet::new(),
            places: BTreeMap::new(),
            dead: BTreeSet::new(),
            noted: BTreeSet::new(),
            taken: BTreeSet::new(),
            holding: [false; TABLES],
            retries: 0,
            accepted: 0,
            begun: Duration::ZERO,
            chunk: Arc::new(chunk.unwrap()),
            routes: ["r0", "r1"]
                .map(|name| Arc::new(RouteLabel { name: name.to_owned(), mapping: None })),
        }
    }

    fn read(&mut self, count: usize) {
        let mut effects = Vec::new();
        for _ in 0..count {
            let index = self.read;
            let Some(planned) = self.events.get(index) else { break };
            self.read += 1;
            if self.ledger.covers(position(index)) {
                continue;
            }
            let envelope = Envelope {
                id: EventId { timeline: 1, position: position(index) },
                operation: if planned.truncate { Operation::Truncate } else { Operation::Update },
                body: Bytes::from_static(b"x"),
                key: Bytes::new(),
                key_hash: planned.key,
                before_key_hash: planned.before,
                commit_time: None,
                route: Arc::clone(&self.routes[planned.table]),
                chunk: Arc::clone(&self.chunk),
                entry: 0,
            };
            let ordinal = self.ledger.track(position(index));
            self.scheduler.push(Tracked::new(ordinal, envelope), self.now, &mut effects);
        }
        self.scheduler.passed(position(self.read), self.now);
        self.apply(effects);
    }

    fn send(&mut self) {
        let reopening = self.pending.iter().any(|pending| matches!(pending, Pending::Reopen(_)));
        while !reopening && let Some(dispatch) = self.scheduler.next(self.now) {
            // As the runner does before it sends what it has loaded.
            if dispatch.id.stored().is_some_and(|id| self.scheduler.is_overtaken(id)) {
                let mut effects = Vec::new();
                self.scheduler.stays_dead(dispatch.id, self.now, &mut effects);
                self.apply(effects);
                continue;
            }
            let is_probe = !self.scheduler.breaker.is_closed();
            if dispatch.id.stored().is_some_and(|id| self.scheduler.parked.is_retry(id))
                && !is_probe
            {
                self.retries += 1;
            }
            self.requests.push(dispatch);
        }
        let free = i64::try_from((self.now - self.begun).as_secs()).unwrap() + 11;
        assert!(self.retries <= self.accepted / 5 + free, "retries take too much");
    }

    fn answer_one(&mut self, pick: prop::sample::Index) {
        if !self.requests.is_empty() {
            self.answer(pick.index(self.requests.len()));
        }
    }

    fn answer(&mut self, pick: usize) {
        let dispatch = self.requests.remove(pick);
        let indexes: Vec<usize> = match &dispatch.what {
            What::Batch(batch) => batch.events.iter().map(|event| index_of(event.id)).collect(),
            What::Stored(id) => vec![index_of(*id)],
        };
        let has = |nature| indexes.iter().any(|index| self.events[*index].nature == nature);
        let category = match self.weather {
            Weather::Down => Some(Category::Transient),
            Weather::Busy => Some(Category::Throttled),
            Weather::Locked => Some(Category::Setup),
            Weather::RefusesAll => Some(Category::Rejected),
            Weather::Fair if has(Nature::Poison) => Some(Category::Transient),
            Weather::Fair if has(Nature::Bad) => Some(Category::Rejected),
            Weather::Fair => None,
        };
        let answer = match category {
            None => {
                if let [index] = indexes[..] {
                    self.check_replay(dispatch.id, index);
                }
                self.accepted += 1;
                let is_retry = |id| self.scheduler.parked.is_retry(id);
                self.retries -= i64::from(dispatch.id.stored().is_some_and(is_retry));
                indexes.iter().for_each(|index| self.arrived(*index));
                Answer::Acknowledged
            }
            Some(category) => {
                let mut failure = Failure::new(category, "no");
                failure.status = (self.weather == Weather::Fair).then_some(500);
                Answer::Failed(failure)
            }
        };
        let mut effects = Vec::new();
        self.scheduler.answered(dispatch.id, answer, self.now, 0.5, &mut effects);
        self.apply(effects);
    }

    /// The far side took an event: everything before it of its keys must be settled.
    fn arrived(&mut self, index: usize) {
        if !self.delivered.contains(&index) {
            for earlier in 0..index {
                let settled = self.delivered.contains(&earlier) || self.dead.contains(&earlier);
                assert!(
                    settled || !self.are_in_order(earlier, index),
                    "event {index} arrived before event {earlier}"
                );
            }
        }
        self.arrivals += 1;
        self.taken.insert(index);
        self.last_arrivals.insert(index, self.arrivals);
        self.delivered.insert(index);
    }

    /// The events of a lane have numbers of their own there, in the order of the stream.
    fn has_its_place(&mut self, index: usize, place: (u32, u64)) {
        let lane = place.0;
        let before = self.places.range((lane, 0)..place).next_back();
        let after = self.places.range(place..(lane + 1, 0)).next();
        assert!(before.is_none_or(|(_, other)| *other < index), "{place:?} of event {index}");
        assert!(after.is_none_or(|(_, other)| *other > index), "{place:?} of event {index}");
        self.places.insert(place, index);
    }

    /// Whether the order of two events matters.
    fn are_in_order(&self, earlier: usize, later: usize) -> bool {
        let (a, b) = (&self.events[earlier], &self.events[later]);
        let keys = |e: &Planned| [Some(e.key), e.before];
        if a.truncate || b.truncate {
            return a.table == b.table;
        }
        keys(a).iter().flatten().any(|key| keys(b).contains(&Some(*key)))
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Acknowledged { ordinals, batch, sent } => {
                    for (event, place) in batch.events.iter().zip(&sent.places) {
                        assert_eq!(event.key_hash % u64::from(sent.lanes), u64::from(sent.lane));
                        self.has_its_place(index_of(event.id), (sent.lane, *place));
                    }
                    let ids = batch.events.iter().map(|event| index_of(event.id));
                    let ids: Vec<usize> = ids.collect();
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
                Effect::Tried { id, state, .. } => {
                    if state == LetterState::Dead {
                        self.given_up.insert(index_of(id));
                        self.dead.insert(index_of(id));
                    }
                    self.pending.push(Pending::Tried(id, state));
                }
                Effect::Accepted { id, .. } => {
                    self.pending.push(Pending::Delete(id));
                    if self.overtaken(index_of(id)) {
                        self.pending.push(Pending::Note(vec![index_of(id)], Vec::new()));
                    }
                }
                Effect::Withdrawn { id } => panic!("{id} is withdrawn by nobody"),
                Effect::Refused { id } => {
                    self.given_up.insert(index_of(id));
                    self.dead.insert(index_of(id));
                    self.pending.push(Pending::Refuse(id));
                }
                Effect::Wait { .. } => {}
                Effect::Reopen { events } => {
                    for event in &events {
                        self.dead.remove(&index_of(event.id));
                    }
                    self.pending.push(Pending::Reopen(events));
                }
            }
        }
        self.send();
    }

    fn put(&mut self, event: Tracked, state: LetterState) {
        let envelope = event.envelope;
        if state == LetterState::Dead {
            self.given_up.insert(index_of(envelope.id));
            self.dead.insert(index_of(envelope.id));
        }
        let keys =
            [Some(envelope.key_hash), other_key(envelope.key_hash, envelope.before_key_hash)];
        self.pending.push(Pending::Put(event.ordinal, envelope.id, state, keys));
    }

    fn commit(&mut self) {
        let mut effects = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Put(ordinal, id, state, keys) => {
                    self.rows.insert(id, (state, keys));
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
                Pending::Reopen(events) => {
                    for Reopened { ordinal, id, .. } in events {
                        self.rows.remove(&id);
                        self.ledger.reopen(ordinal, id.position);
                    }
                    self.saved = self.ledger.reached();
                }
            }
        }
        self.apply(effects);
    }

    /// Stores the position, which must not pass anything that is not safe.
    fn save(&mut self) {
        self.saved = self.ledger.reached();
        for index in (0..self.read).take_while(|index| position(*index) < self.saved.floor) {
            let id = EventId { timeline: 1, position: position(index) };
            let is_safe = self.delivered.contains(&index) || self.rows.contains_key(&id);
            assert!(is_safe, "the position passed event {index}");
        }
    }

    fn crash(&mut self, durable: prop::sample::Index) {
        let count = durable.index(self.pending.len() + 1);
        for pending in std::mem::take(&mut self.pending).into_iter().take(count) {
            match pending {
                Pending::Put(_, id, state, keys) => drop(self.rows.insert(id, (state, keys))),
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
                Pending::Reopen(_) => break,
            }
        }
        self.requests.clear();
        self.taken.clear();
        self.places.clear();
        (self.retries, self.accepted, self.begun) = (0, 0, self.now);
        self.scheduler = scheduler(&self.settings);
        for (route, hold) in self.routes.iter().zip(self.holding) {
            self.scheduler.hold(&route.name, hold, self.now, &mut Vec::new());
        }
        self.ledger = Ledger::restore(&self.saved);
        self.dead = BTreeSet::new();
        let block = self.settings.on_dead == OnDead::Block;
        let mut dead = 0;
        let mut again = Vec::new();
        for (id, row) in &self.rows {
            let (state, mut row) = (row.0, *row);
            let is_old = self.noted.contains(&index_of(*id)) && state == LetterState::Replaying;
            row.0 = if is_old { LetterState::Dead } else { state };
            let stored = stored(*id, row, &self.events[index_of(*id)]);
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
            if !self.noted.contains(&index) {
                self.scheduler.replay(&stored, self.now, &mut effects);
                continue;
            }
            self.rows.entry(stored.id).and_modify(|row| row.0 = LetterState::Dead);
            self.dead.insert(index);
        }
        self.apply(effects);
        self.send();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Read(count) => self.read(count),
            Step::Answer(pick) => self.answer_one(pick),
            Step::Commit => self.commit(),
            Step::Save => self.save(),
            Step::Wait(seconds) => self.now += Duration::from_secs(seconds),
            Step::Weather(weather) => self.weather = weather,
            Step::Crash(stored) => self.crash(stored),
            Step::Replay(pick) => self.replay(pick),
            Step::Hold(table, hold) => self.hold(table, hold),
            Step::Relieve => self.relieve(),
            Step::Pause(pause) => self.scheduler.set_paused(pause.then(|| "a test".to_owned())),
        }
        self.send();
        assert!(self.requests.len() <= self.scheduler.lanes.len(), "more requests than lanes");
        self.audit();
    }

    /// Every event that is not done is in hand, once.
    fn audit(&self) {
        let mut writes = Vec::new();
        for pending in &self.pending {
            match pending {
                Pending::Put(ordinal, ..) => writes.push(*ordinal),
                Pending::Note(_, ordinals) => writes.extend(ordinals),
                // What is being taken back is in its lane already.
                Pending::Reopen(_) => return,
                _ => {}
            }
        }
        let in_hand = self.scheduler.ordinals().chain(writes);
        assert_eq!(self.ledger.unaccounted(in_hand), 0, "events are lost, or there twice");
    }

    /// Fair weather until nothing happens any more.
    fn settle(&mut self) {
        self.weather = Weather::Fair;
        self.scheduler.set_paused(None);
        (0..TABLES).for_each(|table| self.hold(table, false));
        for _ in 0..3000 {
            self.read(1);
            self.commit();
            self.send();
            if self.requests.is_empty() {
                match self.scheduler.wake_at(self.now) {
                    Some(at) => self.now = at,
                    None if self.read == self.events.len() && self.pending.is_empty() => break,
                    None => {}
                }
                self.send();
            }
            while !self.requests.is_empty() {
                self.answer(0);
            }
        }
        self.save();
    }

    /// Where each event ended.
    fn check_end(&self) {
        let mut waits: HashMap<usize, &str> = HashMap::new();
        for (id, (state, _)) in &self.rows {
            waits.insert(index_of(*id), state.as_str());
        }
        // An event that never gets through waits in its lane while no other key is there to tell
        // whether the sink is up.
        // So does one that is refused, once everything was.
        let may_wait = self.events.iter().any(|event| event.nature == Nature::Poison)
            || self.scheduler.breaker.is_misconfigured();
        assert!(may_wait || self.scheduler.holds().0 == 0, "something is left in a lane");
        // What is sent again behind a dead one waits for a person with it.
        assert!(may_wait || !self.scheduler.is_moving(), "something is still retrying");
        for index in 0..self.events.len() {
            let arrived = self.delivered.contains(&index);
            let stored = waits.get(&index);
            let in_lane = position(index) >= self.saved.floor;
            assert!(arrived || stored.is_some() || in_lane, "event {index} is lost");
        }
        // Repeats too end in the order of the stream: the far side is left with the newest. Only
        // a far side that changes its mind over a crash may take late what it had refused, or
        // refuse what it had taken, and so block what is behind.
        let changes_its_mind =
            |index: &usize| self.given_up.contains(index) || waits.contains_key(index);
        let still_comes = |index: &usize| position(*index) >= self.saved.floor;
        for (later, arrived) in self.last_arrivals.iter().filter(|(later, _)| !still_comes(later)) {
            for (earlier, before) in self.last_arrivals.range(..later) {
                let is_odd = changes_its_mind(earlier) || changes_its_mind(later);
                assert!(
                    is_odd || before < arrived || !self.are_in_order(*earlier, *later),
                    "event {earlier} came again after event {later}"
                );
            }
        }
    }
}

/// `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_sink_answers_nothing_is_lost_and_keys_keep_their_order(
        settings in settings(),
        events in prop::collection::vec(planned(), 1..60),
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut world = World::new(settings, events);
        for step in steps {
            world.step(step);
        }
        world.settle();
        world.check_end();
    }
}
