//! [`World`]: walgate's ledger and marks between a server, a disk and a far side that are made up.

use super::log::{
    COUNT, LOG_END, Letter, ODD, behind, bit, is_whole, key, position, transaction_end,
};
use super::run::{Disk, Flight, Keeper, Kind, Parked, Run, Stage, Write};
use super::{Fault, Nature, Rules};
use crate::config::Confirm;
use crate::lsn::{Lsn, Position};
use crate::progress::ledger::Reached;

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    /// What the slot has heard.
    confirmed: Lsn,
    disk: Disk,
    run: Run,
    processed: [u8; COUNT],
    /// Stored as delivered: never again.
    kept: u8,
    /// A crash or a lost answer lets it come again.
    excused: u8,
    crashes: u8,
    losses: u8,
    replays: u8,
    broken: Option<&'static str>,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Receive,
    Idle,
    Read,
    Send(usize),
    Take(usize),
    Answer(usize),
    Refuse(usize),
    Fail(usize),
    SendAgain(usize),
    TakeAgain(usize),
    AnswerAgain(usize),
    Commit,
    Written,
    KeeperTakes,
    KeeperSyncs,
    KeeperStores,
    KeeperTells,
    // From here on: what need not happen.
    LoseAnswer(usize),
    Replay,
    /// So many records of the journal are on the disk. `server`: it went down as well, and its slot
    /// is back where it was.
    Crash {
        survive: usize,
        server: bool,
    },
}

impl Step {
    /// It is bound to happen if nothing else does.
    pub(super) const fn is_bound(self) -> bool {
        !matches!(self, Self::LoseAnswer(_) | Self::Replay | Self::Crash { .. })
    }
}

impl World {
    /// The very beginning.
    pub(super) fn new(rules: &Rules) -> Self {
        let disk = Disk {
            journal: Vec::new(),
            flushed: 0,
            reached: Reached::default(),
            received: Lsn::ZERO,
            confirmed: Lsn::ZERO,
            letters: [Letter::None; COUNT],
        };
        Self {
            confirmed: Lsn::ZERO,
            run: Run::start(&disk, Lsn::ZERO, rules),
            disk,
            processed: [0; COUNT],
            kept: 0,
            excused: 0,
            crashes: 0,
            losses: 0,
            replays: 0,
            broken: None,
        }
    }

    /// Everything that can happen now.
    pub(super) fn steps(&self, rules: &Rules) -> Vec<Step> {
        let run = &self.run;
        let mut steps = Vec::new();
        let mut may = |can: bool, step: Step| steps.extend(can.then_some(step));
        may(run.stream < COUNT, Step::Receive);
        may(run.stream == COUNT && !run.idle, Step::Idle);
        may(self.next_read().is_some(), Step::Read);
        for event in 0..COUNT {
            let stage = run.stages[event];
            let odd = |nature| event == ODD && rules.nature == nature;
            may(stage == Stage::Lane && run.is_first(event), Step::Send(event));
            may(stage == Stage::Sent, Step::Take(event));
            may(stage == Stage::Sent && odd(Nature::Refused), Step::Refuse(event));
            may(stage == Stage::Sent && odd(Nature::Failing), Step::Fail(event));
            may(stage == Stage::Taken, Step::Answer(event));
            let flight = run.parked[event].map(|parked| parked.flight);
            may(run.may_try(event), Step::SendAgain(event));
            may(flight == Some(Flight::Sent), Step::TakeAgain(event));
            may(flight == Some(Flight::Taken), Step::AnswerAgain(event));
            let answered = stage == Stage::Taken || flight == Some(Flight::Taken);
            may(answered && self.losses < rules.losses, Step::LoseAnswer(event));
        }
        may(run.written.is_none() && !run.ward.is_empty(), Step::Commit);
        may(run.written.is_some(), Step::Written);
        may(run.keeper == Keeper::Idle && self.is_worth_a_tick(rules), Step::KeeperTakes);
        may(matches!(run.keeper, Keeper::Taken { .. }), Step::KeeperSyncs);
        may(matches!(run.keeper, Keeper::Synced { .. }), Step::KeeperStores);
        may(run.keeper == Keeper::Stored, Step::KeeperTells);
        let may_replay = self.disk.letters[ODD].is_dead();
        may(may_replay && self.replays < 1, Step::Replay);
        if self.crashes < rules.crashes {
            for survive in self.disk.flushed..=self.disk.journal.len() {
                may(true, Step::Crash { survive, server: false });
                may(self.confirmed > Lsn::ZERO, Step::Crash { survive, server: true });
            }
        }
        steps
    }

    /// What is wrong, if something is. `ended`: nothing is bound to happen any more.
    pub(super) fn wrong(&self, rules: &Rules, ended: bool) -> Option<&'static str> {
        if self.broken.is_some() {
            return self.broken;
        }
        if self.confirmed > self.disk.confirmed {
            return Some("the slot knows more than is stored");
        }
        let flushed = &self.disk.journal[..self.disk.flushed];
        for event in rules.first..COUNT {
            let in_journal = flushed.contains(&event);
            let letter = self.disk.letters[event];
            let is_safe = match rules.confirm {
                Confirm::Journaled => in_journal,
                // A reference is worth what it refers to.
                Confirm::Delivered if letter == Letter::Blocked => in_journal,
                Confirm::Delivered => self.processed[event] > 0 || letter != Letter::None,
            };
            if transaction_end(event) <= self.confirmed && !is_safe {
                return Some("the slot passed what is not safe");
            }
            if transaction_end(event) <= self.disk.received && !in_journal {
                return Some("what counts as received is not on the disk");
            }
            let waits = rules.blocks && letter == Letter::Blocked;
            let is_somewhere = self.processed[event] > 0 || letter.is_dead() || waits;
            if ended && !is_somewhere {
                return Some("an event is lost");
            }
            let is_stuck = matches!(letter, Letter::Retrying | Letter::Replaying { .. })
                || (letter == Letter::Blocked && !(waits && self.disk.letters[ODD].is_dead()));
            if ended && is_stuck {
                return Some("an event is stuck among the dead letters");
            }
        }
        (ended && self.confirmed < LOG_END).then_some("the slot stands still")
    }

    /// Lets it happen.
    pub(super) fn take(&mut self, step: Step, rules: &Rules) {
        match step {
            Step::Receive => self.receive(rules),
            Step::Idle => {
                self.run.idle = true;
                self.run.seen = LOG_END;
                let end = self.journal_end();
                self.run.marks.push(end, LOG_END);
            }
            Step::Read => self.read(),
            Step::Send(event) => self.run.stages[event] = Stage::Sent,
            Step::Take(event) => {
                self.process(event, rules);
                self.run.stages[event] = Stage::Taken;
            }
            Step::Answer(event) => self.answered(event),
            Step::Refuse(event) => self.refused(event, rules),
            Step::Fail(event) => {
                self.run.stages[event] = Stage::Left;
                self.run.park(event, Kind::Retrying);
                self.run.park_followers(key(event), event + 1);
            }
            Step::SendAgain(event) => self.send_again(event, rules),
            Step::TakeAgain(event) => {
                self.process(event, rules);
                self.run.fly(event, Flight::Taken);
            }
            Step::AnswerAgain(event) => {
                self.run.fly(event, Flight::Over);
                self.run.ward.push_back(Write::Delete(event));
                self.run.note(event, false);
            }
            Step::LoseAnswer(event) => {
                self.losses += 1;
                self.excused |= bit(event);
                match self.run.stages[event] {
                    Stage::Taken => self.run.stages[event] = Stage::Lane,
                    _ => self.run.fly(event, Flight::None),
                }
            }
            Step::Commit => self.commit(rules),
            Step::Written => self.written(rules),
            Step::KeeperTakes => {
                let reached = self.run.reached(rules);
                self.run.stale = false;
                self.run.keeper = Keeper::Taken { reached, acked: self.run.acked };
            }
            Step::KeeperSyncs => self.keeper_syncs(rules),
            Step::KeeperStores => self.keeper_stores(rules),
            Step::KeeperTells => {
                self.tell();
                self.run.keeper = Keeper::Idle;
            }
            Step::Replay => {
                self.replays += 1;
                self.run.ward.push_back(Write::Begin(ODD));
            }
            Step::Crash { survive, server } => self.crash(survive, server, rules),
        }
        // That a word is lost is the same as a crash before it: what is said is heard, but never
        // more than what has come.
        self.confirmed = self.confirmed.max(self.run.told.min(self.run.seen));
    }

    fn journal_end(&self) -> Position {
        self.disk.journal.last().map_or(Position::ZERO, |event| behind(*event))
    }

    fn receive(&mut self, rules: &Rules) {
        let event = self.run.stream;
        self.run.stream += 1;
        self.disk.journal.push(event);
        if is_whole(event) {
            let end = transaction_end(event);
            self.run.seen = self.run.seen.max(end);
            self.run.marks.push(behind(event), end);
        } else if rules.fault == Fault::MarksInsideTransactions {
            self.run.marks.push(behind(event), transaction_end(event));
        }
        // Where something is set aside, what matters of reading late is told by a crash.
        if rules.nature != Nature::Good && self.crashes == 0 {
            self.read();
        }
    }

    fn next_read(&self) -> Option<usize> {
        self.disk.journal.iter().copied().find(|event| *event >= self.run.read)
    }

    fn read(&mut self) {
        let Some(event) = self.next_read() else { return };
        let run = &mut self.run;
        run.read = event + 1;
        if run.ledger.covers(position(event)) {
            run.stages[event] = Stage::Left;
            run.ledger.scanned(behind(event));
            return;
        }
        run.ordinals[event] = run.ledger.track(position(event));
        run.ledger.scanned(behind(event));
        if run.is_settled(event) {
            run.stages[event] = Stage::Left;
            run.ledger.acknowledge(run.ordinals[event]);
        } else if run.holds_key(key(event)) {
            run.stages[event] = Stage::Left;
            run.park(event, Kind::Blocked);
        } else {
            run.stages[event] = Stage::Lane;
        }
    }

    /// The far side takes an event.
    fn process(&mut self, event: usize, rules: &Rules) {
        let passes = |earlier: usize| key(earlier) == key(event) && self.processed[earlier] == 0;
        let may_pass = rules.nature == Nature::Refused && !rules.blocks;
        let later = (event + 1..COUNT).filter(|later| key(*later) == key(event));
        let overtakes = |later: usize| self.processed[later] > 0 && self.excused & bit(later) == 0;
        if self.kept & bit(event) != 0 {
            self.broken = Some("what was stored as delivered came again");
        } else if self.processed[event] > 0 && self.excused & bit(event) == 0 {
            self.broken = Some("an event came again without a crash or a lost answer");
        } else if self.processed[event] == 0 && later.into_iter().any(overtakes) {
            self.broken = Some("an event came behind a later one of its key");
        } else if !may_pass && (rules.first..event).any(passes) {
            self.broken = Some("an event came before an earlier one of its key");
        }
        self.excused &= !bit(event);
        self.processed[event] = self.processed[event].saturating_add(1);
    }

    fn answered(&mut self, event: usize) {
        let run = &mut self.run;
        run.stages[event] = Stage::Left;
        if !run.has_dead(event) && run.notes == 0 {
            run.ledger.acknowledge(run.ordinals[event]);
            run.acked |= bit(event);
        } else {
            run.note(event, true);
        }
    }

    fn refused(&mut self, event: usize, rules: &Rules) {
        let run = &mut self.run;
        run.stages[event] = Stage::Left;
        run.dead |= bit(event);
        if rules.fault == Fault::DoneBeforeStored {
            run.ledger.acknowledge(run.ordinals[event]);
        }
        if rules.blocks {
            run.park(event, Kind::Dead);
            run.park_followers(key(event), event + 1);
        } else {
            run.ward.push_back(Write::Put(event, Kind::Dead));
        }
    }

    fn send_again(&mut self, event: usize, rules: &Rules) {
        if self.run.overtaken & bit(event) == 0 {
            return self.run.fly(event, Flight::Sent);
        }
        self.run.overtaken &= !bit(event);
        self.run.ward.push_back(Write::Refuse(event));
        let dead = Parked { kind: Kind::Dead, stored: true, flight: Flight::None };
        self.run.parked[event] = rules.blocks.then_some(dead);
    }

    fn commit(&mut self, rules: &Rules) {
        let Some(write) = self.run.ward.pop_front() else { return };
        let letters = &mut self.disk.letters;
        match write {
            Write::Put(event, kind) => {
                letters[event] = match kind {
                    Kind::Retrying => Letter::Retrying,
                    Kind::Blocked => Letter::Blocked,
                    Kind::Dead => Letter::Dead { newer: false },
                    Kind::Replaying => Letter::Replaying { newer: false },
                };
            }
            Write::Note { overtakes: false, .. } => {}
            Write::Note { event, .. } => {
                for older in (0..event).filter(|older| key(*older) == key(event)) {
                    letters[older] = match letters[older] {
                        Letter::Dead { .. } => Letter::Dead { newer: true },
                        Letter::Replaying { .. } => Letter::Replaying { newer: true },
                        letter => letter,
                    };
                }
                if letters[event].is_dead() {
                    letters[event] = Letter::Delivered;
                }
            }
            Write::Delete(event) => {
                letters[event] = Letter::Delivered;
                self.kept |= bit(event);
                if rules.fault != Fault::DeletesAlone {
                    self.disk.reached = self.run.reached(rules);
                    self.kept |= self.run.acked;
                    self.run.stale = true;
                }
            }
            Write::Begin(event) => {
                if letters[event] == (Letter::Dead { newer: false }) {
                    letters[event] = Letter::Replaying { newer: false };
                }
            }
            Write::Feed => {
                for letter in letters {
                    if *letter == (Letter::Replaying { newer: true }) {
                        *letter = Letter::Dead { newer: true };
                    }
                }
            }
            Write::Refuse(event) => {
                if let Letter::Replaying { newer } = letters[event] {
                    letters[event] = Letter::Dead { newer };
                }
            }
        }
        self.run.written = Some(write);
    }

    fn written(&mut self, rules: &Rules) {
        let Some(write) = self.run.written.take() else { return };
        let run = &mut self.run;
        match write {
            Write::Put(event, _) => {
                run.ledger.acknowledge(run.ordinals[event]);
                run.parked[event].iter_mut().for_each(|parked| parked.stored = true);
            }
            Write::Note { event, acks, .. } => {
                run.notes -= 1;
                if acks {
                    run.ledger.acknowledge(run.ordinals[event]);
                    run.acked |= bit(event);
                }
            }
            Write::Delete(event) => run.parked[event] = None,
            Write::Begin(_) => run.ward.push_back(Write::Feed),
            Write::Feed => {
                for event in 0..COUNT {
                    if matches!(self.disk.letters[event], Letter::Replaying { .. }) {
                        run.replay(event);
                    }
                }
                // What was taken since, and is not noted yet.
                for write in run.ward.clone() {
                    if let Write::Note { event, overtakes: true, .. } = write
                        && rules.fault != Fault::ForgetsNotes
                    {
                        run.overtake(event);
                    }
                }
            }
            Write::Refuse(_) => {}
        }
    }

    fn is_worth_a_tick(&self, rules: &Rules) -> bool {
        let moment = (self.journal_end(), self.run.reached(rules));
        let below = self.confirmable(&moment.1, moment.0, rules);
        self.run.last.as_ref() != Some(&moment)
            || self.run.marks.peek(below).is_some_and(|lsn| lsn > self.run.safe)
    }

    fn confirmable(&self, reached: &Reached, through: Position, rules: &Rules) -> Position {
        match rules.confirm {
            Confirm::Journaled => through,
            Confirm::Delivered => reached.floor.min(through),
        }
    }

    fn keeper_syncs(&mut self, rules: &Rules) {
        let Keeper::Taken { reached, acked } = self.run.keeper.clone() else { return };
        if rules.fault != Fault::DoesNotFlush {
            self.disk.flushed = self.disk.journal.len();
        }
        let through = self.journal_end();
        let whole = self.disk.journal.iter().rev().find(|event| is_whole(**event));
        let received = whole.map(|event| transaction_end(*event));
        let below = self.confirmable(&reached, through, rules);
        if let Some(lsn) = self.run.marks.pass(below) {
            self.run.safe = self.run.safe.max(lsn);
        }
        self.run.last = Some((through, reached.clone()));
        self.run.keeper = Keeper::Synced { reached, acked, received };
        if rules.fault == Fault::TellsBeforeStoring {
            self.tell();
        }
    }

    fn keeper_stores(&mut self, rules: &Rules) {
        let Keeper::Synced { reached, acked, received } = self.run.keeper.clone() else { return };
        if !self.run.stale {
            self.disk.reached = reached;
            self.kept |= acked;
        }
        if rules.fault == Fault::ForgetsRanges {
            self.disk.reached.finished.clear();
        }
        self.disk.received = self.disk.received.max(received.unwrap_or_default());
        self.disk.confirmed = self.disk.confirmed.max(self.run.safe);
        self.run.keeper = Keeper::Stored;
    }

    /// Sends the slot what it may forget.
    fn tell(&mut self) {
        if self.run.safe > self.run.told {
            if self.run.safe != self.disk.confirmed {
                self.broken = Some("the slot is told what is not stored");
            }
            self.run.told = self.run.safe;
        }
    }

    fn crash(&mut self, survive: usize, server: bool, rules: &Rules) {
        self.crashes += 1;
        if server {
            self.confirmed = Lsn::ZERO;
        }
        for event in 0..COUNT {
            if self.processed[event] > 0 && self.kept & bit(event) == 0 {
                self.excused |= bit(event);
            }
        }
        self.disk.journal.truncate(survive);
        // What a killed process wrote is flushed at the start.
        self.disk.flushed = survive;
        self.run = Run::start(&self.disk, self.confirmed, rules);
    }
}
