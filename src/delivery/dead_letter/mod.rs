//! What was set aside, as rows of the state database.

mod filter;
mod keys;
mod named;
mod read;
mod replay;
mod store;
mod upkeep;

pub use self::filter::{Filter, KeyError};
pub(super) use self::keys::DeadKeys;
pub use self::named::{missing, owners};
pub(super) use self::read::tries;
pub use self::read::{Cause, Listed, Shown, Try, causes, list, mappings, newest, outcomes, show};
pub use self::replay::{Begin, Begun};
pub(super) use self::replay::{Newer, begin, feed, keys_of_dead, newer, refuse};
pub(super) use self::store::{
    Source, count_dead, delete_event, delivered, load, pinned_from, put, source, tried, withdraw,
};
pub(super) use self::upkeep::Discarded;
pub use self::upkeep::{
    Of, counts, discard, discard_selected, expire, prune, rename, waiting_sinks,
};
use super::parked::LetterState;
use crate::envelope::Envelope;
use crate::failure::Category;
use crate::lsn::{EventId, Timestamp};
use crate::sink::Failure;

/// An event as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) envelope: Envelope,
    /// The journal record of this one change; none where the journal keeps it.
    pub(super) original: Option<Vec<u8>>,
    pub(super) state: LetterState,
    pub(super) verdict: Option<Verdict>,
    /// It was sent again out of the journal, by a person.
    pub(super) replayed: bool,
}

/// Why an event stands where it stands.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) category: Category,
    pub(super) failure: Failure,
    pub(super) attempts: u32,
    pub(super) at: Timestamp,
}

/// An event that was set aside, as the scheduler has to know it.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) row: i64,
    pub(super) id: EventId,
    pub(super) keys: [Option<u64>; 2],
    pub(super) state: LetterState,
    pub(super) attempts: u32,
    pub(super) is_truncate: bool,
    /// A person has discarded it: it is not sent, should the stream bring it again.
    pub(super) is_discarded: bool,
    pub(super) route: String,
    /// How often a person had it sent again.
    pub(super) replays: u32,
    /// It is sent though the sink has something newer.
    pub(super) forced: bool,
}
