//! [`Lag`]: how far behind the source's commits the stream is (pure).

use crate::lsn::{Lsn, Timestamp};

/// For so long one goes on being in step after that was last known: the longest time between two
/// looks at the server, twice.
const IN_STEP_MICROS: i64 = 10_000_000;

/// What is known of how far the stream has come.
///
/// That all was read only a look at the server can tell, which says where its log ended then: a
/// keepalive comes from a server that is far behind, too. So being in step is known as of a look
/// that the stream has come up to, never as of a keepalive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lag {
    newest: Newest,
    /// The oldest look that the stream has not come up to.
    ahead: Option<Look>,
    /// The last one that it has.
    reached: Option<Look>,
}

/// Where the server's log ended, and when that was so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    end: Lsn,
    at: Timestamp,
}

/// The newest thing that is known. Later knowledge replaces earlier, so that the clocks of two
/// machines are never compared to tell which is newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Newest {
    /// Nothing yet.
    #[default]
    Unknown,
    /// Everything up to this commit was read, and perhaps there is more.
    Read(Timestamp),
    /// At this moment everything there was had been read.
    InStep(Timestamp),
}

impl Lag {
    /// Changes were read; the last of them committed at `time`, at `commit`.
    pub(super) fn read(&mut self, commit: Lsn, time: Timestamp) {
        self.newest = Newest::Read(time);
        self.pass(commit);
    }

    /// The server has sent everything up to `end` and had nothing else to send.
    pub(super) fn idle(&mut self, end: Lsn, now: Timestamp) {
        let passed = self.pass(end);
        // Nothing came since the last look, as far as anybody knows.
        let is_fresh = |look: &Look| now.0.saturating_sub(look.at.0) <= IN_STEP_MICROS;
        let known = self.reached.filter(|look| self.ahead.is_none() && is_fresh(look));
        if let Some(look) = passed.or(known) {
            self.newest = Newest::InStep(look.at);
        }
    }

    /// The server's log ends at `end`, while everything below `seen` was read.
    pub(super) fn looked(&mut self, end: Lsn, seen: Lsn, now: Timestamp) {
        let look = Look { end, at: now };
        if seen >= end {
            (self.ahead, self.reached) = (None, Some(look));
            self.newest = Newest::InStep(now);
        } else {
            // An older one is come up to sooner.
            self.ahead.get_or_insert(look);
        }
    }

    /// The stream is gone: what the next server says of its log may be of another.
    pub(super) const fn detached(&mut self) {
        (self.ahead, self.reached) = (None, None);
    }

    fn pass(&mut self, end: Lsn) -> Option<Look> {
        let look = self.ahead.take_if(|look| look.end <= end)?;
        self.reached = Some(look);
        Some(look)
    }

    /// Returns the moment up to which everything is known to have been read.
    pub(super) fn as_of(self, now: Timestamp) -> Option<Timestamp> {
        match self.newest {
            Newest::Unknown => None,
            Newest::Read(commit) => Some(commit.min(now)),
            Newest::InStep(at) if now.0.saturating_sub(at.0) <= IN_STEP_MICROS => Some(now),
            Newest::InStep(at) => Some(at),
        }
    }

    /// Returns how old the newest commit is of which it is known that it was read: 0 when there
    /// is none that was not.
    pub(super) fn seconds(self, now: Timestamp) -> Option<f64> {
        self.as_of(now).map(|then| crate::inspect::status::age(then, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * SECOND)
    }

    #[track_caller]
    fn check(lag: Lag, now_seconds: i64, expected: Option<f64>) {
        assert_eq!(lag.seconds(at(now_seconds)), expected);
    }

    #[test]
    fn an_idle_source_that_was_read_to_its_end_is_not_behind() {
        let mut lag = Lag::default();
        lag.looked(Lsn(9), Lsn(9), at(100));
        check(lag, 100, Some(0.0));
        check(lag, 110, Some(0.0));
        // Nobody has looked for too long: everything since then may be missing.
        check(lag, 160, Some(60.0));
    }

    #[test]
    fn a_backlog_is_as_old_as_the_last_commit_that_was_read_of_it() {
        let mut lag = Lag::default();
        check(lag, 100, None);
        lag.read(Lsn(5), at(40));
        check(lag, 100, Some(60.0));
        // A server whose clock is ahead.
        lag.read(Lsn(6), at(105));
        check(lag, 100, Some(0.0));
    }

    #[test]
    fn a_keepalive_of_a_server_that_is_behind_says_nothing() {
        let mut lag = Lag::default();
        lag.read(Lsn(5), at(40));
        // Nobody has looked where the log ends.
        lag.idle(Lsn(7), at(99));
        check(lag, 100, Some(60.0));
        lag.looked(Lsn(90), Lsn(7), at(100));
        lag.idle(Lsn(8), at(101));
        check(lag, 101, Some(61.0));
        // Later looks do not put off what the first one tells.
        lag.looked(Lsn(190), Lsn(8), at(105));
        lag.idle(Lsn(100), at(120));
        check(lag, 120, Some(20.0));
    }

    #[test]
    fn what_comes_behind_a_look_is_newer_than_it() {
        let mut lag = Lag::default();
        lag.looked(Lsn(9), Lsn(9), at(100));
        lag.read(Lsn(12), at(102));
        check(lag, 105, Some(3.0));
        // Nothing else was there at the last look, which was just now.
        let mut idle = lag;
        idle.idle(Lsn(13), at(105));
        check(idle, 105, Some(0.0));
        // Nobody has looked since for long.
        lag.idle(Lsn(13), at(120));
        check(lag, 120, Some(18.0));
    }

    #[test]
    fn a_stream_that_is_gone_is_as_old_as_when_it_went() {
        let mut lag = Lag::default();
        lag.looked(Lsn(9), Lsn(9), at(100));
        lag.detached();
        lag.idle(Lsn(90), at(105));
        check(lag, 160, Some(60.0));
    }
}
