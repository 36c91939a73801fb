//! What can go wrong with the state.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ffi;

use crate::failure::{Category, Classify};

/// The state can't be opened, read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Another instance has the folder.
    #[error("the state folder {} is in use by another instance{}", path.display(), holder.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The other's process id, as far as it said.
        holder: Option<u32>,
    },
    /// The folder or a file in it can't be made or opened.
    #[error("{doing} {}", path.display())]
    Folder {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// There is no state here.
    #[error("there is no state at {}", path.display())]
    Missing {
        /// The database that was looked for.
        path: PathBuf,
    },
    /// The database is some other program's.
    #[error("{} is not walgate's", path.display())]
    NotOurs {
        /// The database.
        path: PathBuf,
    },
    /// A later walgate wrote it.
    #[error("{} has schema {found}, this walgate knows up to {known}", path.display())]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// Its schema's number.
        found: u32,
        /// The latest that is known.
        known: u32,
    },
    /// An earlier walgate wrote it, and a reader does not change it.
    #[error("{} has schema {found}, this walgate reads {known}", path.display())]
    OlderSchema {
        /// The database.
        path: PathBuf,
        /// Its schema's number.
        found: u32,
        /// The one needed.
        known: u32,
    },
    /// It belongs to another source.
    #[error("the state is of {what} {stored}, the source is {found}")]
    OtherSource {
        /// `system identifier`, `database` or `slot`.
        what: &'static str,
        /// What the state was made for.
        stored: String,
        /// What was met.
        found: String,
    },
    /// The disk is full.
    #[error("the disk of the state folder is full")]
    Full {
        /// SQLite's word.
        source: Arc<rusqlite::Error>,
    },
    /// A flush to disk failed: what the disk holds is no longer known.
    #[error("the state could not be flushed to disk")]
    Broken {
        /// SQLite's word.
        source: Arc<rusqlite::Error>,
    },
    /// Any other answer of SQLite.
    #[error("{doing} the state")]
    Sqlite {
        /// What was tried.
        doing: &'static str,
        /// SQLite's word.
        source: Arc<rusqlite::Error>,
    },
    /// The thread that writes has ended.
    #[error("the state is closed")]
    Stopped,
}

impl Error {
    /// Returns what sorts an SQLite error met while `doing`.
    pub(super) fn sqlite(doing: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| {
            let extended = source.sqlite_error().map(|error| error.extended_code);
            let code = source.sqlite_error_code();
            let source = Arc::new(source);
            match (code, extended) {
                (Some(rusqlite::ErrorCode::DiskFull), _) | (_, Some(ffi::SQLITE_IOERR_SHMSIZE)) => {
                    Self::Full { source }
                }
                (_, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)) => {
                    Self::Broken { source }
                }
                _ => Self::Sqlite { doing, source },
            }
        }
    }
}

impl Classify for Error {
    fn category(&self) -> Category {
        match self {
            Self::Full { .. } => Category::Transient,
            Self::Sqlite { source, .. } => match source.sqlite_error_code() {
                Some(
                    rusqlite::ErrorCode::DatabaseBusy
                    | rusqlite::ErrorCode::DatabaseLocked
                    | rusqlite::ErrorCode::SystemIoFailure
                    | rusqlite::ErrorCode::OperationInterrupted,
                ) => Category::Transient,
                _ => Category::Setup,
            },
            Self::Locked { .. }
            | Self::Folder { .. }
            | Self::Missing { .. }
            | Self::NotOurs { .. }
            | Self::NewerSchema { .. }
            | Self::OlderSchema { .. }
            | Self::OtherSource { .. }
            | Self::Broken { .. }
            | Self::Stopped => Category::Setup,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Locked { .. } => Some("stop the other instance, or give this one its own [state] path".into()),
            Self::Folder { .. } => Some("look at [state] path: the folder must exist or be creatable, and belong to the user who runs walgate".into()),
            Self::Missing { .. } => Some("nothing ran with this [state] path yet; `walgate run` makes it".into()),
            Self::NotOurs { .. } => Some("give walgate a [state] path of its own".into()),
            Self::NewerSchema { .. } => Some("run the walgate that wrote it, or a later one".into()),
            Self::OlderSchema { .. } => Some("start this version's `walgate run` once: it brings the state up to date".into()),
            Self::OtherSource { .. } => Some("a state folder serves one slot: use another [state] path, or the source it was made for".into()),
            Self::Full { .. } => Some("free disk space; it goes on by itself".into()),
            Self::Broken { .. } => Some("check the disk, then restart: what was confirmed is safe, the rest is read again".into()),
            Self::Sqlite { .. } | Self::Stopped => None,
        }
    }
}
