//! The status for people: a few lines, aligned, readable without colour.

use std::fmt::Write as _;

use crate::alert::store::Incident;
use crate::delivery::SinkState;
use crate::inspect::status::{HeldBy, SinkStatus, SourceState, SourceStatus, Status};
use crate::inspect::words::{bytes, duration};

const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// What stands for a value that is not known.
const UNKNOWN: &str = "-";

/// Writes the whole of it.
pub(super) fn render(status: &Status, colour: bool) -> String {
    let paint = Paint { colour };
    let mut out = above(status, &paint);
    out.push('\n');
    sinks(&status.sinks, &paint, &mut out);
    out
}

/// Writes what stands above the sinks, without colour.
pub(in crate::cli) fn source_and_journal(status: &Status) -> String {
    above(status, &Paint { colour: false })
}

fn above(status: &Status, paint: &Paint) -> String {
    let mut out = String::new();
    source(&status.source, paint, &mut out);
    let journal = &status.journal;
    let kept = bytes(journal.bytes);
    // Writing to a String can't fail.
    let _ = match (&journal.oldest, &journal.newest) {
        (Some(oldest), Some(newest)) => {
            writeln!(out, "journal  {kept}, commits from {oldest} to {newest}")
        }
        _ => writeln!(out, "journal  {kept}"),
    };
    out
}

/// Writes what is firing of the alerts, and which destinations can't be told, and why.
pub(super) fn firing(open: &[Incident], failing: &[(String, String, u32)], colour: bool) -> String {
    let paint = Paint { colour };
    let mut out = String::new();
    for (index, incident) in open.iter().enumerate() {
        let head = if index == 0 { "\nfiring" } else { "      " };
        let alert = paint.state(&incident.alert, RED);
        let Incident { began, message, .. } = incident;
        let _ = writeln!(out, "{head}   {alert} since {began}: {message}");
        let _ = writeln!(out, "         next: {}", incident.next());
    }
    for (destination, why, count) in failing {
        let notices = if *count == 1 { "notice waits" } else { "notices wait" };
        let _ = writeln!(out, "\n{count} {notices} for {destination}: {why}");
    }
    out
}

struct Paint {
    colour: bool,
}

impl Paint {
    /// Colours a text that is as wide as it is to be.
    fn state(&self, text: &str, colour: &str) -> String {
        if self.colour { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }
}

fn source(source: &SourceStatus, paint: &Paint, out: &mut String) {
    let colour = match source.state {
        SourceState::Streaming | SourceState::Loading => GREEN,
        SourceState::Connecting | SourceState::Standby => YELLOW,
        SourceState::Halted | SourceState::Stopped => RED,
    };
    let state = paint.state(source.state.as_str(), colour);
    let _ = writeln!(out, "source   {state}, slot {}", source.slot);
    if let Some(reason) = &source.reason {
        let _ = writeln!(out, "         {reason}");
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    let lag = match (source.lag_bytes, source.lag_seconds) {
        (Some(lag), Some(seconds)) => format!("{}, {}", bytes(lag), duration(seconds)),
        (Some(lag), None) => bytes(lag),
        (None, Some(seconds)) => duration(seconds),
        (None, None) => UNKNOWN.to_owned(),
    };
    let confirmed = text(&source.confirmed_lsn);
    let _ = writeln!(
        out,
        "         confirmed {confirmed} of {}, behind {lag}",
        text(&source.server_lsn)
    );
    if let Some(retained) = source.retained_wal_bytes {
        let retained = bytes(u64::try_from(retained).unwrap_or(0));
        let status = text(&source.wal_status);
        let left = left(source).map(|left| format!(", {left}")).unwrap_or_default();
        let _ = writeln!(out, "         {retained} of WAL kept for the slot ({status}{left})");
    }
    for held in &source.held_by {
        let _ = writeln!(out, "         held back by {}", holder(held));
    }
    for warning in &source.warnings {
        let warning = paint.state(warning, YELLOW);
        let _ = writeln!(out, "         {warning}");
    }
}

/// How far it is from there to where the slot may be lost.
fn left(source: &SourceStatus) -> Option<String> {
    let safe = bytes(u64::try_from(source.safe_wal_bytes?).unwrap_or(0));
    let seconds = source.wal_seconds_left.and_then(|seconds| u32::try_from(seconds).ok());
    Some(match seconds {
        Some(seconds) => format!("{safe} left, {} at this rate", duration(f64::from(seconds))),
        None => format!("{safe} left"),
    })
}

fn holder(held: &HeldBy) -> String {
    let who = match (&held.gid, held.pid) {
        (Some(gid), _) => format!("prepared transaction {gid:?}"),
        (None, Some(pid)) => format!("process {pid}"),
        (None, None) => "a transaction".to_owned(),
    };
    let name = held.application_name.as_ref().filter(|name| !name.is_empty());
    let parts = [name, held.role.as_ref(), held.state.as_ref()];
    let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    let seconds = u32::try_from(held.seconds).unwrap_or(u32::MAX);
    format!("{who} ({}) for {}", parts.join(", "), duration(f64::from(seconds)))
}

const HEADS: [&str; 9] =
    ["sink", "kind", "state", "waiting", "behind", "per second", "delivered", "skipped", "dead"];

/// The first columns are words, the others numbers.
const WORDS: usize = 3;
/// The column that is coloured.
const STATE: usize = 2;

fn sinks(sinks: &[SinkStatus], paint: &Paint, out: &mut String) {
    let rows: Vec<[String; 9]> = sinks.iter().map(cells).collect();
    let mut widths = HEADS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    line(&HEADS.map(str::to_owned), &widths, None, paint, out);
    for (sink, row) in sinks.iter().zip(&rows) {
        line(row, &widths, Some(colour(sink.state)), paint, out);
        if let Some(since) = sink.since.as_ref().filter(|_| sink.state != SinkState::Ok) {
            let _ = writeln!(out, "  {}: {} since {since}", sink.name, sink.state.as_str());
        }
        if let Some(reason) = &sink.reason {
            let _ = writeln!(out, "  {}: {reason}", sink.name);
        }
        for (category, count) in &sink.dead_letters {
            let _ = writeln!(out, "  {}: {count} set aside, {category}", sink.name);
        }
    }
}

const fn colour(state: SinkState) -> &'static str {
    match state {
        SinkState::Ok => GREEN,
        SinkState::Retrying | SinkState::Open | SinkState::HalfOpen => YELLOW,
        SinkState::Halted => RED,
    }
}

/// Writes a sink's row, a cell a head of the table.
pub(in crate::cli) fn cells(sink: &SinkStatus) -> [String; 9] {
    let unknown = || UNKNOWN.to_owned();
    [
        sink.name.clone(),
        sink.kind.clone().unwrap_or_else(unknown),
        sink.state.as_str().to_owned(),
        sink.lag_events.map_or_else(unknown, |events| events.to_string()),
        sink.freshness_seconds.map_or_else(unknown, duration),
        format!("{:.1}", sink.events_per_second),
        sink.delivered.to_string(),
        sink.skipped.to_string(),
        sink.dead_letters.values().sum::<u64>().to_string(),
    ]
}

fn line(
    cells: &[String; 9],
    widths: &[usize; 9],
    colour: Option<&str>,
    paint: &Paint,
    out: &mut String,
) {
    let mut text = String::new();
    for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let padded =
            if index < WORDS { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
        let padded = match colour.filter(|_| index == STATE) {
            Some(colour) => paint.state(&padded, colour),
            None => padded,
        };
        if index > 0 {
            text.push_str("  ");
        }
        text.push_str(&padded);
    }
    out.push_str(text.trim_end());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Subject;
    use crate::inspect::status::{JournalStatus, Place};
    use crate::lsn::Timestamp;

    fn status() -> Status {
        let sink = |name: &str, state, reason: Option<&str>| SinkStatus {
            name: name.to_owned(),
            kind: Some("http".to_owned()),
            state,
            reason: reason.map(str::to_owned),
            position: Place::default(),
            since: Some("2026-11-24T05:00:00Z".to_owned()),
            lag_events: Some(12),
            freshness_seconds: Some(190.0),
            delivered: 1204,
            ..SinkStatus::default()
        };
        let mut halted = sink("crm", SinkState::Halted, Some("answered 401"));
        halted.dead_letters = [("rejected".to_owned(), 3)].into();
        halted.lag_events = None;
        Status {
            source: SourceStatus {
                state: SourceState::Streaming,
                slot: "walgate".to_owned(),
                confirmed_lsn: Some("0/1A".to_owned()),
                server_lsn: Some("0/2B".to_owned()),
                lag_bytes: Some(17),
                lag_seconds: Some(0.0),
                retained_wal_bytes: Some(16 << 20),
                wal_status: Some("reserved".to_owned()),
                safe_wal_bytes: Some(32 << 20),
                wal_seconds_left: Some(90),
                held_by: vec![HeldBy {
                    pid: Some(42),
                    application_name: Some("psql".to_owned()),
                    role: Some("app".to_owned()),
                    state: Some("idle in transaction".to_owned()),
                    seconds: 61,
                    ..HeldBy::default()
                }],
                warnings: vec!["publication walgate has no table".to_owned()],
                ..SourceStatus::default()
            },
            journal: JournalStatus { bytes: 2048, ..JournalStatus::default() },
            sinks: vec![sink("warehouse", SinkState::Ok, None), halted],
        }
    }

    #[test]
    fn it_reads_without_colour() {
        let expected = "\
source   streaming, slot walgate
         confirmed 0/1A of 0/2B, behind 17 B, 0.0 s
         16.0 MiB of WAL kept for the slot (reserved, 32.0 MiB left, 90.0 s at this rate)
         held back by process 42 (psql, app, idle in transaction) for 61.0 s
         publication walgate has no table
journal  2.0 KiB

sink       kind  state   waiting  behind  per second  delivered  skipped  dead
warehouse  http  ok           12   3 min         0.0       1204        0     0
crm        http  halted        -   3 min         0.0       1204        0     3
  crm: halted since 2026-11-24T05:00:00Z
  crm: answered 401
  crm: 3 set aside, rejected
";
        assert_eq!(render(&status(), false), expected);
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let plain = render(&status(), false);
        let mut painted = render(&status(), true);
        assert!(painted.contains("\x1b[31mhalted\x1b[0m"));
        for escape in [GREEN, YELLOW, RED, PLAIN] {
            painted = painted.replace(escape, "");
        }
        assert_eq!(painted, plain);
    }

    #[test]
    fn what_is_firing_is_named_with_what_to_do() {
        assert_eq!(firing(&[], &[], true), "");
        let incident = Incident {
            id: 1,
            alert: "halted".to_owned(),
            what: "halted".to_owned(),
            subject: Subject::Sink("crm".to_owned()),
            began: Timestamp(0),
            ended: None,
            told: Timestamp(0),
            tellings: 1,
            message: "sink crm is halted: answered 401".to_owned(),
            worst: 1.0,
        };
        let failing = [("ops".to_owned(), "refused".to_owned(), 2)];
        let text = firing(&[incident], &failing, false);
        let first =
            "\nfiring   halted since 2000-01-01T00:00:00Z: sink crm is halted: answered 401\n";
        assert!(text.starts_with(first), "{text}");
        assert!(text.contains("next: mend its address"), "{text}");
        assert!(text.ends_with("\n2 notices wait for ops: refused\n"), "{text}");
    }

    #[test]
    fn nothing_known_is_told_as_that() {
        let text = render(&Status::default(), false);
        assert!(text.contains("confirmed - of -, behind -\n"), "{text}");
    }
}
