//! `[sink.NAME.redis]`

use super::{Sink, SinkKind, files};
use crate::config::problem::Notes;
use crate::config::tree::Table;
use crate::sink;
use crate::sink::redis::Ids;

/// Reads the table of the kind.
pub(super) fn read(table: &Table) -> Option<sink::Config> {
    Some(sink::Config::Redis(Box::new(sink::redis::Config {
        url: table.secret("url")?.clone(),
        stream: table.text("stream")?.to_owned(),
        ids: match table.text("ids")? {
            "lsn" => Ids::Lsn,
            _ => Ids::Auto,
        },
        max_len: table.integer("max_len"),
        wait_replicas: table.integer("wait_replicas").unwrap_or(0),
        tls: files(table),
    })))
}

/// Looks at what the kind and the rest of the sink make together. `table` is the sink's.
pub(super) fn look(sink: &Sink, table: &Table, notes: &mut Notes<'_>) {
    let SinkKind::Sent(sink::Config::Redis(config)) = &sink.kind else { return };
    if config.ids == Ids::Lsn && sink.delivery.concurrency > 1 {
        let message = "ids = \"lsn\" rise in commit order, which several requests in flight do \
                       not keep; set concurrency = 1, or ids = \"auto\"";
        notes.problem(&table.span("concurrency"), message);
    }
}
