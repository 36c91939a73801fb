//! `[sink.NAME.http]`

use std::time::Duration;

use super::{Sink, files, operation};
use crate::config::problem::Notes;
use crate::config::tree::{Entry, Table};
use crate::delivery::Rate;
use crate::mapping::Format;
use crate::secret::Secret;
use crate::sink;
use crate::sink::http::{AckSettings, Overrides};
use crate::sink::web::{Auth, OAuth2, Reach};

/// Reads the table of the kind.
pub(super) fn read(table: &Table, notes: &mut Notes<'_>) -> Option<sink::Config> {
    one_each(table, notes);
    let mut on = Vec::new();
    for entry in table.named("on") {
        let overrides = entry.table()?;
        on.push((
            operation(&entry.name)?,
            Overrides {
                url: overrides.secret("url").cloned(),
                method: overrides.text("method").map(str::to_owned),
                headers: headers(overrides),
            },
        ));
    }
    let signing_secret = match table.secret("signing_secret") {
        Some(secret) => vec![secret.clone()],
        None => table.list("signing_secret").iter().filter_map(Entry::secret).cloned().collect(),
    };
    Some(sink::Config::Http(Box::new(sink::http::Config {
        url: table.secret("url")?.clone(),
        method: table.text("method")?.to_owned(),
        headers: headers(table),
        on,
        binary: table.text("cloudevents") == Some("binary"),
        signing_secret,
        auth: table.table("auth").and_then(auth),
        gzip: table.boolean("gzip")?,
        ack: table.table("ack").map(ack).or_else(|| Preset::of(table)?.ack()),
        reach: Reach { tls: files(table), allow_private: table.boolean("allow_private")? },
    })))
}

/// Looks at what the kind and the rest of the sink make together. `table` is the sink's.
pub(super) fn look(sink: &Sink, table: &Table, notes: &mut Notes<'_>) {
    let Some(http) = table.table("http") else { return };
    let is_mode_told = http.text("cloudevents") == Some("structured");
    if is_mode_told && sink.format != Format::CloudEvents {
        notes.problem(&http.span("cloudevents"), sink::http::Error::NoCloudEvents.to_string());
    }
    if Preset::of(http) == Some(Preset::Slack) && sink.format != Format::Mapped {
        let message = format!(
            "sink \"{}\" goes to Slack, which wants {{ \"text\": … }}: set format = \"mapped\" and map \
             a field text",
            sink.name
        );
        notes.warning(&table.span("format"), message);
    }
    if sink.format == Format::Mapped && sink.delivery.batch.max_events > 1 {
        notes.warning(
            &table.span("format"),
            format!(
                "sink \"{}\" sends mapped rows in batches: the receiver sees no event ids and \
                 can't tell a repeat; map a column that identifies the row, or set \
                 batch.max_events = 1",
                sink.name
            ),
        );
    }
}

/// Returns how fast requests may go where the config doesn't say. `table` is the sink's.
pub(super) fn rate(table: &Table) -> Option<Rate> {
    table.table("http").and_then(Preset::of).map(Preset::requests)
}

/// What is known of a service (`preset`); what the config says itself goes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preset {
    /// Incoming webhooks: a message a second, and `ok` means yes.
    Slack,
    /// Catch hooks: thirty requests a second.
    Zapier,
}

impl Preset {
    fn of(http: &Table) -> Option<Self> {
        match http.text("preset")? {
            "slack" => Some(Self::Slack),
            _ => Some(Self::Zapier),
        }
    }

    /// How fast the service takes requests.
    const fn requests(self) -> Rate {
        let amount = match self {
            Self::Slack => 1,
            Self::Zapier => 30,
        };
        Rate { amount, per: Duration::from_secs(1) }
    }

    /// What of its answers counts; none: their status.
    fn ack(self) -> Option<AckSettings> {
        let when = match self {
            Self::Slack => "body == \"ok\"",
            Self::Zapier => return None,
        };
        Some(AckSettings { when: Some(when.to_owned()), ..AckSettings::default() })
    }
}

/// Reads who walgate says that it is; that there is just one is looked at where it is told.
fn auth(table: &Table) -> Option<Auth> {
    if let Some(token) = table.secret("bearer") {
        return Some(Auth::Bearer(token.clone()));
    }
    if let Some(basic) = table.table("basic") {
        let (user, password) = (basic.secret("user")?.clone(), basic.secret("password")?.clone());
        return Some(Auth::Basic { user, password });
    }
    let oauth = table.table("oauth2")?;
    Some(Auth::OAuth2(Box::new(OAuth2 {
        token_url: oauth.secret("token_url")?.clone(),
        client_id: oauth.secret("client_id")?.clone(),
        client_secret: oauth.secret("client_secret")?.clone(),
        scope: oauth.text("scope").map(str::to_owned),
        audience: oauth.text("audience").map(str::to_owned),
        in_body: oauth.text("credentials")? == "body",
    })))
}

fn ack(table: &Table) -> AckSettings {
    let text = |name: &str| table.text(name).map(str::to_owned);
    AckSettings {
        when: text("when"),
        items: text("items"),
        item: text("item"),
        retry: text("retry"),
    }
}

/// Credentials of one kind, and settings of `ack` that ask for something.
fn one_each(table: &Table, notes: &mut Notes<'_>) {
    if let Some(auth) = table.table("auth") {
        let given: Vec<&str> =
            ["basic", "bearer", "oauth2"].into_iter().filter(|name| auth.given(name)).collect();
        match given.as_slice() {
            [_] => {}
            [] => {
                let message = "\"auth\" needs one of \"basic\", \"bearer\" and \"oauth2\"; add it";
                notes.problem(&auth.place, message);
            }
            [_, second, ..] => {
                let message =
                    "\"auth\" has one of \"basic\", \"bearer\" and \"oauth2\"; drop the others";
                notes.problem(&auth.span(second), message);
            }
        }
    }
    if let Some(ack) = table.table("ack")
        && !["when", "items"].into_iter().any(|name| ack.given(name))
    {
        notes.problem(&ack.place, "\"ack\" needs \"when\" or \"items\"; add one, or drop it");
    }
}

fn headers(table: &Table) -> Vec<(String, Secret)> {
    let entries = table.named("headers").iter();
    entries.filter_map(|entry| Some((entry.name.clone(), entry.secret()?.clone()))).collect()
}
