//! The commands of the replication protocol.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-replication.html>.

use std::time::Duration;

use super::Error;
use super::catalog::{quote, quote_literal};
use super::connection::answered;
use super::connection::{Connection, Rows};
use super::cutter::Timelines;
use crate::lsn::Lsn;

/// The answer to `IDENTIFY_SYSTEM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct System {
    pub(super) system_id: String,
    pub(super) timeline: u32,
    pub(super) database: String,
}

/// SQLSTATE `object_in_use`: another connection holds the slot.
pub(super) const IN_USE: &str = "55006";

/// SQLSTATE `configuration_limit_exceeded`: no slot is left.
pub(super) const NO_SLOT_LEFT: &str = "53400";

/// SQLSTATE `too_many_connections`: no walsender is left, or no connection at all.
pub(super) const NO_CONNECTION_LEFT: &str = "53300";

/// SQLSTATE `lock_not_available`: `lock_timeout` ran out.
pub(super) const LOCK_TIMEOUT: &str = "55P03";

/// SQLSTATE `undefined_object`.
pub(super) const UNDEFINED: &str = "42704";

/// SQLSTATE `object_not_in_prerequisite_state`.
pub(super) const NOT_IN_STATE: &str = "55000";

fn cell(rows: &Rows, row: usize, column: usize) -> Option<&str> {
    rows.get(row)?.get(column)?.as_deref()
}

pub(super) async fn identify(connection: &mut Connection) -> Result<System, Error> {
    let rows = connection.query("identify the system", "IDENTIFY_SYSTEM").await?;
    let system = || {
        Some(System {
            system_id: cell(&rows, 0, 0)?.to_owned(),
            timeline: cell(&rows, 0, 1)?.parse().ok()?,
            database: cell(&rows, 0, 3)?.to_owned(),
        })
    };
    system().ok_or(Error::Protocol { what: "IDENTIFY_SYSTEM answered in another form" })
}

/// Returns when the server was started, as `sql/source/server.sql` does.
pub(super) async fn started(connection: &mut Connection) -> Result<String, Error> {
    let text = "SELECT extract(epoch FROM pg_postmaster_start_time())::text";
    let rows = connection.query("ask which server this is", text).await?;
    let other = Error::Protocol { what: "the server did not say when it was started" };
    cell(&rows, 0, 0).map(str::to_owned).ok_or(other)
}

/// Returns the timelines before `timeline`, each with where the next one left it.
pub(super) async fn timelines(
    connection: &mut Connection,
    timeline: u32,
) -> Result<Timelines, Error> {
    if timeline <= 1 {
        return Ok(Timelines::new());
    }
    let text = format!("TIMELINE_HISTORY {timeline}");
    let rows = connection.query("read the timeline's history", &text).await?;
    let content = cell(&rows, 0, 1).unwrap_or_default();
    history(content).ok_or(Error::Protocol { what: "TIMELINE_HISTORY answered in another form" })
}

/// Shape: a line a timeline, `number TAB switch-point TAB reason`; `#` starts a comment.
fn history(content: &str) -> Option<Timelines> {
    let lines = content.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut fields = line.split_whitespace();
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .collect()
}

/// How long the making of a slot may take: each transaction that is open is waited for in turn.
const CREATE_ANSWER_MAX: Duration = Duration::from_secs(300);

/// How long a slot lasts that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasts {
    /// Until it is dropped.
    ForEver,
    /// The same, and it is kept on standbys too, where they are told to.
    OverFailover,
    /// As long as the connection.
    WithSession,
}

/// Makes a slot; returns its consistent point.
///
/// It has to wait for every transaction that is open and has written; `patience` bounds that, and
/// the server leaves nothing behind when it runs out.
pub(super) async fn create_slot(
    connection: &mut Connection,
    slot: &str,
    lasts: Lasts,
    patience: Duration,
) -> Result<Lsn, Error> {
    let doing = "make the slot";
    let bound = format!("SET lock_timeout = {}", patience.as_millis());
    connection.query(doing, &bound).await?;
    let name = quote(slot);
    // The list in parentheses is known from PostgreSQL 15 on, `FAILOVER` from 17 on.
    let (kind, options) = match lasts {
        Lasts::ForEver => ("", "NOEXPORT_SNAPSHOT"),
        Lasts::OverFailover => ("", "(SNAPSHOT 'nothing', FAILOVER true)"),
        Lasts::WithSession => ("TEMPORARY ", "NOEXPORT_SNAPSHOT"),
    };
    let text = format!("CREATE_REPLICATION_SLOT {name} {kind}LOGICAL pgoutput {options}");
    let rows = answered(CREATE_ANSWER_MAX, connection.ask(doing, &text)).await?;
    connection.query(doing, "SET lock_timeout = 0").await?;
    let point = cell(&rows, 0, 1).and_then(|text| text.parse().ok());
    point.ok_or(Error::Protocol { what: "CREATE_REPLICATION_SLOT answered in another form" })
}

/// Starts the stream at `from`, or at the slot's confirmed position where that is later.
/// `protocol` are the options that [`Streaming`](super::Streaming) makes.
pub(super) async fn start(
    connection: &mut Connection,
    slot: &str,
    from: Lsn,
    publication: &str,
    protocol: &str,
) -> Result<(), Error> {
    // Identifiers inside a literal: unquoted, the server folds them to lower case.
    let names = quote_literal(&quote(publication));
    let slot = quote(slot);
    let options = format!("{protocol}, publication_names {names}, messages 'true'");
    let text = format!("START_REPLICATION SLOT {slot} LOGICAL {from} ({options})");
    connection.copy_both("start the stream", &text).await
}

/// Returns the session's `wal_sender_timeout`; none when there is no such bound.
pub(super) async fn wal_sender_timeout(
    connection: &mut Connection,
) -> Result<Option<Duration>, Error> {
    let text = "SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'";
    let rows = connection.query("ask for wal_sender_timeout", text).await?;
    let ms = cell(&rows, 0, 0).and_then(|text| text.parse().ok()).unwrap_or(60_000);
    Ok((ms > 0).then(|| Duration::from_millis(ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_history_is_read_with_its_comments() {
        let content =
            "# a comment\n1\t0/3000000\tno recovery target specified\n\n2\t0/5000000\tx\n";
        assert_eq!(history(content), Some(vec![(1, Lsn(0x300_0000)), (2, Lsn(0x500_0000))]));
        assert_eq!(history("one two"), None);
        assert_eq!(history(""), Some(Vec::new()));
    }
}
