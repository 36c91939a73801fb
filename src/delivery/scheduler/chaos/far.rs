//! What the far side answers, and in which order it may be sent what.

use super::*;

impl World {
    pub(super) fn send(&mut self) {
        let reopening = self.pending.iter().any(|pending| matches!(pending, Pending::Reopen(_)));
        while !reopening && let Some(dispatch) = self.scheduler.next(self.now) {
            if self.is_not_sent(&dispatch) {
                continue;
            }
            let is_probe = !self.scheduler.breaker.is_closed();
            if dispatch.id.stored().is_some_and(|id| self.scheduler.parked.is_retry(id))
                && !is_probe
            {
                self.retries += 1;
            }
            self.is_apart(&dispatch);
            self.requests.push(dispatch);
        }
        let free = i64::try_from((self.now - self.begun).as_secs()).unwrap() + 11;
        assert!(self.retries <= self.accepted / 5 + free, "retries take too much");
    }

    /// As the runner does with what it has loaded, and finds that it is not to be sent.
    fn is_not_sent(&mut self, dispatch: &Dispatch) -> bool {
        let Some(id) = dispatch.id.stored() else { return false };
        let mut effects = Vec::new();
        if self.scheduler.is_overtaken(id) {
            self.scheduler.stays_dead(dispatch.id, self.now, &mut effects);
        } else if self.discarded.contains(&id) {
            self.scheduler.withdraw(dispatch.id, self.now, &mut effects);
        } else {
            return false;
        }
        self.apply(effects);
        true
    }

    /// Nothing is under way beside it whose order with it matters.
    fn is_apart(&self, dispatch: &Dispatch) {
        for other in &self.requests {
            for (a, b) in indexes(other)
                .into_iter()
                .flat_map(|a| indexes(dispatch).into_iter().map(move |b| (a, b)))
            {
                assert!(!self.are_in_order(a, b), "events {a} and {b} are sent side by side");
            }
        }
    }

    pub(super) fn answer_one(&mut self, pick: prop::sample::Index) {
        if !self.requests.is_empty() {
            self.answer(pick.index(self.requests.len()));
        }
    }

    pub(super) fn answer(&mut self, pick: usize) {
        let dispatch = self.requests.remove(pick);
        let indexes = indexes(&dispatch);
        let replays = dispatch.id.stored().is_some_and(|id| self.scheduler.replays(id) > 0);
        let outcomes: Vec<Option<Category>> = indexes
            .iter()
            .enumerate()
            .map(|(place, index)| self.outcome(place, self.events[*index].nature, replays))
            .collect();
        let failure = |category: Category| {
            let mut failure = Failure::new(category, category.to_string());
            if category == Category::Throttled && self.arrivals.is_multiple_of(2) {
                failure.retry_after = Some(Duration::from_secs(7));
            }
            failure.status = (self.weather == Weather::Fair).then_some(500);
            failure
        };
        let worst = outcomes.iter().flatten().next().copied();
        let answer = match worst {
            None => Answer::Acknowledged,
            Some(_) if self.per_event && indexes.len() > 1 => {
                let result =
                    |category: &Option<Category>| category.map_or(Ok(()), |c| Err(failure(c)));
                Answer::PerEvent(outcomes.iter().map(result).collect())
            }
            Some(category) => Answer::Failed(failure(category)),
        };
        let taken: Vec<usize> = match &answer {
            Answer::Failed(_) => Vec::new(),
            _ => indexes
                .iter()
                .zip(&outcomes)
                .filter(|(_, o)| o.is_none())
                .map(|(i, _)| *i)
                .collect(),
        };
        if !taken.is_empty() {
            if let [index] = indexes[..] {
                self.check_replay(dispatch.id, index);
            }
            self.accepted += 1;
            let is_retry = |id| self.scheduler.parked.is_retry(id);
            self.retries -= i64::from(dispatch.id.stored().is_some_and(is_retry));
            taken.iter().for_each(|index| self.arrived(*index, &indexes));
        }
        let mut effects = Vec::new();
        self.scheduler.answered(dispatch.id, answer, self.now, 0.5, &mut effects);
        self.apply(effects);
    }

    /// What becomes of an event; none: it is taken. One event an answer in bad weather is taken
    /// all the same, where there is an answer for each.
    fn outcome(&self, place: usize, nature: Nature, replays: bool) -> Option<Category> {
        let spared = self.per_event && place == 1;
        match (self.weather, nature) {
            (Weather::Down, _) if !spared => Some(Category::Transient),
            (Weather::Busy, _) if !spared => Some(Category::Throttled),
            (Weather::Locked, _) if !spared => Some(Category::Setup),
            (Weather::RefusesAll, _) if !spared => Some(Category::Rejected),
            (_, Nature::Poison) => Some(Category::Transient),
            (_, Nature::Bad) => Some(Category::Rejected),
            (_, Nature::Unmappable) if !replays => Some(Category::Rejected),
            (_, Nature::Good | Nature::Unmappable) => None,
        }
    }

    /// The far side took an event: everything before it of its keys must be settled, but for what
    /// the far side did not take of the same request.
    fn arrived(&mut self, index: usize, together: &[usize]) {
        if !self.delivered.contains(&index) {
            for earlier in (0..index).filter(|earlier| !together.contains(earlier)) {
                let settled = self.delivered.contains(&earlier) || self.dead.contains(&earlier);
                assert!(
                    settled || !self.are_in_order(earlier, index),
                    "event {index} arrived before event {earlier}"
                );
            }
        }
        self.arrivals += 1;
        self.last_arrivals.insert(index, self.arrivals);
        self.delivered.insert(index);
    }

    /// The events of a lane have numbers of their own there, in the order of the stream.
    pub(super) fn has_its_place(&mut self, index: usize, place: (u32, u64)) {
        let lane = place.0;
        let before = self.places.range((lane, 0)..place).next_back();
        let after = self.places.range(place..(lane + 1, 0)).next();
        assert!(before.is_none_or(|(_, other)| *other < index), "{place:?} of event {index}");
        assert!(after.is_none_or(|(_, other)| *other > index), "{place:?} of event {index}");
        self.places.insert(place, index);
    }

    /// Whether the order of two events matters.
    pub(super) fn are_in_order(&self, one: usize, other: usize) -> bool {
        let (a, b) = (&self.events[one], &self.events[other]);
        let keys = |e: &Planned| [Some(e.key), e.before];
        if a.truncate || b.truncate {
            return a.table == b.table;
        }
        keys(a).iter().flatten().any(|key| keys(b).contains(&Some(*key)))
    }
}

fn indexes(dispatch: &Dispatch) -> Vec<usize> {
    match &dispatch.what {
        What::Batch(batch) => batch.events.iter().map(|event| index_of(event.id)).collect(),
        What::Stored(id) => vec![index_of(*id)],
    }
}
