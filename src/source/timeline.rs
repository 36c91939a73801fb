//! [`left_at`]: whether a server goes on from what a state has read (pure).
//!
//! A promotion and a restore begin a timeline each, and the history of a server's says where. It
//! takes the next number that it knows to be free, so that two servers may give theirs the same.

use super::cutter::Timelines;
use super::{Error, Identity, Resume};
use crate::lsn::Lsn;

/// Returns where the timeline of this number began; none where it is not in the server's past.
/// `current` is the timeline that the server is on.
pub(super) fn began(past: &Timelines, current: u32, number: u32) -> Option<Lsn> {
    let mut began = Lsn::ZERO;
    for (timeline, left) in past {
        if *timeline == number {
            return Some(began);
        }
        began = *left;
    }
    (current == number).then_some(began)
}

/// Compares the server's past with what was read. Returns where it left the timeline that the
/// state knows; none while it is on that, or was when it was read.
///
/// # Errors
/// When something was read that is not in the server's past.
pub(super) fn left_at(
    past: &Timelines,
    seen: &Identity,
    stored: &Identity,
    resume: &Resume,
) -> Result<Option<Lsn>, Error> {
    let (timeline, known) = (seen.timeline, stored.timeline);
    match began(past, timeline, known) {
        None => return Err(Error::ForeignTimeline { timeline, stored: known }),
        Some(began) if began != stored.began => {
            let (stored, seen) = (stored.began, began);
            return Err(Error::ForkedTimeline { timeline: known, stored, seen });
        }
        Some(_) => {}
    }
    // A standby that was promoted while it was read. What was received came from this very log.
    if seen.started == stored.started {
        return Ok(None);
    }
    let Some((_, switch)) = past.iter().find(|(number, _)| *number == known) else {
        return Ok(None);
    };
    let (switch, stored, received) = (*switch, known, resume.received);
    let journaled = resume.journaled.map_or(Lsn::ZERO, |position| position.commit_lsn);
    if received > switch || journaled >= switch {
        let received = received.max(journaled);
        return Err(Error::Timeline { timeline, stored, switch, received });
    }
    Ok(Some(switch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(timeline: u32, began: u64) -> Identity {
        let name = || "x".to_owned();
        let began = Lsn(began);
        let (system_id, started, database, slot) = (name(), "then".to_owned(), name(), name());
        Identity { system_id, timeline, began, started, database, slot }
    }

    /// The server is on timeline 4, which left 3 at 300, which left 1 at 100.
    fn go_on(stored: &Identity, received: u64) -> Result<Option<Lsn>, Error> {
        let past = vec![(1, Lsn(100)), (3, Lsn(300))];
        let resume = Resume { received: Lsn(received), ..Resume::default() };
        let seen = Identity { started: "now".to_owned(), ..identity(4, 300) };
        left_at(&past, &seen, stored, &resume)
    }

    #[test]
    fn a_server_that_was_promoted_while_it_was_read_has_what_was_read_of_it() {
        let stored = Identity { started: "now".to_owned(), ..identity(3, 100) };
        assert_eq!(go_on(&stored, 900).unwrap(), None);
    }

    #[test]
    fn a_state_of_any_timeline_of_the_past_goes_on_from_before_it_was_left() {
        assert_eq!(go_on(&identity(4, 300), 900).unwrap(), None);
        assert_eq!(go_on(&identity(3, 100), 300).unwrap(), Some(Lsn(300)));
        assert_eq!(go_on(&identity(1, 0), 100).unwrap(), Some(Lsn(100)));
    }

    #[test]
    fn what_was_read_behind_it_is_not_on_the_server() {
        for (stored, received) in [(identity(3, 100), 301), (identity(1, 0), 101)] {
            let error = go_on(&stored, received).unwrap_err();
            assert!(matches!(error, Error::Timeline { .. }), "{error}");
        }
    }

    #[test]
    fn a_timeline_that_is_not_in_the_past_is_foreign_and_one_of_the_same_number_too() {
        let error = go_on(&identity(2, 50), 60).unwrap_err();
        assert!(matches!(error, Error::ForeignTimeline { timeline: 4, stored: 2 }), "{error}");
        for stored in [identity(3, 99), identity(4, 299)] {
            let error = go_on(&stored, 60).unwrap_err();
            assert!(matches!(error, Error::ForkedTimeline { .. }), "{error}");
        }
    }
}
