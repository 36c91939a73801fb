//! `[sink.NAME.salesforce]`

use std::time::Duration;

use super::{Sink, files, is_whole_event};
use crate::config::problem::Notes;
use crate::config::tree::Table;
use crate::sink;
use crate::sink::salesforce::{Config, Login, Mode};
use crate::sink::web::Reach;

/// Events of a batch where the config doesn't say: what one request takes.
pub(super) const EVENTS: u32 = 200;

/// A job of the Bulk API takes longer than most requests.
const BULK_TIMEOUT_MIN: Duration = Duration::from_secs(30);

/// Reads the table of the kind.
pub(super) fn read(table: &Table, notes: &mut Notes<'_>) -> Option<sink::Config> {
    let text = |name: &str| table.text(name).map(str::to_owned);
    let auth = login(table.table("auth")?, notes);
    let bulk = table.integer("bulk").map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    Some(sink::Config::Salesforce(Box::new(Config {
        url: text("url")?,
        auth: auth?,
        object: text("object")?,
        external_id: text("external_id"),
        api: text("api")?,
        mode: match table.text("mode")? {
            "platform_event" => Mode::PlatformEvent,
            _ => Mode::Upsert,
        },
        deletes: table.text("delete")? == "delete",
        bulk,
        daily_budget: table.integer("daily_budget")?,
        allow_duplicates: table.boolean("allow_duplicates")?,
        reach: Reach { tls: files(table), allow_private: table.boolean("allow_private")? },
    })))
}

fn login(table: &Table, notes: &mut Notes<'_>) -> Option<Login> {
    match (table.table("client_credentials"), table.table("jwt")) {
        (Some(client), None) => Some(Login::ClientCredentials {
            client_id: client.secret("client_id")?.clone(),
            client_secret: client.secret("client_secret")?.clone(),
        }),
        (None, Some(jwt)) => Some(Login::Jwt {
            client_id: jwt.secret("client_id")?.clone(),
            user: jwt.text("user")?.to_owned(),
            key: jwt.path("key")?.clone(),
        }),
        (None, None) if table.refused => None,
        (None, None) => {
            let message = "\"auth\" needs one of \"client_credentials\" and \"jwt\"; add it";
            notes.problem(&table.place, message);
            None
        }
        (Some(_), Some(_)) => {
            let message = "\"auth\" has one of \"client_credentials\" and \"jwt\"; drop the other";
            notes.problem(&table.span("jwt"), message);
            None
        }
    }
}

/// Looks at what the kind and the rest of the sink make together. `table` is the sink's.
pub(super) fn look(sink: &Sink, table: &Table, notes: &mut Notes<'_>) {
    let Some(salesforce) = table.table("salesforce") else { return };
    is_whole_event(sink, table, notes);
    let Some(bulk) = salesforce.integer("bulk") else { return };
    let most = sink.delivery.batch.max_events;
    if bulk > most {
        let message = format!(
            "no batch has {bulk} events: set batch.max_events to that or more (it is {most}), and \
             batch.max_bytes to what so many rows take"
        );
        notes.problem(&salesforce.span("bulk"), message);
    }
    if sink.delivery.timeout < BULK_TIMEOUT_MIN {
        let message = "jobs of the Bulk API take longer: set timeout = \"30s\" or more";
        notes.warning(&table.span("timeout"), message);
    }
}
