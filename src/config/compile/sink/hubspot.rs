//! `[sink.NAME.hubspot]`

use super::{Sink, files, is_whole_event};
use crate::config::problem::Notes;
use crate::config::tree::Table;
use crate::sink;
use crate::sink::hubspot::Config;
use crate::sink::web::Reach;

/// Events of a batch where the config doesn't say: what one request takes.
pub(super) const EVENTS: u32 = 100;

/// Reads the table of the kind.
pub(super) fn read(table: &Table) -> Option<sink::Config> {
    let text = |name: &str| table.text(name).map(str::to_owned);
    Some(sink::Config::HubSpot(Box::new(Config {
        url: text("url")?,
        token: table.secret("token")?.clone(),
        object: text("object")?,
        id_property: text("id_property")?,
        archives: table.text("delete")? == "archive",
        reach: Reach { tls: files(table), allow_private: table.boolean("allow_private")? },
    })))
}

/// Looks at what the kind and the rest of the sink make together. `table` is the sink's.
pub(super) fn look(sink: &Sink, table: &Table, notes: &mut Notes<'_>) {
    if table.table("hubspot").is_some() {
        is_whole_event(sink, table, notes);
    }
}
