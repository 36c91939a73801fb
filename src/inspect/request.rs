//! [`Request`]: what a command asks of a running instance, as it is stored.

use serde::{Deserialize, Serialize};

use crate::delivery::{Begun, DeadLetterFilter, WindowProgress};
use crate::progress::load::{LoadState, Wanted};

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
    /// Send a part of the journal to a sink again.
    Replay {
        /// The sink.
        sink: String,
        /// From then on: RFC 3339 or an LSN.
        from: String,
        /// Up to then; none: up to the present.
        to: Option<String>,
        /// Of this table, as SQL would quote it; none: of all.
        table: Option<String>,
        /// With these columns in the key, as a JSON object; none: of all keys.
        key: Option<String>,
        /// The version of the mapping; none: today's.
        mapping_version: Option<u32>,
        /// Events in a time, as the config has it: `50/s`; none: as fast as the sink takes them.
        rate: Option<String>,
    },
    /// Send what the journal has of routes that are new, and that their sink has passed already.
    Begin {
        /// The sink.
        sink: String,
        /// Its new routes.
        routes: Vec<String>,
        /// Where, in print: `0/17C8338#3`; half open, rising, apart.
        ranges: Vec<(String, String)>,
    },
    /// Load rows that are there.
    Load {
        /// Of one table; none: of every table of the routes.
        wanted: Option<Wanted>,
        /// For these routes.
        routes: Vec<String>,
    },
    /// Pause, resume or give up loads.
    TurnLoads {
        /// Their numbers.
        ids: Vec<i64>,
        /// How they are to be.
        state: LoadState,
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

impl Request {
    /// Returns what is asked, in a few words.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ReplayDead { .. } => "replay dead letters",
            Self::Replay { .. } => "replay a window of the journal",
            Self::Begin { .. } => "begin new routes with the journal",
            Self::Load { .. } => "load rows that are there",
            Self::TurnLoads { .. } => "pause, resume or give up loads",
            Self::Discard { .. } => "discard dead letters",
            Self::Pause { .. } => "pause a sink",
            Self::Resume { .. } => "resume a sink",
            Self::Hold { .. } => "hold a route",
            Self::Release { .. } => "release a route",
        }
    }
}

/// What came of a request, as far as there is more to say than that it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// Dead letters that are on their way.
    pub begun: u64,
    /// Dead letters that are older than what the sink has.
    pub refused: u64,
    /// Events that were discarded.
    pub discarded: u64,
    /// How a part of the journal was sent again.
    pub window: Option<WindowProgress>,
}

impl Outcome {
    /// Adds what came of it at one more sink.
    pub const fn add(&mut self, begun: Begun) {
        self.begun += begun.begun;
        self.refused += begun.refused;
    }
}
