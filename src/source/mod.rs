//! Stage 1, read: a replication slot becomes chunks.
//!
//! One connection in replication mode, with a half that reads ([`Reader`]) and one that writes
//! ([`Writer`]), so that the server is answered whatever else is slow. Ordinary SQL has a
//! connection of its own ([`catalog`]). Knows nothing of sinks, of the journal, and of what a
//! value means.

mod attach;
pub mod catalog;
mod command;
mod connection;
mod cutter;
mod error;
mod flood;
mod frame;
pub mod load;
mod held;
mod pending;
mod reader;
mod streaming;
mod timeline;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

use crate::lsn::{Lsn, Position};
use crate::secret::Secret;

pub use crate::libpq::{ServerError, TlsError, conninfo};
pub use attach::{Probed, intend, open, probe, tap};
pub use catalog::Catalog;
pub use error::{Ending, Error};
pub use reader::{Reader, Received};
pub use streaming::Streaming;
pub use writer::{Confirmer, Writer};

/// What to attach to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The connection string, of either form.
    pub url: Secret,
    /// The publication's name.
    pub publication: String,
    /// The slot's name.
    pub slot: String,
    /// Values are sent in binary form where their type has one. Nothing behind the source can tell.
    pub binary: bool,
    /// The longest time between two status updates.
    pub status_interval: Duration,
    /// Whether transactions come while they are still open.
    pub streaming: Streaming,
    /// Where they are kept that there is no room for in memory. Emptied at the start; made when
    /// it is needed.
    pub spill: PathBuf,
}

impl Settings {
    /// Between two status updates unless told otherwise: well within the server's usual minute.
    pub const STATUS_INTERVAL: Duration = Duration::from_secs(10);
}

/// What a position is worth something together with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's number, made by initdb.
    pub system_id: String,
    /// The timeline the server was on.
    pub timeline: u32,
    /// Where that left the one before; zero for the first.
    pub began: Lsn,
    /// When the server was started, as it says: while it is the same, its log only ever grew.
    pub started: String,
    /// The database.
    pub database: String,
    /// The slot.
    pub slot: String,
}

/// What the state remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// Whose positions these are; none for an empty state.
    pub identity: Option<Identity>,
    /// The end of the last whole transaction that is durable.
    pub received: Lsn,
    /// The last change in the journal, where it is in the middle of a transaction or later.
    pub journaled: Option<Position>,
    /// The highest position the server may have been told.
    pub confirmed: Lsn,
    /// What was stored before a slot was to be made, where the identity is not known.
    pub intent: Option<Intent>,
}

/// What is stored before a slot is made, so that it is known as ours should nobody be left to
/// remember it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The cluster's number.
    pub system_id: String,
    /// The database.
    pub database: String,
    /// The slot, which was not there.
    pub slot: String,
    /// Where the server's log ended then.
    pub lsn: Lsn,
}

/// What a person allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Take a slot that exists though the state is empty.
    pub adopt_slot: bool,
    /// Go on behind a gap.
    pub accept_gap: bool,
    /// Wait for the slot for as long as another holds it.
    pub standby: bool,
    /// The stream ran before in this process: a missing publication is one that vanished.
    pub reconnect: bool,
}

impl Opened {
    /// Returns the end of what the state knows of this log: places behind it never come. None where
    /// it goes on as it was.
    #[must_use]
    pub fn known_up_to(&self) -> Option<Lsn> {
        let gap = self.gap.map(|gap| gap.from);
        gap.into_iter().chain(self.switch).min()
    }
}

/// What was not read and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Received up to here.
    pub from: Lsn,
    /// The stream goes on from here.
    pub to: Lsn,
}

/// What was attached to.
#[derive(Clone, Debug)]
pub struct Opened {
    /// To be stored, and to be compared the next time.
    pub identity: Identity,
    /// 150018 for 15.18.
    pub server_version: u32,
    /// The stream starts here: to be stored as received of an empty state, and behind a gap.
    pub started_at: Lsn,
    /// The slot is confirmed up to here: to be stored with it.
    pub confirmed: Lsn,
    /// The slot was made just now.
    pub created: bool,
    /// What `accept_gap` let pass.
    pub gap: Option<Gap>,
    /// Where the log left the timeline that the state knows; none: it did not. Nothing behind it
    /// was ever confirmed of the timeline that the server is on.
    pub switch: Option<Lsn>,
    /// Speaks to the writer.
    pub confirmer: Confirmer,
    /// The server closes the connection after so much silence.
    pub wal_sender_timeout: Option<Duration>,
}
