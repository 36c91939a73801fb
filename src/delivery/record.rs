//! [`Recorder`]: what was delivered, as rows to be kept (pure).
//!
//! One row a request while there are few; where there are many, neighbours of a lane share one.
//! Whoever knows the lane and the position of an event finds its row, and no other: a row covers
//! events that follow one another in their lane, and every one of them was delivered by it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::envelope::{Envelope, RouteLabel};
use crate::lsn::Position;

/// So many rows are one a request; past it, until they are taken, neighbours are folded.
const APART_MAX: usize = 16;

/// Rows that wait to be taken; past it the older half is given up, and counted.
pub(super) const ROWS_MAX: usize = 4096;

/// Events that a sink acknowledged: neighbours of one lane, or one that was set aside before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The lane that they went through: of an event's key hash, the rest by `lanes`. None: an
    /// event that was set aside, and went by itself.
    pub lane: Option<u32>,
    /// How many lanes there were.
    pub lanes: u32,
    /// The first event.
    pub first: Position,
    /// The last one.
    pub last: Position,
    /// How many there are.
    pub count: u64,
    /// In how many requests.
    pub requests: u32,
    /// The routes that took them, with the mapping's version.
    pub routes: Vec<Arc<RouteLabel>>,
    /// How often they were sent.
    pub attempts: u32,
    /// Which replay of an operator's it was; 0: none.
    pub replay: u32,
    /// When the first request was sent, in microseconds since 1970.
    pub started_us: i64,
    /// From then to the last answer, in microseconds.
    pub took_us: u64,
}

impl Record {
    /// Whether a label fits: a route has one version of its mapping within a row.
    fn takes(&self, label: &Arc<RouteLabel>) -> bool {
        self.routes.iter().all(|other| {
            Arc::ptr_eq(other, label) || other.name != label.name || other.mapping == label.mapping
        })
    }

    fn add_route(&mut self, label: &Arc<RouteLabel>) {
        if !self.routes.iter().any(|other| Arc::ptr_eq(other, label) || other == label) {
            self.routes.push(Arc::clone(label));
        }
    }
}

/// What a row says of an event.
pub(super) trait Recorded {
    fn position(&self) -> Position;
    fn route(&self) -> &Arc<RouteLabel>;
}

impl Recorded for Envelope {
    fn position(&self) -> Position {
        self.id.position
    }

    fn route(&self) -> &Arc<RouteLabel> {
        &self.route
    }
}

/// A request that was acknowledged, in part or as a whole.
#[derive(Debug)]
pub(super) struct Delivered<'a, E = Envelope> {
    /// What was accepted.
    pub(super) events: &'a [E],
    /// Where they came from.
    pub(super) sent: &'a Sent,
    pub(super) replay: u32,
    /// In microseconds since 1970.
    pub(super) started_us: i64,
    pub(super) took_us: u64,
}

/// Where the events of a request came from, and how often it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Their lane.
    pub lane: u32,
    /// How many there are.
    pub lanes: u32,
    /// This was the how manieth time.
    pub attempts: u32,
    /// One an event: its place in the lane. Neighbours have neighbouring numbers.
    pub places: Vec<u64>,
}

/// Rows that were taken, and how many events are in rows that were given up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// In the order of the first answers.
    pub rows: Vec<Record>,
    /// Events whose row was given up.
    pub lost: u64,
}

/// Collects rows between two ticks.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    rows: Vec<Record>,
    /// The last row of each lane, and the place in the lane behind it.
    ends: HashMap<u32, (usize, u64)>,
    lost: u64,
}

impl Recorder {
    /// Notes what was delivered through a lane.
    pub(super) fn add<E: Recorded>(&mut self, delivered: &Delivered<'_, E>) {
        let mut rest = delivered.events;
        for run in delivered.sent.places.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
            let Some((events, more)) = rest.split_at_checked(run.len()) else { return };
            rest = more;
            if let Some(place) = run.first() {
                self.add_run(delivered, events, *place);
            }
        }
    }

    /// Notes events that follow one another in their lane, the first at `place`.
    fn add_run<E: Recorded>(&mut self, delivered: &Delivered<'_, E>, events: &[E], place: u64) {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
        let Delivered { sent, replay, started_us, took_us, .. } = *delivered;
        // One label mostly: events of one route lie together.
        let labels = || events.chunk_by(|a, b| Arc::ptr_eq(a.route(), b.route()));
        let labels = || labels().filter_map(|run| run.first()).map(E::route);
        let end = place.saturating_add(events.len() as u64);
        if self.rows.len() >= APART_MAX
            && let Some((index, behind)) = self.ends.get_mut(&sent.lane)
            && let Some(row) = self.rows.get_mut(*index)
            && *behind == place
            && (row.attempts, row.replay, row.lanes) == (sent.attempts, replay, sent.lanes)
            && labels().all(|label| row.takes(label))
        {
            *behind = end;
            let ended = row.started_us.saturating_add_unsigned(row.took_us);
            let ended = ended.max(started_us.saturating_add_unsigned(took_us));
            row.started_us = row.started_us.min(started_us);
            row.took_us = u64::try_from(ended.saturating_sub(row.started_us)).unwrap_or_default();
            row.last = last.position();
            row.count += events.len() as u64;
            row.requests = row.requests.saturating_add(1);
            labels().for_each(|label| row.add_route(label));
            return;
        }
        let mut row = Record {
            lane: Some(sent.lane),
            lanes: sent.lanes,
            first: first.position(),
            last: last.position(),
            count: events.len() as u64,
            requests: 1,
            routes: Vec::new(),
            attempts: sent.attempts,
            replay,
            started_us,
            took_us,
        };
        labels().for_each(|label| row.add_route(label));
        if self.rows.len() >= ROWS_MAX {
            self.give_up();
        }
        self.ends.insert(sent.lane, (self.rows.len(), end));
        self.rows.push(row);
    }

    /// Gives up the older half.
    fn give_up(&mut self) {
        let given_up = self.rows.drain(..ROWS_MAX / 2);
        self.lost += given_up.map(|row| row.count).sum::<u64>();
        self.ends.clear();
    }

    /// Takes what there is.
    pub(super) fn take(&mut self) -> Records {
        self.ends.clear();
        Records { rows: std::mem::take(&mut self.rows), lost: std::mem::take(&mut self.lost) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::{Chunk, Operation};
    use crate::lsn::{EventId, Lsn};

    fn label(name: &str, version: u32) -> Arc<RouteLabel> {
        Arc::new(RouteLabel { name: name.into(), mapping: Some(("contact".into(), version)) })
    }

    fn event(lsn: u64, route: &Arc<RouteLabel>) -> Envelope {
        Envelope {
            id: EventId { timeline: 1, position: Position::new(Lsn(lsn), 0) },
            operation: Operation::Insert,
            body: Bytes::new(),
            key: Bytes::new(),
            key_hash: 0,
            before_key_hash: None,
            before_key: None,
            outbox: None,
            commit_time: None,
            route: Arc::clone(route),
            chunk: Arc::new(Chunk {
                timeline: 1,
                frames: Bytes::new(),
                transactions: vec![],
                relations: vec![],
                entries: vec![],
                audience: None,
            }),
            entry: 0,
        }
    }

    /// Adds a request of the events at these places of a lane; an event's LSN is its place.
    fn add(recorder: &mut Recorder, lane: u32, attempts: u32, places: &[u64], at_us: i64) {
        let route = label("r", 1);
        let events: Vec<Envelope> = places.iter().map(|place| event(*place, &route)).collect();
        let sent = Sent { lane, lanes: 4, attempts, places: places.to_vec() };
        let took_us = 5;
        let started_us = at_us;
        let (events, sent) = (&events[..], &sent);
        recorder.add(&Delivered { events, sent, replay: 0, started_us, took_us });
    }

    /// One request an event, `count` of them, all told one by one.
    fn fill(recorder: &mut Recorder) {
        for place in 0..APART_MAX as u64 {
            add(recorder, 3, 1, &[place], 0);
        }
    }

    fn spans(records: &Records) -> Vec<(u64, u64, u64, u32)> {
        let span =
            |row: &Record| (row.first.commit_lsn.0, row.last.commit_lsn.0, row.count, row.requests);
        records.rows.iter().map(span).collect()
    }

    #[test]
    fn few_requests_have_a_row_each() {
        let mut recorder = Recorder::default();
        add(&mut recorder, 0, 1, &[1, 2, 3], 0);
        add(&mut recorder, 0, 1, &[4], 1);
        assert_eq!(spans(&recorder.take()), [(1, 3, 3, 1), (4, 4, 1, 1)]);
        assert_eq!(recorder.take(), Records::default());
    }

    #[test]
    fn many_single_events_make_few_rows() {
        let mut recorder = Recorder::default();
        for place in 0..4_000 {
            for lane in 0..4 {
                add(&mut recorder, lane, 1, &[place], 10 * i64::try_from(place).unwrap());
            }
        }
        let records = recorder.take();
        assert!(records.rows.len() <= APART_MAX + 4, "{}", records.rows.len());
        assert_eq!(records.rows.iter().map(|row| row.count).sum::<u64>(), 16_000);
        assert_eq!(records.lost, 0);
        let last = records.rows.last().unwrap();
        assert_eq!(last.started_us.saturating_add_unsigned(last.took_us), 39_995);
    }

    #[test]
    fn what_differs_or_does_not_follow_is_not_folded() {
        let told = |second: (u32, u32, &[u64])| {
            let mut recorder = Recorder::default();
            fill(&mut recorder);
            add(&mut recorder, 0, 1, &[100], 0);
            add(&mut recorder, second.0, second.1, second.2, 0);
            recorder.take().rows.len() - APART_MAX
        };
        assert_eq!(told((0, 1, &[101])), 1);
        assert_eq!(told((1, 1, &[101])), 2, "another lane");
        assert_eq!(told((0, 2, &[101])), 2, "another number of attempts");
        assert_eq!(told((0, 1, &[102])), 2, "an event between them");
        assert_eq!(told((0, 1, &[101, 102, 104])), 2, "a hole in the request");
    }

    #[test]
    fn routes_share_a_row_but_versions_of_one_mapping_do_not() {
        let mut recorder = Recorder::default();
        fill(&mut recorder);
        let mut deliver = |place: u64, route: Arc<RouteLabel>| {
            let sent = Sent { lane: 0, lanes: 4, attempts: 1, places: vec![place] };
            let events = [event(place, &route)];
            let (events, sent) = (&events[..], &sent);
            recorder.add(&Delivered { events, sent, replay: 0, started_us: 0, took_us: 1 });
        };
        deliver(1, label("a", 1));
        deliver(2, label("b", 1));
        deliver(3, label("a", 1));
        deliver(4, label("a", 2));
        let records = recorder.take();
        let rows = &records.rows[APART_MAX..];
        assert_eq!(rows.iter().map(|row| row.count).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(rows[0].routes, [label("a", 1), label("b", 1)]);
    }

    #[test]
    fn past_the_bound_the_oldest_are_given_up_and_counted() {
        let mut recorder = Recorder::default();
        // No two of them follow one another.
        for place in 0..=ROWS_MAX as u64 {
            add(&mut recorder, 0, 1, &[place * 2], 0);
        }
        let records = recorder.take();
        assert_eq!(records.rows.len(), ROWS_MAX / 2 + 1);
        assert_eq!(records.lost, ROWS_MAX as u64 / 2);
    }

    proptest! {
        #[test]
        fn every_event_is_in_exactly_one_row_of_its_lane(
            // Which events of a lane go together, and in which order the requests are answered.
            groups in prop::collection::vec((0_u32..3, 1_u32..3, any::<u32>()), 1..300),
        ) {
            // Events of a lane are dealt to requests that may interleave.
            let mut requests: Vec<(u32, u32, u32, Vec<u64>)> = Vec::new();
            let mut places = [0_u64; 3];
            for (lane, attempts, order) in groups {
                let place = &mut places[lane as usize];
                let length = u64::from(order % 4 + 1);
                let (mut one, mut other) = (Vec::new(), Vec::new());
                for at in *place..*place + length {
                    if order >> (at % 7) & 1 == 1 { one.push(at) } else { other.push(at) }
                }
                *place += length;
                for part in [one, other].into_iter().filter(|part| !part.is_empty()) {
                    requests.push((order, lane, attempts, part));
                }
            }
            requests.sort_by_key(|(order, ..)| *order);
            let mut recorder = Recorder::default();
            for (_, lane, attempts, part) in &requests {
                add(&mut recorder, *lane, *attempts, part, 0);
            }
            let records = recorder.take();
            for (_, lane, attempts, part) in &requests {
                for place in part {
                    let position = Position::new(Lsn(*place), 0);
                    let holds = |row: &&Record| {
                        row.lane == Some(*lane) && row.first <= position && position <= row.last
                    };
                    let rows: Vec<&Record> = records.rows.iter().filter(holds).collect();
                    prop_assert_eq!(rows.len(), 1);
                    prop_assert_eq!(rows[0].attempts, *attempts);
                }
            }
        }
    }
}
