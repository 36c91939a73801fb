//! A sink that does its worst, crashes included, against the scheduler's promises.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use proptest::prelude::*;

use super::super::dead_letter::Stored;
use super::super::settings::OnDead;
use super::*;
use crate::chunk::{Chunk, Transaction};
use crate::envelope::{Envelope, RouteLabel};
use crate::failure::Category;
use crate::lsn::Lsn;
use crate::progress::ledger::{Ledger, Reached};
use crate::sink::Answer;

mod disk;
mod far;
mod input;
mod operator;

use input::{Nature, OTHER, Planned, Step, TABLES, Weather, planned, settings, step};

/// Something that is not durable yet.
#[derive(Debug)]
enum Pending {
    Put(Ordinal, EventId, LetterState, [Option<u64>; 2]),
    Tried(EventId, LetterState),
    Delete(EventId),
    /// What was taken of keys that have dead letters, and what is done once that is noted.
    Note(Vec<usize>, Vec<Ordinal>),
    Refuse(EventId),
    Discard(EventId),
    Reopen(Vec<Reopened>),
}

struct World {
    settings: Settings,
    events: Vec<Planned>,
    /// The far side answers for each event of a batch.
    per_event: bool,
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
    discarded: BTreeSet<EventId>,
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
    /// What was known to be taken since the last crash.
    taken: BTreeSet<usize>,
    /// Which tables' routes are held.
    holding: [bool; TABLES],
    /// What a person has sent again whatever came since.
    forced: BTreeSet<EventId>,
    /// The number of dead letters is not compared any more: at the end, a person says that it fits,
    /// and what is discarded while it comes back is counted once it is refused again.
    uncounted: bool,
    /// Since the last crash: retries that were not accepted, requests that were, and when it was.
    retries: i64,
    accepted: i64,
    begun: Duration,
    chunk: Arc<Chunk>,
    /// One of a table.
    routes: [Arc<RouteLabel>; OTHER + 1],
}

/// So many more events come to show that the sink is up.
const OTHERS_MAX: usize = 200;

/// One that comes to the end of its patience within a test.
fn scheduler(settings: &Settings) -> Scheduler {
    let mut scheduler = Scheduler::new(settings);
    scheduler.rejections_max = 4;
    scheduler
}

fn stored(id: EventId, row: (LetterState, [Option<u64>; 2]), planned: &Planned) -> Stored {
    let (state, keys) = row;
    let (route, is_truncate) = (planned.route(), planned.truncate);
    Stored {
        row: 0,
        id,
        keys,
        state,
        attempts: 2,
        is_truncate,
        is_discarded: false,
        route,
        replays: 1,
        forced: false,
    }
}

fn index_of(id: EventId) -> usize {
    usize::try_from(id.position.commit_lsn.0 - 1).unwrap()
}

fn position(index: usize) -> Position {
    Position::new(Lsn(index as u64 + 1), 0)
}

impl World {
    fn new(settings: Settings, events: Vec<Planned>, per_event: bool) -> Self {
        let transaction =
            Transaction { commit_lsn: Lsn(1), end_lsn: None, xid: None, commit_time: None };
        let chunk = Chunk::of_one(1, transaction, None, 0, Operation::Insert, Bytes::new());
        Self {
            scheduler: scheduler(&settings),
            settings,
            events,
            per_event,
            ledger: Ledger::default(),
            read: 0,
            requests: Vec::new(),
            pending: Vec::new(),
            now: Duration::ZERO,
            weather: Weather::Fair,
            saved: Reached::default(),
            rows: BTreeMap::new(),
            discarded: BTreeSet::new(),
            delivered: BTreeSet::new(),
            last_arrivals: BTreeMap::new(),
            arrivals: 0,
            given_up: BTreeSet::new(),
            places: BTreeMap::new(),
            dead: BTreeSet::new(),
            noted: BTreeSet::new(),
            taken: BTreeSet::new(),
            holding: [false; TABLES],
            forced: BTreeSet::new(),
            uncounted: false,
            retries: 0,
            accepted: 0,
            begun: Duration::ZERO,
            chunk: Arc::new(chunk.unwrap()),
            routes: ["r0", "r1", "r2"]
                .map(|name| Arc::new(RouteLabel { name: name.to_owned(), mapping: None })),
        }
    }

    fn read(&mut self, count: usize) {
        let mut effects = Vec::new();
        for _ in 0..count {
            if self.scheduler.has_too_many_dead() {
                break;
            }
            let index = self.read;
            let Some(planned) = self.events.get(index) else { break };
            self.read += 1;
            if self.ledger.covers(position(index)) {
                continue;
            }
            let envelope = self.envelope(index, planned);
            let ordinal = self.ledger.track(position(index));
            let event = Tracked::new(ordinal, envelope);
            if planned.nature == Nature::Unmappable {
                let failure = Failure::new(Category::Rejected, "can't be mapped");
                self.scheduler.refuse(event, failure, self.now, &mut effects);
            } else {
                self.scheduler.push(event, self.now, &mut effects);
            }
        }
        self.scheduler.passed(position(self.read), self.now);
        self.apply(effects);
    }

    fn envelope(&self, index: usize, planned: &Planned) -> Envelope {
        Envelope {
            id: EventId { timeline: 1, position: position(index) },
            operation: if planned.truncate { Operation::Truncate } else { Operation::Update },
            body: Bytes::from_static(b"x"),
            key: Bytes::new(),
            key_hash: planned.key,
            before_key_hash: planned.before,
            before_key: None,
            outbox: None,
            commit_time: None,
            route: Arc::clone(&self.routes[planned.table]),
            chunk: Arc::clone(&self.chunk),
            entry: 0,
        }
    }

    fn recount(&mut self) {
        let dead = self.rows.values().filter(|row| row.0 == LetterState::Dead).count();
        self.scheduler.set_dead(dead as u64, self.now);
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
            Step::Discard(pick) => self.discard(pick),
            Step::Hold(table, hold) => self.hold(table, hold),
            Step::Relieve => self.relieve(),
            Step::ReplayAll => {
                self.commit();
                let ids: Vec<EventId> = self.rows.keys().copied().collect();
                ids.into_iter().for_each(|id| self.replay_one(id, false));
            }
            Step::Force(pick) => self.force(pick),
            Step::Pause(pause) => self.scheduler.set_paused(pause.then(|| "a test".to_owned())),
        }
        self.send();
        assert!(self.requests.len() <= self.scheduler.lanes.len(), "more requests than lanes");
        self.audit();
    }

    /// What is kept twice agrees, nothing waits for what does not come, and it is awake in time.
    fn check(&self) {
        let s = &self.scheduler;
        let mut expected: BTreeMap<EventId, u32> = BTreeMap::new();
        let waits: BTreeMap<EventId, u32> = s.parked.check().into_iter().collect();
        let mut fences: BTreeMap<EventId, u32> = BTreeMap::new();
        for fence in s.fences.values() {
            let (id, waits, aside) = fence.check();
            if waits > 0 {
                fences.insert(id, waits);
            }
            aside.iter().for_each(|id| *expected.entry(*id).or_default() += 1);
        }
        let (mut marked, mut joined, mut bytes) = (BTreeMap::<EventId, u32>::new(), 0, 0);
        let mut holds = 0;
        for lane in &s.lanes {
            let (marks, joins, weight, held) = lane.check();
            marks.iter().for_each(|id| *marked.entry(*id).or_default() += 1);
            (joined, bytes) = (joined + joins, bytes + weight);
            holds += held.len() as u64;
        }
        let fenced = s.fences.values().flat_map(Fence::queue).chain(&s.behind);
        bytes += fenced.map(|event| super::weight(&event.envelope)).sum::<u64>();
        assert_eq!((s.events, s.bytes), (s.ordinals().count(), bytes), "events, bytes");
        assert_eq!(s.joined, joined, "joined");
        assert_eq!(s.joined, holds, "holds");
        for (id, count) in &marked {
            if !fences.contains_key(id) && s.parked.contains(*id) {
                *expected.entry(*id).or_default() += count;
            }
        }
        for (id, waits) in &fences {
            assert_eq!(marked.get(id), Some(waits), "fence {id}");
        }
        for id in s.ahead.iter().filter(|id| s.parked.contains(**id)) {
            *expected.entry(*id).or_default() += 1;
        }
        expected.retain(|id, _| s.parked.contains(*id));
        assert_eq!(waits, expected, "waits");
        let stored = self.requests.iter().filter(|r| r.id.stored().is_some()).count();
        assert_eq!(s.in_flight as usize, self.requests.len());
        assert_eq!(s.parked_in_flight as usize, stored);
        self.check_dead();
        let reopening = self.pending.iter().any(|pending| matches!(pending, Pending::Reopen(_)));
        if s.paused.is_some() || reopening || s.has_too_many_dead() {
            return;
        }
        let wake = s.wake_at();
        assert!(wake.is_none_or(|at| at > self.now), "spins");
        if wake.is_none() && self.requests.is_empty() && self.pending.is_empty() {
            assert_eq!(s.events, 0, "sleeps for ever");
            if self.read == self.events.len() {
                assert!(!s.is_moving(), "sleeps for ever with one that moves");
            }
        }
    }

    /// The dead letters are those that are stored, or are about to be.
    fn check_dead(&self) {
        if !self.uncounted {
            let mut rows: BTreeMap<EventId, LetterState> =
                self.rows.iter().map(|(id, row)| (*id, row.0)).collect();
            for pending in &self.pending {
                match pending {
                    Pending::Put(_, id, state, _) if !self.discarded.contains(id) => {
                        rows.insert(*id, *state);
                    }
                    Pending::Tried(id, state) => {
                        rows.entry(*id).and_modify(|row| *row = *state);
                    }
                    Pending::Refuse(id) => {
                        rows.entry(*id).and_modify(|row| *row = LetterState::Dead);
                    }
                    Pending::Delete(id) => drop(rows.remove(id)),
                    Pending::Reopen(events) => {
                        events.iter().for_each(|e| {
                            rows.remove(&e.id);
                        });
                    }
                    _ => {}
                }
            }
            let dead = rows.values().filter(|state| **state == LetterState::Dead).count();
            assert_eq!(self.scheduler.dead, dead as u64, "dead");
        }
    }

    /// Every event that is not done is in hand, once.
    fn audit(&self) {
        self.check();
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

    /// Fair weather until nothing happens any more. Where an event has to wait for others to show
    /// whether the sink is up, others come.
    fn settle(&mut self) {
        self.weather = Weather::Fair;
        self.uncounted = true;
        self.scheduler.set_paused(None);
        (0..TABLES).for_each(|table| self.hold(table, false));
        let planned = self.events.len();
        for _ in 0..5000 {
            if self.scheduler.has_too_many_dead() {
                // A person looks at them.
                self.scheduler.set_dead(0, self.now);
            }
            self.read(1);
            self.commit();
            self.send();
            self.check();
            if self.requests.is_empty() {
                let is_read = self.read == self.events.len() && self.pending.is_empty();
                let others_come = !self.is_settled() && self.events.len() < planned + OTHERS_MAX;
                match self.scheduler.wake_at() {
                    Some(at) => self.now = at,
                    None if self.scheduler.has_too_many_dead() => {}
                    None if is_read && !others_come => break,
                    None => {}
                }
                if is_read && others_come {
                    self.events.push(Planned::good(self.events.len() as u64));
                }
                self.send();
            }
            while !self.requests.is_empty() {
                self.answer(0);
            }
        }
        self.save();
    }

    fn is_settled(&self) -> bool {
        self.scheduler.holds().0 == 0 && !self.scheduler.is_moving()
    }

    /// Where each event ended.
    fn check_end(&self) {
        let mut waits: HashMap<usize, &str> = HashMap::new();
        for (id, (state, _)) in &self.rows {
            waits.insert(index_of(*id), state.as_str());
        }
        assert_eq!(self.scheduler.holds().0, 0, "something is left in a lane");
        // What is sent again behind a dead one waits for a person with it.
        assert!(!self.scheduler.is_moving(), "something is still retrying");
        for (id, (state, _)) in &self.rows {
            let is_dead = |row: &(&EventId, &(LetterState, _))| row.1.0 == LetterState::Dead;
            let before = self.rows.range(..id).filter(is_dead).count();
            assert!(*state == LetterState::Dead || before > 0, "{id} waits for nobody");
        }
        let discarded: BTreeSet<usize> = self.discarded.iter().copied().map(index_of).collect();
        for index in 0..self.events.len() {
            let arrived = self.delivered.contains(&index);
            let stored = waits.get(&index);
            let is_discarded = discarded.contains(&index);
            assert!(arrived || stored.is_some() || is_discarded, "event {index} is lost");
        }
        // Repeats too end in the order of the stream: the far side is left with the newest. Only
        // a far side that changes its mind over a crash may take late what it had refused, or
        // refuse what it had taken, and so block what is behind. And a person may discard what came.
        let changes_its_mind = |index: &usize| {
            self.given_up.contains(index) || waits.contains_key(index) || discarded.contains(index)
        };
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
        per_event in any::<bool>(),
    ) {
        let mut world = World::new(settings, events, per_event);
        for step in steps {
            world.step(step);
        }
        world.settle();
        world.check_end();
    }
}
