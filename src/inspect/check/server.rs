//! The server's settings, and what goes on there: what may cost the slot, the disk or time.

use super::report::Report;
use crate::lsn::Timestamp;
use crate::relation::quote_identifier;
use crate::source::Settings;
use crate::source::catalog::{Holder, Server, SlotRow};

/// The first minors in which rows written beside `ALTER PUBLICATION … ADD TABLE` are not lost.
const PATCHED: [u32; 4] = [140_018, 150_013, 160_009, 170_005];

/// From here on the server can keep a slot on its standbys.
const FAILOVER_SINCE: u32 = 170_000;

/// The server's own default, in KiB: less makes it write transactions to its disk.
const WORK_MEM_KB: i64 = 64 * 1024;

/// A transaction that has been open for so many seconds is worth a line.
const OPEN_SECONDS: i64 = 60;

/// Whether a table can be added to a publication while others write to it.
pub(super) fn is_patched(server: &Server) -> bool {
    let major = server.version_num / 10_000;
    PATCHED.iter().all(|minor| minor / 10_000 != major || server.version_num >= *minor)
}

pub(super) fn check(server: &Server, report: &mut Report) {
    if !is_patched(server) {
        let seen = format!(
            "PostgreSQL {}: rows written while ALTER PUBLICATION adds their table can be lost",
            server.version
        );
        report.warn("source.minor", "source", seen, "upgrade to the newest minor version");
    }
    match (server.tls, server.is_local) {
        (true, _) => report.ok("source.tls", "source", "the connection is encrypted"),
        (false, true) => report.ok("source.tls", "source", "no TLS, on this machine"),
        (false, false) => {
            let seen = "no TLS: whoever is between can read the rows";
            report.warn("source.tls", "source", seen, "sslmode=verify-full in source.url");
        }
    }
    if server.superuser {
        let role = quote_identifier(&server.role);
        let seen = format!("role {role} is a superuser: it may do more than walgate needs");
        let fix = "`walgate init --role NAME` makes one with LOGIN and REPLICATION alone";
        report.warn("source.role", "source", seen, fix);
    } else {
        report.ok("source.role", "source", "not a superuser");
    }
    let seen = format!(
        "{} of {} slots and {} of {} walsenders are taken",
        server.used_replication_slots,
        server.max_replication_slots,
        server.used_wal_senders,
        server.max_wal_senders
    );
    report.ok("source.capacity", "source", seen);
    retention(server, report);
    pace(server, report);
}

/// Clocks that differ by so many microseconds make what is said of lag and freshness useless.
const CLOCK_MICROS: i64 = 2_000_000;

/// Compares the clocks: the server's was read somewhere between these two moments.
pub(super) fn clock(server: &Server, asked: Timestamp, answered: Timestamp, report: &mut Report) {
    let Some((off, how)) = drift(server.now, asked.unix_micros(), answered.unix_micros()) else {
        report.ok("source.clock", "source", "its clock is this machine's");
        return;
    };
    let seen = format!(
        "its clock is {} s {how} this machine's: lag and freshness are told wrong by as much",
        off / 1_000_000
    );
    report.warn("source.clock", "source", seen, "let NTP set both clocks");
}

/// Returns by how much a clock that showed `now` between two moments is off at least, and which
/// way; none where that is not worth a word.
fn drift(now: i64, asked: i64, answered: i64) -> Option<(i64, &'static str)> {
    let ahead = (now.saturating_sub(answered), "ahead of");
    let behind = (asked.saturating_sub(now), "behind");
    [ahead, behind].into_iter().find(|(off, _)| *off >= CLOCK_MICROS)
}

/// What ends a slot, or lets it end the disk.
fn retention(server: &Server, report: &mut Report) {
    if server.in_recovery && !server.hot_standby_feedback {
        let seen = "a standby without hot_standby_feedback: its primary removes what the slot \
                    needs of the catalog, and the slot is lost";
        let fix = "ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf();";
        report.warn("source.standby", "source", seen, fix);
    }
    let keep = &server.max_slot_wal_keep_size;
    if keep == "-1" {
        let seen = "max_slot_wal_keep_size is not set: a slot that lags can fill the server's disk";
        let fix = "ALTER SYSTEM SET max_slot_wal_keep_size = '…'; SELECT pg_reload_conf(); with \
                   what the disk can bear";
        report.warn("source.wal_keep", "source", seen, fix);
    } else {
        let seen = format!("a slot that lags by more than max_slot_wal_keep_size ({keep}) is lost");
        report.ok("source.wal_keep", "source", seen);
    }
    match server.idle_replication_slot_timeout.as_deref() {
        None | Some("0") => {}
        Some(timeout) => {
            let seen = format!(
                "a slot that nobody reads for {timeout} is lost \
                 (idle_replication_slot_timeout): walgate must not be stopped for longer"
            );
            let fix = "ALTER SYSTEM RESET idle_replication_slot_timeout; SELECT pg_reload_conf();";
            report.warn("source.idle_timeout", "source", seen, fix);
        }
    }
}

/// What makes the server slow, or the connection end.
fn pace(server: &Server, report: &mut Report) {
    let interval = i64::try_from(Settings::STATUS_INTERVAL.as_millis()).unwrap_or(i64::MAX);
    let timeout = &server.wal_sender_timeout;
    match server.wal_sender_timeout_ms {
        0 => {
            let seen = "wal_sender_timeout is 0: the server keeps a dead client's slot in use";
            let fix = "ALTER SYSTEM SET wal_sender_timeout = '1min'; SELECT pg_reload_conf();";
            report.warn("source.wal_sender_timeout", "source", seen, fix);
        }
        ms if ms < interval => {
            let seen = format!(
                "wal_sender_timeout is {timeout}: a network that pauses that long ends the stream"
            );
            let fix = "ALTER SYSTEM SET wal_sender_timeout = '1min'; SELECT pg_reload_conf();";
            report.warn("source.wal_sender_timeout", "source", seen, fix);
        }
        _ => {
            let seen = format!("wal_sender_timeout is {timeout}");
            report.ok("source.wal_sender_timeout", "source", seen);
        }
    }
    let kib = server.logical_decoding_work_mem_kb;
    if kib < WORK_MEM_KB {
        let seen = format!(
            "logical_decoding_work_mem is {kib} kB: larger transactions go to the server's disk \
             before they are sent"
        );
        let fix = "ALTER SYSTEM SET logical_decoding_work_mem = '64MB'; SELECT pg_reload_conf();";
        report.warn("source.work_mem", "source", seen, fix);
    } else {
        report.ok("source.work_mem", "source", format!("logical_decoding_work_mem is {kib} kB"));
    }
}

/// Open transactions: they hold WAL back, and a slot that has to be made waits for all of them.
pub(super) fn transactions(holders: &[Holder], is_slot_there: bool, report: &mut Report) {
    let is_old = |holder: &&Holder| holder.seconds.is_none_or(|seconds| seconds >= OPEN_SECONDS);
    let told: Vec<&Holder> =
        holders.iter().filter(|holder| !is_slot_there || is_old(holder)).collect();
    if told.is_empty() {
        report.ok("source.transactions", "source", "no transaction has been open for long");
    }
    for holder in told {
        let why = if is_slot_there { "holds WAL back" } else { "keeps the slot from being made" };
        let seen = format!("{holder}: {why}");
        report.warn("source.transactions", "source", seen, &holder.cure());
    }
}

/// What becomes of the slot when a standby takes over.
pub(super) fn failover(
    server: &Server,
    slot: &SlotRow,
    absent: &[String],
    subject: &str,
    report: &mut Report,
) {
    if server.in_recovery && slot.is_synced() {
        let seen = "the copy of a standby, which serves nobody before its promotion";
        let fix = "promote the standby, or name the primary in source.url (several hosts with \
                   target_session_attrs=primary)";
        report.fail("slot.failover", subject, seen, fix);
        return;
    }
    match slot.fails_over() {
        Some(true) => report.ok("slot.failover", subject, "kept on standbys that sync slots"),
        _ if server.standbys == 0 || server.in_recovery => {}
        _ => {
            let seen = "there are standbys, and none of them has the slot: a promotion loses it";
            let fix = if server.version_num >= FAILOVER_SINCE {
                let name = slot.name();
                format!(
                    "ALTER_REPLICATION_SLOT {} (FAILOVER true); while walgate is stopped, over a \
                     replication connection (psql \"replication=database …\"); then \
                     sync_replication_slots = on at the standby",
                    quote_identifier(name)
                )
            } else {
                "PostgreSQL 17 can keep it there; before that pg_failover_slots or Patroni"
                    .to_owned()
            };
            report.warn("slot.failover", subject, seen, &fix);
        }
    }
    if slot.fails_over() == Some(true) {
        for name in absent {
            let seen = format!("waits for standby {name:?}, which is away: nothing new is sent");
            let fix = "start the standby, or take it out of synchronized_standby_slots";
            report.warn("slot.standbys", subject, seen, fix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_only_by_what_no_delay_of_the_answer_explains() {
        const SECOND: i64 = 1_000_000;
        let (asked, answered) = (100 * SECOND, 104 * SECOND);
        for (now, expected) in [
            (100, None),
            (104, None),
            (105, None),
            (99, None),
            (106, Some((2 * SECOND, "ahead of"))),
            (90, Some((10 * SECOND, "behind"))),
        ] {
            assert_eq!(drift(now * SECOND, asked, answered), expected, "{now}");
        }
    }
}
