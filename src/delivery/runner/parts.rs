//! What a sink is served with, and why it can't be.

use std::sync::Arc;

use crate::delivery::gate::Gates;
use crate::delivery::handle::SinkProgress;
use crate::delivery::orders::Ordered;
use crate::delivery::registry::Versions;
use crate::delivery::settings::Settings;
use crate::failure::{Category, Classify};
use crate::journal::{self, Journal};
use crate::mapping;
use crate::progress::shapes::Shape;
use crate::sink::Sink;
use crate::state::{self, State};

/// What a sink is served with.
#[derive(Debug)]
pub struct Parts {
    /// The sink's name.
    pub name: String,
    /// How it is served.
    pub settings: Settings,
    /// So many sinks share the memory.
    pub sinks: usize,
    /// The far side.
    pub sink: Arc<dyn Sink>,
    /// Where what a host tells one sink reaches the others.
    pub gates: Gates,
    /// Makes its events.
    pub versions: Versions,
    /// Where the changes are.
    pub journal: Arc<Journal>,
    /// The journal keeps what it is told to: events that wait are references into it. Without,
    /// they are copies.
    pub journal_keeps: bool,
    /// It is sent what the journal has. Without, only what a person asks for.
    pub reads: bool,
    /// It is sent at once what is there, whatever its times are.
    pub at_once: bool,
    /// Why a person has stopped it; none: nobody has.
    pub paused: Option<String>,
    /// Routes of it that a person holds.
    pub held: Vec<String>,
    /// What its routes know of their tables.
    pub shapes: Vec<Shape>,
    /// Where dead letters are stored.
    pub state: State,
    /// Where the rest of the process looks.
    pub progress: SinkProgress,
    /// What a person asks of it.
    pub orders: Ordered,
}

/// Why a sink can't be served any more. Its own failures are no reason.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal can't be read.
    #[error("sink `{sink}` can't read the journal")]
    Journal {
        /// The sink.
        sink: String,
        /// The cause.
        source: journal::Error,
    },
    /// A change can't be decoded.
    #[error("sink `{sink}` can't decode a change")]
    Mapping {
        /// The sink.
        sink: String,
        /// The cause.
        source: mapping::Error,
    },
    /// The dead letters of an earlier run can't be read.
    #[error("sink `{sink}` can't read its dead letters")]
    State {
        /// The sink.
        sink: String,
        /// The cause.
        source: state::Error,
    },
}

impl Classify for Error {
    fn category(&self) -> Category {
        match self {
            Self::Journal { .. } => Category::Setup,
            Self::Mapping { source, .. } => source.category(),
            Self::State { source, .. } => source.category(),
        }
    }
}
