//! [`Repeats`]: which lines are left out because many like them came (pure).
//!
//! Lines are alike that say the same of the same: message, place in the code, sink, route and what
//! else a line is about. Of those a few are told each minute; the rest are counted, and the count is
//! told once the minute is over.

use std::collections::HashMap;
use std::time::Duration;

use tracing::Level;

/// Lines that are alike, in a [`WINDOW`].
pub(super) const LINES_MAX: u32 = 10;
/// From the first of them on.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// More are not told apart: a line beyond them is told.
const LIKENESSES_MAX: usize = 1024;

/// What lines have alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Likeness {
    pub(super) level: Level,
    pub(super) target: &'static str,
    pub(super) message: String,
    /// `sink=crm route=customers`; empty: of nothing in particular.
    pub(super) about: String,
}

/// Lines that were left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) like: Likeness,
    pub(super) lines: u64,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Duration,
    told: u32,
    left_out: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    windows: HashMap<Likeness, Window>,
    /// Of windows that are over.
    left_out: Vec<LeftOut>,
}

impl Repeats {
    /// Takes a line. Returns whether it is told.
    pub(super) fn tells(&mut self, like: Likeness, now: Duration) -> bool {
        if let Some(window) = self.windows.get_mut(&like)
            && now.saturating_sub(window.since) < WINDOW
        {
            if window.told < LINES_MAX {
                window.told += 1;
                return true;
            }
            window.left_out += 1;
            return false;
        }
        self.close(|window| now.saturating_sub(window.since) >= WINDOW);
        if self.windows.len() < LIKENESSES_MAX {
            self.windows.insert(like, Window { since: now, told: 1, left_out: 0 });
        }
        true
    }

    /// Returns what was left out and not told yet, of the windows that are over.
    pub(super) fn over(&mut self, now: Duration) -> Vec<LeftOut> {
        self.close(|window| now.saturating_sub(window.since) >= WINDOW);
        std::mem::take(&mut self.left_out)
    }

    /// Returns all that was left out and not told yet: nothing comes any more.
    pub(super) fn all(&mut self) -> Vec<LeftOut> {
        self.close(|_| true);
        std::mem::take(&mut self.left_out)
    }

    fn close(&mut self, is_over: impl Fn(&Window) -> bool) {
        let over = self.windows.extract_if(|_, window| is_over(window));
        let over = over.filter(|(_, window)| window.left_out > 0);
        self.left_out.extend(over.map(|(like, window)| LeftOut { like, lines: window.left_out }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(message: &str, about: &str) -> Likeness {
        let (message, about) = (message.to_owned(), about.to_owned());
        Likeness { level: Level::WARN, target: "walgate::delivery", message, about }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_are_told_and_then_how_many_more_there_were() {
        let mut repeats = Repeats::default();
        let told = (0..25).filter(|_| repeats.tells(like("down", "sink=a"), SECOND)).count();
        assert_eq!(told, 10);
        assert_eq!(repeats.over(WINDOW), []);
        let expected = [LeftOut { like: like("down", "sink=a"), lines: 15 }];
        assert_eq!(repeats.over(WINDOW + SECOND), expected);
        assert_eq!(repeats.over(WINDOW + SECOND), []);
    }

    #[test]
    fn a_new_minute_begins_anew_and_loses_no_count() {
        let mut repeats = Repeats::default();
        let mut say = |at| repeats.tells(like("down", ""), at);
        assert!((0..10).all(|_| say(SECOND)) && !say(2 * SECOND));
        assert!((0..10).all(|_| say(WINDOW + SECOND)) && !say(WINDOW + SECOND));
        let counts =
            |left_out: Vec<LeftOut>| left_out.iter().map(|it| it.lines).collect::<Vec<_>>();
        assert_eq!(counts(repeats.over(WINDOW + SECOND)), [1]);
        assert_eq!(counts(repeats.all()), [1]);
        assert_eq!(counts(repeats.all()), [0_u64; 0]);
    }

    #[test]
    fn lines_that_are_about_something_else_do_not_count() {
        let mut repeats = Repeats::default();
        let others = [like("down", "sink=b"), like("up", "sink=a"), like("down", "")];
        assert!((0..10).all(|_| repeats.tells(like("down", "sink=a"), SECOND)));
        assert!(!repeats.tells(like("down", "sink=a"), SECOND));
        for other in others {
            assert!(repeats.tells(other.clone(), SECOND), "{other:?}");
        }
        let louder = Likeness { level: Level::ERROR, ..like("down", "sink=a") };
        assert!(repeats.tells(louder, SECOND));
    }

    #[test]
    fn many_lines_that_differ_take_no_more_memory_and_all_are_told() {
        let mut repeats = Repeats::default();
        for number in 0..3 * LIKENESSES_MAX {
            assert!(repeats.tells(like(&number.to_string(), ""), SECOND));
        }
        assert_eq!(repeats.windows.len(), LIKENESSES_MAX);
        assert!(repeats.tells(like("later", ""), 2 * WINDOW));
        assert_eq!(repeats.windows.len(), 1);
    }
}
