//! The keys of a mapping's test.

use super::Otherwise::{None, Required};
use super::Shape::{Boolean, Cells, Either, List, Table, Text, Values, Word};
use super::{Section, key};

pub(super) static TEST: Section = Section {
    title: "a test",
    keys: &[
        key("name", Text, Required, "unlike that of any other test of the mapping"),
        key(
            "op",
            Word(&["insert", "update", "delete", "read"], &[]),
            None,
            "`update` where there is `before` or `unchanged`, `delete` where there is `before` and no `row`, else `insert`",
        ),
        key(
            "row",
            Cells,
            None,
            "the row, by column as the table calls it; one that is not named is NULL",
        ),
        key("before", Cells, None, "the old row of an update or delete, as Postgres sends it"),
        key(
            "identity",
            Word(&["default", "full"], &[]),
            None,
            "what `before` does not name: was not sent (`default`), or is NULL, as `before` is the whole row (`full`)",
        ),
        key(
            "unchanged",
            List(&Text),
            None,
            "columns that Postgres did not send, as they did not change",
        ),
        key("missing", List(&Text), None, "columns that the table does not have"),
        key(
            "types",
            Values,
            None,
            "types of columns where the value does not say it: `{ price = \"double precision\", settings = \"jsonb\" }`",
        ),
        key("table", Text, None, "the table that the row is of; the route's unless set"),
        key("expect", Cells, None, "fields and their values; others are not looked at"),
        key("null", List(&Text), None, "fields that are null"),
        key("absent", List(&Text), None, "fields that are not there"),
        key("exact", Boolean, None, "there are no fields but those of `expect` and `null`"),
        key(
            "reject",
            Either(&[Text, Table(&REJECT)]),
            None,
            "the row becomes a dead letter that names this field",
        ),
        key(
            "skip",
            Either(&[Boolean, Text]),
            None,
            "the row is dropped: `true`, or by this field's policy",
        ),
    ],
};

static REJECT: Section = Section {
    title: "a rejection",
    keys: &[
        key("field", Text, Required, "the field that is named"),
        key("reason", Text, None, "a part of the reason"),
    ],
};
