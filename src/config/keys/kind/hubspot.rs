//! `[sink.NAME.hubspot]`

use crate::config::keys::Otherwise::{None, Required, Toml};
use crate::config::keys::Shape::{Boolean, Path, Secret, Text, Word};
use crate::config::keys::{Section, key};

/// `[sink.NAME.hubspot]`
pub(in crate::config::keys) static HUBSPOT: Section = Section {
    title: "a hubspot sink",
    keys: &[
        key("token", Secret, Required, "a private app's access token"),
        key("object", Text, Required, "`contacts`, `companies`, …, or a custom object's type id"),
        key(
            "id_property",
            Text,
            Required,
            "a property with unique values; its value is the field's of that name, else the key's one column",
        ),
        key(
            "delete",
            Word(&["ignore", "archive"], &[]),
            Toml("\"ignore\""),
            "whether the record of a row that is deleted, or whose key changes, stays or is archived",
        ),
        key("url", Text, Toml("\"https://api.hubapi.com\""), "where the API is"),
        key(
            "allow_private",
            Boolean,
            Toml("false"),
            "requests may go to private addresses (10.0.0.0/8 and the like); to this machine they always may",
        ),
        key("ca", Path, None, "certificates to trust beside the system's (PEM)"),
    ],
};
