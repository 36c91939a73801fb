//! `[sink.NAME.elasticsearch]`

use super::{Sink, files, is_whole_event};
use crate::config::problem::Notes;
use crate::config::tree::Table;
use crate::sink;
use crate::sink::elasticsearch::Config;
use crate::sink::web::{Auth, Reach};

/// Reads the table of the kind.
pub(super) fn read(table: &Table, notes: &mut Notes<'_>) -> Option<sink::Config> {
    let auth = auth(table, notes)?;
    Some(sink::Config::Elasticsearch(Box::new(Config {
        url: table.secret("url")?.clone(),
        index: table.text("index")?.to_owned(),
        auth,
        reach: Reach { tls: files(table), allow_private: table.boolean("allow_private")? },
    })))
}

/// Reads who writes: a key, a user, or nobody. None where it can't be told.
#[expect(clippy::option_option, reason = "that nobody asks is an answer too")]
fn auth(table: &Table, notes: &mut Notes<'_>) -> Option<Option<Auth>> {
    let secret = |name: &str| table.secret(name).cloned();
    match (secret("api_key"), secret("user"), secret("password")) {
        (None, None, None) => Some(None),
        (Some(key), None, None) => Some(Some(Auth::ApiKey(key))),
        (None, Some(user), Some(password)) => Some(Some(Auth::Basic { user, password })),
        (Some(_), ..) => {
            let place = if table.given("user") { "user" } else { "password" };
            let message = "who writes has one of \"api_key\", and \"user\" with \"password\"; \
                           drop the other";
            notes.problem(&table.span(place), message);
            None
        }
        (None, Some(_), None) => {
            notes.problem(&table.span("user"), "\"user\" needs \"password\"; add it");
            None
        }
        (None, None, Some(_)) => {
            notes.problem(&table.span("password"), "\"password\" needs \"user\"; add it");
            None
        }
    }
}

/// Looks at what the kind and the rest of the sink make together. `table` is the sink's.
pub(super) fn look(sink: &Sink, table: &Table, notes: &mut Notes<'_>) {
    if table.given("elasticsearch") {
        is_whole_event(sink, table, notes);
    }
}
