//! The keys of an alert.

use super::Otherwise::{None, Required, Toml};
use super::Shape::{Duration, Either, Integer, List, Text, Word};
use super::{Section, key};

pub(super) static ALERT: Section = Section {
    title: "an alert",
    keys: &[
        key("name", Text, None, "unlike any other's; the word of `when` unless set"),
        key(
            "when",
            Word(
                &[
                    "freshness",
                    "lag",
                    "retained_wal",
                    "wal_seconds_left",
                    "failure_rate",
                    "dead_letters",
                    "breaker_open",
                    "halted",
                    "gap",
                    "latency",
                    "source_away",
                    "unaccounted",
                ],
                &[],
            ),
            Required,
            "what it is about",
        ),
        key(
            "threshold",
            Either(&[Integer(0, u32::MAX), Text]),
            None,
            "more than this, of `wal_seconds_left` less: a duration (`freshness`, `lag`, `wal_seconds_left`), a size (`lag`, `retained_wal`), a number (`dead_letters`), or how many times the usual (`failure_rate`, `latency`)",
        ),
        key(
            "for",
            Duration(0),
            None,
            "how long it has to be so, and then not be so any more; of `failure_rate` and `latency`, over how long is averaged",
        ),
        key("sinks", List(&Text), None, "the sinks that it watches; all unless set"),
        key("routes", List(&Text), None, "as `sinks`: the sinks of these routes"),
        key(
            "to",
            Either(&[Text, List(&Text)]),
            None,
            "an http sink, or a list of them, which no route need name; without it the log and the incidents alone",
        ),
        key("repeat", Duration(1), Toml("\"4h\""), "between two notices of what goes on"),
    ],
};
