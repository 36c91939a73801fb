//! The keys of each kind of sink.

use super::keys::Otherwise::{Later, None, Required, Toml};
use super::keys::{Key, Section, Shape};

const fn key(
    name: &'static str,
    shape: Shape,
    otherwise: super::keys::Otherwise,
    doc: &'static str,
) -> Key {
    Key { name, shape, otherwise, doc }
}

/// `[sink.NAME.http]`
pub(super) static HTTP: Section = Section {
    title: "an http sink",
    keys: &[
        key(
            "url",
            Shape::Secret,
            Required,
            "where to send; may have `{{ }}` templates after the host",
        ),
        key("method", Shape::Text, Toml("\"POST\""), "may have `{{ }}` templates"),
        key("headers", Shape::Secrets, None, "names and values; values may have `{{ }}` templates"),
        key("on", Shape::Table(&ON), None, "what differs for an operation"),
        key(
            "signing_secret",
            Shape::Either(&[Shape::Secret, Shape::List(&Shape::Secret)]),
            None,
            "`whsec_…`, or a list of them during rotation: Standard Webhooks signatures",
        ),
        key("ca", Shape::Path, None, "certificates to trust beside the system's (PEM)"),
        key("cert", Shape::Path, None, "client certificate chain (PEM)"),
        key("key", Shape::Path, None, "the client certificate's private key (PEM)"),
        key("ack", Shape::Any, Later, "makes sense of APIs that say 200 and mean no"),
    ],
};

static ON: Section = Section {
    title: "an http sink's on",
    keys: &[
        key("insert", Shape::Table(&OVERRIDES), None, "of inserts"),
        key("update", Shape::Table(&OVERRIDES), None, "of updates"),
        key("delete", Shape::Table(&OVERRIDES), None, "of deletes"),
        key("read", Shape::Table(&OVERRIDES), None, "of reads"),
        key("truncate", Shape::Table(&OVERRIDES), None, "of truncates"),
        key("message", Shape::Table(&OVERRIDES), None, "of logical messages"),
    ],
};

static OVERRIDES: Section = Section {
    title: "an http sink's operation",
    keys: &[
        key("url", Shape::Secret, None, "instead of the sink's"),
        key("method", Shape::Text, None, "instead of the sink's"),
        key("headers", Shape::Secrets, None, "beside the sink's; the same name takes its place"),
    ],
};

/// `[sink.NAME.file]`
pub(super) static FILE: Section = Section {
    title: "a file sink",
    keys: &[
        key("path", Shape::Path, Required, "the file that is appended to"),
        key(
            "max_size",
            Shape::Size,
            Toml("\"0\""),
            "past this the file is put aside and a new one begun; `\"0\"`: never",
        ),
    ],
};

/// `[sink.NAME.poll]`
pub(super) static POLL: Section = Section { title: "a poll sink", keys: &[] };

/// `[sink.NAME.stdout]`
pub(super) static STDOUT: Section = Section { title: "a stdout sink", keys: &[] };
