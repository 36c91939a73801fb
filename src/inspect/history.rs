//! Figures over time, for charts: bounded, in the state.
//!
//! Each figure is kept twice: every ten seconds for an hour, every two minutes for a day.

use rusqlite::Connection;

use crate::lsn::Timestamp;

/// How closely figures lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// Every ten seconds, for an hour.
    Fine,
    /// Every two minutes, for a day.
    Coarse,
}

impl Grain {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Fine, Self::Coarse];

    /// Seconds between two figures.
    #[must_use]
    pub const fn step(self) -> i64 {
        match self {
            Self::Fine => 10,
            Self::Coarse => 120,
        }
    }

    /// Seconds for which figures are kept.
    #[must_use]
    pub const fn span(self) -> i64 {
        match self {
            Self::Fine => 3_600,
            Self::Coarse => 86_400,
        }
    }

    /// As it stands in the database, behind a figure's name.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Fine => "",
            Self::Coarse => "/2m",
        }
    }
}

/// A figure at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What it is of: see [`FIGURES`].
    pub name: &'static str,
    /// Of which sink; empty: of the source.
    pub sink: String,
    /// In the figure's unit.
    pub value: f64,
}

/// What is kept, with what it is. Those of sinks are kept for each.
pub const FIGURES: &[(&str, &str)] = &[
    ("read_per_second", "changes that were received"),
    ("lag_bytes", "from what the slot was told to where the server's log ends"),
    ("lag_seconds", "how old the newest commit is that was read"),
    ("retained_wal_bytes", "WAL that the server keeps for the slot"),
    ("wal_seconds_left", "until the slot may be lost"),
    ("journal_bytes", "the journal on disk"),
    ("delivered_per_second", "events that a sink acknowledged"),
    ("failed_per_second", "requests to a sink that failed"),
    ("waiting", "events that a sink has not done"),
    ("freshness_seconds", "how old the newest commit is that a sink is known to have done"),
    ("latency_seconds", "commit to acknowledgement, on average"),
    ("breaker", "of a sink: 0 closed, 1 half-open, 2 open, 3 halted"),
];

/// A figure over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Seconds since 1970 and the figure, oldest first.
    pub points: Vec<(i64, f64)>,
}

/// Stores figures of one moment, and forgets those that are too old.
///
/// # Errors
/// Any of SQLite's.
pub fn store(
    connection: &Connection,
    grain: Grain,
    now: Timestamp,
    samples: &[Sample],
) -> rusqlite::Result<()> {
    let time = grid(now, grain);
    let sql = "INSERT OR REPLACE INTO history (time, name, sink, value) VALUES (?1, ?2, ?3, ?4)";
    let mut statement = connection.prepare(sql)?;
    let sql = "DELETE FROM history WHERE name = ?1 AND sink = ?2 AND time < ?3";
    let mut forget = connection.prepare(sql)?;
    for sample in samples {
        let name = format!("{}{}", sample.name, grain.suffix());
        statement.execute((time, &name, &sample.sink, sample.value))?;
        forget.execute((&name, &sample.sink, time - grain.span()))?;
    }
    Ok(())
}

/// Forgets everything that is too old, also of sinks that are gone.
///
/// # Errors
/// Any of SQLite's.
pub fn prune(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let before = grid(now, Grain::Coarse) - Grain::Coarse.span();
    connection.execute("DELETE FROM history WHERE time < ?1", [before]).map(drop)
}

/// Returns a figure over time.
///
/// # Errors
/// Any of SQLite's.
pub fn series(
    connection: &Connection,
    name: &str,
    sink: &str,
    grain: Grain,
    since: i64,
) -> rusqlite::Result<Series> {
    let sql = "SELECT time, value FROM history WHERE name = ?1 AND sink = ?2 AND time >= ?3
               ORDER BY time";
    let name = format!("{name}{}", grain.suffix());
    let mut statement = connection.prepare(sql)?;
    let points = statement.query_map((name, sink, since), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Series { points: points.collect::<rusqlite::Result<_>>()? })
}

/// Returns the moment in seconds since 1970, on the grain's grid.
fn grid(now: Timestamp, grain: Grain) -> i64 {
    now.unix_micros().div_euclid(grain.step() * 1_000_000) * grain.step()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE history (time INTEGER, name TEXT, sink TEXT, value REAL,
                 PRIMARY KEY (name, sink, time)) STRICT, WITHOUT ROWID",
            )
            .unwrap();
        connection
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_micros(second * 1_000_000)
    }

    #[test]
    fn what_is_kept_is_bounded_and_comes_back_in_order() {
        let connection = database();
        let sample = |value| [Sample { name: "waiting", sink: "crm".into(), value }];
        let start = 1_800_000_000;
        for step in 0..2_000 {
            let now = at(start + step * 10);
            let value = f64::from(i32::try_from(step).unwrap());
            store(&connection, Grain::Fine, now, &sample(value)).unwrap();
            if step % 12 == 0 {
                store(&connection, Grain::Coarse, now, &sample(value)).unwrap();
            }
        }
        let count: i64 =
            connection.query_row("SELECT count(*) FROM history", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 361 + 167);
        let since = start + 1_990 * 10;
        let points = series(&connection, "waiting", "crm", Grain::Fine, since).unwrap().points;
        assert_eq!(points.len(), 10);
        assert_eq!(points.first(), Some(&(since, 1_990.0)));
        prune(&connection, at(start + 200_000)).unwrap();
        let points = series(&connection, "waiting", "crm", Grain::Coarse, 0).unwrap().points;
        assert_eq!(points, []);
    }
}
