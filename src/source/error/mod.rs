//! [`Error`]: everything that can go wrong between the server and the first chunk, sorted.

mod ending;

use std::io;
use std::path::PathBuf;

pub use ending::Ending;

use super::catalog::Holder;
use super::{ServerError, TlsError, conninfo};
use crate::libpq;
use crate::lsn::Lsn;

/// Why the source cannot go on, for now or at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection string is wrong.
    #[error("cannot use the source's url")]
    Conninfo(#[source] conninfo::Error),
    /// Nobody answers at the address.
    #[error("cannot reach {host}")]
    Connect {
        /// The address.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// TLS could not be agreed on.
    #[error("no TLS with {host}")]
    Tls {
        /// The address.
        host: String,
        /// Why.
        #[source]
        source: TlsError,
    },
    /// The server wants a password in clear text over a connection that others can read.
    #[error("{host} asks for the password in clear text without TLS")]
    Cleartext {
        /// The address.
        host: String,
    },
    /// The server wants a password and none is known.
    #[error("{host} asks for a password and none is given")]
    NoPassword {
        /// The address.
        host: String,
    },
    /// The server wants a way of authentication that walgate does not know.
    #[error("{host} asks for an authentication that is not supported ({method})")]
    Authentication {
        /// The address.
        host: String,
        /// What it asked for.
        method: String,
    },
    /// SCRAM failed on this side: the server does not know the password, or is not who it says.
    #[error("{host} failed to prove that it knows the password")]
    Scram {
        /// The address.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `channel_binding=require`, and the server does not do it.
    #[error("channel_binding=require, and {host} does not bind")]
    ChannelBinding {
        /// The address.
        host: String,
    },
    /// No host is what `target_session_attrs` asks for.
    #[error("{host} is not what target_session_attrs asks for")]
    SessionAttributes {
        /// The last address tried.
        host: String,
    },
    /// Two connections to one address met two servers.
    #[error("{host} is more than one server: a second connection met another")]
    TwoServers {
        /// The address.
        host: String,
    },
    /// The login was refused.
    #[error("{host} refused the login")]
    Login {
        /// The address.
        host: String,
        /// What it said.
        #[source]
        source: ServerError,
    },
    /// The role lacks a right.
    #[error("the role lacks a right to {doing}")]
    Rights {
        /// What it was about to do.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: ServerError,
    },
    /// The server answered with an error that waiting may mend.
    #[error("the server failed to {doing}")]
    Server {
        /// What it was about to do.
        doing: &'static str,
        /// What it said.
        #[source]
        source: ServerError,
    },
    /// The server ended the stream at a change that it can't send.
    #[error("the server fails to send what follows {after}")]
    Unsendable {
        /// Everything that commits before it was received.
        after: Lsn,
        /// What it said.
        #[source]
        source: ServerError,
    },
    /// The connection for ordinary SQL broke.
    #[error("failed to {doing}")]
    Sql {
        /// What it was about to do.
        doing: &'static str,
        /// Why.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[source] io::Error),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// What a standby sends from its promotion on is of another timeline: it is read anew as that.
    #[error("the standby was promoted while it was read")]
    Promoted,
    /// The server is shutting down and waits for us.
    #[error("the server is shutting down")]
    ServerStopping,
    /// No byte came for twice the server's own time-out.
    #[error("nothing came from the server for {seconds} s")]
    Silent {
        /// How long.
        seconds: u64,
    },
    /// The server, or what lies between, sent what the protocol does not know: another connection
    /// may bring it whole.
    #[error("the server broke the protocol: {what}")]
    Protocol {
        /// What it did.
        what: &'static str,
    },
    /// The stream holds what walgate does not read: it would be the same the next time.
    #[error("the stream brings what cannot be read: {what}")]
    Unreadable {
        /// What it is.
        what: &'static str,
    },
    /// A value came in binary form, and has no text that walgate knows.
    #[error("cannot read column {column} of table {table} in binary form")]
    Binary {
        /// The table, as SQL quotes it.
        table: String,
        /// The column, likewise.
        column: String,
        /// Why.
        #[source]
        source: crate::pgoutput::binary::Error,
    },
    /// A pgoutput message could not be read.
    #[error("cannot read a pgoutput message")]
    Pgoutput(#[source] crate::pgoutput::Error),
    /// A transaction that is open could not be kept on disk.
    #[error("failed to {doing} {}", path.display())]
    Spill {
        /// What it was about to do.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// More of one open transaction was rolled back than is remembered.
    #[error("an open transaction has more than {count} subtransactions that were rolled back")]
    TooManyUndone {
        /// How many are remembered.
        count: usize,
    },
    /// Part of an open transaction was rolled back, and which of its logical messages go with it
    /// the server does not say.
    #[error(
        "part of an open transaction was rolled back, and the server does not say which of its \
         logical messages are"
    )]
    MessageUndone,
    /// A transaction commits that was prepared before the slot came to be where it is.
    #[error("transaction \"{gid}\" commits, and what it did came before this slot was read")]
    PreparedMissed {
        /// The name given to `PREPARE TRANSACTION`.
        gid: String,
    },
    /// The server is older than 14.
    #[error("the server is PostgreSQL {version}; 14 is the oldest that walgate reads")]
    TooOld {
        /// Its version.
        version: String,
    },
    /// `wal_level` is not `logical`.
    #[error("wal_level is \"{seen}\"")]
    WalLevel {
        /// What it is.
        seen: String,
    },
    /// A table that no order is known to be read in.
    #[error("table {table} has no primary key and no file of its own to be read by")]
    Unloadable {
        /// Its name.
        table: String,
    },
    /// A table is another by its name than when its reading began.
    #[error("table {table} was renamed, dropped or made anew while it was read")]
    Moved {
        /// The name that it had.
        table: String,
    },
    /// The publication does not exist.
    #[error("publication \"{name}\" does not exist")]
    PublicationMissing {
        /// Its name.
        name: String,
    },
    /// The publication existed, and the stream needs it where it no longer does.
    #[error("publication \"{name}\" vanished; what was written without it cannot be read")]
    PublicationVanished {
        /// Its name.
        name: String,
    },
    /// The state belongs to another source.
    #[error("the state belongs to {what} \"{stored}\", and this is \"{seen}\"")]
    Foreign {
        /// System, database or slot.
        what: &'static str,
        /// What the state says.
        stored: String,
        /// What is there.
        seen: String,
    },
    /// The server went over to a timeline that left before what was received.
    #[error(
        "the server is on timeline {timeline}, which left timeline {stored} at {switch}, and \
         {received} was received already"
    )]
    Timeline {
        /// The server's.
        timeline: u32,
        /// The state's.
        stored: u32,
        /// Where the one left the other.
        switch: Lsn,
        /// What was received.
        received: Lsn,
    },
    /// The server's log ends before what was received of it.
    #[error(
        "the server's log ends at {seen}, and {received} was received already: it was restored to \
         an earlier state"
    )]
    Restored {
        /// What was received.
        received: Lsn,
        /// Where the log ends.
        seen: Lsn,
    },
    /// The server's timeline does not come from the state's.
    #[error("the server's timeline {timeline} does not come from timeline {stored}")]
    ForeignTimeline {
        /// The server's.
        timeline: u32,
        /// The state's.
        stored: u32,
    },
    /// The server has a timeline of a number that the state knows, and it is another.
    #[error(
        "the server's timeline {timeline} began at {seen}, and the one that was read at {stored}: \
         another promotion or restore gave it the same number"
    )]
    ForkedTimeline {
        /// The number.
        timeline: u32,
        /// Where the state's began.
        stored: Lsn,
        /// Where the server's did.
        seen: Lsn,
    },
    /// A slot of that name is there, and the state knows nothing of it.
    #[error("slot \"{slot}\" exists (confirmed {confirmed}), and the state folder is empty")]
    SlotExists {
        /// Its name.
        slot: String,
        /// Its confirmed position.
        confirmed: Lsn,
    },
    /// The slot that the state knows is gone.
    #[error("slot \"{slot}\" is gone; {}", Lost { from: *received, to: *log_end })]
    SlotMissing {
        /// Its name.
        slot: String,
        /// What was received.
        received: Lsn,
        /// Where the server's log ends.
        log_end: Lsn,
    },
    /// The server is a standby, and the slot that the state knows is not there.
    #[error("the server is a standby, and slot \"{slot}\" is not on it")]
    SlotNotHere {
        /// Its name.
        slot: String,
    },
    /// The slot is a copy that a standby keeps of its primary's.
    #[error("slot \"{slot}\" is the copy of a standby, which serves nobody before its promotion")]
    SlotSynced {
        /// Its name.
        slot: String,
    },
    /// The server has dropped WAL that the slot needs.
    #[error("slot \"{slot}\" is lost ({reason}); {}", Lost { from: *received, to: *log_end })]
    SlotLost {
        /// Its name.
        slot: String,
        /// `wal_status` or `invalidation_reason`.
        reason: String,
        /// What was received.
        received: Lsn,
        /// Where the server's log ends.
        log_end: Lsn,
    },
    /// The slot's confirmed position is above what was ever confirmed from here.
    #[error(
        "slot \"{slot}\" was confirmed up to {seen}, and from here only up to {stored}: it was \
         recreated, or another advanced it, or the state folder is an older copy; {}",
        Lost { from: *received, to: *seen }
    )]
    SlotAdvanced {
        /// Its name.
        slot: String,
        /// What the state says.
        stored: Lsn,
        /// What the server says.
        seen: Lsn,
        /// What was received.
        received: Lsn,
    },
    /// A slot of that name serves something else.
    #[error("slot \"{slot}\" is not ours: its {what} is \"{seen}\"")]
    SlotForeign {
        /// Its name.
        slot: String,
        /// What differs.
        what: &'static str,
        /// What it is.
        seen: String,
    },
    /// Another holds the slot.
    #[error("slot \"{slot}\" is in use{}", by(*pid))]
    SlotBusy {
        /// Its name.
        slot: String,
        /// The process that holds it, where the server tells.
        pid: Option<i32>,
    },
    /// The slot cannot be made while a transaction is open that was there before.
    #[error("slot \"{slot}\" cannot be made yet: it waits for {}", all(holders))]
    SlotWaits {
        /// Its name.
        slot: String,
        /// Those that have written and not ended, as far as they were still there a moment later.
        holders: Vec<Holder>,
    },
}

/// What was not read and never will be.
struct Lost {
    from: Lsn,
    to: Lsn,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to } = self;
        if *from == Lsn::ZERO {
            // Nothing was ever received.
            return f.write_str("what it kept is lost to the stream");
        }
        write!(f, "what was committed from {from} to {to} is lost to the stream")
    }
}

fn by(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" by process {pid}")).unwrap_or_default()
}

fn all(holders: &[Holder]) -> String {
    let list: Vec<_> = holders.iter().map(ToString::to_string).collect();
    if list.is_empty() { "open transactions".to_owned() } else { list.join("; ") }
}

impl From<libpq::Error> for Error {
    fn from(error: libpq::Error) -> Self {
        match error {
            libpq::Error::Connect { host, source } => Self::Connect { host, source },
            libpq::Error::Tls { host, source } => Self::Tls { host, source },
            libpq::Error::Cleartext { host } => Self::Cleartext { host },
            libpq::Error::NoPassword { host } => Self::NoPassword { host },
            libpq::Error::ChannelBinding { host } => Self::ChannelBinding { host },
            libpq::Error::SessionAttributes { host } => Self::SessionAttributes { host },
            libpq::Error::Login { host, source } => Self::Login { host, source },
            libpq::Error::Refused { source, .. } => Self::server("log in", source),
            libpq::Error::Sql(source) => Self::Sql { doing: "log in", source },
            libpq::Error::Closed => Self::Closed,
            libpq::Error::NoHost => Self::Protocol { what: "no host to try" },
        }
    }
}

impl Error {
    /// Sorts what the server said.
    pub(super) fn server(doing: &'static str, source: ServerError) -> Self {
        if source.is_rights() {
            Self::Rights { doing, source }
        } else {
            Self::Server { doing, source }
        }
    }

    /// Sorts an error of the server in the midst of the stream. An internal error, a limit or a
    /// value that can't be converted lies in what is to be sent, and comes again there.
    pub(super) fn of_stream(after: Lsn, source: ServerError) -> Self {
        match source.code.get(..2) {
            Some("XX" | "54" | "22") => Self::Unsendable { after, source },
            _ => Self::server("go on with the stream", source),
        }
    }

    /// Sorts what tokio-postgres said.
    pub(super) fn sql(doing: &'static str, source: tokio_postgres::Error) -> Self {
        match source.as_db_error() {
            Some(error) => Self::server(doing, ServerError::of(error)),
            None => Self::Sql { doing, source },
        }
    }

    /// Returns the SQLSTATE, where the server said it.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Login { source, .. }
            | Self::Rights { source, .. }
            | Self::Server { source, .. }
            | Self::Unsendable { source, .. } => Some(&source.code),
            _ => None,
        }
    }
}
