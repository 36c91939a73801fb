//! [`Figures`]: what a run counts and measures, as plain values.

use std::collections::BTreeMap;

use crate::chunk::Operation;
use crate::delivery::Snapshot;
use crate::lsn::Lsn;

/// Everything, at one moment. Empty before the run has opened its state.
#[derive(Debug, Default)]
pub struct Figures {
    /// The database and the slot.
    pub source: SourceFigures,
    /// Bytes of the journal on disk.
    pub journal_bytes: Option<u64>,
    /// In the order of the config.
    pub sinks: Vec<SinkFigures>,
    /// How much is firing, by alert.
    pub alerts: Vec<(String, u64)>,
    /// What no collector of OpenTelemetry took, by signal; empty where none is told.
    pub otlp_dropped: Vec<(&'static str, u64)>,
}

/// The database and the slot. None: not known.
#[derive(Debug, Default)]
pub struct SourceFigures {
    /// From what the slot was told to where the server's log ends.
    pub lag_bytes: Option<u64>,
    /// How old the newest commit is that was read; 0 when there is no newer one.
    pub lag_seconds: Option<f64>,
    /// WAL that the server keeps for the slot.
    pub retained_wal_bytes: Option<i64>,
    /// May still be written before the slot may be lost; none where nothing bounds it.
    pub safe_wal_bytes: Option<i64>,
    /// How fast the server's log grew over the last minutes.
    pub wal_bytes_per_second: Option<u64>,
    /// When what is safe is used up, at the rate at which what is kept grows.
    pub wal_seconds_left: Option<u64>,
    /// For how long the oldest transaction that holds the slot's WAL back has been open.
    pub oldest_transaction_seconds: Option<u64>,
    /// How many things are wrong at the source while the stream goes on.
    pub warnings: usize,
    /// Changes that were received, by table (empty for logical messages) and operation.
    pub events: Vec<(String, Operation, u64)>,
}

/// A sink.
#[derive(Debug, Default)]
pub struct SinkFigures {
    /// Its name.
    pub name: String,
    /// How it is and what was counted since the process started.
    pub snapshot: Snapshot,
    /// How old the newest commit is that is known to be done; 0 when there is no newer one.
    pub freshness_seconds: Option<f64>,
    /// Everything that commits before is done and stored as such; none when that can't be read.
    pub checkpoint: Option<Lsn>,
    /// What is set aside, by category; none when that can't be read.
    pub dead_letters: Option<BTreeMap<String, u64>>,
}
