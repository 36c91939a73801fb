//! `[sink.NAME]`; what a kind has of its own is in the file of its name.

mod kind;
#[cfg(feature = "amqp")]
mod amqp;
mod aws;
mod clickhouse;
mod elasticsearch;
mod http;
mod hubspot;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "nats")]
mod nats;
mod postgres;
mod pubsub;
#[cfg(feature = "redis")]
mod redis;
mod salesforce;

use std::error::Error as _;
use std::time::Duration;

use crate::chunk::Operation;
use crate::config::problem::Notes;
use crate::config::tree::{Entry, Span, Table};
use crate::config::unit;
use crate::delivery::{
    BatchLimits, BreakerSettings, OnDead, Rate, RateLimit, RetrySettings, Schedule, Settings,
};
use crate::mapping::Format;
use crate::sink;

/// One destination.
#[derive(Clone, Debug)]
pub struct Sink {
    /// The table's name.
    pub name: String,
    /// Its kind and what the kind takes.
    pub kind: SinkKind,
    /// What its bodies look like.
    pub format: Format,
    /// How it is served.
    pub delivery: Settings,
}

/// Who goes to whom.
#[derive(Clone, Debug)]
pub enum SinkKind {
    /// Events are sent.
    Sent(sink::Config),
    /// `[sink.NAME.poll]`: the receiver comes and asks for them.
    Polled,
}

impl SinkKind {
    /// The word of the kind whose receiver comes and asks.
    pub const POLL: &str = "poll";

    /// Whether its receiver comes and asks.
    #[must_use]
    pub const fn is_polled(&self) -> bool {
        matches!(self, Self::Polled)
    }

    /// Returns the kind's word, as the config's table is called.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sent(config) => config.kind(),
            Self::Polled => Self::POLL,
        }
    }
}

impl Sink {
    /// Returns what the sink itself must know of how it is served.
    #[must_use]
    pub fn common(&self) -> sink::Common {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        sink::Common {
            timeout: self.delivery.timeout,
            concurrency: count(self.delivery.concurrency),
            max_events: count(self.delivery.batch.max_events),
            form: match self.format {
                Format::Walgate => sink::Form::Walgate,
                Format::Mapped => sink::Form::Mapped,
                Format::Debezium => sink::Form::Debezium,
                Format::CloudEvents => sink::Form::CloudEvents,
            },
        }
    }
}

impl Sink {
    /// Returns what the sink must know where it is sent notices: one document a request.
    #[must_use]
    pub fn common_of_notices(&self) -> sink::Common {
        sink::Common { max_events: 1, concurrency: 1, form: sink::Form::Mapped, ..self.common() }
    }
}

pub(super) fn all(tree: &Table, notes: &mut Notes<'_>) -> Option<Vec<Sink>> {
    let entries = tree.named("sink");
    if let (Some(table), []) = (tree.table("sink"), entries) {
        notes.problem(&table.place, "there is no sink; add [sink.NAME]");
    }
    let sinks: Vec<Sink> = entries.iter().filter_map(|entry| sink(entry, notes)).collect();
    same_file(entries, &sinks, notes);
    (sinks.len() == entries.len()).then_some(sinks)
}

fn sink(entry: &Entry, notes: &mut Notes<'_>) -> Option<Sink> {
    let table = entry.table()?;
    super::check_name("sink", &entry.name, &entry.place, notes);
    let delivery = delivery(table, notes);
    let kind = kind::read(entry, table, notes);
    let word = table.text("format")?;
    let format = Format::ALL.into_iter().find(|format| format.as_str() == word)?;
    let sink = Sink { name: entry.name.clone(), kind: kind?, format, delivery: delivery? };
    match &sink.kind {
        SinkKind::Sent(config) => sent(&sink, config, table, notes),
        SinkKind::Polled => polled(table, notes),
    }
    Some(sink)
}

/// Looks whether the settings of a sink make one that can send.
fn sent(sink: &Sink, config: &sink::Config, table: &Table, notes: &mut Notes<'_>) {
    if let Err(error) = sink::build(&sink.name, config, &sink.common()) {
        let (kind_span, key) = (table.span(sink.kind.kind()), error.key());
        let span = place_of(table.table(sink.kind.kind()), key).unwrap_or(kind_span);
        notes.problem(&span, chain(&error));
    }
    kind::look(sink, table, notes);
}

/// Looks whether a sink that keeps rows by their key sees all of an event.
fn is_whole_event(sink: &Sink, table: &Table, notes: &mut Notes<'_>) {
    if sink.format != Format::Walgate {
        let kind = sink.kind.kind();
        let message = format!(
            "a {kind} sink reads keys and operations, which only format = \"walgate\" has; leave \
             format out"
        );
        notes.problem(&table.span("format"), message);
    }
}

/// What governs sending means nothing where the receiver comes.
fn polled(table: &Table, notes: &mut Notes<'_>) {
    let sending = ["concurrency", "rate_limit", "timeout", "retry", "breaker", "max_blocked"];
    for name in sending.into_iter().chain(["schedule", "compact"]) {
        if table.given(name) {
            let message =
                format!("\"{name}\" means nothing with poll, where nothing is sent; leave it out");
            notes.problem(&table.span(name), message);
        }
    }
    if table.text("on_dead") == Some("block") {
        let message = "on_dead = \"block\" is not for poll, which hands events out in commit order; \
                       leave it out";
        notes.problem(&table.span("on_dead"), message);
    }
    if let Some(batch) = table.table("batch").filter(|batch| batch.given("max_wait")) {
        let message = "\"max_wait\" means nothing with poll: the receiver says how long it waits; \
                       leave it out";
        notes.problem(&batch.span("max_wait"), message);
    }
}

/// Joins an error below the sink's name with its causes.
pub(super) fn chain(error: &sink::Error) -> String {
    let mut parts = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        parts.push(error.to_string());
        cause = error.source();
    }
    parts.join(": ")
}

/// Finds the value of a dotted key.
pub(super) fn place_of(table: Option<&Table>, key: &str) -> Option<Span> {
    let table = table?;
    // A header's name may have dots, so the longest name is tried first.
    if let Some(entry) = table.entry(key).filter(|entry| entry.given) {
        return Some(entry.span.clone());
    }
    let (head, rest) = key.split_once('.')?;
    let inner = table.entry(head)?;
    place_of(inner.table(), rest).or_else(|| Some(inner.span.clone()))
}

/// Reads whom a sink trusts, and what it shows.
pub(super) fn files(table: &Table) -> sink::tls::Files {
    let path = |name: &str| table.path(name).cloned();
    sink::tls::Files { ca: path("ca"), cert: path("cert"), key: path("key") }
}

/// Returns the operation that a word of the config means.
pub(super) fn operation(word: &str) -> Option<Operation> {
    Operation::ALL.into_iter().find(|op| op.as_str() == word)
}

fn delivery(table: &Table, notes: &mut Notes<'_>) -> Option<Settings> {
    let batch = table.table("batch")?;
    let rates = table.table("rate_limit")?;
    let retry = table.table("retry")?;
    let breaker = table.table("breaker")?;
    let retry = RetrySettings {
        initial: retry.duration("initial")?,
        max: retry.duration("max")?,
        max_attempts: retry.integer("max_attempts")?,
        retry_after_max: retry.duration("retry_after_max")?,
    };
    if retry.initial > retry.max {
        notes.problem(
            &table.span("retry"),
            "retry.initial is above retry.max; lower the one or raise the other",
        );
    }
    let schedule = schedule(table, notes);
    let compact = table.boolean("compact")?;
    if compact && !table.given("schedule") {
        notes.problem(
            &table.span("compact"),
            "\"compact\" needs \"schedule\": it is about what gathers between two times; add \
             one, or leave it out",
        );
    }
    Some(Settings {
        batch: BatchLimits {
            max_events: batch.integer("max_events").unwrap_or_else(|| kind::events(table)),
            max_bytes: batch.size("max_bytes")?.max(1),
            max_wait: batch.duration("max_wait")?,
        },
        concurrency: table.integer("concurrency")?,
        rate_limit: RateLimit {
            requests: rates.rate("requests").map(rate).or_else(|| {
                let own = rates.given("events");
                http::rate(table).filter(|_| !own)
            }),
            events: rates.rate("events").map(rate),
            bytes: rates.rate("bytes").map(rate),
            burst: rates.integer("burst")?,
        },
        timeout: table.duration("timeout")?,
        retry,
        breaker: BreakerSettings {
            failures: breaker.integer("failures")?,
            window: breaker.duration("window")?,
            cooldown: breaker.duration("cooldown")?,
        },
        halt_probe: table.duration("halt_probe")?,
        on_dead: match table.text("on_dead")? {
            "block" => OnDead::Block,
            _ => OnDead::Continue,
        },
        max_dead: table.integer("max_dead")?.into(),
        max_blocked: table.integer("max_blocked")?.into(),
        dead_retain: table.duration("dead_retain"),
        schedule,
        compact,
    })
}

/// Shorter steps are no schedule.
const STEP_MIN: Duration = Duration::from_secs(1);

fn schedule(table: &Table, notes: &mut Notes<'_>) -> Option<Schedule> {
    let text = table.text("schedule")?;
    let read = match unit::duration(text) {
        Some(step) if step < STEP_MIN => Err("a step of less than 1s is none".to_owned()),
        Some(step) => Ok(Schedule::every(step)),
        None => Schedule::cron(text).map_err(|error| error.to_string()),
    };
    let told = |why: String| {
        let cure = "write \"15m\", or five fields such as \"*/15 * * * *\"";
        notes.problem(&table.span("schedule"), format!("cannot use the schedule: {why}; {cure}"));
    };
    read.map_err(told).ok()
}

const fn rate(rate: unit::Rate) -> Rate {
    Rate { amount: rate.count, per: rate.per }
}

/// Two sinks that append to one file would tear each other's lines on rotation.
fn same_file(entries: &[Entry], sinks: &[Sink], notes: &mut Notes<'_>) {
    let path = |sink: &Sink| match &sink.kind {
        SinkKind::Sent(sink::Config::File(file)) => Some(file.path.clone()),
        _ => None,
    };
    for (index, later) in sinks.iter().enumerate() {
        let Some(taken) = path(later) else { continue };
        let earlier = sinks.iter().take(index).find(|sink| path(sink).as_ref() == Some(&taken));
        let place = entries.iter().find(|entry| entry.name == later.name);
        if let (Some(earlier), Some(table)) = (earlier, place.and_then(Entry::table)) {
            let span = table.table("file").map_or(table.place.clone(), |file| file.span("path"));
            let message =
                format!("sink \"{}\" writes to the same file; give it another path", earlier.name);
            notes.problem(&span, message);
        }
    }
}
