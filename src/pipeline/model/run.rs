//! [`Run`]: what a process knows, and forgets at its end.

use std::collections::VecDeque;

use super::super::marks::Marks;
use super::log::is_whole;
use super::log::{COUNT, Letter, behind, bit, key, position, transaction_end};
use super::{Fault, Rules};
use crate::lsn::{Lsn, Position};
use crate::progress::ledger::{Ledger, Reached};

/// Where the copy of an event is that the stream brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Away,
    Lane,
    Sent,
    /// The far side has it, the answer is on its way.
    Taken,
    /// Out of its lane: acknowledged, or set aside.
    Left,
}

/// An event outside of its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Parked {
    pub(super) kind: Kind,
    pub(super) stored: bool,
    pub(super) flight: Flight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Retrying,
    Blocked,
    Dead,
    Replaying,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Flight {
    None,
    Sent,
    Taken,
    /// Its row is about to be settled.
    Over,
}

/// What the ward has to write, one transaction each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Write {
    Put(usize, Kind),
    /// The sink took it; `overtakes`: older dead letters of its key; `acks`: it is done with that.
    Note {
        event: usize,
        overtakes: bool,
        acks: bool,
    },
    Delete(usize),
    Begin(usize),
    Feed,
    Refuse(usize),
}

/// Where the keeper is in its tick.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Keeper {
    Idle,
    Taken { reached: Reached, acked: u8 },
    Synced { reached: Reached, acked: u8, received: Option<Lsn> },
    Stored,
}

/// What survives a crash of the process and of its machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Disk {
    /// Events in the journal, in order, and how many of them are flushed.
    pub(super) journal: Vec<usize>,
    pub(super) flushed: usize,
    pub(super) reached: Reached,
    pub(super) received: Lsn,
    pub(super) confirmed: Lsn,
    pub(super) letters: [Letter; COUNT],
}

/// What does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Run {
    /// The next event that the server sends.
    pub(super) stream: usize,
    /// Everything that ends there has come.
    pub(super) seen: Lsn,
    pub(super) idle: bool,
    /// The next event that the sink reads of the journal.
    pub(super) read: usize,
    pub(super) stages: [Stage; COUNT],
    pub(super) ordinals: [u64; COUNT],
    pub(super) parked: [Option<Parked>; COUNT],
    pub(super) settled: u8,
    pub(super) dead: u8,
    pub(super) notes: u8,
    pub(super) overtaken: u8,
    pub(super) ledger: Ledger,
    pub(super) marks: Marks,
    pub(super) ward: VecDeque<Write>,
    pub(super) written: Option<Write>,
    pub(super) keeper: Keeper,
    /// The ward has stored something newer than what the keeper took.
    pub(super) stale: bool,
    pub(super) last: Option<(Position, Reached)>,
    pub(super) safe: Lsn,
    pub(super) told: Lsn,
    /// Delivered, and done in the ledger.
    pub(super) acked: u8,
}

impl Run {
    /// Takes up what the disk knows.
    pub(super) fn start(disk: &Disk, confirmed: Lsn, rules: &Rules) -> Self {
        let whole = disk.journal.iter().rev().find(|event| is_whole(**event));
        let received = whole.map_or(Lsn::ZERO, |event| transaction_end(*event));
        let received = received.max(disk.received);
        let last = disk.journal.last();
        let begin = received.max(confirmed);
        let is_new = |event: &usize| {
            transaction_end(*event) > begin && last.is_none_or(|last| *event > *last)
        };
        let floor = disk.reached.floor;
        let mut run = Self {
            stream: (rules.first..COUNT).find(is_new).unwrap_or(COUNT),
            seen: begin,
            idle: false,
            read: (0..COUNT).find(|event| behind(*event) > floor).unwrap_or(COUNT),
            stages: [Stage::Away; COUNT],
            ordinals: [0; COUNT],
            parked: [None; COUNT],
            settled: 0,
            dead: 0,
            notes: 0,
            overtaken: 0,
            ledger: Ledger::restore(&disk.reached),
            marks: Marks::default(),
            ward: VecDeque::new(),
            written: None,
            keeper: Keeper::Idle,
            stale: false,
            last: None,
            safe: Lsn::ZERO,
            told: disk.confirmed,
            acked: 0,
        };
        if received > Lsn::ZERO {
            let end = last.map_or(Position::ZERO, |event| behind(*event));
            run.marks.push(end.min(Position::new(received, 0)), received);
        }
        (0..COUNT).for_each(|event| run.restore(event, disk, rules));
        run
    }

    pub(super) fn restore(&mut self, event: usize, disk: &Disk, rules: &Rules) {
        let letter = disk.letters[event];
        if letter.may_be_overtaken() {
            self.dead |= bit(event);
        }
        let is_replaying = matches!(letter, Letter::Replaying { .. });
        if is_replaying && self.ward.is_empty() {
            self.ward.push_back(Write::Feed);
        }
        if is_replaying && rules.fault == Fault::ForgetsReplays {
            return;
        }
        let comes_again = position(event) >= disk.reached.floor;
        let is_followed =
            (event..COUNT).any(|e| key(e) == key(event) && disk.letters[e] == Letter::Blocked);
        let kind = match letter {
            Letter::None | Letter::Delivered => return,
            Letter::Retrying => Kind::Retrying,
            Letter::Blocked => Kind::Blocked,
            Letter::Replaying { newer: false } if rules.blocks || comes_again || is_followed => {
                Kind::Replaying
            }
            Letter::Replaying { newer: false } => return,
            Letter::Dead { .. } | Letter::Replaying { .. } if rules.blocks => Kind::Dead,
            Letter::Dead { .. } | Letter::Replaying { .. } => {
                self.settled |= if comes_again { bit(event) } else { 0 };
                return;
            }
        };
        self.parked[event] = Some(Parked { kind, stored: true, flight: Flight::None });
    }

    pub(super) fn reached(&self, rules: &Rules) -> Reached {
        let mut reached = self.ledger.reached();
        if rules.fault == Fault::PassesUndone {
            reached.floor = self.ledger.read_to();
        }
        reached
    }

    pub(super) fn is_settled(&self, event: usize) -> bool {
        self.settled & bit(event) != 0
            || self.parked[event].is_some()
            || self.stages[event] == Stage::Left
    }

    pub(super) fn holds_key(&self, of: u8) -> bool {
        (0..COUNT).any(|event| key(event) == of && self.parked[event].is_some())
    }

    /// Whether nothing of its key is before it in the lane.
    pub(super) fn is_first(&self, event: usize) -> bool {
        let moves = |stage| matches!(stage, Stage::Lane | Stage::Sent | Stage::Taken);
        !(0..COUNT).any(|other| {
            let before = other < event && moves(self.stages[other]);
            let under_way =
                other != event && matches!(self.stages[other], Stage::Sent | Stage::Taken);
            key(other) == key(event) && (before || under_way)
        })
    }

    /// Whether what is set aside may be sent now: the first of its key, once the stream is past it
    /// and nothing of its key is under way.
    pub(super) fn may_try(&self, event: usize) -> bool {
        let Some(parked) = self.parked[event] else { return false };
        let is_front = !(0..event).any(|o| key(o) == key(event) && self.parked[o].is_some());
        // What was under way when it was to be sent again, also where it has to go once more: all
        // else of its key has left the lane.
        let under_way = (0..COUNT).any(|other| {
            let stage = self.stages[other];
            key(other) == key(event) && matches!(stage, Stage::Lane | Stage::Sent | Stage::Taken)
        });
        let is_busy = self.parked.iter().enumerate().any(|(other, parked)| {
            let flies = parked.is_some_and(|p| matches!(p.flight, Flight::Sent | Flight::Taken));
            key(other) == key(event) && flies
        });
        let waits = is_busy || (parked.kind == Kind::Replaying && under_way);
        is_front
            && parked.stored
            && parked.flight == Flight::None
            && parked.kind != Kind::Dead
            && self.read > event
            && !waits
    }

    pub(super) fn fly(&mut self, event: usize, flight: Flight) {
        self.parked[event].iter_mut().for_each(|parked| parked.flight = flight);
    }

    pub(super) fn park(&mut self, event: usize, kind: Kind) {
        self.parked[event] = Some(Parked { kind, stored: false, flight: Flight::None });
        self.ward.push_back(Write::Put(event, kind));
    }

    pub(super) fn park_followers(&mut self, of: u8, from: usize) {
        for event in from..COUNT {
            if key(event) == of && self.stages[event] == Stage::Lane {
                self.stages[event] = Stage::Left;
                self.park(event, Kind::Blocked);
            }
        }
    }

    /// A dead letter is to be sent again.
    pub(super) fn replay(&mut self, event: usize) {
        if self.read <= event {
            self.settled |= bit(event);
        }
        match self.parked[event].map(|parked| parked.kind) {
            None | Some(Kind::Dead) => {
                let kind = Kind::Replaying;
                self.parked[event] = Some(Parked { kind, stored: true, flight: Flight::None });
            }
            Some(_) => return,
        }
        self.park_followers(key(event), 0);
    }

    /// Whether there are dead letters of an event's key whose later changes are to be noted.
    pub(super) fn has_dead(&self, event: usize) -> bool {
        (0..COUNT).any(|other| key(other) == key(event) && self.dead & bit(other) != 0)
    }

    /// The sink took an event: what is older of its key among the dead letters is noted first.
    pub(super) fn note(&mut self, event: usize, acks: bool) {
        let is_noted = self.has_dead(event);
        if !acks && !is_noted {
            return;
        }
        let passed = (0..=event).filter(|older| key(*older) == key(event));
        self.dead = passed.fold(self.dead, |dead, older| dead & !bit(older));
        if is_noted {
            self.overtake(event);
        }
        self.notes += 1;
        self.ward.push_back(Write::Note { event, overtakes: is_noted, acks });
    }

    /// What is older of the key of an event and is being sent again is not.
    pub(super) fn overtake(&mut self, event: usize) {
        for older in (0..event).filter(|older| key(*older) == key(event)) {
            if self.parked[older].is_some_and(|parked| parked.kind == Kind::Replaying) {
                self.overtaken |= bit(older);
            }
        }
    }
}
