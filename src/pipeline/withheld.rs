//! [`Withheld`]: when the WAL that a slow sink holds back is too much (pure).

/// Watches the WAL held back against its budget.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    /// Three quarters were passed; it ends only once it is within half.
    near: bool,
    /// All of it was passed; it ends there as well.
    over: bool,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    Nothing,
    /// It has passed three quarters of the budget.
    Near,
    /// It is within half of the budget again, and had never passed all of it.
    Eased,
    /// It has passed the budget: what is journaled is to be confirmed.
    Over,
    /// It would be within half of the budget if only what is done were confirmed.
    Within,
}

impl Withheld {
    /// Whether what is journaled is to be confirmed.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// Looks at what the server keeps, and at what it would if only what is done were confirmed:
    /// 0 where all is done that was read.
    pub(super) fn look(&mut self, kept: u64, undone: u64, budget: u64) -> Turn {
        let is_low = undone <= budget / 2;
        if self.over {
            if !is_low {
                return Turn::Nothing;
            }
            *self = Self::default();
            return Turn::Within;
        }
        // An idle source, or one that is read too slowly, is no sink's doing.
        let held = if undone > 0 { kept } else { 0 };
        if held > budget {
            *self = Self { near: true, over: true };
            return Turn::Over;
        }
        if self.near {
            if held > budget / 2 {
                return Turn::Nothing;
            }
            self.near = false;
            return Turn::Eased;
        }
        self.near = held > budget - budget / 4;
        if self.near { Turn::Near } else { Turn::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at one after the other and returns what changed, with the place.
    fn watch(looks: &[(u64, u64)]) -> Vec<(usize, Turn)> {
        let mut withheld = Withheld::default();
        let turns = looks.iter().map(|(kept, undone)| withheld.look(*kept, *undone, 100));
        turns.enumerate().filter(|(_, turn)| *turn != Turn::Nothing).collect()
    }

    #[test]
    fn three_quarters_are_told_once_until_it_is_within_half() {
        let same = [70, 75, 76, 90, 60, 80, 51, 50, 76].map(|bytes| (bytes, bytes));
        assert_eq!(watch(&same), [(2, Turn::Near), (7, Turn::Eased), (8, Turn::Near)]);
    }

    #[test]
    fn the_budget_is_passed_once_until_what_is_undone_is_within_half() {
        let looks = [(80, 80), (101, 101), (0, 120), (0, 51), (0, 50), (0, 50), (101, 101)];
        let expected = [(0, Turn::Near), (1, Turn::Over), (4, Turn::Within), (6, Turn::Over)];
        assert_eq!(watch(&looks), expected);
    }

    #[test]
    fn what_no_sink_holds_back_is_not_its_matter() {
        assert_eq!(watch(&[(80, 0), (1000, 0), (1000, 1)]), [(2, Turn::Over)]);
    }
}
