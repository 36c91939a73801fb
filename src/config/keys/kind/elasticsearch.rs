//! `[sink.NAME.elasticsearch]`

use crate::config::keys::Otherwise::{None, Required, Toml};
use crate::config::keys::Shape::{Boolean, Path, Secret, Text};
use crate::config::keys::{Section, key};

/// `[sink.NAME.elasticsearch]`
pub(in crate::config::keys) static ELASTICSEARCH: Section = Section {
    title: "an elasticsearch sink",
    keys: &[
        key("url", Secret, Required, "where the cluster answers: `https://host:9200`"),
        key(
            "index",
            Text,
            Toml("\"{{ table.name }}\""),
            "the event's index, or an alias that writes to one: `shop-{{ table.name }}`; capitals become small",
        ),
        key(
            "api_key",
            Secret,
            None,
            "who writes: an API key, encoded as Elasticsearch hands it out",
        ),
        key("user", Secret, None, "who writes, by name; with `password`"),
        key("password", Secret, None, "by what `user` is known"),
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
