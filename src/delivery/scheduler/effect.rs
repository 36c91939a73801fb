//! What the scheduler asks for: requests to send, and what follows from their answers.

use std::sync::Arc;
use std::time::Duration;

use super::super::lane::Tracked;
use super::super::parked::LetterState;
use super::super::record::Sent;
use crate::envelope::RouteLabel;
use crate::failure::Category;
use crate::lsn::EventId;
use crate::progress::ledger::Ordinal;
use crate::sink::{Batch, Failure};

/// Names a request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DispatchId {
    pub(super) number: u64,
    pub(super) from: Origin,
}

impl DispatchId {
    /// Returns the stored event that the request tries again, if it does.
    #[must_use]
    pub const fn stored(self) -> Option<EventId> {
        match self.from {
            Origin::Parked(id) => Some(id),
            Origin::Lane(_) => None,
        }
    }
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Lane(usize),
    Parked(EventId),
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// To be given back with the answer.
    pub id: DispatchId,
    /// What to send.
    pub what: What,
}

/// What a request holds.
#[derive(Clone, Debug)]
pub enum What {
    /// These events.
    Batch(Arc<Batch>),
    /// An event that was set aside and has to be loaded first.
    Stored(EventId),
}

/// What follows from an answer, for the runner to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// The far side has these events.
    Acknowledged {
        /// Their numbers in the ledger.
        ordinals: Vec<Ordinal>,
        /// What was sent.
        batch: Arc<Batch>,
        /// From where, and how often.
        sent: Sent,
    },
    /// Stored already by an earlier run: done as far as the ledger is concerned.
    Safe {
        /// Its number in the ledger.
        ordinal: Ordinal,
    },
    /// To be stored among the dead letters; done once that is on disk.
    SetAside {
        /// The event.
        event: Tracked,
        /// Retrying, or dead.
        state: LetterState,
        /// Why.
        category: Category,
        /// The last answer.
        failure: Failure,
        /// How often it was tried.
        attempts: u32,
    },
    /// To be stored as a reference behind another event of its key.
    Park {
        /// The event.
        event: Tracked,
    },
    /// A stored event was tried again, without success.
    Tried {
        /// Which.
        id: EventId,
        /// Its key, and its old one where it changed it.
        keys: [Option<u64>; 2],
        /// Retrying, or dead.
        state: LetterState,
        /// Why.
        category: Category,
        /// The last answer.
        failure: Failure,
        /// How often it was tried.
        attempts: u32,
    },
    /// A stored event was accepted: its row goes, then
    /// [`Scheduler::resolved`](super::Scheduler::resolved) is called.
    Accepted {
        /// Which.
        id: EventId,
        /// Its key, and its old one where it changed it.
        keys: [Option<u64>; 2],
        /// How often it was sent.
        attempts: u32,
    },
    /// A stored event can't be tried any more: its row is settled, then
    /// [`Scheduler::resolved`](super::Scheduler::resolved) is called.
    Withdrawn {
        /// Which.
        id: EventId,
    },
    /// A dead letter was to be sent again, and is older than what the sink has: it stays dead.
    Refused {
        /// Which.
        id: EventId,
    },
    /// The far side asked for time until then: others who send to its host wait too.
    Wait {
        /// As it was told, however far that is believed here.
        until: Duration,
    },
    /// These dead letters were none: the rows go, the ledger takes them back.
    Reopen {
        /// The events, which are in their lanes again.
        events: Vec<Reopened>,
    },
}

/// An event that is in its lane again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reopened {
    /// Its number in the ledger.
    pub ordinal: Ordinal,
    /// Which.
    pub id: EventId,
    /// The route that took it.
    pub route: Arc<RouteLabel>,
    /// It does not come from the stream: the ledger knows it as done.
    pub is_beside: bool,
}
