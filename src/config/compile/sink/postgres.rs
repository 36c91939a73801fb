//! `[sink.NAME.postgres]`

use super::Sink;
use crate::config::problem::Notes;
use crate::config::tree::Table;
use crate::mapping::Format;
use crate::sink;
use crate::sink::postgres::{Config, Mode};

/// Reads the table of the kind.
pub(super) fn read(table: &Table) -> Option<sink::Config> {
    Some(sink::Config::Postgres(Box::new(Config {
        url: table.secret("url")?.clone(),
        table: table.text("table")?.to_owned(),
        mode: match table.text("mode")? {
            "append" => Mode::Append,
            _ => Mode::Upsert,
        },
        evolve: table.boolean("evolve")?,
        state_schema: table.text("state_schema")?.to_owned(),
    })))
}

/// Looks at what the kind and the rest of the sink make together. `table` is the sink's.
pub(super) fn look(sink: &Sink, table: &Table, notes: &mut Notes<'_>) {
    if table.given("postgres") && sink.format != Format::Walgate {
        let message = format!(
            "sink \"{}\" writes rows to tables, which it makes of whole events: leave \"format\" \
             out",
            sink.name
        );
        notes.problem(&table.span("format"), message);
    }
}
