//! The keys of a mapping.

use super::Otherwise::{None, Required, Toml};
use super::Shape::{Any, Boolean, Either, Integer, List, Named, Table, Text, Word};
use super::test::TEST;
use super::{Key, Section, Shape, key, later};

pub(super) static MAPPING: Section = Section {
    title: "a mapping",
    keys: &[
        key(
            "version",
            Integer(1, u32::MAX),
            Required,
            "raise it whenever the fields change; the same number with other fields is refused at start",
        ),
        FIELDS,
        REST,
        later("mask_key", "the key of `mask = \"hash\"`"),
        key("test", List(&Table(&TEST)), None, "a row and what becomes of it, for `walgate test`"),
        key(
            "next",
            Table(&NEXT),
            None,
            "a later version that runs beside this one and delivers nothing: `walgate mappings shadow` says how often it would differ",
        ),
    ],
};

/// What a mapping and its next version have alike.
const FIELDS: Key =
    key("fields", Named(&FIELD), Required, "what is sent, in this order; a dot in a name nests");
const REST: Key =
    key("rest", Word(&["omit", "include"], &[]), Toml("\"omit\""), "columns that no field names");

static NEXT: Section = Section {
    title: "a next version",
    keys: &[
        key("version", Integer(1, u32::MAX), Required, "above that of the mapping"),
        FIELDS,
        REST,
    ],
};

const POLICY: Shape =
    Either(&[Word(&["null", "omit", "reject", "skip"], &[]), Table(&POLICY_DEFAULT)]);

static POLICY_DEFAULT: Section = Section {
    title: "a policy",
    keys: &[key("default", Any, Required, "the value to send instead")],
};

static FIELD: Section = Section {
    title: "a field",
    keys: &[
        key("column", Text, None, "the column, as SQL would quote it"),
        key("value", Any, None, "always this value"),
        key(
            "as",
            Word(&["string", "integer", "number", "boolean", "date", "timestamp", "json"], &[]),
            None,
            "what the value becomes; it is never bent to fit",
        ),
        key(
            "required",
            Boolean,
            Toml("false"),
            "a NULL rejects the event, unless `on_null` says otherwise",
        ),
        key(
            "on_null",
            POLICY,
            None,
            "the value is NULL; `null` unless set, `reject` where `required`",
        ),
        key("on_missing", POLICY, Toml("\"reject\""), "the table has no such column any more"),
        key("on_invalid", POLICY, Toml("\"reject\""), "the value can't become `as` without loss"),
        key(
            "on_unchanged",
            Word(&["omit", "reject"], &[]),
            Toml("\"omit\""),
            "Postgres did not send it (unchanged TOAST, or a delete without it)",
        ),
        later("expr", "a CEL expression over the row"),
        later("check", "what a value must be"),
        later("lookup", "a table of values"),
        later("on_miss", "the value is not in `lookup`"),
        later("mask", "hides a value"),
    ],
};
