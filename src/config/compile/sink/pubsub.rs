//! `[sink.NAME.pubsub]`

use super::{Sink, files};
use crate::config::problem::Notes;
use crate::config::tree::Table;
use crate::mapping::Format;
use crate::sink;
use crate::sink::pubsub::{Config, Error};
use crate::sink::web::Reach;

/// Reads the table of the kind.
pub(super) fn read(table: &Table) -> Option<sink::Config> {
    let text = |name: &str| table.text(name).map(str::to_owned);
    let attributes = table.named("attributes").iter();
    Some(sink::Config::PubSub(Box::new(Config {
        topic: text("topic")?,
        ordering: table.boolean("ordering")?,
        ordering_key: text("ordering_key"),
        attributes: attributes
            .filter_map(|entry| Some((entry.name.clone(), entry.secret()?.clone())))
            .collect(),
        binary: table.text("cloudevents") == Some("binary"),
        credentials: table.path("credentials").cloned(),
        endpoint: text("endpoint"),
        reach: Reach { tls: files(table), allow_private: table.boolean("allow_private")? },
    })))
}

/// Looks at what the kind and the rest of the sink make together. `table` is the sink's.
pub(super) fn look(sink: &Sink, table: &Table, notes: &mut Notes<'_>) {
    let Some(pubsub) = table.table("pubsub") else { return };
    let is_mode_told = pubsub.text("cloudevents") == Some("structured");
    if is_mode_told && sink.format != Format::CloudEvents {
        notes.problem(&pubsub.span("cloudevents"), Error::NoCloudEvents.to_string());
    }
}
