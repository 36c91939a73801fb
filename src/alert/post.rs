//! [`Post`]: the notices that wait for one destination, and how many may go (pure).

use std::collections::VecDeque;
use std::time::Duration;

use super::notice::Notice;
use super::usual::micros;
use crate::lsn::Timestamp;

/// So many messages go to a destination within a minute; the last of them takes along all that
/// waits.
const PER_MINUTE: usize = 10;
/// So many notices wait for a destination that is away; past it the oldest are given up.
const WAITING_MAX: usize = 500;

const MINUTE: Duration = Duration::from_secs(60);

/// What may go.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Nothing waits.
    Nothing,
    /// Something waits, and may go then.
    Wait(Timestamp),
    /// This, alone.
    One(Box<Notice>),
    /// These, folded into one; so many more were given up.
    Many(Vec<Notice>, u64),
}

/// See the module.
#[derive(Debug, Default)]
pub struct Post {
    waiting: VecDeque<Notice>,
    /// When the last messages went.
    sent: VecDeque<Timestamp>,
    lost: u64,
}

impl Post {
    /// Adds a notice. Returns the one that is given up for it, if one is.
    pub fn add(&mut self, notice: Notice) -> Option<Notice> {
        self.waiting.push_back(notice);
        let given_up =
            (self.waiting.len() > WAITING_MAX).then(|| self.waiting.pop_front()).flatten();
        self.lost += u64::from(given_up.is_some());
        given_up
    }

    /// Takes out what may go now; it counts as gone.
    pub fn next(&mut self, now: Timestamp) -> Next {
        let minute = micros(MINUTE);
        // One that lies ahead was sent before the clock was set back.
        self.sent.retain(|sent| (0..minute).contains(&now.0.saturating_sub(sent.0)));
        if self.waiting.is_empty() {
            return Next::Nothing;
        }
        if self.sent.len() >= PER_MINUTE {
            let first = self.sent.front().copied().unwrap_or(now);
            return Next::Wait(Timestamp(first.0.saturating_add(minute)));
        }
        self.sent.push_back(now);
        let is_last = self.sent.len() == PER_MINUTE;
        if self.lost > 0 || is_last && self.waiting.len() > 1 {
            let lost = std::mem::take(&mut self.lost);
            return Next::Many(std::mem::take(&mut self.waiting).into(), lost);
        }
        match self.waiting.pop_front() {
            Some(notice) => Next::One(Box::new(notice)),
            None => Next::Nothing,
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
