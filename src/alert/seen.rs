//! [`Seen`]: what is looked at, at one moment, as plain values.

/// Source and sinks. None anywhere: not known, so that nothing begins or ends by it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The database and the slot.
    pub source: SourceSeen,
    /// In the order of the config.
    pub sinks: Vec<SinkSeen>,
}

/// The database and the slot.
#[derive(Clone, Debug, Default)]
pub struct SourceSeen {
    /// It is attached.
    pub is_attached: bool,
    /// Why it is not, where there is more to say.
    pub reason: Option<String>,
    /// From what the slot was told to where the server's log ends.
    pub lag_bytes: Option<u64>,
    /// How old the newest commit is that was read.
    pub lag_seconds: Option<f64>,
    /// WAL that the server keeps for the slot, in bytes.
    pub retained_wal_bytes: Option<u64>,
    /// When the slot may be lost; none where that is not in sight.
    pub wal_seconds_left: Option<u64>,
    /// The server was looked at: what it did not say is not so.
    pub is_looked_at: bool,
    /// What was lost to the stream lately, in words.
    pub gap: Option<String>,
}

/// A sink.
#[derive(Clone, Debug, Default)]
pub struct SinkSeen {
    /// Its name.
    pub name: String,
    /// How old what it has is, in seconds.
    pub freshness_seconds: Option<f64>,
    /// It is halted; none while it has not shown whether it would be.
    pub is_halted: Option<bool>,
    /// It is down; none as above.
    pub is_open: Option<bool>,
    /// Why it is as it is, where there is more to say.
    pub reason: Option<String>,
    /// It was let go: what has come since is not there.
    pub has_gap: bool,
    /// Its dead letters.
    pub dead: Option<u64>,
    /// Events that nobody has in hand.
    pub unaccounted: i64,
    /// Requests since the start, those that were told to wait left out.
    pub attempts: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Events delivered since the start.
    pub delivered: u64,
    /// From commit to acknowledgement, over all of them, in microseconds.
    pub latency_sum_us: u64,
}
