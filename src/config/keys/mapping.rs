//! The keys of a mapping.

use super::Otherwise::{None, Required, Toml};
use super::Shape::{Any, Boolean, Either, Integer, List, Named, Secret, Table, Text, Values, Word};
use super::test::TEST;
use super::{Key, Section, Shape, key};

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
        MASK_KEY,
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

const MASK_KEY: Key = key(
    "mask_key",
    Secret,
    None,
    "the key of `mask = \"hash\"`; only a fingerprint of it is ever stored",
);

static NEXT: Section = Section {
    title: "a next version",
    keys: &[
        key("version", Integer(1, u32::MAX), Required, "above that of the mapping"),
        FIELDS,
        REST,
        MASK_KEY,
    ],
};

const POLICY: Shape =
    Either(&[Word(&["null", "omit", "reject", "skip"], &[]), Table(&POLICY_DEFAULT)]);

static POLICY_DEFAULT: Section = Section {
    title: "a policy",
    keys: &[key("default", Any, Required, "the value to send instead")],
};

const CHECK: Shape =
    Either(&[Word(&["email", "url", "uuid", "nonempty"], &[]), Table(&CHECK_TABLE)]);

static CHECK_TABLE: Section = Section {
    title: "a check",
    keys: &[
        key("max_length", Integer(1, u32::MAX), None, "the most characters that it may have"),
        key("pattern", Text, None, "a regular expression, found anywhere in it unless anchored"),
        key("one_of", List(&Any), None, "what it may be; numbers are compared by their digits"),
        key("min", Any, None, "the least number that it may be"),
        key("max", Any, None, "the largest number that it may be"),
    ],
};

static FIELD: Section = Section {
    title: "a field",
    keys: &[
        key("column", Text, None, "the column, as SQL would quote it"),
        key("expr", Text, None, "a CEL expression over `row`, `before`, `op`, `table`"),
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
        key(
            "on_invalid",
            POLICY,
            Toml("\"reject\""),
            "the value can't become `as` without loss, fails `check`, or `expr` fails",
        ),
        key(
            "lookup",
            Values,
            None,
            "another value in its place, by its text: a table, or `{ file = \"x.csv\", key = \"COLUMN\", value = \"COLUMN\" }`, or `{ file = \"x.json\" }`, which holds an object",
        ),
        key("on_miss", POLICY, Toml("\"reject\""), "the value is not in `lookup`"),
        key(
            "check",
            Either(&[CHECK, List(&CHECK)]),
            None,
            "what the value must be, once it is what `as` says; a list: all of them",
        ),
        key(
            "mask",
            Word(&["redact", "last4", "hash"], &[]),
            None,
            "what is shown in its place: `***`, `***` and its last four characters, or its HMAC-SHA-256 with the mapping's `mask_key`",
        ),
        key(
            "on_unchanged",
            Word(&["omit", "reject"], &[]),
            Toml("\"omit\""),
            "Postgres did not send it (unchanged TOAST, or a delete without it)",
        ),
    ],
};
