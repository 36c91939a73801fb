//! `[sink.NAME.kafka]`

use super::{Sink, files};
use crate::config::problem::Notes;
use crate::config::tree::{Entry, Table};
use crate::mapping::Format;
use crate::sink;
use crate::sink::kafka::{Config, Error, Sasl, Tombstones};

/// Reads the table of the kind.
pub(super) fn read(table: &Table) -> Option<sink::Config> {
    let brokers = match table.text("brokers") {
        Some(text) => text.split(',').map(|broker| broker.trim().to_owned()).collect(),
        None => table.list("brokers").iter().filter_map(Entry::text).map(str::to_owned).collect(),
    };
    let properties = table.named("properties").iter();
    Some(sink::Config::Kafka(Box::new(Config {
        brokers,
        topic: table.text("topic")?.to_owned(),
        tombstones: table.text("tombstones").map(|word| match word {
            "after" => Tombstones::After,
            "instead" => Tombstones::Instead,
            _ => Tombstones::Off,
        }),
        binary: table.text("cloudevents") == Some("binary"),
        compression: table.text("compression")?.to_owned(),
        transactional_id: table.text("transactional_id").map(str::to_owned),
        sasl: table.table("sasl").and_then(sasl),
        tls: match table.table("tls") {
            Some(tls) => Some(files(tls)),
            None => table.boolean("tls").unwrap_or(false).then(Default::default),
        },
        properties: properties
            .filter_map(|entry| Some((entry.name.clone(), entry.secret()?.clone())))
            .collect(),
    })))
}

fn sasl(table: &Table) -> Option<Sasl> {
    Some(Sasl {
        mechanism: table.text("mechanism")?.to_owned(),
        user: table.secret("user")?.clone(),
        password: table.secret("password")?.clone(),
    })
}

/// Looks at what the kind and the rest of the sink make together. `table` is the sink's.
pub(super) fn look(sink: &Sink, table: &Table, notes: &mut Notes<'_>) {
    let Some(kafka) = table.table("kafka") else { return };
    let is_mode_told = kafka.text("cloudevents") == Some("structured");
    if is_mode_told && sink.format != Format::CloudEvents {
        notes.problem(&kafka.span("cloudevents"), Error::NoCloudEvents.to_string());
    }
    let is_plain = kafka.table("sasl").and_then(|sasl| sasl.text("mechanism")) == Some("PLAIN");
    let is_tls = kafka.table("tls").is_some() || kafka.boolean("tls") == Some(true);
    if is_plain && !is_tls {
        let message = format!(
            "sink \"{}\" sends its password as it is over a connection that anybody on the way can \
             read: set tls = true",
            sink.name
        );
        notes.warning(&kafka.span("sasl"), message);
    }
}
