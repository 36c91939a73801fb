//! `[sink.NAME.sqs]`, `sns`, `kinesis`, `firehose`, `eventbridge`

use super::files;
use crate::config::problem::Notes;
use crate::config::tree::Table;
use crate::sink;
use crate::sink::aws::{Config, Identity, Target};
use crate::sink::web::Reach;

/// The kinds that are read here.
pub(super) const KINDS: &[&str] = &["sqs", "sns", "kinesis", "firehose", "eventbridge"];

/// Of them those that take ten events a call: a larger batch would be several, one after the other.
const OF_TEN: [&str; 3] = ["sqs", "sns", "eventbridge"];

/// Returns how many events a batch has where the config does not say. `table` is the sink's.
pub(super) fn default_events(table: &Table) -> Option<u32> {
    OF_TEN.iter().any(|kind| table.given(kind)).then_some(10)
}

/// Reads the table of the kind.
pub(super) fn read(kind: &str, table: &Table, notes: &mut Notes<'_>) -> Option<sink::Config> {
    whole_keys(table, notes);
    let text = |name: &str| table.text(name).map(str::to_owned);
    let target = match kind {
        "sqs" => Target::Sqs { queue_url: text("queue_url")?, group: text("group") },
        "sns" => Target::Sns { topic_arn: text("topic_arn")?, group: text("group") },
        "kinesis" => {
            Target::Kinesis { stream: text("stream")?, partition_key: text("partition_key") }
        }
        "firehose" => Target::Firehose { stream: text("stream")? },
        _ => Target::EventBridge {
            bus: text("bus")?,
            source: text("source")?,
            detail_type: text("detail_type")?,
        },
    };
    let secret = |name: &str| table.secret(name).cloned();
    Some(sink::Config::Aws(Box::new(Config {
        target,
        region: text("region"),
        endpoint: text("endpoint"),
        identity: Identity {
            access_key_id: secret("access_key_id"),
            secret_access_key: secret("secret_access_key"),
            session_token: secret("session_token"),
            profile: text("profile"),
        },
        reach: Reach { tls: files(table), allow_private: table.boolean("allow_private")? },
    })))
}

/// Credentials are whole, and told once.
fn whole_keys(table: &Table, notes: &mut Notes<'_>) {
    let (id, secret) = ("access_key_id", "secret_access_key");
    for (one, other) in [(id, secret), (secret, id), ("session_token", id)] {
        if table.given(one) && !table.given(other) {
            notes.problem(&table.span(one), format!("\"{one}\" needs \"{other}\"; add it"));
        }
    }
    if table.given("profile") && table.given(id) {
        let message = "\"profile\" and \"access_key_id\" both say who walgate is; drop one of them";
        notes.problem(&table.span("profile"), message);
    }
}
