//! `[sink.NAME.http]`

use crate::config::keys::Otherwise::{None, Required, Toml};
use crate::config::keys::Shape::{Boolean, Either, List, Path, Secret, Secrets, Table, Text, Word};
use crate::config::keys::{Section, key};

/// `[sink.NAME.http]`
pub(in crate::config::keys) static HTTP: Section = Section {
    title: "an http sink",
    keys: &[
        key("url", Secret, Required, "where to send; may have `{{ }}` templates after the host"),
        key(
            "preset",
            Word(&["slack", "zapier"], &[]),
            None,
            "what is known of a service: its rate, and what its answers mean",
        ),
        key("method", Text, Toml("\"POST\""), "may have `{{ }}` templates"),
        key("headers", Secrets, None, "names and values; values may have `{{ }}` templates"),
        key("on", Table(&ON), None, "what differs for an operation"),
        key(
            "cloudevents",
            Word(&["structured", "binary"], &[]),
            None,
            "with that format: whole events, as it is unless set, or attributes in headers and the data as the body",
        ),
        key(
            "signing_secret",
            Either(&[Secret, List(&Secret)]),
            None,
            "`whsec_…` or an ed25519 key `whsk_…`, or a list of them during rotation: Standard Webhooks signatures",
        ),
        key("auth", Table(&AUTH), None, "who walgate says that it is; one of the three"),
        key("gzip", Boolean, Toml("false"), "bodies of 1 KiB and more are compressed"),
        key(
            "ack",
            Table(&ACK),
            None,
            "what of an answer's body counts, for APIs that say 200 and mean no",
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

static AUTH: Section = Section {
    title: "an http sink's auth",
    keys: &[
        key("basic", Table(&BASIC), None, "a user and its password"),
        key("bearer", Secret, None, "a token that does not change"),
        key("oauth2", Table(&OAUTH2), None, "tokens by OAuth 2.0 client credentials"),
    ],
};

static BASIC: Section = Section {
    title: "basic",
    keys: &[
        key("user", Secret, Required, "the user"),
        key("password", Secret, Required, "its password"),
    ],
};

static OAUTH2: Section = Section {
    title: "oauth2",
    keys: &[
        key("token_url", Secret, Required, "where tokens are issued"),
        key("client_id", Secret, Required, "who asks"),
        key("client_secret", Secret, Required, "by what it is known"),
        key("scope", Text, None, "what for; several with spaces between"),
        key("audience", Text, None, "for whom, where the server asks for that"),
        key(
            "credentials",
            Word(&["header", "body"], &[]),
            Toml("\"header\""),
            "where the client's credentials go: HTTP Basic, or the form",
        ),
    ],
};

static ACK: Section = Section {
    title: "ack",
    keys: &[
        key(
            "when",
            Text,
            None,
            "CEL over `status`, `headers` and `body`: true is an acknowledgement",
        ),
        key(
            "items",
            Text,
            None,
            "the way to a list in the body with an answer an event: `results`",
        ),
        key(
            "item",
            Text,
            None,
            "CEL over `item` too: true is an acknowledgement of its event; without it the item's `status`, `ok`, `success` or `error` tells",
        ),
        key("retry", Text, None, "CEL: true of what was not acknowledged, where it may be later"),
    ],
};

static ON: Section = Section {
    title: "an http sink's on",
    keys: &[
        key("insert", Table(&OVERRIDES), None, "of inserts"),
        key("update", Table(&OVERRIDES), None, "of updates"),
        key("delete", Table(&OVERRIDES), None, "of deletes"),
        key("read", Table(&OVERRIDES), None, "of reads"),
        key("truncate", Table(&OVERRIDES), None, "of truncates"),
        key("message", Table(&OVERRIDES), None, "of logical messages"),
    ],
};

static OVERRIDES: Section = Section {
    title: "an http sink's operation",
    keys: &[
        key("url", Secret, None, "instead of the sink's"),
        key("method", Text, None, "instead of the sink's"),
        key("headers", Secrets, None, "beside the sink's; the same name takes its place"),
    ],
};
