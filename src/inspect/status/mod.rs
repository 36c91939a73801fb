//! [`Status`]: the document of `walgate status`, as a running instance stores it and as it is
//! built where none runs.

mod asked;
mod known;
mod stored;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::known::Known;
use super::Error;
use crate::config::Config;
use crate::delivery::SinkState;
use crate::lsn::Timestamp;
use crate::progress::known::HeldRoute;
use crate::state::{self, State};

pub use stored::{Stored, clear, store, stored};

/// A running instance reports once a second; what is older than this is not how it is now.
const STALE: Duration = Duration::from_secs(10);

/// Returns how everything is now. Without a running instance it says what is stored, and asks the
/// server about the slot.
///
/// # Errors
/// When there is a state that can't be read.
pub async fn now(config: &Config) -> Result<Status, Error> {
    let known = match State::open_reader(&config.state) {
        Ok(reader) => reader.read(|connection| known::read(connection, &config.state)).map(Some),
        Err(state::Error::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    };
    let mut known = known?;
    // After what is stored was read: what is fresh and held by somebody is that somebody's.
    let is_running = State::is_in_use(&config.state);
    let now = Timestamp::now();
    if let Some(known) = known.as_mut().filter(|_| is_running)
        && let Some(status) = known.take_current(now, STALE)
    {
        return Ok(status);
    }
    let asked = asked::ask(config).await;
    let state = if is_running { SourceState::Connecting } else { SourceState::Stopped };
    Ok(known::build(config, known.as_ref().unwrap_or(&Known::default()), &asked, state, now))
}

/// How everything is at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The database and the slot.
    pub source: SourceStatus,
    /// What is kept on disk.
    pub journal: JournalStatus,
    /// In the order of the config.
    pub sinks: Vec<SinkStatus>,
}

impl Status {
    /// Says of each sink which of its routes are held, why, and what waits for that. Counted from
    /// the database by whoever reads the status, as dead letters are.
    pub fn tell_held(&mut self, held: &[HeldRoute]) {
        for sink in &mut self.sinks {
            for route in held.iter().filter(|route| route.sink == sink.name) {
                let told = route_held(route);
                sink.reason = Some(match sink.reason.take() {
                    Some(reason) => format!("{reason}; {told}"),
                    None => told,
                });
            }
        }
    }
}

fn route_held(held: &HeldRoute) -> String {
    let HeldRoute { route, why, waiting, .. } = held;
    let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
    format!("held: {route}{why}, {}", waiting_events(*waiting))
}

/// Writes how many events wait.
pub(crate) fn waiting_events(count: u64) -> String {
    match count {
        1 => "1 event waits".to_owned(),
        count => format!("{count} events wait"),
    }
}

/// How the source is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Not attached, but trying.
    #[default]
    Connecting,
    /// Attached.
    Streaming,
    /// Attached, and rows that were there before are read beside the stream.
    Loading,
    /// Not attached: another may have the slot, and its turn is waited for.
    Standby,
    /// The last run ended as a person has to act.
    Halted,
    /// No instance runs.
    Stopped,
}

impl SourceState {
    /// Returns the word used in `status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Streaming => "streaming",
            Self::Loading => "loading",
            Self::Standby => "standby",
            Self::Halted => "halted",
            Self::Stopped => "stopped",
        }
    }
}

/// The database and the slot. None: not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceStatus {
    /// How it is.
    pub state: SourceState,
    /// Why, where there is more to say.
    pub reason: Option<String>,
    /// The slot's name.
    pub slot: String,
    /// What the slot was told.
    pub confirmed_lsn: Option<String>,
    /// Where the server's log ends.
    pub server_lsn: Option<String>,
    /// From the one to the other.
    pub lag_bytes: Option<u64>,
    /// How old the newest commit is that was read; 0 when there is no newer one.
    pub lag_seconds: Option<f64>,
    /// WAL that the server keeps for the slot.
    pub retained_wal_bytes: Option<i64>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
    /// May still be written before the slot may be lost; none where nothing bounds it.
    pub safe_wal_bytes: Option<i64>,
    /// How fast the server's log grew over the last minutes.
    pub wal_bytes_per_second: Option<u64>,
    /// When that is used up at the rate at which what is kept grows; none while it does not grow.
    pub wal_seconds_left: Option<u64>,
    /// Transactions that have been open for long and hold the slot's WAL back, the oldest first.
    pub held_by: Vec<HeldBy>,
    /// What is wrong at the source while the stream goes on.
    pub warnings: Vec<String>,
}

/// A transaction that holds the slot's WAL back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldBy {
    /// The server's process; none of a prepared transaction.
    pub pid: Option<i32>,
    /// The name of a prepared transaction.
    pub gid: Option<String>,
    /// Its role.
    pub role: Option<String>,
    /// Its database.
    pub database: Option<String>,
    /// What the session calls itself.
    pub application_name: Option<String>,
    /// What the session does; `prepared` of a prepared transaction.
    pub state: Option<String>,
    /// For how long it has been open, or known to be.
    pub seconds: u64,
}

/// What is kept on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JournalStatus {
    /// Bytes on disk.
    pub bytes: u64,
    /// When the oldest and the newest commit in it were made; none while it is empty.
    pub oldest: Option<String>,
    /// See `oldest`.
    pub newest: Option<String>,
}

/// A sink.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// Its kind; none of one that the config no longer has.
    pub kind: Option<String>,
    /// How it is.
    pub state: SinkState,
    /// Why, where there is more to say.
    pub reason: Option<String>,
    /// When it is sent what has gathered; not there where it has no times, or nobody serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Since when it is in that state; none: not known.
    pub since: Option<String>,
    /// Everything below is done.
    pub position: Place,
    /// Events that were read for it and are not done, and changes that wait for its next time;
    /// none where nobody counts them.
    pub lag_events: Option<u64>,
    /// How old the newest commit is up to which all is known to be done; near 0 when that is
    /// everything. None only of one that has never run.
    pub freshness_seconds: Option<f64>,
    /// Events it acknowledged, ever.
    pub delivered: u64,
    /// Events that a rule skipped, ever.
    pub skipped: u64,
    /// By category. Counted from the database by whoever reads the status, never from memory.
    pub dead_letters: BTreeMap<String, u64>,
    /// Over the last second.
    pub events_per_second: f64,
}

/// A position as JSON has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Where the transaction's commit record starts.
    pub lsn: String,
    /// The change's place in its transaction.
    pub seq: u32,
}

impl From<crate::lsn::Position> for Place {
    fn from(position: crate::lsn::Position) -> Self {
        Self { lsn: position.commit_lsn.to_string(), seq: position.seq }
    }
}

impl Default for Place {
    fn default() -> Self {
        crate::lsn::Position::ZERO.into()
    }
}

/// Returns the seconds from `time` to `now`; 0 where that is no later.
#[must_use]
pub fn age(time: Timestamp, now: Timestamp) -> f64 {
    let micros = now.0.saturating_sub(time.0).max(0).unsigned_abs();
    seconds(Duration::from_micros(micros).as_secs_f64())
}

/// Rounds seconds to whole milliseconds: what is behind them says nothing.
#[must_use]
pub fn seconds(seconds: f64) -> f64 {
    (seconds.max(0.0) * 1000.0).round() / 1000.0
}
