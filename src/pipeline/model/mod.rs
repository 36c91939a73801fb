//! The way back, checked exhaustively: every order in which a few events can be received,
//! journaled, sent, acknowledged, set aside, sent again, stored and confirmed, with a crash between
//! any two steps.
//!
//! Ledger and marks are the real ones. The server, the disk, the far side and what the scheduler
//! and the keeper decide are modelled: four events of two keys in three transactions, a chunk each.
//! A crash keeps what is flushed, any part of what is written, and of the last word to the server
//! either all or nothing; then it starts again.
//!
//! That the checker sees anything is shown by a [`Fault`] a promise: with it, it finds the shortest
//! way to break it.

mod log;
mod run;
mod search;
mod world;

use std::io::Write;

use self::search::{Found, search};
use crate::config::Confirm;

/// What is checked.
#[derive(Clone, Copy, Debug)]
struct Rules {
    confirm: Confirm,
    nature: Nature,
    /// `on_dead = "block"`.
    blocks: bool,
    /// Events of the log before this one are left out.
    first: usize,
    crashes: u8,
    /// Answers that may be lost.
    losses: u8,
    fault: Fault,
}

/// What the far side may do to the one odd event, beside taking it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    Good,
    /// It is a dead letter then, and may be sent again.
    Refused,
    /// It goes on trying by itself, and what follows it of its key waits.
    Failing,
}

/// What is done in the wrong order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The slot is told before the transaction is stored.
    TellsBeforeStoring,
    /// What is written counts as durable.
    DoesNotFlush,
    /// The stored floor is where reading is, not where the first undone event is.
    PassesUndone,
    /// A dead letter counts as done before its row is durable.
    DoneBeforeStored,
    /// What is done above the floor is not stored.
    ForgetsRanges,
    /// The end of a transaction may be confirmed once its first event is done.
    MarksInsideTransactions,
    /// A row that was delivered goes without the progress that keeps its event from coming again.
    DeletesAlone,
    /// A dead letter that is being sent again is not known at the start.
    ForgetsReplays,
    /// What was taken while dead letters were loaded does not count as newer than they are.
    ForgetsNotes,
}

const RULES: Rules = Rules {
    confirm: Confirm::Delivered,
    nature: Nature::Good,
    blocks: false,
    first: 0,
    crashes: 1,
    losses: 0,
    fault: Fault::None,
};

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[track_caller]
fn holds(rules: Rules) {
    let Found { states, ends, wrong } = search(&rules);
    assert!(wrong.is_none(), "{rules:?}: {wrong:#?}");
    assert!(states > 1000 && ends > 0, "{states} states, {ends} ends");
    say(&format!("{states} states, {ends} ends: {rules:?}"));
}

#[track_caller]
fn breaks(rules: Rules, promise: &str) {
    let Found { states, wrong, .. } = search(&rules);
    let (found, way) = wrong.unwrap_or_else(|| panic!("{rules:?} holds in {states} states"));
    assert_eq!(found, promise, "{rules:?}: {way:#?}");
    say(&format!("{found} after {} steps, {states} states: {:?}", way.len(), rules.fault));
}

/// Three events, two transactions.
const SHORT: Rules = Rules { first: 1, ..RULES };

#[test]
fn nothing_is_confirmed_that_is_not_done_and_nothing_is_lost() {
    holds(RULES);
    holds(Rules { losses: 1, ..SHORT });
    holds(Rules { crashes: 2, ..SHORT });
}

#[test]
fn nothing_is_confirmed_that_is_not_journaled_and_nothing_is_lost() {
    let rules = Rules { confirm: Confirm::Journaled, ..SHORT };
    holds(Rules { losses: 1, ..rules });
    holds(Rules { crashes: 2, ..rules });
}

/// As the rules say it of the odd event and the one behind it, with the slot waiting for either.
#[track_caller]
fn holds_aside(nature: Nature, blocks: bool) {
    holds(Rules { nature, blocks, first: 2, crashes: 2, ..RULES });
    holds(Rules { nature, blocks, first: 2, losses: 1, confirm: Confirm::Journaled, ..RULES });
}

#[test]
fn a_dead_letter_that_is_sent_again_is_neither_lost_nor_repeated() {
    holds_aside(Nature::Refused, false);
}

#[test]
fn what_waits_behind_a_dead_letter_comes_in_order() {
    holds_aside(Nature::Refused, true);
}

#[test]
fn what_goes_on_trying_and_what_waits_behind_it_come_in_order() {
    holds_aside(Nature::Failing, false);
    holds(Rules { nature: Nature::Failing, ..SHORT });
}

#[test]
fn each_wrong_order_is_found() {
    let refused = Rules { nature: Nature::Refused, ..SHORT };
    let failing = Rules { nature: Nature::Failing, ..SHORT };
    let journaled = Rules { confirm: Confirm::Journaled, ..SHORT };
    let with = |rules: Rules, fault| Rules { fault, ..rules };
    let stored = "the slot is told what is not stored";
    breaks(with(SHORT, Fault::TellsBeforeStoring), stored);
    breaks(with(SHORT, Fault::DoesNotFlush), "what counts as received is not on the disk");
    breaks(with(journaled, Fault::DoesNotFlush), "what counts as received is not on the disk");
    breaks(with(SHORT, Fault::PassesUndone), "the slot passed what is not safe");
    breaks(with(SHORT, Fault::MarksInsideTransactions), "the slot passed what is not safe");
    breaks(with(refused, Fault::DoneBeforeStored), "the slot passed what is not safe");
    breaks(with(SHORT, Fault::ForgetsRanges), "what was stored as delivered came again");
    breaks(with(failing, Fault::DeletesAlone), "what was stored as delivered came again");
    let twice = "an event came again without a crash or a lost answer";
    breaks(with(refused, Fault::ForgetsReplays), twice);
    let late = "an event came behind a later one of its key";
    breaks(with(refused, Fault::ForgetsNotes), late);
    let passed = "an event came before an earlier one of its key";
    let read = Rules { nature: Nature::Refused, blocks: true, ..SHORT };
    breaks(with(read, Fault::ForgetsReplays), passed);
}
