//! `[sink.NAME.clickhouse]`

use super::{Sink, files, is_whole_event};
use crate::config::problem::Notes;
use crate::config::tree::Table;
use crate::sink;
use crate::sink::clickhouse::{Config, Mode};
use crate::sink::web::Reach;

/// Events of a batch where the config doesn't say: each insert makes a part on the disk there.
pub(super) const EVENTS: u32 = 10_000;

/// Reads the table of the kind.
pub(super) fn read(table: &Table) -> Option<sink::Config> {
    let settings = table.named("settings").iter();
    let settings = settings.filter_map(|entry| Some((entry.name.clone(), entry.secret()?.clone())));
    Some(sink::Config::ClickHouse(Box::new(Config {
        url: table.secret("url")?.clone(),
        database: table.text("database")?.to_owned(),
        table: table.text("table")?.to_owned(),
        user: table.secret("user")?.clone(),
        password: table.secret("password")?.clone(),
        mode: match table.text("mode")? {
            "append" => Mode::Append,
            _ => Mode::Upsert,
        },
        gzip: table.boolean("gzip")?,
        settings: settings.collect(),
        reach: Reach { tls: files(table), allow_private: table.boolean("allow_private")? },
    })))
}

/// Looks at what the kind and the rest of the sink make together. `table` is the sink's.
pub(super) fn look(sink: &Sink, table: &Table, notes: &mut Notes<'_>) {
    if table.given("clickhouse") {
        is_whole_event(sink, table, notes);
    }
}
