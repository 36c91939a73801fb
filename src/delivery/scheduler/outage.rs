//! Outages of hours, in virtual time: nothing is given up, and the far side is left alone.

use super::super::dead_letter::Stored;
use super::tests::{Bench, failed, failure, letter, ordinals, seconds};
use super::*;
use crate::failure::Category;
use crate::lsn::Lsn;
use crate::sink::Answer;

const HOUR: u64 = 3600;
/// Events that come each minute, all the while.
const A_MINUTE: u64 = 8;

/// How the far side answers while it is out.
#[derive(Clone, Copy, Debug)]
enum Out {
    Refuses,
    Hangs,
    Status(u16),
    Locked,
}

impl Out {
    fn answer(self) -> Answer {
        match self {
            Self::Refuses | Self::Hangs => {
                Answer::Failed(Failure { status: None, ..failure(Category::Transient) })
            }
            Self::Status(status) => {
                Answer::Failed(Failure { status: Some(status), ..failure(Category::Transient) })
            }
            Self::Locked => failed(Category::Setup),
        }
    }

    /// How long an answer takes.
    const fn takes(self) -> Duration {
        match self {
            Self::Hangs => Duration::from_secs(30),
            _ => Duration::from_millis(5),
        }
    }
}

/// What came of an outage.
struct Sent {
    at: Vec<Duration>,
    bench: Bench,
}

/// An outage of so many hours behind a while in which all was well, with the default settings.
fn outage(hours: u64, concurrency: u32, out: Out) -> Sent {
    let mut bench = Bench::cold(|settings| settings.concurrency = concurrency);
    bench.push(&(0..200).collect::<Vec<_>>());
    while let Some(dispatch) = bench.next() {
        bench.answer(&dispatch, Answer::Acknowledged);
    }
    let end = seconds(hours * HOUR);
    let (mut at, mut minute) = (Vec::new(), 0);
    while bench.now < end {
        if bench.now >= seconds(60 * minute) {
            minute += 1;
            bench.push(&(0..A_MINUTE).map(|n| (minute * 3 + n) % 50).collect::<Vec<_>>());
        }
        // All that goes at a time is answered together, later.
        let sent: Vec<Dispatch> = std::iter::from_fn(|| bench.next()).collect();
        if sent.is_empty() {
            let wake = bench.scheduler.wake_at().expect("a timer");
            bench.now = wake.min(seconds(60 * minute)).max(bench.now + Duration::from_millis(1));
            continue;
        }
        at.extend(sent.iter().map(|_| bench.now));
        bench.now += out.takes();
        sent.iter().for_each(|dispatch| bench.answer(dispatch, out.answer()));
    }
    Sent { at, bench }
}

/// Nothing was set aside, and once it is down there is at most one request in each `every`.
#[track_caller]
fn is_left_alone(hours: u64, concurrency: u32, out: Out, every: Duration) {
    let Sent { at, mut bench } = outage(hours, concurrency, out);
    let aside = bench.effects.iter().filter(|effect| {
        matches!(effect, Effect::SetAside { .. } | Effect::Tried { .. } | Effect::Park { .. })
    });
    assert_eq!(aside.count(), 0, "{out:?}");
    assert_eq!(bench.scheduler.dead_letters(), 0, "{out:?}");
    // What goes before it is known to be down: a round of requests, five failures at least, with
    // their backoff between them.
    let known = usize::try_from(concurrency.max(5) + 5).unwrap();
    let probes = &at[known.min(at.len())..];
    assert!(probes.windows(2).all(|two| two[1] - two[0] >= every), "{out:?}: {:?}", &at[..40]);
    let most = usize::try_from(seconds(hours * HOUR).as_secs() / every.as_secs()).unwrap();
    assert!(at.len() <= most + known, "{} requests, {out:?}", at.len());
    // And it is not forgotten either.
    let least = (seconds(hours * HOUR).as_secs() / (every + out.takes()).as_secs()) * 9 / 10;
    assert!(at.len() as u64 >= least, "{} requests, {out:?}", at.len());
    goes_on(&mut bench, concurrency);
}

/// The far side is up again: it is met with a ramp, and gets everything once, a key in order.
#[track_caller]
fn goes_on(bench: &mut Bench, concurrency: u32) {
    let wake = bench.scheduler.wake_at();
    bench.now = wake.unwrap_or(bench.now).max(bench.now);
    let (mut rounds, mut got) = (Vec::new(), Vec::new());
    loop {
        let sent: Vec<Dispatch> = std::iter::from_fn(|| bench.next()).collect();
        if sent.is_empty() {
            let Some(wake) = bench.scheduler.wake_at() else { break };
            bench.now = wake;
            continue;
        }
        rounds.push(sent.len());
        for dispatch in &sent {
            got.extend(ordinals(dispatch));
            bench.answer(dispatch, Answer::Acknowledged);
        }
        // What failed all the while may have to go on by itself for a moment, as nobody can know
        // that the others would not have gone through: it is retrying, not dead.
        let aside = bench.stored();
        assert!(aside.iter().all(|(_, state)| *state != LetterState::Dead), "{aside:?}");
    }
    let expected: Vec<u64> = (200..bench.ordinal).collect();
    let mut sorted = got.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected, "each once");
    let concurrency = usize::try_from(concurrency).unwrap();
    for (rounds, most) in rounds.iter().zip([1, 2, 4, 8, 16, 32]) {
        assert!(*rounds <= most.min(concurrency), "{rounds} at a time where {most} may go");
    }
    assert!(rounds.contains(&concurrency.min(4)), "it never became faster: {rounds:?}");
    assert_eq!(bench.scheduler.dead_letters(), 0);
}

#[test]
fn an_hour_of_outage_makes_no_dead_letter_and_one_request_a_cooldown() {
    for concurrency in [1, 8] {
        for out in [Out::Refuses, Out::Hangs, Out::Status(500), Out::Status(503)] {
            is_left_alone(1, concurrency, out, seconds(30));
        }
    }
}

#[test]
fn nor_do_twelve_hours() {
    for out in [Out::Refuses, Out::Hangs, Out::Status(500), Out::Status(503)] {
        is_left_alone(12, 8, out, seconds(30));
    }
}

#[test]
fn a_set_up_that_is_wrong_for_hours_is_tried_once_a_probe() {
    is_left_alone(1, 1, Out::Locked, seconds(30));
    is_left_alone(12, 8, Out::Locked, seconds(30));
}

/// What was retrying by itself when the sink went down, one failure before the last.
#[test]
fn what_was_about_to_be_given_up_is_not_because_of_an_outage() {
    for out in [Out::Refuses, Out::Status(503)] {
        let mut bench = Bench::new(|settings| settings.concurrency = 4);
        let stored = Stored { attempts: 9, ..letter(0, 7, LetterState::Retrying) };
        bench.scheduler.restore(&stored, Position::new(Lsn(2), 0));
        bench.ordinal = 10;
        bench.scheduler.passed(Position::new(Lsn(2), 0), bench.now);
        bench.push(&[1, 2, 3, 4, 5, 6]);
        while bench.now < seconds(12 * HOUR) {
            while let Some(dispatch) = bench.next() {
                bench.answer(&dispatch, out.answer());
            }
            bench.now = bench.scheduler.wake_at().expect("a timer");
        }
        let dead = |effect: &Effect| {
            matches!(
                effect,
                Effect::Tried { state: LetterState::Dead, .. } | Effect::SetAside { .. }
            )
        };
        assert!(!bench.effects.iter().any(dead), "{out:?}");
        assert_eq!(bench.scheduler.parked_counts(), (1, 0));
    }
}
