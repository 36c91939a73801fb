//! [`Lag`]: how far behind the source's commits the stream is (pure).

use crate::lsn::Timestamp;

/// For so long one goes on being in step after that was last known: the longest time between two
/// looks at the server, twice.
const IN_STEP_MICROS: i64 = 10_000_000;

/// The newest thing that is known of how far the stream has come. Later knowledge replaces
/// earlier, so that the clocks of two machines are never compared to tell which is newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lag {
    /// Nothing yet.
    #[default]
    Unknown,
    /// Everything up to this commit was read, and perhaps there is more.
    Read(Timestamp),
    /// At this moment everything there was had been read.
    InStep(Timestamp),
}

impl Lag {
    /// Returns how old the newest commit is of which it is known that it was read: 0 when there
    /// is none that was not.
    pub(super) fn seconds(self, now: Timestamp) -> Option<f64> {
        let micros = |since: Timestamp| now.0.saturating_sub(since.0).max(0);
        let micros = match self {
            Self::Unknown => return None,
            Self::Read(commit) => micros(commit),
            Self::InStep(at) if micros(at) <= IN_STEP_MICROS => 0,
            Self::InStep(at) => micros(at),
        };
        let duration = std::time::Duration::from_micros(micros.unsigned_abs());
        Some(crate::inspect::status::seconds(duration.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[track_caller]
    fn check(lag: Lag, now_seconds: i64, expected: Option<f64>) {
        assert_eq!(lag.seconds(Timestamp(now_seconds * SECOND)), expected);
    }

    #[test]
    fn an_idle_source_that_was_read_to_its_end_is_not_behind() {
        let at = Timestamp(100 * SECOND);
        check(Lag::InStep(at), 100, Some(0.0));
        check(Lag::InStep(at), 110, Some(0.0));
        // Nobody has looked for too long: everything since then may be missing.
        check(Lag::InStep(at), 160, Some(60.0));
    }

    #[test]
    fn a_backlog_is_as_old_as_the_last_commit_that_was_read_of_it() {
        check(Lag::Unknown, 100, None);
        check(Lag::Read(Timestamp(40 * SECOND)), 100, Some(60.0));
        // A server whose clock is ahead.
        check(Lag::Read(Timestamp(105 * SECOND)), 100, Some(0.0));
    }
}
