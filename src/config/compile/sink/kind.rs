//! Which kind a sink is, and what of the config depends on that.

#[cfg(feature = "amqp")]
use super::amqp;
#[cfg(feature = "kafka")]
use super::kafka;
#[cfg(feature = "nats")]
use super::nats;
#[cfg(feature = "redis")]
use super::redis;
use super::{
    Sink, SinkKind, aws, clickhouse, elasticsearch, http, hubspot, postgres, pubsub, salesforce,
};
use crate::config::keys::KINDS;
use crate::config::problem::Notes;
use crate::config::tree::{Entry, Table};
use crate::config::walk::one_of;
use crate::sink;

/// Events in a batch unless the config says otherwise.
const EVENTS: u32 = 500;

/// Reads the kind of a sink: the one table of its own that it has.
pub(super) fn read(entry: &Entry, table: &Table, notes: &mut Notes<'_>) -> Option<SinkKind> {
    let mut given = KINDS.iter().filter(|kind| table.given(kind));
    match (given.next(), given.next()) {
        (Some(kind), None) if !sink::is_built(kind) => {
            let message = format!(
                "this build has no {kind} (`walgate sinks` lists what it has); build it with \
                 `--features {kind}`"
            );
            notes.problem(&table.span(kind), message);
            None
        }
        (Some(&SinkKind::POLL), None) => Some(SinkKind::Polled),
        (Some(kind), None) => of_kind(kind, table.table(kind)?, notes).map(SinkKind::Sent),
        (Some(first), Some(second)) => {
            let message = format!(
                "sink \"{}\" is both {first} and {second}; make two sinks of it",
                entry.name
            );
            let place = table.entry(second).map_or(&entry.place, |kind| &kind.place);
            notes.problem(place, message);
            None
        }
        // A kind that is there but wrong has been noted already.
        (None, _) if table.refused => None,
        (None, _) => {
            let kinds: Vec<String> =
                KINDS.iter().map(|kind| format!("[sink.{}.{kind}]", entry.name)).collect();
            let offered: Vec<&str> = kinds.iter().map(String::as_str).collect();
            let offered = one_of(&offered).replace('"', "");
            let name = &entry.name;
            notes.problem(&entry.place, format!("sink \"{name}\" has no kind; add {offered}"));
            None
        }
    }
}

/// Reads the table of a kind.
fn of_kind(kind: &str, table: &Table, notes: &mut Notes<'_>) -> Option<sink::Config> {
    match kind {
        "http" => http::read(table, notes),
        "file" => {
            let path = table.path("path")?.clone();
            let config = sink::file::Config { path, max_size: table.size("max_size")? };
            Some(sink::Config::File(config))
        }
        #[cfg(feature = "amqp")]
        "amqp" => amqp::read(table),
        kind if aws::KINDS.contains(&kind) => aws::read(kind, table, notes),
        "clickhouse" => clickhouse::read(table),
        "elasticsearch" => elasticsearch::read(table, notes),
        "hubspot" => hubspot::read(table),
        #[cfg(feature = "kafka")]
        "kafka" => kafka::read(table),
        #[cfg(feature = "nats")]
        "nats" => nats::read(table, notes),
        "postgres" => postgres::read(table),
        "pubsub" => pubsub::read(table),
        #[cfg(feature = "redis")]
        "redis" => redis::read(table),
        "salesforce" => salesforce::read(table, notes),
        _ => Some(sink::Config::Stdout(sink::stdout::Config {})),
    }
}

/// Looks at what a kind and the rest of the sink make together. `table` is the sink's.
pub(super) fn look(sink: &Sink, table: &Table, notes: &mut Notes<'_>) {
    clickhouse::look(sink, table, notes);
    elasticsearch::look(sink, table, notes);
    http::look(sink, table, notes);
    hubspot::look(sink, table, notes);
    #[cfg(feature = "kafka")]
    kafka::look(sink, table, notes);
    postgres::look(sink, table, notes);
    pubsub::look(sink, table, notes);
    #[cfg(feature = "redis")]
    redis::look(sink, table, notes);
    salesforce::look(sink, table, notes);
}

/// Returns how many events a batch has at most, where the config does not say.
pub(super) fn events(table: &Table) -> u32 {
    let own = [
        ("http", 1),
        ("salesforce", salesforce::EVENTS),
        ("hubspot", hubspot::EVENTS),
        ("clickhouse", clickhouse::EVENTS),
    ];
    let own = own.into_iter().find(|(kind, _)| table.given(kind));
    own.map(|(_, events)| events).or_else(|| aws::default_events(table)).unwrap_or(EVENTS)
}
