//! [`Flood`]: how a server that shuts down is known.

use std::time::Duration;

use tokio::time::Instant;

use crate::lsn::Lsn;

/// How long a server that shuts down waits for us, so that what is in flight may be confirmed.
const DRAIN: Duration = Duration::from_secs(5);

/// Reply-requested keepalives at one position: a server that shuts down sends them as fast as they
/// are answered, until all is confirmed or the connection is gone.
#[derive(Debug)]
pub(super) struct Flood {
    wal_end: Lsn,
    since: Instant,
    count: u32,
    /// So many in a second are no coincidence.
    count_max: u32,
    /// When to close the connection.
    pub(super) deadline: Option<Instant>,
}

impl Flood {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        // In quiet times the server asks twice in each of its time-outs.
        let usual = timeout.map_or(0, |timeout| 4_000 / timeout.as_millis().max(200));
        let count_max = u32::try_from(usual).unwrap_or(20) + 5;
        let (wal_end, since) = (Lsn::ZERO, Instant::now());
        Self { wal_end, since, count: 0, count_max, deadline: None }
    }

    pub(super) fn count(&mut self, wal_end: Lsn) {
        let now = Instant::now();
        if wal_end != self.wal_end {
            self.deadline = None;
        }
        if wal_end != self.wal_end || now - self.since > Duration::from_secs(1) {
            (self.wal_end, self.since, self.count) = (wal_end, now, 0);
        }
        self.count += 1;
        if self.count >= self.count_max && self.deadline.is_none() {
            tracing::info!(%wal_end, "the server seems to shut down and waits for confirmation");
            self.deadline = Some(now + DRAIN);
        }
    }
}
