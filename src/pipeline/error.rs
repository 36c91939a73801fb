//! Why a run ended.

use crate::delivery::ChangedMapping;
use crate::failure::{Category, Classify};
use crate::progress::known::Kind;
use crate::{delivery, journal, sink, source, state};

/// Why a run ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something at the source that waiting does not mend.
    #[error(transparent)]
    Source(source::Error),
    /// The state can't be used.
    #[error("the state can't be used")]
    State(#[source] state::Error),
    /// The journal can't be used.
    #[error("the journal can't be used")]
    Journal(#[source] journal::Error),
    /// A sink can't be served.
    #[error(transparent)]
    Delivery(delivery::Error),
    /// A sink can't be made.
    #[error("sink `{name}` can't be made")]
    Sink {
        /// The sink.
        name: String,
        /// Why not.
        source: Box<sink::Error>,
    },
    /// A piece of a load that the state keeps can't be read.
    #[error("a piece of a load that the state keeps can't be read")]
    Piece(#[source] journal::record::Error),
    /// A mapping has other fields than the same version had.
    #[error("mapping `{}` version {} is not what it was: {}", .0.name, .0.version, said(.0))]
    MappingChanged(Box<ChangedMapping>),
    /// The state knows sinks or routes that the config does not.
    #[error("the state knows {}, which the config no longer has", names(gone))]
    Gone {
        /// What, never empty.
        gone: Vec<(Kind, String)>,
    },
    /// What a sink has not done is no longer in the journal.
    #[error("sink `{name}` can't go on from where it was")]
    SinkBehind {
        /// The sink.
        name: String,
        /// What is there.
        source: journal::Error,
    },
    /// The journal is to be off, and still has what a sink has not done.
    #[error("journal.max_size is \"0\", and the journal still has what sink `{name}` has not done")]
    JournalNeeded {
        /// The sink.
        name: String,
    },
    /// The state knows of no database yet, so there is nothing to send again.
    #[error("nothing has run on this state yet, so there is nothing to send again")]
    NothingYet,
    /// A task broke down; the log has more.
    #[error("a part of walgate broke down, which is a bug; its message stands in the log")]
    Panicked,
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It failed while running.
    Failed,
    /// Something was missing before the first byte.
    Preflight,
    /// A person must act.
    Halted,
    /// The state folder or the slot is in use by another instance.
    InUse,
}

impl Error {
    /// Returns how the process ends with it.
    #[must_use]
    pub const fn ending(&self) -> Ending {
        match self {
            Self::Source(error) => match error.ends_run() {
                Some(source::Ending::Preflight) => Ending::Preflight,
                Some(source::Ending::Halted) => Ending::Halted,
                Some(source::Ending::InUse) => Ending::InUse,
                None => Ending::Failed,
            },
            Self::State(state::Error::Locked { .. }) => Ending::InUse,
            Self::State(state::Error::OtherSource { .. })
            | Self::MappingChanged(_)
            | Self::Gone { .. }
            | Self::JournalNeeded { .. }
            | Self::SinkBehind { .. } => Ending::Halted,
            Self::Sink { .. } => Ending::Preflight,
            Self::State(_)
            | Self::Journal(_)
            | Self::Piece(_)
            | Self::Delivery(_)
            | Self::NothingYet
            | Self::Panicked => Ending::Failed,
        }
    }
}

impl Classify for Error {
    fn category(&self) -> Category {
        match self {
            Self::Source(source) => source.category(),
            Self::State(source) => source.category(),
            Self::Journal(source) | Self::SinkBehind { source, .. } => source.category(),
            Self::Delivery(source) => source.category(),
            Self::Sink { .. }
            | Self::Piece(_)
            | Self::MappingChanged(_)
            | Self::Gone { .. }
            | Self::JournalNeeded { .. }
            | Self::NothingYet
            | Self::Panicked => Category::Setup,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Source(source) => source.help(),
            Self::State(source) => source.help(),
            Self::Journal(source) | Self::SinkBehind { source, .. } => source.help(),
            Self::MappingChanged(changed) => Some(format!(
                "raise its version to {}, or take the change back; \
                 `walgate mappings diff {} {}` has the values",
                changed.free, changed.name, changed.version
            )),
            Self::Gone { gone } => {
                let ways = gone.iter().map(|(kind, name)| {
                    let kind = kind.as_str();
                    format!(
                        "`walgate {kind} rename {name} NEW` if it is called NEW now, \
                         `walgate {kind} forget {name}` to let it go"
                    )
                });
                let ways: Vec<String> = ways.collect();
                Some(format!("give it back, or: {}", ways.join("; ")))
            }
            Self::JournalNeeded { name } => Some(format!(
                "run with a journal until `walgate status` says that {name} has no lag and nothing \
                 is retrying or blocked there, or `walgate sink forget {name}`"
            )),
            Self::Delivery(_)
            | Self::Piece(_)
            | Self::Sink { .. }
            | Self::NothingYet
            | Self::Panicked => None,
        }
    }
}

/// Which fields and keys, no values.
fn said(changed: &ChangedMapping) -> String {
    let said: Vec<String> = changed.differences.iter().map(ToString::to_string).collect();
    said.join(", ")
}

fn names(gone: &[(Kind, String)]) -> String {
    let names: Vec<String> =
        gone.iter().map(|(kind, name)| format!("{} `{name}`", kind.as_str())).collect();
    names.join(", ")
}
