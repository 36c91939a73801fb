//! [`Held`]: which events stay once an earlier one has failed.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use super::requests::{Group, Item, is_barrier, keys};
use crate::envelope::Envelope;
use crate::failure::Category;
use crate::sink::Failure;

/// Those that failed, by key and ordering key: what comes behind them stays.
#[derive(Debug, Default)]
pub(super) struct Held<'a> {
    keys: HashMap<u64, Stop>,
    groups: HashMap<Group<'a>, Stop>,
    /// The first of all: what is in order with all stays.
    first: Option<Stop>,
    /// The first that is in order with all.
    barrier: Option<Stop>,
}

/// An event that failed.
#[derive(Clone, Debug)]
struct Stop {
    place: usize,
    /// What that means to who is behind it.
    behind: Failure,
}

impl<'a> Held<'a> {
    /// It failed, or stays because of that.
    pub(super) fn add(&mut self, item: Item<'a>, failure: &Failure) {
        self.add_unfit(item.place, item.envelope, failure);
        if let Some(group) = item.ordered() {
            keep(&mut self.groups, group, &Stop::new(item.place, failure));
        }
    }

    /// It can't be sent: no message can be made of it.
    pub(super) fn add_unfit(&mut self, place: usize, envelope: &Envelope, failure: &Failure) {
        let stop = Stop::new(place, failure);
        keys(envelope).for_each(|key| keep(&mut self.keys, key, &stop));
        let is_before =
            |known: &Option<Stop>| known.as_ref().is_none_or(|known| place < known.place);
        if is_barrier(envelope) && is_before(&self.barrier) {
            self.barrier = Some(stop.clone());
        }
        if is_before(&self.first) {
            self.first = Some(stop);
        }
    }

    /// Returns why an event can't go.
    pub(super) fn why(&self, item: Item<'a>) -> Option<&Failure> {
        let of_keys = keys(item.envelope).filter_map(|key| self.keys.get(&key));
        let of_group = item.ordered().and_then(|group| self.groups.get(&group));
        let of_all = self.first.as_ref().filter(|_| is_barrier(item.envelope));
        let mut stops = of_keys.chain(of_group).chain(of_all).chain(&self.barrier);
        stops.find(|stop| stop.place < item.place).map(|stop| &stop.behind)
    }
}

impl Stop {
    fn new(place: usize, failure: &Failure) -> Self {
        let behind = match failure.category {
            // It stands in nobody's way the next time, and nothing is wrong with who is behind.
            Category::Rejected => not_sent("an earlier event of the batch was refused"),
            _ => failure.clone(),
        };
        Self { place, behind }
    }
}

/// Keeps the first.
fn keep<K: Eq + Hash>(stops: &mut HashMap<K, Stop>, key: K, stop: &Stop) {
    let known = stops.entry(key).or_insert_with(|| stop.clone());
    if stop.place < known.place {
        *known = stop.clone();
    }
}

/// Says of an event that it comes again at once: no attempt is used up.
pub(super) fn not_sent(why: &str) -> Failure {
    let failure = Failure::new(Category::Throttled, format!("not sent yet: {why}"));
    Failure { retry_after: Some(Duration::ZERO), ..failure }
}
