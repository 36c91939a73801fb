//! Incidents, and notices that have not arrived: functions to run inside `State::write` and
//! `State::read`.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::evaluator::{Happening, Standing};
use super::measure;
use super::notice::{Notice, Status};
use super::rule::{Subject, When};
use crate::lsn::Timestamp;

/// So many incidents that are over are kept.
const KEPT_MAX: u32 = 10_000;
/// For so long they are kept, in microseconds: 90 days.
const KEPT_MICROS: i64 = 90 * 86_400 * 1_000_000;

/// Something that was or is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Its number: later ones have higher ones.
    pub id: i64,
    /// The alert's name.
    pub alert: String,
    /// What it is about (`when`).
    pub what: String,
    /// Of what.
    pub subject: Subject,
    /// Since when.
    pub began: Timestamp,
    /// Until when; none: it is firing.
    pub ended: Option<Timestamp>,
    /// When something was last told of it.
    pub told: Timestamp,
    /// How often something was told of it, in the log or to a destination.
    pub tellings: u32,
    /// In words, with value and threshold, as it was told last.
    pub message: String,
    /// The worst value, in the alert's own unit: seconds, bytes, a count, or times the usual.
    pub worst: f64,
}

impl Incident {
    /// Returns what a person does next.
    #[must_use]
    pub fn next(&self) -> String {
        let when = When::ALL.into_iter().find(|when| when.as_str() == self.what);
        when.map(|when| measure::next(when, &self.subject)).unwrap_or_default()
    }
}

/// Which incidents are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only what is firing.
    pub open: bool,
    /// Only of this sink.
    pub sink: Option<String>,
    /// Only those with a lower number: the next page behind the last one's lowest.
    pub before: Option<i64>,
}

/// Returns incidents, the newest first, `limit` of them at most.
///
/// # Errors
/// Any of SQLite's.
pub fn list(
    connection: &Connection,
    filter: &Filter,
    limit: u32,
) -> rusqlite::Result<Vec<Incident>> {
    let sql = "SELECT id, alert, what, subject, name, began, ended, told, tellings, message, worst
               FROM incidents
               WHERE (NOT ?1 OR ended IS NULL)
                   AND (?2 IS NULL OR subject = 'sink' AND name = ?2)
                   AND (?3 IS NULL OR id < ?3)
               ORDER BY id DESC LIMIT ?4";
    let mut statement = connection.prepare(sql)?;
    let values = params![filter.open, filter.sink, filter.before, limit];
    statement.query_map(values, incident)?.collect()
}

fn incident(row: &Row<'_>) -> rusqlite::Result<Incident> {
    let kind: String = row.get(3)?;
    Ok(Incident {
        id: row.get(0)?,
        alert: row.get(1)?,
        what: row.get(2)?,
        subject: Subject::of(&kind, row.get(4)?),
        began: Timestamp::from_unix_micros(row.get(5)?),
        ended: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_unix_micros),
        told: Timestamp::from_unix_micros(row.get(7)?),
        tellings: row.get(8)?,
        message: row.get(9)?,
        worst: row.get(10)?,
    })
}

/// Returns what is firing, for who goes on with it.
///
/// # Errors
/// Any of SQLite's.
pub fn standing(connection: &Connection) -> rusqlite::Result<Vec<(i64, Standing)>> {
    let open = list(connection, &Filter { open: true, ..Filter::default() }, u32::MAX)?;
    let standing = |incident: Incident| {
        let Incident { id, alert, what, subject, began: since, told, worst, .. } = incident;
        (id, Standing { alert, what, subject, since, told, worst })
    };
    Ok(open.into_iter().map(standing).collect())
}

/// Notes that something has begun, with what each destination is owed. Returns the notice; none
/// where it was noted before.
///
/// # Errors
/// Any of SQLite's.
pub fn begin(
    connection: &Connection,
    happening: &Happening,
    now: Timestamp,
) -> rusqlite::Result<Option<Notice>> {
    if open(connection, happening)?.is_some() {
        return Ok(None);
    }
    prune(connection, now)?;
    let Happening { rule, subject, since, worst, message, .. } = happening;
    let sql = "INSERT INTO incidents (alert, what, subject, name, began, told, message, worst)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let values = params![
        rule.name,
        rule.when.as_str(),
        subject.kind(),
        subject.name(),
        since.unix_micros(),
        now.unix_micros(),
        message,
        worst,
    ];
    connection.prepare(sql)?.execute(values)?;
    let id = connection.last_insert_rowid();
    owe(connection, happening, id, 1, Status::Firing).map(Some)
}

/// Notes that something goes on, as [`begin`] does; none where nothing is known of it.
///
/// # Errors
/// Any of SQLite's.
pub fn repeat(
    connection: &Connection,
    happening: &Happening,
    now: Timestamp,
) -> rusqlite::Result<Option<Notice>> {
    let Some((id, tellings)) = open(connection, happening)? else { return Ok(None) };
    let sql = "UPDATE incidents SET told = ?2, tellings = tellings + 1, message = ?3, worst = ?4
               WHERE id = ?1";
    let values = params![id, now.unix_micros(), happening.message, happening.worst];
    connection.prepare(sql)?.execute(values)?;
    // What is owed already tells the same.
    let sql = "DELETE FROM notices WHERE incident = ?1 AND number > 1 AND failed IS NULL";
    connection.execute(sql, [id])?;
    owe(connection, happening, id, tellings + 1, Status::Firing).map(Some)
}

/// Notes that something is over, as [`begin`] does; none where nothing is known of it.
///
/// # Errors
/// Any of SQLite's.
pub fn end(
    connection: &Connection,
    happening: &Happening,
    now: Timestamp,
) -> rusqlite::Result<Option<Notice>> {
    let Some((id, tellings)) = open(connection, happening)? else { return Ok(None) };
    let sql = "UPDATE incidents SET ended = ?2, told = ?3, tellings = tellings + 1, worst = ?4
               WHERE id = ?1";
    let ended = happening.ended.unwrap_or(now).unix_micros();
    connection.prepare(sql)?.execute(params![id, ended, now.unix_micros(), happening.worst])?;
    owe(connection, happening, id, tellings + 1, Status::Resolved).map(Some)
}

/// Notes that nobody watches any more what was firing.
///
/// # Errors
/// Any of SQLite's.
pub fn forget(connection: &Connection, id: i64, now: Timestamp) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM notices WHERE incident = ?1", [id])?;
    let sql = "UPDATE incidents SET ended = ?2 WHERE id = ?1";
    connection.execute(sql, (id, now.unix_micros())).map(drop)
}

/// The incident of a happening that is not over: its number, and how often it was told.
fn open(connection: &Connection, happening: &Happening) -> rusqlite::Result<Option<(i64, u32)>> {
    let Happening { rule, subject, .. } = happening;
    let sql = "SELECT id, tellings FROM incidents
               WHERE alert = ?1 AND what = ?2 AND subject = ?3 AND name = ?4 AND ended IS NULL";
    let values = (&rule.name, rule.when.as_str(), subject.kind(), subject.name());
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    connection.prepare(sql)?.query_row(values, row).optional()
}

fn owe(
    connection: &Connection,
    happening: &Happening,
    incident: i64,
    number: u32,
    status: Status,
) -> rusqlite::Result<Notice> {
    let Happening { rule, subject, since, ended, message, .. } = happening;
    let sql = "INSERT OR REPLACE INTO notices (incident, destination, number, status, message)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    for to in &rule.to {
        let values = (incident, &to.sink, number, status.as_str(), message);
        connection.prepare(sql)?.execute(values)?;
    }
    Ok(Notice {
        incident,
        number,
        name: rule.name.clone(),
        when: rule.when.as_str().to_owned(),
        status,
        subject: subject.clone(),
        message: message.clone(),
        since: *since,
        ended: *ended,
        next: happening.next(),
    })
}

/// Returns the notices that have not arrived, each with its destination, in the order in which
/// they came.
///
/// # Errors
/// Any of SQLite's.
pub fn owed(connection: &Connection) -> rusqlite::Result<Vec<(String, Notice)>> {
    let sql = "SELECT id, alert, what, subject, name, began, ended, told, tellings,
                   notices.message, worst, destination, number, status
               FROM notices JOIN incidents ON incident = id ORDER BY incident, number";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let next = incident(row)?.next();
        let Incident { id, alert, what, subject, began, ended, message, .. } = incident(row)?;
        let is_over = row.get::<_, String>(13)? == Status::Resolved.as_str();
        let notice = Notice {
            incident: id,
            number: row.get(12)?,
            name: alert,
            when: what,
            status: if is_over { Status::Resolved } else { Status::Firing },
            subject,
            message,
            since: began,
            ended: ended.filter(|_| is_over),
            next,
        };
        Ok((row.get(11)?, notice))
    })?;
    rows.collect()
}

/// Notes that notices have arrived at a destination, or were given up. Each by its incident and
/// its number.
///
/// # Errors
/// Any of SQLite's.
pub fn settled(
    connection: &Connection,
    destination: &str,
    notices: &[(i64, u32)],
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM notices WHERE destination = ?1 AND incident = ?2 AND number = ?3";
    let mut statement = connection.prepare(sql)?;
    notices.iter().try_for_each(|(incident, number)| {
        statement.execute((destination, incident, number)).map(drop)
    })
}

/// Notes why notices could not be sent.
///
/// # Errors
/// Any of SQLite's.
pub fn failed(
    connection: &Connection,
    destination: &str,
    notices: &[(i64, u32)],
    why: &str,
) -> rusqlite::Result<()> {
    let sql = "UPDATE notices SET failed = ?4
               WHERE destination = ?1 AND incident = ?2 AND number = ?3";
    let mut statement = connection.prepare(sql)?;
    notices.iter().try_for_each(|(incident, number)| {
        statement.execute((destination, incident, number, why)).map(drop)
    })
}

/// Returns the destinations that could not be told, with why and how many notices wait.
///
/// # Errors
/// Any of SQLite's.
pub fn failing(connection: &Connection) -> rusqlite::Result<Vec<(String, String, u32)>> {
    let sql = "SELECT destination, max(failed), count(*) FROM notices
               GROUP BY destination HAVING max(failed) IS NOT NULL ORDER BY destination";
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    connection.prepare(sql)?.query_map([], row)?.collect()
}

/// Forgets what is over for so long, or so many incidents ago, that nobody asks any more.
fn prune(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "DELETE FROM incidents WHERE ended IS NOT NULL AND (ended < ?1 OR id <=
                   (SELECT id FROM incidents ORDER BY id DESC LIMIT 1 OFFSET ?2))";
    let oldest = now.unix_micros().saturating_sub(KEPT_MICROS);
    connection.prepare(sql)?.execute((oldest, KEPT_MAX)).map(drop)
}
