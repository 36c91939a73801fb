//! `[sink.NAME.pubsub]`

use crate::config::keys::Otherwise::{None, Required, Toml};
use crate::config::keys::Shape::{Boolean, Path, Secrets, Text, Word};
use crate::config::keys::{Section, key};

/// `[sink.NAME.pubsub]`
pub(in crate::config::keys) static PUBSUB: Section = Section {
    title: "a pubsub sink",
    keys: &[
        key(
            "topic",
            Text,
            Required,
            "`projects/PROJECT/topics/TOPIC`; the last part may have `{{ }}` templates",
        ),
        key(
            "ordering",
            Boolean,
            Toml("true"),
            "messages have an ordering key, for subscriptions that keep the order; then a request has those of one key alone",
        ),
        key(
            "ordering_key",
            Text,
            None,
            "what is in order; may have `{{ }}` templates; the event's key unless set",
        ),
        key(
            "attributes",
            Secrets,
            None,
            "names and values beside walgate's own, for filters; values may have `{{ }}` templates",
        ),
        key(
            "cloudevents",
            Word(&["structured", "binary"], &[]),
            None,
            "with that format: whole events, as it is unless set, or attributes of their own and the data as the message",
        ),
        key(
            "credentials",
            Path,
            None,
            "a service account's key (JSON); else GOOGLE_APPLICATION_CREDENTIALS, or whom the machine runs as",
        ),
        key(
            "endpoint",
            Text,
            None,
            "a region's address (`https://europe-west1-pubsub.googleapis.com`) or an emulator's; else PUBSUB_EMULATOR_HOST, or Google's own",
        ),
        key(
            "allow_private",
            Boolean,
            Toml("false"),
            "requests may go to private addresses (10.0.0.0/8 and the like); to this machine they always may",
        ),
        key("ca", Path, None, "certificates to trust beside the system's (PEM)"),
    ],
};
