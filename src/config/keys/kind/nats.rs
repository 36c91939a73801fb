//! `[sink.NAME.nats]`

use crate::config::keys::Otherwise::{None, Required, Toml};
use crate::config::keys::Shape::{Either, List, Path, Secret, Text};
use crate::config::keys::{Section, key};

/// `[sink.NAME.nats]`
pub(in crate::config::keys) static NATS: Section = Section {
    title: "a nats sink",
    keys: &[
        key(
            "servers",
            Either(&[Secret, List(&Secret)]),
            Required,
            "`nats://HOST:PORT` or `tls://HOST:PORT`; several of one cluster in a list",
        ),
        key(
            "subject",
            Text,
            Toml("\"walgate.{{ table }}\""),
            "where an event goes; may have `{{ }}` templates, of which `{{ table }}` is two tokens",
        ),
        key("stream", Text, None, "the stream that must take it; any that has the subject"),
        key(
            "id_prefix",
            Text,
            None,
            "stands before the event's id in `Nats-Msg-Id`: for a stream that several sinks fill",
        ),
        key("token", Secret, None, "who walgate says that it is: a token"),
        key("user", Secret, None, "or a user, with `password`"),
        key("password", Secret, None, "the user's"),
        key("nkey", Secret, None, "or the seed of a key: `SU…`"),
        key("credentials", Path, None, "or a file with a JWT and a seed (`.creds`)"),
        key("ca", Path, None, "certificates to trust beside the system's (PEM)"),
        key("cert", Path, None, "client certificate chain (PEM)"),
        key("key", Path, None, "the client certificate's private key (PEM)"),
    ],
};
