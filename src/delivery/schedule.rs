//! [`Schedule`]: when a sink is sent what has gathered (pure; the time of day is an argument).

use std::time::Duration;

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions};

use crate::lsn::Timestamp;

const DAY_US: i64 = 86_400_000_000;
/// Fields of a cron line: minute, hour, day of the month, month, day of the week.
const FIELDS: usize = 5;

/// The times of a sink, all in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(When);

#[derive(Clone, Debug)]
enum When {
    /// In microseconds, above zero.
    Every(i64),
    Cron(Box<Line>),
}

#[derive(Clone, Debug)]
struct Line {
    text: String,
    table: Crontab,
}

/// The same text means the same times.
impl PartialEq for When {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Every(one), Self::Every(other)) => one == other,
            (Self::Cron(one), Self::Cron(other)) => one.text == other.text,
            (Self::Every(_), Self::Cron(_)) | (Self::Cron(_), Self::Every(_)) => false,
        }
    }
}

impl Eq for When {}

/// Why a text says no times.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// It is no cron line.
    #[error("it is neither a duration such as \"15m\" nor a cron line of five fields")]
    Fields,
    /// A field can't be read.
    #[error("the cron line can't be read: {0}")]
    Line(String),
    /// The line stands for no day that there is.
    #[error("the cron line never comes true")]
    Never,
}

impl Schedule {
    /// One that comes in even steps, counted from midnight; of more than a day, from 1970 on. So a
    /// restart shifts nothing.
    #[must_use]
    pub fn every(step: Duration) -> Self {
        Self(When::Every(i64::try_from(step.as_micros()).unwrap_or(i64::MAX).max(1)))
    }

    /// Reads a cron line of five fields: `*/15 * * * *`.
    ///
    /// # Errors
    /// A text that is none, or one that never comes true.
    pub fn cron(text: &str) -> Result<Self, ScheduleError> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        if fields.len() != FIELDS {
            return Err(ScheduleError::Fields);
        }
        let text = fields.join(" ");
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let table = cronexpr::parse_crontab_with(&text, options).map_err(|error| {
            let message = error.to_string();
            ScheduleError::Line(message.lines().last().unwrap_or_default().trim().to_owned())
        })?;
        let schedule = Self(When::Cron(Box::new(Line { text, table })));
        match schedule.next_after(Timestamp::from_unix_micros(0)) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never),
        }
    }

    /// Returns the first time behind `now`; none when there is none for years.
    #[must_use]
    pub fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        let now = now.unix_micros();
        let next = match &self.0 {
            When::Every(step) => next_step(*step, now)?,
            When::Cron(line) => {
                let now = MakeTimestamp::from_microsecond(now).ok()?;
                line.table.find_next(now).ok()?.timestamp().as_microsecond()
            }
        };
        Some(Timestamp::from_unix_micros(next))
    }
}

/// Midnight is always a time, so that steps that do not fit into a day are the same every day.
fn next_step(step: i64, now: i64) -> Option<i64> {
    let (begin, end) = if step > DAY_US {
        (0, None)
    } else {
        let midnight = now.checked_sub(now.rem_euclid(DAY_US))?;
        (midnight, midnight.checked_add(DAY_US))
    };
    let done = now.checked_sub(begin)?.div_euclid(step);
    let next = begin.checked_add(done.checked_add(1)?.checked_mul(step)?)?;
    Some(end.map_or(next, |end| next.min(end)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        let time: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_unix_micros(time.as_microsecond())
    }

    #[track_caller]
    fn check(schedule: &Schedule, now: &str, expected: &str) {
        let next = schedule.next_after(at(now)).unwrap();
        assert_eq!(next.to_string(), expected, "after {now}");
    }

    fn every(seconds: u64) -> Schedule {
        Schedule::every(Duration::from_secs(seconds))
    }

    #[test]
    fn steps_lie_on_the_clock_whenever_one_starts() {
        let quarter = every(900);
        check(&quarter, "2026-11-23T12:00:00Z", "2026-11-23T12:15:00Z");
        check(&quarter, "2026-11-23T12:14:59.999999Z", "2026-11-23T12:15:00Z");
        check(&quarter, "2026-11-23T12:15:00Z", "2026-11-23T12:30:00Z");
        check(&quarter, "2026-11-23T23:59:00Z", "2026-11-24T00:00:00Z");
        check(&every(86_400), "2026-11-23T12:00:00Z", "2026-11-24T00:00:00Z");
    }

    #[test]
    fn steps_that_do_not_fit_into_a_day_begin_anew_at_midnight() {
        let seven_hours = every(7 * 3600);
        check(&seven_hours, "2026-11-23T13:00:00Z", "2026-11-23T14:00:00Z");
        check(&seven_hours, "2026-11-23T21:00:00Z", "2026-11-24T00:00:00Z");
        check(&seven_hours, "2026-11-24T00:00:00Z", "2026-11-24T07:00:00Z");
    }

    #[test]
    fn steps_of_days_are_the_same_days_after_a_restart() {
        let week = every(7 * 86_400);
        // 1970-01-01 was a Thursday.
        check(&week, "2026-11-23T12:00:00Z", "2026-11-26T00:00:00Z");
        check(&week, "2026-11-25T23:59:59Z", "2026-11-26T00:00:00Z");
        check(&week, "2026-11-26T00:00:00Z", "2026-12-03T00:00:00Z");
    }

    #[test]
    fn a_cron_line_has_five_fields_and_is_in_utc() {
        let cron = |text: &str| Schedule::cron(text).unwrap();
        check(&cron("*/15 * * * *"), "2026-11-23T12:00:00Z", "2026-11-23T12:15:00Z");
        check(&cron("*/15 * * * *"), "2026-11-23T12:14:59.5Z", "2026-11-23T12:15:00Z");
        check(&cron("  30  6 * *  1-5 "), "2026-11-27T07:00:00Z", "2026-11-30T06:30:00Z");
        check(&cron("0 0 1 1 *"), "2026-11-23T12:00:00Z", "2027-01-01T00:00:00Z");
        check(&cron("0 0 29 2 *"), "2026-11-23T12:00:00Z", "2028-02-29T00:00:00Z");
        assert_eq!(cron("0  0 1 1 *"), cron("0 0 1 1 *"));
        assert_ne!(cron("0 0 1 1 *"), every(1));
    }

    #[test]
    fn what_is_no_cron_line_is_refused() {
        for text in ["", "15", "* * * *", "* * * * * *", "* * * * Europe/Berlin UTC"] {
            assert_eq!(Schedule::cron(text), Err(ScheduleError::Fields), "{text}");
        }
        for text in ["61 * * * *", "* 24 * * *", "* * * * Asia/Tokyo", "a b c d e", "*/0 * * * *"] {
            let refused = Schedule::cron(text);
            assert!(matches!(refused, Err(ScheduleError::Line(_))), "{text}: {refused:?}");
        }
        assert_eq!(Schedule::cron("0 0 30 2 *"), Err(ScheduleError::Never));
    }

    proptest! {
        #[test]
        fn the_next_time_lies_behind_now_and_none_between(
            step_s in 1_u64..200_000, now in 0_i64..4_000_000_000_000_000, part in 0.0_f64..1.0,
        ) {
            let schedule = every(step_s);
            let now = Timestamp::from_unix_micros(now);
            let next = schedule.next_after(now).unwrap();
            let gap = next.unix_micros() - now.unix_micros();
            prop_assert!(gap > 0 && gap <= i64::try_from(step_s).unwrap() * 1_000_000);
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any moment between will do")]
            let between = Timestamp::from_unix_micros(now.unix_micros() + (gap as f64 * part) as i64);
            prop_assert_eq!(schedule.next_after(between).unwrap(), if between < next { next } else { schedule.next_after(next).unwrap() });
        }
    }
}
