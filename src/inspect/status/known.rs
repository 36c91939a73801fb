//! What the state folder knows, and the status that can be built of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::asked::Asked;
use super::stored::{self, Stored as StoredReport};
use super::{JournalStatus, SinkStatus, SourceState, SourceStatus, Status, age};
use crate::config::Config;
use crate::delivery::{self, SinkState};
use crate::journal;
use crate::lsn::{Lsn, Timestamp};
use crate::progress::known::{self, HeldRoute};
use crate::progress::store::{self, Stored};
use crate::state::meta::{self, Meta};

/// Everything that is stored, of one moment.
#[derive(Debug, Default)]
pub(super) struct Known {
    meta: Meta,
    progress: BTreeMap<String, Stored>,
    journal: journal::Stored,
    dead_letters: BTreeMap<String, BTreeMap<String, u64>>,
    held: Vec<HeldRoute>,
    /// Sinks of which events are neither done nor dead.
    waiting: BTreeSet<String>,
    first_seen: BTreeMap<String, Timestamp>,
    report: Option<StoredReport>,
}

/// Reads it, in one short transaction.
pub(super) fn read(connection: &Connection, folder: &Path) -> rusqlite::Result<Known> {
    Ok(Known {
        meta: meta::load(connection)?,
        progress: store::load_all(connection)?,
        journal: journal::stored(connection, folder)?,
        dead_letters: delivery::dead_letter_counts(connection)?,
        held: known::held_back(connection)?,
        waiting: delivery::sinks_with_waiting(connection)?,
        first_seen: known::first_seen(connection)?,
        report: stored::stored(connection)?,
    })
}

impl Known {
    /// Takes what a running instance says of itself, unless it has not said it lately.
    pub(super) fn take_current(&mut self, now: Timestamp, stale: Duration) -> Option<Status> {
        let stale = i64::try_from(stale.as_micros()).unwrap_or(i64::MAX);
        let is_current = |report: &mut StoredReport| (now.0 - report.time.0).abs() <= stale;
        let mut status = self.report.take_if(is_current)?.status;
        for sink in &mut status.sinks {
            sink.dead_letters = self.dead_letters.remove(&sink.name).unwrap_or_default();
        }
        status.tell_held(&self.held);
        Some(status)
    }
}

/// Builds the status of a state that no instance reports of. `state` says whether one holds the
/// folder all the same.
pub(super) fn build(
    config: &Config,
    known: &Known,
    asked: &Result<Asked, String>,
    state: SourceState,
    now: Timestamp,
) -> Status {
    let last = known.report.as_ref().map(|report| &report.status.source);
    let halted =
        last.filter(|source| state == SourceState::Stopped && source.state == SourceState::Halted);
    let state = if halted.is_some() { SourceState::Halted } else { state };
    let mut source = SourceStatus {
        state,
        slot: config.source.slot.clone(),
        confirmed_lsn: (known.meta.confirmed > Lsn::ZERO).then(|| known.meta.confirmed.to_string()),
        ..SourceStatus::default()
    };
    let mut reasons = match halted {
        Some(halted) => halted.reason.clone().into_iter().collect(),
        None => vec![why(known, state)],
    };
    match asked {
        Ok(asked) => fill(&mut source, asked, known, &mut reasons),
        Err(error) => reasons.push(format!("the server can't be asked: {error}")),
    }
    source.reason = Some(reasons.join("; "));
    let kept = &known.journal.status;
    let journal = JournalStatus {
        bytes: kept.bytes,
        oldest: kept.oldest.map(|time| time.to_string()),
        newest: kept.newest.map(|time| time.to_string()),
    };
    let lag = source.lag_seconds;
    let of_config = config.sinks.iter().map(|it| (it.name.as_str(), Some(it.kind.kind())));
    let in_config = |name: &str| config.sinks.iter().any(|sink| sink.name == name);
    let others = known.progress.keys().filter(|name| !in_config(name));
    let others = others.map(|name| (name.as_str(), None));
    let sinks =
        of_config.chain(others).map(|(name, kind)| sink(name, kind, known, lag, now)).collect();
    let mut status = Status { source, journal, sinks };
    status.tell_held(&known.held);
    status
}

fn why(known: &Known, state: SourceState) -> String {
    let last = known.report.as_ref().map(|report| report.time);
    match (state, last) {
        (SourceState::Stopped, _) if known.meta.identity.is_none() => {
            "nothing has run with this state folder yet".to_owned()
        }
        (SourceState::Stopped, None) => "no instance is running".to_owned(),
        (SourceState::Stopped, Some(last)) => format!("no instance is running since {last}"),
        (_, None) => "an instance is starting".to_owned(),
        (_, Some(last)) => format!("the running instance has said nothing since {last}"),
    }
}

/// Fills in what the server said.
fn fill(source: &mut SourceStatus, asked: &Asked, known: &Known, reasons: &mut Vec<String>) {
    source.server_lsn = Some(asked.lsn.to_string());
    let Some((slot, wal)) = &asked.slot else {
        if known.meta.identity.is_some() {
            reasons.push(format!("the server has no slot \"{}\"", source.slot));
        }
        return;
    };
    if let Some(confirmed) = slot.confirmed() {
        source.confirmed_lsn = Some(confirmed.to_string());
        source.lag_bytes = Some(asked.lsn.0.saturating_sub(confirmed.0));
    }
    // How old what waits there is only the stream could tell.
    source.lag_seconds = (source.lag_bytes == Some(0)).then_some(0.0);
    source.retained_wal_bytes = wal.and_then(|wal| wal.retained);
    source.safe_wal_bytes = wal.and_then(|wal| wal.safe);
    source.wal_status = slot.wal_status().map(str::to_owned);
    if let Some(lost) = slot.lost() {
        reasons.push(format!("the slot is lost ({lost})"));
    }
    let is_stopped = matches!(source.state, SourceState::Stopped | SourceState::Halted);
    if is_stopped && slot.is_active() {
        let by = slot.active_pid().map(|pid| format!(" (server process {pid})"));
        reasons.push(format!("another client holds the slot{}", by.unwrap_or_default()));
    }
}

fn sink(
    name: &str,
    kind: Option<&str>,
    known: &Known,
    lag: Option<f64>,
    now: Timestamp,
) -> SinkStatus {
    let empty = Stored::default();
    let stored = known.progress.get(name);
    let Stored { reached, delivered, skipped, newest_done, halted } = stored.unwrap_or(&empty);
    let is_done = reached.floor >= known.journal.end;
    // While nobody serves it, it is known to have what it was known to have last.
    let then = known.report.as_ref().and_then(|report| report.fresh(name));
    let then = then.or(*newest_done).or_else(|| known.first_seen.get(name).copied());
    let has_all = is_done && halted.is_none() && !known.waiting.contains(name);
    let age = then.map(|then| age(then, now));
    let (state, reason) = match (halted, stored, last_seen(name, known)) {
        (Some(halted), ..) => (SinkState::Halted, Some(halted.clone())),
        (None, None, _) => (SinkState::Ok, Some("has not run yet".to_owned())),
        (None, Some(_), Some((state, reason))) => (state, Some(reason)),
        (None, Some(_), None) if kind.is_none() => {
            (SinkState::Ok, Some("the config no longer has it".to_owned()))
        }
        (None, Some(_), None) => (SinkState::Ok, None),
    };
    SinkStatus {
        name: name.to_owned(),
        kind: kind.map(str::to_owned),
        state,
        reason,
        next: None,
        since: reported(name, known).and_then(|sink| since(sink, state)),
        position: reached.floor.into(),
        // How many events lie behind the position only a reader of the journal could count.
        lag_events: is_done.then_some(0),
        freshness_seconds: if has_all { lag.or(age) } else { age },
        delivered: *delivered,
        skipped: *skipped,
        dead_letters: known.dead_letters.get(name).cloned().unwrap_or_default(),
        events_per_second: 0.0,
    }
}

/// What the last instance said of a sink.
fn reported<'a>(name: &str, known: &'a Known) -> Option<&'a SinkStatus> {
    known.report.as_ref()?.status.sinks.iter().find(|sink| sink.name == name)
}

/// Since when the trouble lasts that is told now, if that is what it said.
fn since(sink: &SinkStatus, state: SinkState) -> Option<String> {
    let is_told = sink.state == state && state != SinkState::Ok;
    sink.since.clone().filter(|_| is_told)
}

/// What was the matter with a sink when an instance last said so, told as that.
fn last_seen(name: &str, known: &Known) -> Option<(SinkState, String)> {
    let (time, sink) = (known.report.as_ref()?.time, reported(name, known)?);
    let reason = sink.reason.as_deref().unwrap_or(sink.state.as_str());
    let told = format!("at {time}, when last seen: {reason}");
    (sink.state != SinkState::Ok).then_some((sink.state, told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Environment};
    use crate::lsn::Position;
    use crate::progress::ledger::Reached;
    use crate::source::catalog::{SlotRow, SlotWal};

    const NOW: Timestamp = Timestamp(60_000_000);

    fn config() -> Config {
        let text = "[source]\nurl = \"postgres://localhost/shop\"\n[sink.crm.http]\n\
                    url = \"http://localhost/\"\n[[route]]\nname = \"r\"\ntable = \"public.t\"\n\
                    sink = \"crm\"\nstart = \"now\"\n";
        let environment = Environment { variable: &|_| None, folder: Path::new(".") };
        config::parse("walgate.toml", text, &environment).unwrap()
    }

    fn report(state: SinkState, reason: Option<&str>) -> StoredReport {
        let reason = reason.map(str::to_owned);
        let since = Some("1999-12-31T23:00:00Z".to_owned());
        let sink = SinkStatus { name: "crm".into(), state, reason, since, ..SinkStatus::default() };
        let status = Status { sinks: vec![sink], ..Status::default() };
        StoredReport { time: Timestamp(0), status }
    }

    /// A state that has run: 7 delivered, two dead letters, everything in the journal done.
    fn known() -> Known {
        let identity = meta::Identity {
            system_id: "7".into(),
            timeline: 1,
            began: Lsn::ZERO,
            started: String::new(),
            database: "shop".into(),
            slot: "walgate".into(),
        };
        let floor = Position::new(Lsn(90), 0);
        let stored = Stored {
            reached: Reached { floor, ..Reached::default() },
            delivered: 7,
            newest_done: Some(Timestamp(30_000_000)),
            ..Stored::default()
        };
        Known {
            meta: Meta { identity: Some(identity), received: Lsn(90), confirmed: Lsn(80) },
            progress: [("crm".to_owned(), stored)].into(),
            journal: journal::Stored { end: floor, ..journal::Stored::default() },
            dead_letters: [("crm".to_owned(), [("rejected".to_owned(), 2)].into())].into(),
            held: Vec::new(),
            waiting: BTreeSet::new(),
            first_seen: [("crm".to_owned(), Timestamp(10_000_000))].into(),
            report: Some(report(SinkState::Ok, None)),
        }
    }

    fn asked(confirmed: u64, lsn: u64, active: bool) -> Result<Asked, String> {
        let row = serde_json::json!({
            "confirmed_flush_lsn": Lsn(confirmed).to_string(), "wal_status": "reserved",
            "active": active, "active_pid": active.then_some(42),
        });
        let serde_json::Value::Object(row) = row else { unreachable!() };
        let server_lsn = Lsn(lsn);
        let wal = SlotWal { retained: Some(500), lag: None, safe: Some(900), server_lsn };
        Ok(Asked { lsn: server_lsn, slot: Some((SlotRow { row }, Some(wal))) })
    }

    #[test]
    fn a_stopped_state_tells_what_is_stored_and_what_the_server_says() {
        let status = build(&config(), &known(), &asked(90, 90, false), SourceState::Stopped, NOW);
        let source = &status.source;
        assert_eq!(
            source.reason.as_deref(),
            Some("no instance is running since 2000-01-01T00:00:00Z")
        );
        assert_eq!((source.lag_bytes, source.lag_seconds), (Some(0), Some(0.0)));
        assert_eq!(source.confirmed_lsn.as_deref(), Some("0/5A"));
        assert_eq!(source.retained_wal_bytes, Some(500));
        let [crm] = status.sinks.as_slice() else { panic!("one sink") };
        assert_eq!((crm.delivered, crm.lag_events, crm.freshness_seconds), (7, Some(0), Some(0.0)));
        assert_eq!(crm.dead_letters, [("rejected".to_owned(), 2)].into());
        assert_eq!((crm.state, crm.reason.as_deref()), (SinkState::Ok, None));
    }

    #[test]
    fn a_held_route_is_told_with_why_and_what_waits() {
        let mut known = known();
        let why = "public.t changed: column \"w\" is new".to_owned();
        let (route, sink) = ("r".to_owned(), "crm".to_owned());
        known.held = vec![
            HeldRoute { route, sink: sink.clone(), why, waiting: 3 },
            HeldRoute { route: "s".to_owned(), sink, why: String::new(), waiting: 1 },
        ];
        let status = build(&config(), &known, &asked(90, 90, false), SourceState::Stopped, NOW);
        let told = "held: r (public.t changed: column \"w\" is new), 3 events wait; \
                    held: s, 1 event waits";
        assert_eq!(status.sinks[0].reason.as_deref(), Some(told));
        // And beside what a running instance says, counted when it is asked.
        known.report = Some(report(SinkState::Halted, Some("answered 401")));
        let current = known.take_current(Timestamp(0), Duration::from_secs(1)).unwrap();
        let reason = current.sinks[0].reason.as_deref();
        assert_eq!(reason, Some(format!("answered 401; {told}").as_str()));
    }

    #[test]
    fn what_lies_between_is_not_made_up() {
        let mut known = known();
        known.journal.end = Position::new(Lsn(99), 0);
        let status = build(&config(), &known, &asked(90, 95, true), SourceState::Stopped, NOW);
        assert_eq!((status.source.lag_bytes, status.source.lag_seconds), (Some(5), None));
        assert!(status.source.reason.unwrap().ends_with("holds the slot (server process 42)"));
        assert_eq!(status.sinks[0].lag_events, None);
        assert_eq!(status.sinks[0].freshness_seconds, Some(30.0));
        let down = Err("cannot reach db".to_owned());
        let status = build(&config(), &known, &down, SourceState::Stopped, NOW);
        assert!(
            status.source.reason.unwrap().ends_with("the server can't be asked: cannot reach db")
        );
        assert_eq!(status.source.confirmed_lsn.as_deref(), Some("0/50"));
        assert_eq!(status.source.server_lsn, None);
    }

    #[test]
    fn what_a_sink_lacks_makes_it_old_whatever_else_it_has() {
        let fresh = |known: &Known, confirmed| {
            let asked = asked(confirmed, 90, false);
            let status = build(&config(), known, &asked, SourceState::Stopped, NOW);
            status.sinks[0].freshness_seconds
        };
        assert_eq!(fresh(&known(), 90), Some(0.0));
        assert_eq!(fresh(&known(), 80), Some(30.0));
        // As the last run has said: it was 5 s old at second 45.
        let mut told = known();
        told.report = Some(report(SinkState::Ok, None));
        let last = told.report.as_mut().unwrap();
        last.time = Timestamp(45_000_000);
        last.status.sinks[0].freshness_seconds = Some(5.0);
        assert_eq!(fresh(&told, 80), Some(20.0));
        // An event is retrying or waits behind one that is.
        let mut waits = known();
        waits.waiting.insert("crm".to_owned());
        assert_eq!(fresh(&waits, 90), Some(30.0));
        let mut paused = known();
        paused.progress.get_mut("crm").unwrap().halted = Some("paused by a person".to_owned());
        assert_eq!(fresh(&paused, 90), Some(30.0));
        // Nothing was ever delivered there: as old as it is itself.
        let mut new = known();
        new.progress.get_mut("crm").unwrap().newest_done = None;
        assert_eq!(fresh(&new, 80), Some(50.0));
    }

    #[test]
    fn trouble_is_told_with_when_it_was_seen() {
        let mut known = known();
        known.report = Some(report(SinkState::Halted, Some("answered 401")));
        known.progress.insert("gone".to_owned(), Stored::default());
        let status = build(&config(), &known, &asked(90, 90, false), SourceState::Stopped, NOW);
        let told = |index: usize| {
            let sink: &SinkStatus = &status.sinks[index];
            (sink.name.as_str(), sink.state, sink.reason.clone().unwrap())
        };
        let seen = "at 2000-01-01T00:00:00Z, when last seen: answered 401".to_owned();
        assert_eq!(told(0), ("crm", SinkState::Halted, seen));
        assert_eq!(status.sinks[0].since.as_deref(), Some("1999-12-31T23:00:00Z"));
        assert_eq!(status.sinks[1].since, None);
        assert_eq!(told(1), ("gone", SinkState::Ok, "the config no longer has it".to_owned()));
    }

    #[test]
    fn nothing_ran_yet_is_a_status_too() {
        let asked = Ok(Asked { lsn: Lsn(90), slot: None });
        let status = build(&config(), &Known::default(), &asked, SourceState::Stopped, NOW);
        let reason = "nothing has run with this state folder yet";
        assert_eq!(status.source.reason.as_deref(), Some(reason));
        assert_eq!(status.sinks[0].reason.as_deref(), Some("has not run yet"));
    }

    #[test]
    fn a_report_is_current_only_while_it_is_fresh() {
        let stale = Duration::from_secs(10);
        let mut fresh = known();
        let status = fresh.take_current(Timestamp(9_000_000), stale).unwrap();
        assert_eq!(status.sinks[0].dead_letters, [("rejected".to_owned(), 2)].into());
        let mut old = known();
        assert_eq!(old.take_current(NOW, stale), None);
        let status = build(&config(), &old, &Err("x".into()), SourceState::Connecting, NOW);
        let reason = "the running instance has said nothing since 2000-01-01T00:00:00Z; \
                      the server can't be asked: x";
        assert_eq!(status.source.reason.as_deref(), Some(reason));
        // A clock that was set back.
        assert_eq!(known().take_current(Timestamp(-60_000_000), stale), None);
    }
}
