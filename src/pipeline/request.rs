//! [`Request`]: what a command asks of a running instance, as it is stored.

use serde::{Deserialize, Serialize};

use crate::delivery::{Begun, DeadLetterFilter};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Request {
    /// Send dead letters again.
    ReplayDead {
        /// Which.
        filter: DeadLetterFilter,
        /// The version of the mapping: none today's, 0 the one that each had.
        mapping: Option<u32>,
        /// Although the sink has something newer.
        force: bool,
    },
    /// Discard what was set aside.
    Discard {
        /// Which.
        filter: DeadLetterFilter,
        /// Why.
        reason: String,
    },
    /// Stop a sink for a while.
    Pause {
        /// Which.
        sink: String,
        /// Why, where that was said.
        reason: Option<String>,
    },
    /// Let a paused sink go on.
    Resume {
        /// Which.
        sink: String,
    },
    /// Keep a route's events in the journal.
    Hold {
        /// Which.
        route: String,
        /// Why, where that was said.
        reason: Option<String>,
    },
    /// Let a held route go on.
    Release {
        /// Which.
        route: String,
    },
}

/// What came of a request, as far as there is more to say than that it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// Dead letters that are on their way.
    pub begun: u64,
    /// Dead letters that are older than what the sink has.
    pub refused: u64,
    /// Events that were discarded.
    pub discarded: u64,
}

impl Outcome {
    /// Adds what came of it at one more sink.
    pub(super) const fn add(&mut self, begun: Begun) {
        self.begun += begun.begun;
        self.refused += begun.refused;
    }
}
