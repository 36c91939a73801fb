//! [`Noting`]: what was acknowledged and has to be noted before it counts (pure).

use super::Returned;
use crate::delivery::dead_letter::Newer;
use crate::delivery::poll::shelf::Ready;
use crate::progress::ledger::Ordinal;

/// A step of what is to be noted, in this order: a crash behind any part of it leaves no letter
/// for older than what came after it, and brings nothing again without what came behind it.
#[derive(Debug, Default)]
pub(in crate::delivery::poll) struct Noting {
    /// Dead letters before these events are older than what the receiver has.
    pub(in crate::delivery::poll) newer: Vec<Newer>,
    /// They count as done once that is noted.
    pub(in crate::delivery::poll) events: Vec<Ready>,
    /// Letters that were acknowledged behind the events, each with what becomes older by it.
    pub(in crate::delivery::poll) returned: Vec<(Vec<Newer>, Returned)>,
    /// Something newer was acknowledged before these: they stay dead.
    pub(in crate::delivery::poll) overtaken: Vec<Returned>,
}

/// The steps that wait to be noted, in the order of the acknowledgements.
///
/// Bound: what lay on shelf and tray; neither is filled while something is noted.
#[derive(Debug, Default)]
pub(super) struct Notings(Vec<Noting>);

impl Notings {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds events and what becomes older by them.
    pub(super) fn took(&mut self, newer: &[Newer], events: Vec<Ready>) {
        if self.0.last().is_none_or(|last| !last.returned.is_empty()) {
            self.0.push(Noting::default());
        }
        if let Some(last) = self.0.last_mut() {
            last.newer.extend_from_slice(newer);
            last.events.extend(events);
        }
    }

    /// Adds a letter and what becomes older by it.
    pub(super) fn fetched(&mut self, newer: Vec<Newer>, returned: Returned) {
        self.last(|last| last.returned.push((newer, returned)));
    }

    /// Adds letters that stay dead.
    pub(super) fn overtook(&mut self, letters: Vec<Returned>) {
        self.last(|last| last.overtaken.extend(letters));
    }

    fn last(&mut self, change: impl FnOnce(&mut Noting)) {
        if self.0.is_empty() {
            self.0.push(Noting::default());
        }
        self.0.last_mut().map(change).unwrap_or_default();
    }

    /// Returns everything that makes letters older.
    pub(super) fn newer(&self) -> Vec<Newer> {
        let of_letters = |noting: &'_ Noting| -> Vec<Newer> {
            noting.returned.iter().flat_map(|(newer, _)| newer).cloned().collect()
        };
        let all = self.0.iter().map(|noting| [noting.newer.clone(), of_letters(noting)].concat());
        all.flatten().collect()
    }

    /// Returns the letters: they are on the tray no more, and in the state still.
    pub(super) fn letters(&self) -> impl Iterator<Item = &Returned> {
        self.0
            .iter()
            .flat_map(|noting| noting.returned.iter().map(|(_, one)| one).chain(&noting.overtaken))
    }

    /// Whether letters that were acknowledged are among it.
    pub(super) fn has_returned(&self) -> bool {
        self.0.iter().any(|noting| !noting.returned.is_empty())
    }

    /// Returns the events.
    pub(super) fn ordinals(&self) -> impl Iterator<Item = Ordinal> {
        self.0.iter().flat_map(|noting| noting.events.iter().map(|ready| ready.ordinal))
    }

    pub(super) fn take(&mut self) -> Vec<Noting> {
        std::mem::take(&mut self.0)
    }
}
