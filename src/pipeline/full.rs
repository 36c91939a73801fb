//! [`Full`]: what to do when what is undone fills the journal (pure).

use std::time::Duration;

use crate::lsn::Position;

/// A full journal that is held up by one sink alone waits so long before it lets that one go.
const PATIENCE: Duration = Duration::from_secs(3);
/// A sink that has done nothing for so long while the journal was full is let go even if nobody
/// gains by it but the source.
const STUCK: Duration = Duration::from_secs(10);

/// What of the journal a sink still needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// From where on.
    pub(super) from: Position,
    /// How much that is.
    pub(super) bytes: u64,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing has changed.
    Nothing,
    /// It has become full. The index is that of the sink that is furthest behind.
    Filled(usize),
    /// Three quarters are taken. The index is that of the sink that is furthest behind.
    Filling(usize),
    /// Less than half is taken again, after it was filling.
    Eased,
    /// There is room again.
    Emptied,
    /// This sink is to be let go.
    Detach(usize),
}

/// Watches how full the journal is of what is undone.
#[derive(Debug, Default)]
pub(super) struct Full {
    /// Since when, in the caller's time; it ends only once a quarter is free, so that it does not
    /// flap.
    since: Option<Duration>,
    /// Three quarters were taken; it ends only once half is free.
    filling: bool,
    /// The sink furthest behind, and since when it is where it is.
    furthest: Option<(usize, Position, Duration)>,
}

impl Full {
    /// Looks at what each sink needs; none for one that was let go.
    pub(super) fn look(
        &mut self,
        needs: &[Option<Need>],
        bytes_max: u64,
        detach: bool,
        now: Duration,
    ) -> Step {
        let needs = needs.iter().enumerate().filter_map(|(index, need)| Some((index, (*need)?)));
        let mut needs: Vec<(usize, Need)> = needs.collect();
        needs.sort_by_key(|(_, need)| need.from);
        let most = needs.first().map_or(0, |(_, need)| need.bytes);
        let Some((index, need)) = needs.first().copied().filter(|_| most >= bytes_max) else {
            let furthest = needs.first().map(|(index, _)| *index);
            return self.look_below(most, bytes_max, furthest);
        };
        self.filling = true;
        let moved = match self.furthest {
            Some((same, from, moved)) if same == index && from == need.from => moved,
            _ => now,
        };
        self.furthest = Some((index, need.from, moved));
        let Some(since) = self.since else {
            self.since = Some(now);
            return Step::Filled(index);
        };
        // Others that have done most of it are held up by this one alone.
        let others = needs.get(1..).unwrap_or_default();
        let gains = !others.is_empty() && others.iter().all(|(_, n)| n.bytes <= bytes_max / 2);
        let patience = if gains { now.saturating_sub(since) >= PATIENCE } else { false };
        if detach && (patience || now.saturating_sub(moved) >= STUCK) {
            self.furthest = None;
            return Step::Detach(index);
        }
        Step::Nothing
    }

    /// Looks at a journal that is not full.
    fn look_below(&mut self, most: u64, bytes_max: u64, furthest: Option<usize>) -> Step {
        let quarters_3 = bytes_max - bytes_max / 4;
        let was_filling = self.filling;
        if most <= bytes_max / 2 {
            self.filling = false;
        }
        if self.since.take_if(|_| most <= quarters_3).is_some() {
            self.furthest = None;
            return Step::Emptied;
        }
        if was_filling && !self.filling {
            return Step::Eased;
        }
        match furthest {
            Some(index) if most >= quarters_3 && !was_filling => {
                self.filling = true;
                Step::Filling(index)
            }
            _ => Step::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Lsn;

    const MAX: u64 = 100;

    fn need(from: u64, bytes: u64) -> Option<Need> {
        Some(Need { from: Position::new(Lsn(from), 0), bytes })
    }

    /// Looks at the same needs each second and returns what comes of it, with when.
    fn watch(full: &mut Full, needs: &[Option<Need>], seconds: std::ops::Range<u64>) -> Vec<Step> {
        let look = |second| full.look(needs, MAX, true, Duration::from_secs(second));
        seconds.map(look).filter(|step| *step != Step::Nothing).collect()
    }

    #[test]
    fn the_one_that_holds_up_the_others_is_let_go_and_no_other() {
        let mut full = Full::default();
        let needs = [need(90, 10), need(1, 100), need(95, 5)];
        assert_eq!(watch(&mut full, &needs, 0..4), [Step::Filled(1), Step::Detach(1)]);
        let needs = [need(90, 10), None, need(95, 5)];
        assert_eq!(watch(&mut full, &needs, 4..60), [Step::Emptied]);
    }

    #[test]
    fn a_sink_alone_is_let_go_only_when_it_does_nothing() {
        let mut full = Full::default();
        let steps = (0..60)
            .map(|second| full.look(&[need(second, 120)], MAX, true, Duration::from_secs(second)));
        let steps: Vec<Step> = steps.filter(|step| *step != Step::Nothing).collect();
        assert_eq!(steps, [Step::Filled(0)]);
        assert_eq!(watch(&mut full, &[need(60, 120)], 60..80), [Step::Detach(0)]);
    }

    #[test]
    fn sinks_that_are_equally_far_behind_and_move_are_kept() {
        let mut full = Full::default();
        for second in 0..60 {
            let needs = [need(second, 120), need(second + 1, 100)];
            let step = full.look(&needs, MAX, true, Duration::from_secs(second));
            assert!(!matches!(step, Step::Detach(_)), "after {second} s");
        }
    }

    #[test]
    fn where_it_pauses_nobody_is_let_go_and_each_turn_is_told_once() {
        let mut full = Full::default();
        let mut told = Vec::new();
        for (second, bytes) in [10, 100, 120, 90, 100, 80, 75, 10, 10].into_iter().enumerate() {
            let now = Duration::from_secs(100 * second as u64);
            let step = full.look(&[need(1, bytes)], MAX, false, now);
            told.extend((step != Step::Nothing).then_some((second, step)));
        }
        assert_eq!(told, [(1, Step::Filled(0)), (6, Step::Emptied), (7, Step::Eased)]);
    }

    #[test]
    fn three_quarters_are_told_once_until_half_is_free_again() {
        let mut full = Full::default();
        let mut told = Vec::new();
        let bytes = [10, 74, 75, 80, 60, 76, 51, 50, 10, 90, 100, 80, 60, 80, 40, 10, 100, 20, 10];
        for (second, bytes) in bytes.into_iter().enumerate() {
            let needs = [need(9, 1), need(1, bytes)];
            let step = full.look(&needs, MAX, false, Duration::from_secs(second as u64));
            told.extend((step != Step::Nothing).then_some((second, step)));
        }
        let expected = [
            (2, Step::Filling(1)),
            (7, Step::Eased),
            (9, Step::Filling(1)),
            (10, Step::Filled(1)),
            (12, Step::Emptied),
            (14, Step::Eased),
            // Straight to the one and the other end: each is told once.
            (16, Step::Filled(1)),
            (17, Step::Emptied),
        ];
        assert_eq!(told, expected);
        // With nobody left there is nobody to name.
        assert_eq!(full.look(&[None], MAX, false, Duration::from_secs(99)), Step::Nothing);
    }
}
