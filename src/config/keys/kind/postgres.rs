//! `[sink.NAME.postgres]`

use crate::config::keys::Otherwise::{Required, Toml};
use crate::config::keys::Shape::{Boolean, Secret, Text, Word};
use crate::config::keys::{Section, key};

/// `[sink.NAME.postgres]`
pub(in crate::config::keys) static POSTGRES: Section = Section {
    title: "a postgres sink",
    keys: &[
        key("url", Secret, Required, "libpq URL or key=value, as of `[source]`"),
        key(
            "table",
            Text,
            Toml("\"{{ table }}\""),
            "the event's table there, as SQL would quote it: `warehouse.{{ table.name }}`; the same schema and name unless set",
        ),
        key(
            "mode",
            Word(&["upsert", "append"], &[]),
            Toml("\"upsert\""),
            "tables hold the rows as they are, by their key, or each event as a row of its own",
        ),
        key(
            "evolve",
            Boolean,
            Toml("false"),
            "tables are made, columns added and types widened as the source grows; nothing is dropped or narrowed",
        ),
        key(
            "state_schema",
            Text,
            Toml("\"walgate\""),
            "with upsert: the schema where walgate keeps which events were applied; made where it is not there",
        ),
    ],
};
