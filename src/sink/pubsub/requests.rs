//! [`Requests`]: which messages of a batch go in one request, and which requests may be under way
//! at the same time.
//!
//! All messages of a request are of one topic and one ordering key, as Pub/Sub wants it, and are
//! taken together or not at all.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::message::Message;
use super::topic::Name;
use crate::chunk::Operation;
use crate::envelope::Envelope;

// Source: <https://cloud.google.com/pubsub/quotas#resource_limits>.

/// A request has so many messages at most.
pub(super) const MESSAGES_MAX: usize = 1000;
/// A request's body is no larger, in bytes, but for one message that is larger alone.
pub(super) const BYTES_MAX: usize = 10_000_000;

/// What is around the messages of a body, and between two.
const AROUND_BYTES: usize = r#"{"messages":[]}"#.len();
const BETWEEN_BYTES: usize = 1;

/// What messages of one request share.
pub(super) type Group<'a> = (&'a Name, Option<&'a str>);

/// An event of a batch that can be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    /// Its place in the batch.
    pub(super) place: usize,
    pub(super) message: &'a Message,
    pub(super) envelope: &'a Envelope,
}

impl<'a> Item<'a> {
    /// Returns what it shares with others of its request.
    pub(super) fn group(&self) -> Group<'a> {
        (&self.message.topic, self.message.ordering_key.as_deref())
    }

    /// Returns the ordering key that its order goes by.
    pub(super) fn ordered(&self) -> Option<Group<'a>> {
        Some(self.group()).filter(|(_, key)| key.is_some())
    }
}

/// Returns the hashes of an event's keys.
pub(super) fn keys(envelope: &Envelope) -> impl Iterator<Item = u64> + use<> {
    std::iter::once(envelope.key_hash).chain(envelope.before_key_hash)
}

/// Whether an event is in order with all others.
pub(super) fn is_barrier(envelope: &Envelope) -> bool {
    envelope.operation == Operation::Truncate
}

/// The requests of a batch.
///
/// Invariant: a request is handed out once, and only after everything that it follows is over; no
/// event goes in an earlier request than one before it of its key or ordering key, nor before it
/// in the same.
#[derive(Debug, Default)]
pub(super) struct Requests<'a> {
    all: Vec<Request<'a>>,
    ready: VecDeque<usize>,
}

#[derive(Debug)]
struct Request<'a> {
    items: Vec<Item<'a>>,
    bytes: usize,
    /// Earlier ones, which have to be over first.
    after: BTreeSet<usize>,
    followers: Vec<usize>,
}

impl<'a> Requests<'a> {
    /// Puts events in requests.
    pub(super) fn new(items: impl Iterator<Item = Item<'a>>) -> Self {
        let mut requests = Self::default();
        let (mut of_key, mut of_group) = (HashMap::new(), HashMap::new());
        let mut barrier = None;
        for item in items {
            let mut after: BTreeSet<usize> =
                keys(item.envelope).filter_map(|key| of_key.get(&key).copied()).collect();
            after.extend(barrier);
            after.extend(item.ordered().and_then(|group| of_group.get(&group).copied()));
            if is_barrier(item.envelope) {
                after.extend(barrier.unwrap_or_default()..requests.all.len());
            }
            let open = of_group.get(&item.group()).copied();
            let at = requests.put(item, open, after);
            of_key.extend(keys(item.envelope).map(|key| (key, at)));
            of_group.insert(item.group(), at);
            if is_barrier(item.envelope) {
                barrier = Some(at);
            }
        }
        requests.link();
        requests
    }

    /// Puts an event in the request that is open for it, if that has room and comes after all that
    /// it follows; else in a new one. Returns its place.
    fn put(&mut self, item: Item<'a>, open: Option<usize>, mut after: BTreeSet<usize>) -> usize {
        let bytes = item.message.json.len() + BETWEEN_BYTES;
        let last = after.last().copied().unwrap_or_default();
        let open = open.filter(|open| *open >= last);
        if let Some((at, request)) = open.and_then(|at| Some((at, self.all.get_mut(at)?)))
            && request.items.len() < MESSAGES_MAX
            && request.bytes + bytes <= BYTES_MAX
        {
            after.remove(&at);
            request.after.append(&mut after);
            request.items.push(item);
            request.bytes += bytes;
            return at;
        }
        let (bytes, followers) = (AROUND_BYTES + bytes, Vec::new());
        self.all.push(Request { items: vec![item], bytes, after, followers });
        self.all.len().saturating_sub(1)
    }

    fn link(&mut self) {
        for at in 0..self.all.len() {
            let after = self.all.get(at).map(|request| request.after.clone()).unwrap_or_default();
            if after.is_empty() {
                self.ready.push_back(at);
            }
            for earlier in after {
                if let Some(earlier) = self.all.get_mut(earlier) {
                    earlier.followers.push(at);
                }
            }
        }
    }

    /// Takes the next request that may go: its place, and what is in it.
    pub(super) fn next(&mut self) -> Option<(usize, Vec<Item<'a>>)> {
        let at = self.ready.pop_front()?;
        let items = self.all.get_mut(at).map(|request| std::mem::take(&mut request.items));
        Some((at, items.unwrap_or_default()))
    }

    /// It is over, well or not: those behind it may go.
    pub(super) fn over(&mut self, at: usize) {
        let followers = self.all.get_mut(at).map(|request| std::mem::take(&mut request.followers));
        for follower in followers.unwrap_or_default() {
            let Some(request) = self.all.get_mut(follower) else { continue };
            request.after.remove(&at);
            if request.after.is_empty() {
                self.ready.push_back(follower);
            }
        }
    }
}

/// Returns the body of a request.
pub(super) fn body(items: &[Item<'_>]) -> String {
    let messages: Vec<&str> = items.iter().map(|item| item.message.json.as_str()).collect();
    format!("{{\"messages\":[{}]}}", messages.join(","))
}
