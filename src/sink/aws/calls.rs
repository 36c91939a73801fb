//! Which events of a batch go in which call, and which of them stay once an earlier one has failed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::service::{Entry, Limits};
use crate::envelope::Envelope;
use crate::failure::Category;
use crate::sink::Failure;

/// So many calls are looked at for one with room before another is begun.
const LOOKS_MAX: usize = 16;

/// An event of a batch that can be sent.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    /// Its place in the batch.
    pub(super) place: usize,
    pub(super) entry: &'a Entry,
    pub(super) envelope: &'a Envelope,
}

/// Spreads events over calls.
///
/// Invariant: of a group a call has one; no event of a key goes in an earlier call than one before
/// it, nor before it in the same.
pub(super) fn spread<'a>(
    items: impl Iterator<Item = Item<'a>>,
    limits: Limits,
) -> VecDeque<Vec<Item<'a>>> {
    let mut calls: Vec<(Vec<Item<'a>>, usize)> = Vec::new();
    let (mut last_of_key, mut last_of_group) =
        (HashMap::<u64, usize>::new(), HashMap::<&str, usize>::new());
    for item in items {
        let group = item.entry.group.as_deref();
        let after_group = group.and_then(|group| last_of_group.get(group)).map(|call| call + 1);
        let with_key = keys(item.envelope).filter_map(|key| last_of_key.get(&key)).max();
        let from = after_group.into_iter().chain(with_key.copied()).max().unwrap_or_default();
        // What was begun long ago is full, or as good as that.
        let from = from.max(calls.len().saturating_sub(LOOKS_MAX));
        let has_room = |(call, bytes): &(Vec<Item<'a>>, usize)| {
            call.len() < limits.entries && bytes + item.entry.bytes <= limits.bytes
        };
        let found = calls.iter().skip(from).position(has_room).map(|at| from + at);
        let call = found.unwrap_or(calls.len());
        match calls.get_mut(call) {
            Some((call, bytes)) => {
                call.push(item);
                *bytes += item.entry.bytes;
            }
            None => calls.push((vec![item], item.entry.bytes)),
        }
        last_of_key.extend(keys(item.envelope).map(|key| (key, call)));
        last_of_group.extend(group.map(|group| (group, call)));
    }
    calls.into_iter().map(|(call, _)| call).collect()
}

/// Those that failed, by key and group: what comes behind them stays.
#[derive(Default)]
pub(super) struct Held<'a> {
    keys: HashMap<u64, Failure>,
    groups: HashMap<&'a str, Failure>,
}

impl<'a> Held<'a> {
    /// It failed, or stays because of that.
    pub(super) fn add_item(&mut self, item: Item<'a>, failure: &Failure) {
        self.add(item.envelope, item.entry.group.as_deref(), failure);
    }

    /// An event of that group failed.
    pub(super) fn add(&mut self, envelope: &Envelope, group: Option<&'a str>, failure: &Failure) {
        let behind = match failure.category {
            // It stands in nobody's way the next time, and nothing is wrong with who is behind.
            Category::Rejected => not_sent("an earlier event of the batch was refused"),
            _ => failure.clone(),
        };
        self.keys.extend(keys(envelope).map(|key| (key, behind.clone())));
        self.groups.extend(group.map(|group| (group, behind)));
    }

    /// Returns why an event can't go.
    pub(super) fn why(&self, item: Item<'_>) -> Option<Failure> {
        let of_key = keys(item.envelope).find_map(|key| self.keys.get(&key));
        let of_group = || item.entry.group.as_deref().and_then(|group| self.groups.get(group));
        of_key.or_else(of_group).cloned()
    }
}

/// Says of an event that it comes again at once: no attempt is used up.
pub(super) fn not_sent(why: &str) -> Failure {
    let failure = Failure::new(Category::Throttled, format!("not sent yet: {why}"));
    Failure { retry_after: Some(Duration::ZERO), ..failure }
}

fn keys(envelope: &Envelope) -> impl Iterator<Item = u64> {
    std::iter::once(envelope.key_hash).chain(envelope.before_key_hash)
}
