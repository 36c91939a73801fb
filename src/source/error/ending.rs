//! How [`Error`]s are sorted: what waiting mends, and what a person has to.

use super::Error;
use crate::failure::{Category, Classify};
use crate::lsn::Lsn;
use crate::source::catalog::Holder;
use crate::source::command::{NO_CONNECTION_LEFT, NO_SLOT_LEFT};

/// SQLSTATE `internal_error`: what should not happen.
const INTERNAL: &str = "XX000";

/// How `run` ends when waiting mends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Something is missing before the first byte: exit code 3. After a first success it is
    /// treated as transient, since somebody may be at work there.
    Preflight,
    /// A person must decide: exit code 4.
    Halted,
    /// Another has it: exit code 6.
    InUse,
}

impl Error {
    /// Returns how `run` ends with this error; none means try again, with backoff.
    #[must_use]
    pub const fn ends_run(&self) -> Option<Ending> {
        match self {
            Self::Conninfo(_)
            | Self::Cleartext { .. }
            | Self::NoPassword { .. }
            | Self::Authentication { .. }
            | Self::ChannelBinding { .. }
            | Self::Login { .. }
            | Self::Rights { .. }
            | Self::TooOld { .. }
            | Self::WalLevel { .. }
            | Self::SlotNotHere { .. }
            | Self::PublicationMissing { .. } => Some(Ending::Preflight),
            Self::Tls { source, .. } if source.is_local() => Some(Ending::Preflight),
            Self::Pgoutput(_)
            | Self::Binary { .. }
            | Self::Unreadable { .. }
            | Self::PreparedMissed { .. }
            | Self::PublicationVanished { .. }
            | Self::Foreign { .. }
            | Self::Timeline { .. }
            | Self::ForeignTimeline { .. }
            | Self::ForkedTimeline { .. }
            | Self::Restored { .. }
            | Self::SlotExists { .. }
            | Self::SlotMissing { .. }
            | Self::SlotLost { .. }
            | Self::SlotAdvanced { .. }
            | Self::SlotForeign { .. } => Some(Ending::Halted),
            Self::SlotBusy { .. } => Some(Ending::InUse),
            Self::Connect { .. }
            | Self::Tls { .. }
            | Self::Scram { .. }
            | Self::SessionAttributes { .. }
            | Self::TwoServers { .. }
            | Self::Server { .. }
            | Self::Unsendable { .. }
            | Self::Sql { .. }
            | Self::Io(_)
            | Self::Closed
            | Self::Promoted
            | Self::ServerStopping
            | Self::Silent { .. }
            | Self::Protocol { .. }
            | Self::Moved { .. }
            | Self::Unloadable { .. }
            | Self::Spill { .. }
            | Self::TooManyUndone { .. }
            | Self::MessageUndone
            | Self::SlotSynced { .. }
            | Self::SlotWaits { .. } => None,
        }
    }

    /// Returns whether the stream may get further where transactions come only once they commit.
    ///
    /// That is so of what cannot be kept here or told apart, and of a server that fails at it: up
    /// to PostgreSQL 18 none can decode an open transaction in which a table was altered, that
    /// undone, and the table altered again.
    #[must_use]
    pub fn is_of_streaming(&self) -> bool {
        match self {
            Self::Spill { .. } | Self::TooManyUndone { .. } | Self::MessageUndone => true,
            Self::Server { source, .. } | Self::Unsendable { source, .. } => {
                source.code == INTERNAL
            }
            _ => false,
        }
    }

    /// Returns whether the server has no slot, walsender or connection left for one more.
    #[must_use]
    pub fn is_no_room(&self) -> bool {
        let Self::Server { source, .. } = self else { return false };
        [NO_SLOT_LEFT, NO_CONNECTION_LEFT].contains(&source.code.as_str())
    }

    /// What to do about what the stream brings, or has no room for.
    fn stream_help(&self) -> Option<&'static str> {
        Some(match self {
            Self::Server { source, .. } if source.code == NO_SLOT_LEFT => {
                "raise max_replication_slots and restart PostgreSQL, or drop an unused slot"
            }
            Self::Pgoutput(_) | Self::Unreadable { .. } => {
                "nothing was skipped; this is a fault of walgate: please report it"
            }
            Self::Spill { .. } | Self::TooManyUndone { .. } => {
                "nothing is lost, the server sends it again; make room on that disk, or set \
                 source.streaming = \"off\": then the server keeps what is open"
            }
            Self::Silent { .. } => {
                "look in pg_locks who holds a table that was asked about, and how busy the server is"
            }
            Self::MessageUndone => {
                "nothing is lost, the server sends it again once it has committed, without what \
                 was rolled back; with source.streaming = \"off\" it does so from the start"
            }
            Self::PreparedMissed { .. } => {
                "whoever read this slot before has it; run with --accept-gap to go on without, then \
                 load its tables again"
            }
            Self::Unsendable { source, .. } if source.code.starts_with("22") => {
                "it fails there each time, and nothing behind it can be read: a value is not what \
                 the database's encoding says; the server's log may tell more"
            }
            Self::Unsendable { .. } => {
                "it fails there each time, and nothing behind it can be read: a row is too large \
                 for the server to send as text, which ends at 1 GiB (a bytea of 512 MiB); \
                 source.binary = true sends values as they are and passes it; if it is set, or \
                 no row is so large, the server's log may tell more"
            }
            Self::Binary { .. } => {
                "nothing was skipped; set source.binary = false, or leave the column out of the \
                 publication with a column list"
            }
            _ => return None,
        })
    }

    /// Returns whether the server shuts down (or is not up yet): it lets nobody in, and waits for
    /// those that are.
    #[must_use]
    pub fn is_server_stopping(&self) -> bool {
        matches!(self, Self::ServerStopping) || self.code() == Some("57P03")
    }
}

impl Classify for Error {
    fn category(&self) -> Category {
        match self.ends_run() {
            Some(Ending::Preflight | Ending::Halted | Ending::InUse) => Category::Setup,
            None => Category::Transient,
        }
    }

    fn help(&self) -> Option<String> {
        let gap = "`walgate run --accept-gap` goes on behind the gap; then `walgate backfill start \
                   TABLE --sweep` brings a sink what it missed";
        Some(match self {
            Self::WalLevel { .. } => {
                "run ALTER SYSTEM SET wal_level = logical, then restart PostgreSQL".to_owned()
            }
            Self::PublicationMissing { .. } => {
                "make it with `walgate init --apply`, or CREATE PUBLICATION".to_owned()
            }
            Self::PublicationVanished { name } => format!(
                "make publication \"{name}\" again, then drop the slot and run with --accept-gap; \
                 what was written in between has to be loaded"
            ),
            Self::SlotExists { .. } => {
                "take it with --adopt-slot, or drop it with `walgate slot drop`".to_owned()
            }
            Self::SlotLost { received: Lsn::ZERO, .. } => {
                "drop it with `walgate slot drop`: the next start makes one, and routes begin with \
                 the rows that are there"
                    .to_owned()
            }
            Self::SlotMissing { .. } | Self::SlotLost { .. } | Self::SlotAdvanced { .. } => {
                gap.to_owned()
            }
            Self::Foreign { .. } | Self::ForeignTimeline { .. } => {
                "check the url; a restored or other server needs a new state folder and a new load"
                    .to_owned()
            }
            Self::Timeline { .. } | Self::ForkedTimeline { .. } | Self::Restored { .. } => {
                "check the url; sinks may have changes that this server no longer has: keep the \
                 state folder for what it knows of them, set state.path to a new one and run with \
                 --adopt-slot if there is a slot; routes then begin with the rows that are there"
                    .to_owned()
            }
            Self::SlotNotHere { .. } => format!(
                "name the primary in source.url (several hosts with target_session_attrs=primary); \
                 if the slot was on this standby: {gap}"
            ),
            Self::SlotSynced { .. } => {
                "promote the standby, or name the primary in source.url (several hosts with \
                 target_session_attrs=primary)"
                    .to_owned()
            }
            Self::SlotForeign { .. } => "choose another name for source.slot".to_owned(),
            Self::SlotWaits { holders, .. } => {
                let cures: Vec<String> = holders.iter().map(Holder::cure).collect();
                format!("end them, or wait for them: {}", cures.join(" "))
            }
            Self::Unloadable { .. } => {
                "give the table a primary key, or publish its partitions in its place".to_owned()
            }
            Self::TwoServers { .. } => {
                "give source.url the address of the primary itself, not of a balancer".to_owned()
            }
            Self::Cleartext { .. } => "use sslmode=require, or SCRAM in pg_hba.conf".to_owned(),
            Self::Rights { source, .. } => source.hint.clone().unwrap_or_else(|| {
                "the role needs REPLICATION and CONNECT, and for a load USAGE of the schema, SELECT, \
                 and BYPASSRLS where row-level security is on; `walgate check` says what it lacks"
                    .to_owned()
            }),
            Self::Server { source, .. } if source.message.contains("max_wal_senders") => {
                "raise max_wal_senders and restart PostgreSQL, or end another replication; it is \
                 tried again"
                    .to_owned()
            }
            _ => return self.stream_help().map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ServerError;

    #[track_caller]
    fn check(error: &Error, expected: Option<Ending>) {
        assert_eq!(error.ends_run(), expected, "{error}");
    }

    #[test]
    fn bytes_that_got_mixed_up_are_asked_for_again_and_what_cannot_be_read_halts() {
        check(&Error::Protocol { what: "an unknown frame" }, None);
        check(&Error::Unreadable { what: "a prepared transaction" }, Some(Ending::Halted));
    }

    #[test]
    fn what_fails_while_a_transaction_is_open_is_tried_once_it_commits() {
        let server = |code: &str| {
            let source = ServerError { code: code.to_owned(), ..ServerError::default() };
            Error::Server { doing: "go on with the stream", source }
        };
        for (error, expected) in [
            (Error::TooManyUndone { count: 1 }, true),
            (Error::MessageUndone, true),
            (server(INTERNAL), true),
            (server("53100"), false),
            (Error::Closed, false),
        ] {
            assert_eq!(error.is_of_streaming(), expected, "{error}");
            check(&error, None);
        }
    }
}
