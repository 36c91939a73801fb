//! The keys of a route.

use super::Otherwise::{None, Required, Toml};
use super::Shape::{Either, List, Table, Text, Values, Word};
use super::{Section, key};

pub(super) static ROUTE: Section = Section {
    title: "a route",
    keys: &[
        key("name", Text, Required, "unlike any other's"),
        key("table", Text, None, "`schema.table` as SQL would quote it; globs allowed: `sales.*`"),
        key(
            "message",
            Text,
            None,
            "instead of `table`: a prefix of logical messages, glob allowed",
        ),
        key(
            "on",
            List(&Word(&["insert", "update", "delete", "read", "truncate"], &[])),
            Toml("[\"insert\", \"update\", \"delete\", \"read\"]"),
            "the operations it takes",
        ),
        key("mapping", Text, None, "a mapping's name; every column as it is unless set"),
        key(
            "key",
            List(&Text),
            None,
            "columns of order and identity; primary key, else replica identity, else none unless set",
        ),
        key(
            "on_delete",
            Either(&[Word(&["send", "ignore"], &[]), Table(&ON_DELETE)]),
            Toml("\"send\""),
            "a delete is sent, ignored, or sent as an update with these fields: `{ set = { deleted = true } }`",
        ),
        key(
            "start",
            Word(&["load", "now", "journal"], &[]),
            Toml("\"load\""),
            "where a new route begins: with the rows that are there, with the next change, or as far back as the journal goes",
        ),
        key(
            "on_schema_change",
            Word(&["continue", "hold"], &[]),
            Toml("\"continue\""),
            "when a table changes its columns: go on, or keep this route's events in the journal until `walgate route release`",
        ),
        key(
            "on_leave",
            Word(&["skip", "delete"], &[]),
            Toml("\"skip\""),
            "an update that leaves `where`: nothing is sent, or a delete (needs the old row)",
        ),
        key(
            "sink",
            Text,
            Required,
            "a sink's name; the first route of a sink that fits takes a change",
        ),
        key(
            "where",
            Text,
            None,
            "a CEL expression over `row`, `before`, `op`, `table`: only rows for which it is true are sent",
        ),
        key(
            "on_where_error",
            Word(&["send", "skip", "reject"], &[]),
            Toml("\"send\""),
            "`where` can't be computed (a delete that carries only its key, a comparison with null)",
        ),
        key(
            "columns_changed",
            List(&Text),
            None,
            "an update goes only when one of these columns changed (needs their old values)",
        ),
        key(
            "outbox",
            Table(&OUTBOX),
            None,
            "the table, or the JSON of the messages, is an outbox: its payloads are sent, and only inserts; `{}` for the names below",
        ),
    ],
};

static OUTBOX: Section = Section {
    title: "an outbox",
    keys: &[
        key("id", Text, Toml("\"id\""), "the column, or member of a message's JSON, of this"),
        key("aggregate_type", Text, Toml("\"aggregate_type\""), "what kind of thing it is about"),
        key(
            "aggregate_id",
            Text,
            Toml("\"aggregate_id\""),
            "which one: the key of the event, so that what is of one is sent in order",
        ),
        key("type", Text, Toml("\"type\""), "what happened"),
        key("payload", Text, Toml("\"payload\""), "what is sent"),
        key(
            "headers",
            Text,
            None,
            "an object of headers for the sink; `headers`, where there is one, unless set",
        ),
    ],
};

static ON_DELETE: Section = Section {
    title: "on_delete",
    keys: &[key("set", Values, Required, "fields of the update that is sent instead")],
};
