//! `[sink.NAME.clickhouse]`

use crate::config::keys::Otherwise::{None, Required, Toml};
use crate::config::keys::Shape::{Boolean, Path, Secret, Secrets, Text, Word};
use crate::config::keys::{Section, key};

/// `[sink.NAME.clickhouse]`
pub(in crate::config::keys) static CLICKHOUSE: Section = Section {
    title: "a clickhouse sink",
    keys: &[
        key("url", Secret, Required, "the HTTP interface: `https://host:8443`"),
        key("database", Text, Toml("\"default\""), "of tables that bring none of their own"),
        key(
            "table",
            Text,
            Toml("\"{{ table.name }}\""),
            "the event's table there, maybe with its database: `analytics.{{ table.name }}`; the same name unless set",
        ),
        key("user", Secret, Toml("\"default\""), "who writes"),
        key("password", Secret, Toml("\"\""), "by what it is known"),
        key(
            "mode",
            Word(&["upsert", "append"], &[]),
            Toml("\"upsert\""),
            "tables hold versions of rows, of which the newest of a key counts, or each event as a row of its own",
        ),
        key("gzip", Boolean, Toml("true"), "bodies are compressed"),
        key(
            "settings",
            Secrets,
            None,
            "settings of ClickHouse for each request: `async_insert = \"1\"`",
        ),
        key(
            "allow_private",
            Boolean,
            Toml("false"),
            "requests may go to private addresses (10.0.0.0/8 and the like); to this machine they always may",
        ),
        key("ca", Path, None, "certificates to trust beside the system's (PEM)"),
        key("cert", Path, None, "client certificate chain (PEM)"),
        key("key", Path, None, "the client certificate's private key (PEM)"),
    ],
};
