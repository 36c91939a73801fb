//! The `outbox` of a route.

use super::sink::Sink;
use crate::config::problem::Notes;
use crate::config::tree::{Entry, Table};
use crate::mapping::{Format, Outbox, parse_column};
use crate::sink::Config;

/// Reads the outbox of a route; the outer none when it is wrong.
pub(super) fn outbox(table: &Table, notes: &mut Notes<'_>) -> Option<Option<Outbox>> {
    let Some(own) = table.table("outbox") else { return Some(None) };
    let is_message = table.given("message");
    let mut name = |key: &str| -> Option<Option<String>> {
        let Some(text) = own.text(key) else { return Some(None) };
        if is_message && !text.is_empty() {
            return Some(Some(text.to_owned()));
        }
        match parse_column(text) {
            Ok(column) => Some(Some(column)),
            Err(error) => {
                notes.problem(&own.span(key), error.to_string());
                None
            }
        }
    };
    let read = (
        name("id"),
        name("aggregate_type"),
        name("aggregate_id"),
        name("type"),
        name("payload"),
        name("headers"),
    );
    Some(Some(Outbox {
        id: read.0??,
        aggregate_type: read.1??,
        aggregate_id: read.2??,
        kind: read.3??,
        payload: read.4??,
        headers: read.5?,
    }))
}

/// Says where the headers of an outbox can't go: a request of several events has none of one.
pub(super) fn headers(tree: &Table, sinks: &[Sink], notes: &mut Notes<'_>) {
    for route in tree.list("route").iter().filter_map(Entry::table) {
        let named = |sink: &&Sink| route.text("sink") == Some(&sink.name);
        let Some(sink) = sinks.iter().find(named).filter(|_| route.given("outbox")) else {
            continue;
        };
        let is_http = matches!(&sink.kind, super::SinkKind::Sent(Config::Http(_)));
        if !is_http || sink.delivery.batch.max_events < 2 {
            continue;
        }
        let stay = match sink.format {
            Format::Walgate | Format::Debezium | Format::CloudEvents => {
                "they stand in its events alone"
            }
            Format::Mapped => "they are sent nowhere",
        };
        notes.warning(
            &route.span("outbox"),
            format!(
                "sink \"{}\" sends several events a request, so that an event's headers can't be \
                 the request's: {stay}",
                sink.name
            ),
        );
    }
}
