//! Whether what was seen is too much for a rule, and how to say it (pure).

use super::rule::{Rule, Subject, Threshold, When};
use super::seen::{Seen, SinkSeen, SourceSeen};
use super::usual::{Ratio, Usual};
use super::words::{self, float};
use crate::lsn::Timestamp;

/// So many requests tell a rate of failures, and so many events a latency.
const LATELY_MIN: f64 = 10.0;
/// So many are needed to know what is usual.
const USUAL_MIN: f64 = 50.0;
/// A sink that never fails is taken to fail once in a hundred: one failure is no news.
const FAILURES_MIN: f64 = 0.01;
/// What is faster than this is not told apart, in microseconds.
const LATENCY_MIN_US: f64 = 100_000.0;

/// What is no longer asked for fails no longer, and takes no time.
const TOO_FEW: &str = "too little is sent to tell";

/// What a rule makes of what was seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    /// It is too much.
    pub(super) is_over: bool,
    /// In the rule's own unit: seconds, bytes, a count, or times the usual.
    pub(super) value: f64,
    /// What is so, in words, with value and threshold.
    pub(super) message: String,
}

/// Measures; none: not known.
pub(super) fn measure(
    rule: &Rule,
    subject: &Subject,
    seen: &Seen,
    usual: &mut Usual,
    now: Timestamp,
) -> Option<Measured> {
    let mut measured = match subject {
        Subject::Source => of_source(rule, &seen.source)?,
        Subject::Sink(name) => {
            let sink = seen.sinks.iter().find(|sink| sink.name == *name)?;
            of_sink(rule, sink, usual, now)?
        }
    };
    let limit = rule.limit();
    if measured.is_over && !limit.is_empty() {
        measured.message.push_str(&format!(" ({limit})"));
    }
    if measured.is_over && rule.when == When::Freshness {
        let sink = seen.sinks.iter().find(|sink| sink.name == subject.name());
        if let Some(reason) = sink.and_then(|sink| sink.reason.as_ref()) {
            measured.message.push_str(&format!(": {reason}"));
        }
    }
    Some(measured)
}

fn of_source(rule: &Rule, source: &SourceSeen) -> Option<Measured> {
    match rule.when {
        When::Lag => lag(rule, source),
        When::RetainedWal => {
            let bytes = source.retained_wal_bytes?;
            let Threshold::Size(most) = rule.threshold else { return None };
            let words = words::bytes(bytes);
            Some(Measured {
                is_over: bytes > most,
                value: float(bytes),
                message: format!("the server keeps {words} of WAL for the slot"),
            })
        }
        When::WalSecondsLeft => match source.wal_seconds_left {
            Some(left) => Some(Measured {
                is_over: float(left) < in_seconds(rule),
                value: float(left),
                message: format!(
                    "the slot may be lost in {} at this rate",
                    words::seconds(float(left))
                ),
            }),
            // What is kept does not grow, or nothing bounds it.
            None => source.is_looked_at.then(|| well("the slot is in no danger")),
        },
        When::SourceAway => {
            let why = source.reason.as_deref().unwrap_or("it is being connected to");
            Some(so(!source.is_attached, format!("the source is not attached: {why}")))
        }
        When::Halted => source.is_attached.then(|| well("the run goes on")),
        When::Gap => Some(match &source.gap {
            Some(gap) => so(true, gap.clone()),
            None => well("nothing more was lost"),
        }),
        When::Freshness
        | When::FailureRate
        | When::DeadLetters
        | When::BreakerOpen
        | When::Latency
        | When::Unaccounted => None,
    }
}

fn lag(rule: &Rule, source: &SourceSeen) -> Option<Measured> {
    if let Threshold::Size(most) = rule.threshold {
        let lag = source.lag_bytes?;
        let message = format!("the slot is {} behind the server", words::bytes(lag));
        return Some(Measured { is_over: lag > most, value: float(lag), message });
    }
    let lag = source.lag_seconds?;
    let message = format!("the stream is {} behind the server", words::seconds(lag));
    Some(Measured { is_over: lag > in_seconds(rule), value: lag, message })
}

fn of_sink(rule: &Rule, sink: &SinkSeen, usual: &mut Usual, now: Timestamp) -> Option<Measured> {
    let name = &sink.name;
    let why = sink.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match rule.when {
        When::Freshness => {
            let age = sink.freshness_seconds?;
            let words = words::seconds(age);
            let is_over = age > in_seconds(rule);
            let message = format!("what sink {name} has is {words} old");
            Some(Measured { is_over, value: age, message })
        }
        When::Halted => Some(match sink.is_halted? {
            true => so(true, format!("sink {name} is halted{why}")),
            false => well(&format!("sink {name} is served")),
        }),
        When::BreakerOpen => Some(match sink.is_open? {
            true => so(true, format!("sink {name} is down{why}")),
            false => well(&format!("sink {name} is up")),
        }),
        When::Gap => Some(match sink.has_gap {
            true => so(true, format!("sink {name} was let go{why}")),
            false => well(&format!("sink {name} is served")),
        }),
        When::DeadLetters => {
            let Threshold::Count(most) = rule.threshold else { return None };
            let dead = sink.dead?;
            let what = if dead == 1 { "dead letter" } else { "dead letters" };
            let message = format!("sink {name} has {dead} {what}");
            Some(Measured { is_over: dead > u64::from(most), value: float(dead), message })
        }
        When::Unaccounted => {
            let count = sink.unaccounted;
            let message = format!("{count} events of sink {name} are not accounted for");
            Some(Measured { is_over: count != 0, value: float(count.unsigned_abs()), message })
        }
        When::FailureRate => {
            let counted = (float(sink.failures), float(sink.attempts));
            match usual.look(counted, rule.lasting, now) {
                Some(ratio) => failure_rate(rule, name, ratio),
                None => Some(well(TOO_FEW)),
            }
        }
        When::Latency => {
            let counted = (float(sink.latency_sum_us), float(sink.delivered));
            match usual.look(counted, rule.lasting, now) {
                Some(ratio) => latency(rule, name, ratio),
                None => Some(well(TOO_FEW)),
            }
        }
        When::Lag | When::RetainedWal | When::WalSecondsLeft | When::SourceAway => None,
    }
}

fn failure_rate(rule: &Rule, name: &str, ratio: Ratio) -> Option<Measured> {
    if ratio.count < LATELY_MIN {
        return Some(well(TOO_FEW));
    }
    let usual = if ratio.usual_count < USUAL_MIN { 0.0 } else { ratio.usual };
    let base = usual.max(FAILURES_MIN);
    // What fails half of the time can't fail five times as often.
    let most = (factor(rule)? * base).min(f64::midpoint(1.0, usual));
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let message = format!(
        "of the requests to sink {name} {} fail, usually {}",
        percent(ratio.lately),
        percent(usual)
    );
    Some(Measured { is_over: ratio.lately > most, value: ratio.lately / base, message })
}

fn latency(rule: &Rule, name: &str, ratio: Ratio) -> Option<Measured> {
    if ratio.count < LATELY_MIN {
        return Some(well(TOO_FEW));
    }
    if ratio.usual_count < USUAL_MIN {
        return None;
    }
    let base = ratio.usual.max(LATENCY_MIN_US);
    let words = |us: f64| words::seconds((us / 100_000.0).round() / 10.0);
    let message = format!(
        "events take {} to sink {name}, usually {}",
        words(ratio.lately),
        words(ratio.usual)
    );
    let is_over = ratio.lately > factor(rule)? * base;
    Some(Measured { is_over, value: ratio.lately / base, message })
}

fn factor(rule: &Rule) -> Option<f64> {
    match rule.threshold {
        Threshold::Factor(factor) => Some(f64::from(factor)),
        _ => None,
    }
}

/// The threshold of a rule that has a time.
fn in_seconds(rule: &Rule) -> f64 {
    match rule.threshold {
        Threshold::Duration(time) => time.as_secs_f64(),
        _ => f64::INFINITY,
    }
}

fn so(is_over: bool, message: String) -> Measured {
    Measured { is_over, value: if is_over { 1.0 } else { 0.0 }, message }
}

fn well(message: &str) -> Measured {
    so(false, message.to_owned())
}

/// Returns what a person does next.
pub(super) fn next(when: When, subject: &Subject) -> String {
    let sink = subject.name();
    match (when, subject) {
        (When::Freshness, _) => "`walgate status` says what holds it up".to_owned(),
        (When::Lag, _) => "`walgate status` says what holds it back".to_owned(),
        (When::RetainedWal | When::WalSecondsLeft, _) => {
            "`walgate status` says what holds the WAL back; mend that, or give \
             max_slot_wal_keep_size more room"
                .to_owned()
        }
        (When::FailureRate, _) => format!("`walgate dlq list --sink {sink} --state retrying`"),
        (When::DeadLetters, _) => format!(
            "`walgate dlq list --sink {sink}`, then `walgate dlq replay --sink {sink}` or \
             `walgate dlq discard --sink {sink} --reason TEXT`"
        ),
        (When::BreakerOpen, _) => {
            "look whether the destination is up; `walgate check` tries it".to_owned()
        }
        (When::Halted, Subject::Sink(_)) => format!(
            "mend its address, credentials or rights: it goes on by itself; one that was paused: \
             `walgate sink resume {sink}`"
        ),
        (When::Halted, Subject::Source) => {
            "the message says what the choices are; then start `walgate run` again".to_owned()
        }
        (When::Gap, Subject::Sink(_)) => format!(
            "`walgate sink forget {sink}`, start again, and `walgate backfill start TABLE --sink \
             {sink} --sweep`"
        ),
        (When::Gap, Subject::Source) => "`walgate backfill start TABLE --sweep`".to_owned(),
        (When::Latency, _) => "`walgate status` says how the sink is served".to_owned(),
        (When::SourceAway, _) => "`walgate check` says what the source lacks".to_owned(),
        (When::Unaccounted, _) => {
            "start `walgate run` again, which reads them again, and report it with the log"
                .to_owned()
        }
    }
}
