//! The keys of each kind of sink.

use super::Otherwise::{Later, None, Required, Toml};
use super::Shape::{Any, Either, List, Path, Secret, Secrets, Size, Table, Text, Word};
use super::{Section, key};

/// `[sink.NAME.http]`
pub(super) static HTTP: Section = Section {
    title: "an http sink",
    keys: &[
        key("url", Secret, Required, "where to send; may have `{{ }}` templates after the host"),
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
            "`whsec_…`, or a list of them during rotation: Standard Webhooks signatures",
        ),
        key("ca", Path, None, "certificates to trust beside the system's (PEM)"),
        key("cert", Path, None, "client certificate chain (PEM)"),
        key("key", Path, None, "the client certificate's private key (PEM)"),
        key("ack", Any, Later, "makes sense of APIs that say 200 and mean no"),
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

/// `[sink.NAME.file]`
pub(super) static FILE: Section = Section {
    title: "a file sink",
    keys: &[
        key("path", Path, Required, "the file that is appended to"),
        key(
            "max_size",
            Size,
            Toml("\"0\""),
            "past this the file is put aside and a new one begun; `\"0\"`: never",
        ),
    ],
};

/// `[sink.NAME.poll]`
pub(super) static POLL: Section = Section { title: "a poll sink", keys: &[] };

/// `[sink.NAME.stdout]`
pub(super) static STDOUT: Section = Section { title: "a stdout sink", keys: &[] };
