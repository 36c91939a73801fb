//! [`Rule`]: what is watched, when it is too much, and who is told (pure).

use std::time::Duration;

use super::words;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// What an alert is about (`when`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// What a sink has is older than this.
    Freshness,
    /// The stream is further behind the server than this, in time or in bytes.
    Lag,
    /// The server keeps more WAL for the slot than this.
    RetainedWal,
    /// The slot may be lost sooner than this.
    WalSecondsLeft,
    /// A sink fails more often than usual, by this factor.
    FailureRate,
    /// A sink has more dead letters than this.
    DeadLetters,
    /// A sink is down.
    BreakerOpen,
    /// A sink, or the run itself, waits for a person.
    Halted,
    /// Changes were lost to the stream, or a sink was let go.
    Gap,
    /// Events take longer than usual to be delivered, by this factor.
    Latency,
    /// The source is not attached.
    SourceAway,
    /// Events are not accounted for: a fault of walgate.
    Unaccounted,
}

/// What a threshold may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// There is none.
    None,
    /// `"5m"`
    Duration,
    /// `"5m"` or `"1GiB"`
    DurationOrSize,
    /// `"4GiB"`
    Size,
    /// A whole number from 0.
    Count,
    /// A whole number from 2.
    Factor,
}

/// When it is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// As soon as it is so at all.
    None,
    /// More than this; less for [`When::WalSecondsLeft`].
    Duration(Duration),
    /// More bytes than this.
    Size(u64),
    /// More than so many.
    Count(u32),
    /// More than so many times the usual.
    Factor(u32),
}

impl When {
    /// All, in the order of the docs.
    pub const ALL: [Self; 12] = [
        Self::Freshness,
        Self::Lag,
        Self::RetainedWal,
        Self::WalSecondsLeft,
        Self::FailureRate,
        Self::DeadLetters,
        Self::BreakerOpen,
        Self::Halted,
        Self::Gap,
        Self::Latency,
        Self::SourceAway,
        Self::Unaccounted,
    ];

    /// Returns the word of the config.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Freshness => "freshness",
            Self::Lag => "lag",
            Self::RetainedWal => "retained_wal",
            Self::WalSecondsLeft => "wal_seconds_left",
            Self::FailureRate => "failure_rate",
            Self::DeadLetters => "dead_letters",
            Self::BreakerOpen => "breaker_open",
            Self::Halted => "halted",
            Self::Gap => "gap",
            Self::Latency => "latency",
            Self::SourceAway => "source_away",
            Self::Unaccounted => "unaccounted",
        }
    }

    /// Returns what its threshold may be.
    #[must_use]
    pub const fn form(self) -> Form {
        match self {
            Self::Freshness | Self::WalSecondsLeft => Form::Duration,
            Self::Lag => Form::DurationOrSize,
            Self::RetainedWal => Form::Size,
            Self::FailureRate | Self::Latency => Form::Factor,
            Self::DeadLetters => Form::Count,
            Self::BreakerOpen | Self::Halted | Self::Gap | Self::SourceAway | Self::Unaccounted => {
                Form::None
            }
        }
    }

    /// Returns the threshold of one that names none.
    #[must_use]
    pub const fn threshold(self) -> Threshold {
        match self {
            Self::Freshness | Self::Lag => Threshold::Duration(Duration::from_secs(300)),
            Self::RetainedWal => Threshold::Size(4 << 30),
            Self::WalSecondsLeft => Threshold::Duration(HOUR),
            Self::FailureRate | Self::Latency => Threshold::Factor(5),
            Self::DeadLetters => Threshold::Count(0),
            Self::BreakerOpen | Self::Halted | Self::Gap | Self::SourceAway | Self::Unaccounted => {
                Threshold::None
            }
        }
    }

    /// Returns for how long it has to be so where the config says nothing.
    #[must_use]
    pub const fn lasting(self) -> Duration {
        match self {
            Self::Freshness
            | Self::Lag
            | Self::RetainedWal
            | Self::WalSecondsLeft
            | Self::SourceAway => MINUTE,
            Self::FailureRate | Self::Latency | Self::BreakerOpen => Duration::from_secs(300),
            Self::Halted | Self::Unaccounted => Duration::from_secs(10),
            Self::DeadLetters | Self::Gap => Duration::ZERO,
        }
    }

    /// Whether it is about the source; else about each sink.
    #[must_use]
    pub const fn of_source(self) -> bool {
        matches!(self, Self::Lag | Self::RetainedWal | Self::WalSecondsLeft | Self::SourceAway)
    }

    /// Whether it is about each sink.
    #[must_use]
    pub const fn of_sinks(self) -> bool {
        !self.of_source()
    }

    /// Whether it compares with what is usual: `for` is then the time over which is averaged.
    #[must_use]
    pub const fn is_usual(self) -> bool {
        matches!(self, Self::FailureRate | Self::Latency)
    }
}

/// Where notices go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct To {
    /// A sink of the config.
    pub sink: String,
    /// It is a webhook of Slack, which wants a text.
    pub slack: bool,
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Unlike any other's.
    pub name: String,
    /// What it is about.
    pub when: When,
    /// When it is too much.
    pub threshold: Threshold,
    /// For how long it has to be so, and then not be so.
    pub lasting: Duration,
    /// The sinks that it watches; empty: all.
    pub sinks: Vec<String>,
    /// Where its `when` is about sinks and about the run as a whole: it watches the run too.
    pub of_run: bool,
    /// Between two notices of what goes on.
    pub repeat: Duration,
    /// Who is told; empty: the log and the list of incidents alone.
    pub to: Vec<To>,
}

impl Rule {
    /// Between two notices of what goes on, where the config says nothing.
    pub const REPEAT: Duration = Duration::from_secs(4 * 3600);

    /// Makes one with what holds where the config says nothing.
    #[must_use]
    pub fn new(when: When) -> Self {
        Self {
            name: when.as_str().to_owned(),
            when,
            threshold: when.threshold(),
            lasting: when.lasting(),
            sinks: Vec::new(),
            of_run: true,
            repeat: Self::REPEAT,
            to: Vec::new(),
        }
    }

    /// Whether it watches this.
    #[must_use]
    pub fn watches(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Source => {
                self.when.of_source()
                    || matches!(self.when, When::Halted | When::Gap) && self.of_run
            }
            Subject::Sink(name) => {
                self.when.of_sinks() && (self.sinks.is_empty() || self.sinks.contains(name))
            }
        }
    }

    /// Says what it watches for, in words: `more than 5 min`.
    #[must_use]
    pub fn limit(&self) -> String {
        match self.threshold {
            Threshold::None => String::new(),
            Threshold::Duration(time) if self.when == When::WalSecondsLeft => {
                format!("less than {}", words::seconds(time.as_secs_f64()))
            }
            Threshold::Duration(time) => {
                format!("more than {}", words::seconds(time.as_secs_f64()))
            }
            Threshold::Size(bytes) => format!("more than {}", words::bytes(bytes)),
            Threshold::Count(count) => format!("more than {count}"),
            Threshold::Factor(factor) => format!("more than {factor} times the usual"),
        }
    }
}

/// What an incident is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The database and the slot, or the run as a whole.
    Source,
    /// A sink.
    Sink(String),
}

impl Subject {
    /// Returns `source` or `sink`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sink(_) => "sink",
        }
    }

    /// Returns the sink's name; nothing for the source.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Source => "",
            Self::Sink(name) => name,
        }
    }

    /// Reads what [`Subject::kind`] and [`Subject::name`] returned.
    #[must_use]
    pub fn of(kind: &str, name: String) -> Self {
        if kind == "sink" { Self::Sink(name) } else { Self::Source }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Source => f.write_str("the source"),
            Self::Sink(name) => write!(f, "sink {name}"),
        }
    }
}

/// What is watched without being asked for.
const BUILT_IN: [When; 7] = [
    When::Halted,
    When::BreakerOpen,
    When::DeadLetters,
    When::WalSecondsLeft,
    When::Gap,
    When::SourceAway,
    When::Unaccounted,
];

/// Returns the alerts of the config, and what is watched beside them: one that the config has goes
/// before the one that is built in, for what it watches.
#[must_use]
pub fn in_force(configured: &[Rule], sinks: &[String]) -> Vec<Rule> {
    let mut rules = configured.to_vec();
    for when in BUILT_IN {
        let same: Vec<&Rule> = configured.iter().filter(|rule| rule.when == when).collect();
        if same.iter().any(|rule| rule.sinks.is_empty()) {
            continue;
        }
        let mut rule = Rule::new(when);
        let is_of_run = rule.watches(&Subject::Source);
        if !same.is_empty() {
            let is_watched = |sink: &&String| same.iter().any(|rule| rule.sinks.contains(sink));
            rule.sinks = sinks.iter().filter(|sink| !is_watched(sink)).cloned().collect();
            if rule.sinks.is_empty() && !is_of_run {
                continue;
            }
            // A name that no sink has: nothing is left but the run, which alerts of some sinks do
            // not watch.
            if rule.sinks.is_empty() {
                rule.sinks.push(String::new());
            }
        }
        rules.push(rule);
    }
    rules
}
