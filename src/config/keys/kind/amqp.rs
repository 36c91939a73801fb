//! `[sink.NAME.amqp]`

use crate::config::keys::Otherwise::{None, Required, Toml};
use crate::config::keys::Shape::{Boolean, Path, Secret, Text};
use crate::config::keys::{Section, key};

/// `[sink.NAME.amqp]`
pub(in crate::config::keys) static AMQP: Section = Section {
    title: "an amqp sink",
    keys: &[
        key(
            "url",
            Secret,
            Required,
            "`amqp://USER:PASSWORD@HOST:PORT/VHOST`, or `amqps://…`; the virtual host is percent-encoded, `/` unless set",
        ),
        key(
            "exchange",
            Text,
            None,
            "must be there; the default exchange unless set, where a routing key is a queue's name",
        ),
        key(
            "routing_key",
            Text,
            Toml("\"{{ table }}\""),
            "what the exchange goes by; may have `{{ }}` templates",
        ),
        key(
            "mandatory",
            Boolean,
            Toml("true"),
            "an event that no queue gets counts as not delivered; `false`: it is lost, as the server says nothing",
        ),
        key(
            "persistent",
            Boolean,
            Toml("true"),
            "messages outlive a restart of the server, in queues that do",
        ),
        key("ca", Path, None, "certificates to trust beside the system's (PEM)"),
        key("cert", Path, None, "client certificate chain (PEM)"),
        key("key", Path, None, "the client certificate's private key (PEM)"),
    ],
};
