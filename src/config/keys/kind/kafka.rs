//! `[sink.NAME.kafka]`

use crate::config::keys::Otherwise::{None, Required, Toml};
use crate::config::keys::Shape::{Boolean, Either, List, Path, Secret, Secrets, Table, Text, Word};
use crate::config::keys::{Section, key};

/// `[sink.NAME.kafka]`
pub(in crate::config::keys) static KAFKA: Section = Section {
    title: "a kafka sink",
    keys: &[
        key(
            "brokers",
            Either(&[Text, List(&Text)]),
            Required,
            "where to ask for the cluster: `host:port`, or a list of them",
        ),
        key("topic", Text, Required, "a topic's name; may have `{{ }}` templates"),
        key(
            "tombstones",
            Word(&["off", "after", "instead"], &[]),
            None,
            "a key without a value, for topics that are compacted: none, behind each delete, or in its place; `after` with `debezium`, `instead` with `mapped`, else `off`",
        ),
        key(
            "cloudevents",
            Word(&["structured", "binary"], &[]),
            None,
            "with that format: whole events, as it is unless set, or attributes in headers and the data as the value",
        ),
        key(
            "compression",
            Word(&["none", "gzip", "snappy", "lz4"], &["zstd"]),
            Toml("\"lz4\""),
            "of batches; Azure Event Hubs knows gzip alone",
        ),
        key(
            "transactional_id",
            Text,
            None,
            "each batch is a transaction of this id, which no other producer has; wants `concurrency = 1`",
        ),
        key("sasl", Table(&SASL), None, "who walgate says that it is"),
        key(
            "tls",
            Either(&[Boolean, Table(&TLS)]),
            None,
            "`true`, or whom to trust and what to show; plain text unless set",
        ),
        key(
            "properties",
            Secrets,
            None,
            "settings of librdkafka beside walgate's own, as strings: `{ \"client.rack\" = \"a\" }`",
        ),
    ],
};

static SASL: Section = Section {
    title: "sasl",
    keys: &[
        key(
            "mechanism",
            Word(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], &[]),
            Toml("\"PLAIN\""),
            "how the password is shown",
        ),
        key("user", Secret, Required, "the user"),
        key("password", Secret, Required, "its password"),
    ],
};

static TLS: Section = Section {
    title: "tls",
    keys: &[
        key("ca", Path, None, "certificates to trust in place of the system's (PEM)"),
        key("cert", Path, None, "client certificate chain (PEM)"),
        key("key", Path, None, "the client certificate's private key (PEM)"),
    ],
};
