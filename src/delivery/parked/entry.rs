//! [`Entry`]: an event outside its lane, and what is to become of it.

use std::sync::Arc;
use std::time::Duration;

use crate::envelope::TableTag;

/// What is to become of an event that was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LetterState {
    /// It goes on trying by itself.
    Retrying,
    /// It waits behind another of its key.
    Blocked,
    /// A person has to look at it.
    Dead,
    /// A person has it sent again.
    Replaying,
}

impl LetterState {
    /// Returns the word used in `dlq list`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retrying => "retrying",
            Self::Blocked => "blocked",
            Self::Dead => "dead",
            Self::Replaying => "replaying",
        }
    }
}

/// An event outside its lane.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct Entry {
    pub(in crate::delivery) state: LetterState,
    pub(in crate::delivery) keys: [Option<u64>; 2],
    pub(in crate::delivery) attempts: u32,
    pub(in crate::delivery) failures: u32,
    /// How often it was sent in vain, whoever was at fault.
    pub(in crate::delivery) sent: u32,
    /// The request that sent it last.
    pub(in crate::delivery) last_sent: u64,
    /// The last request before its last failure was counted.
    pub(in crate::delivery) last_seen: u64,
    /// Its row is on disk: it can be loaded.
    pub(in crate::delivery) stored: bool,
    /// It is being sent, or its row is being removed.
    pub(in crate::delivery) busy: bool,
    /// Lanes, and the stream, that have not come to its place yet: events of its keys that are
    /// older than it may be there.
    pub(in crate::delivery) waits: u32,
    /// It is a TRUNCATE: all of its table that is older goes before it, and all that is newer
    /// after.
    pub(in crate::delivery) truncates: bool,
    /// The route that took it, where routes can be held.
    pub(in crate::delivery) route: Option<Arc<str>>,
    /// Its route is held.
    pub(in crate::delivery) held: bool,
    /// It was not set aside behind one of its keys: others of them may be in a lane still.
    pub(in crate::delivery) apart: bool,
    /// Set where a person has it sent again.
    pub(in crate::delivery) again: Option<Again>,
    /// A person has discarded it while it was under way: it goes once it has landed.
    pub(super) discarded: bool,
    pub(super) due: Duration,
}

/// What is to be known of an event that a person has sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::delivery) struct Again {
    /// How often that was.
    pub(in crate::delivery) replays: u32,
    /// Although the sink has something newer.
    pub(in crate::delivery) forced: bool,
    /// The sink has taken something newer.
    pub(in crate::delivery) overtaken: bool,
}

impl Entry {
    pub(in crate::delivery) fn table(&self) -> TableTag {
        TableTag::of(self.keys.into_iter().flatten().next().unwrap_or_default())
    }

    pub(in crate::delivery) const fn new(
        state: LetterState,
        keys: [Option<u64>; 2],
        attempts: u32,
    ) -> Self {
        Self {
            state,
            keys,
            attempts,
            failures: attempts,
            sent: attempts,
            last_sent: 0,
            last_seen: 0,
            stored: false,
            busy: false,
            waits: 0,
            truncates: false,
            route: None,
            held: false,
            apart: false,
            again: None,
            discarded: false,
            due: Duration::ZERO,
        }
    }
}
