//! `[sink.NAME.nats]`

use super::files;
use crate::config::problem::Notes;
use crate::config::tree::{Entry, Table};
use crate::sink;
use crate::sink::nats::Auth;

/// Reads the table of the kind.
pub(super) fn read(table: &Table, notes: &mut Notes<'_>) -> Option<sink::Config> {
    one_each(table, notes);
    let servers = match table.secret("servers") {
        Some(server) => vec![server.clone()],
        None => table.list("servers").iter().filter_map(Entry::secret).cloned().collect(),
    };
    Some(sink::Config::Nats(Box::new(sink::nats::Config {
        servers,
        subject: table.text("subject")?.to_owned(),
        stream: table.text("stream").map(str::to_owned),
        id_prefix: table.text("id_prefix").unwrap_or_default().to_owned(),
        auth: auth(table),
        tls: files(table),
    })))
}

fn auth(table: &Table) -> Option<Auth> {
    let token = table.secret("token").map(|token| Auth::Token(token.clone()));
    let password = || {
        let (user, password) = (table.secret("user")?.clone(), table.secret("password")?.clone());
        Some(Auth::Password { user, password })
    };
    let nkey = || table.secret("nkey").map(|seed| Auth::NKey(seed.clone()));
    let credentials = || table.path("credentials").map(|path| Auth::Credentials(path.clone()));
    token.or_else(password).or_else(nkey).or_else(credentials)
}

/// Whoever walgate says that it is, it says once and in full.
fn one_each(table: &Table, notes: &mut Notes<'_>) {
    let ways = ["token", "user", "nkey", "credentials"];
    let given: Vec<&str> = ways.into_iter().filter(|way| table.given(way)).collect();
    if let [first, second, ..] = given.as_slice() {
        let message =
            format!("\"{first}\" and \"{second}\" both say who walgate is; drop one of them");
        notes.problem(&table.span(second), message);
    }
    for (one, other) in [("user", "password"), ("password", "user")] {
        if table.given(one) && !table.given(other) {
            notes.problem(&table.span(one), format!("\"{one}\" needs \"{other}\"; add it"));
        }
    }
}
