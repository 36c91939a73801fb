//! What comes beside the changes: warnings, errors, and the end of the stream.

use super::Reader;
use crate::libpq::ServerError;
use crate::source::Error;
use crate::source::command;

/// Names standbys that a failover slot waits for. The warning that one is not there has the code
/// of a publication that is missing.
const STANDBY_SLOTS: &str = "synchronized_standby_slots";

impl Reader {
    /// Judges what is not part of the copy stream.
    pub(super) fn aside(&mut self, tag: u8, body: &[u8]) -> Result<(), Error> {
        match tag {
            b'N' => {
                let notice = ServerError::read(body);
                // PostgreSQL 18 only warns that it skips a publication it does not find, and goes
                // on: every keepalive from here on would confirm rows that were never sent.
                if notice.is_about(STANDBY_SLOTS) {
                    tracing::warn!(message = notice.message, "the server waits for a standby");
                    return Ok(());
                }
                if notice.severity == "WARNING" && notice.code == command::NOT_IN_STATE {
                    self.missed = true;
                    if !self.is_in_gap() {
                        return Err(self.vanished());
                    }
                }
                notice.log_notice();
                Ok(())
            }
            b'E' => {
                let error = ServerError::read(body);
                Err(match error.code.as_str() {
                    // The publication is looked up as it was at that point of the log.
                    command::UNDEFINED => self.vanished(),
                    "57P01" | "57P02" | "57P03" => Error::ServerStopping,
                    _ => Error::of_stream(self.shared.all_received(), error),
                })
            }
            b'S' => Ok(()),
            // CopyDone, CommandComplete, ReadyForQuery: the server ended the stream in order.
            b'c' | b'C' | b'Z' => Err(Error::ServerStopping),
            _ => Err(Error::Protocol { what: "an unexpected message in the stream" }),
        }
    }

    /// Whether the stream is where it was before it was attached, and a person accepted a gap there.
    /// Behind that nothing was accepted.
    fn is_in_gap(&self) -> bool {
        self.gap_end.is_some_and(|end| self.shared.all_received() < end)
    }

    /// Looks, once the gap is behind, whether what was missing there is back: the server does not
    /// warn again.
    pub(super) async fn leave_gap(&mut self) -> Result<(), Error> {
        if self.gap_end.is_none() || self.is_in_gap() {
            return Ok(());
        }
        self.gap_end = None;
        if self.missed && self.catalog.publication(&self.publication).await?.is_none() {
            return Err(self.vanished());
        }
        Ok(())
    }

    fn vanished(&self) -> Error {
        Error::PublicationVanished { name: self.publication.clone() }
    }
}
