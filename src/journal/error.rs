//! What can go wrong with the journal.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::record;
use crate::failure::{Category, Classify};
use crate::lsn::Position;
use crate::state;

/// The journal can't be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read, written, made or removed.
    #[error("{doing} {}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// A file is not as it was written.
    #[error("{} is damaged at byte {offset}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is the matter.
        source: record::Error,
    },
    /// A file that the index knows is not there, or shorter than it was.
    #[error("{} is missing, or shorter than it was", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// What was asked for is no longer here.
    #[error(
        "the journal begins at {begin}: what lies from {from} on up to there is no longer kept"
    )]
    Gone {
        /// From where it was asked for.
        from: Position,
        /// From where on it is here.
        begin: Position,
    },
    /// A chunk is too large for a record.
    #[error("a chunk can't be written to the journal")]
    Record(#[source] record::Error),
    /// The index could not be changed.
    #[error("the journal's index can't be used")]
    State(#[source] state::Error),
    /// The thread that writes has ended.
    #[error("the journal is closed")]
    Closed,
}

impl Error {
    /// Whether a write found no room: waiting helps. After a flush that failed it does not: what
    /// the disk holds is then not known.
    pub(super) fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::File { doing, source, .. } => {
                *doing != "flush" && matches!(source.kind(), StorageFull | QuotaExceeded)
            }
            _ => false,
        }
    }

    pub(super) fn file(doing: &'static str, path: &std::path::Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::File { doing, path: path.to_owned(), source: Arc::new(source) }
    }
}

impl Classify for Error {
    fn category(&self) -> Category {
        match self {
            Self::State(source) => source.category(),
            Self::File { .. }
            | Self::Damaged { .. }
            | Self::Missing { .. }
            | Self::Gone { .. }
            | Self::Record(_)
            | Self::Closed => Category::Setup,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Gone { .. } | Self::Missing { .. } | Self::Damaged { .. } => Some(
                "restore the state folder as a whole, or forget the sink and load its tables again"
                    .to_owned(),
            ),
            Self::State(source) => source.help(),
            Self::File { .. } | Self::Record(_) | Self::Closed => None,
        }
    }
}
