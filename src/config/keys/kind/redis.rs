//! `[sink.NAME.redis]`

use crate::config::keys::Otherwise::{None, Required, Toml};
use crate::config::keys::Shape::{Integer, Path, Secret, Text, Word};
use crate::config::keys::{Section, key};

/// `[sink.NAME.redis]`
pub(in crate::config::keys) static REDIS: Section = Section {
    title: "a redis sink",
    keys: &[
        key(
            "url",
            Secret,
            Required,
            "`redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`, or `rediss://` with TLS",
        ),
        key(
            "stream",
            Text,
            Toml("\"walgate:{{ table }}\""),
            "the stream's key; may have `{{ }}` templates",
        ),
        key(
            "ids",
            Word(&["auto", "lsn"], &[]),
            Toml("\"auto\""),
            "of entries: Redis's own, or the event's place, by which a repeat is known",
        ),
        key(
            "max_len",
            Integer(1, u32::MAX),
            None,
            "older entries than about so many are trimmed, read or not; none unless set",
        ),
        key(
            "wait_replicas",
            Integer(1, 100),
            None,
            "so many replicas must have a batch before it counts as taken (WAIT)",
        ),
        key("ca", Path, None, "certificates to trust beside the system's (PEM)"),
        key("cert", Path, None, "client certificate chain (PEM)"),
        key("key", Path, None, "the client certificate's private key (PEM)"),
    ],
};
