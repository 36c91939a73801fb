//! `[sink.NAME.amqp]`

use super::files;
use crate::config::tree::Table;
use crate::sink;

/// Reads the table of the kind.
pub(super) fn read(table: &Table) -> Option<sink::Config> {
    Some(sink::Config::Amqp(Box::new(sink::amqp::Config {
        url: table.secret("url")?.clone(),
        exchange: table.text("exchange").unwrap_or_default().to_owned(),
        routing_key: table.text("routing_key")?.to_owned(),
        mandatory: table.boolean("mandatory")?,
        persistent: table.boolean("persistent")?,
        tls: files(table),
    })))
}
