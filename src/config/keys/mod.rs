//! The keys of the config: one description that the reader, the JSON Schema and the docs share.

mod alert;
mod kind;
mod mapping;
mod route;
mod sink;
mod telemetry;
mod test;

use self::alert::ALERT;
use self::mapping::MAPPING;
use self::route::ROUTE;
pub(in crate::config) use self::sink::KINDS;
use self::sink::SINK;
use self::telemetry::TELEMETRY;

/// A table of the config.
#[derive(Debug)]
pub(super) struct Section {
    /// As problems call it: `[source]`, `a sink`.
    pub(super) title: &'static str,
    /// In the order of the docs.
    pub(super) keys: &'static [Key],
}

impl Section {
    /// Returns the description of a key.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// One key of a table.
#[derive(Debug)]
pub(super) struct Key {
    /// As it is written.
    pub(super) name: &'static str,
    /// What may stand there.
    pub(super) shape: Shape,
    /// Whether and what stands there when it is left out.
    pub(super) otherwise: Otherwise,
    /// One line for the docs and the schema.
    pub(super) doc: &'static str,
}

/// What holds when a key is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// It must be there.
    Required,
    /// Nothing; the docs say what that means.
    None,
    /// This, as TOML would have it.
    Toml(&'static str),
    /// The contract has it, this version does not: it may not be there.
    Later,
}

/// What may stand behind a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// Any text.
    Text,
    /// A text that is not shown.
    Secret,
    /// A file or folder; relative to the folder of the config.
    Path,
    /// A whole number from … to.
    Integer(u32, u32),
    /// A number above 0, up to 1.
    Ratio,
    /// true or false.
    Boolean,
    /// `250ms`, at least the given milliseconds.
    Duration(u64),
    /// `64KiB`.
    Size,
    /// `50/s`.
    Rate,
    /// `10MiB/s`.
    ByteRate,
    /// One of these words. Those of the second list come with a later version.
    Word(&'static [&'static str], &'static [&'static str]),
    /// Anything that has a JSON form.
    Any,
    /// A table of its own.
    Table(&'static Section),
    /// A table of named tables.
    Named(&'static Section),
    /// Names and secret texts (headers).
    Secrets,
    /// Names and values of any form.
    Values,
    /// A value of a row, with its type and all its digits.
    Cell,
    /// Columns and their values.
    Cells,
    /// A list.
    List(&'static Self),
    /// Whichever of these has the form of what stands there.
    Either(&'static [Self]),
}

/// A kind of sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The word of its table: `[sink.NAME.KIND]`.
    pub name: &'static str,
    /// Where it sends to, in a few words.
    pub what: &'static str,
    /// This build has it.
    pub built: bool,
}

/// Returns every kind of sink that this version has, those of other builds too.
pub fn kinds() -> impl Iterator<Item = Kind> {
    sink::SINK.keys.iter().filter_map(|key| {
        let what = key.doc.strip_prefix("kind: ").filter(|_| key.otherwise != Later)?;
        Some(Kind { name: key.name, what, built: crate::sink::is_built(key.name) })
    })
}

use Otherwise::{Later, None, Required, Toml};
use Shape::{Boolean, Duration, List, Named, Path, Secret, Size, Table, Text, Word};

const fn key(name: &'static str, shape: Shape, otherwise: Otherwise, doc: &'static str) -> Key {
    Key { name, shape, otherwise, doc }
}

const fn later(name: &'static str, doc: &'static str) -> Key {
    Key { name, shape: Shape::Any, otherwise: Later, doc }
}

/// What the playground reads: one mapping with its tests.
pub(super) static TRIAL: Section = Section {
    title: "what is tried",
    keys: &[key("mapping", Named(&MAPPING), Required, "the mapping; the table's name is its own")],
};

/// The whole file.
pub(super) static ROOT: Section = Section {
    title: "the config",
    keys: &[
        key(
            "shutdown_grace",
            Duration(0),
            Toml("\"10s\""),
            "how long what is in flight may take to finish when walgate is asked to stop",
        ),
        key("source", Table(&SOURCE), Required, "the database to read"),
        key("state", Table(&STATE), Toml("{}"), "where walgate keeps what it must not forget"),
        key("journal", Table(&JOURNAL), Toml("{}"), "the originals, as Postgres sent them"),
        key("admin", Table(&ADMIN), Toml("{}"), "metrics, health and events to fetch, over HTTP"),
        key("telemetry", Table(&TELEMETRY), None, "figures and traces for collectors"),
        key(
            "mapping",
            Named(&MAPPING),
            None,
            "what a row becomes; the table's name is the mapping's",
        ),
        key("sink", Named(&SINK), Required, "a destination; the table's name is the sink's"),
        key("route", List(&Table(&ROUTE)), Required, "ties a table to a sink"),
        key("alert", List(&Table(&ALERT)), None, "who is told of what, beside the log"),
    ],
};

pub(super) static SOURCE: Section = Section {
    title: "[source]",
    keys: &[
        key(
            "url",
            Secret,
            Required,
            "libpq URL or key=value string; several hosts, `sslmode`, `sslrootcert`, `sslcert`, `sslkey` (paths relative to the config's folder), `channel_binding`, `target_session_attrs`",
        ),
        key("publication", Text, Toml("\"walgate\""), "must cover the routed tables"),
        key(
            "slot",
            Text,
            Toml("\"walgate\""),
            "made on first start; lower case letters, digits and `_`",
        ),
        key(
            "streaming",
            Word(&["auto", "off"], &[]),
            Toml("\"auto\""),
            "large transactions come while they are still open, and are kept here until they commit, past 16 MiB in `spill` under `[state] path`; `off`: the server keeps them",
        ),
        key(
            "binary",
            Boolean,
            Toml("false"),
            "the server sends values in their binary form, which events do not show: for rows whose text is larger than the server can send (1 GiB, a bytea of half that)",
        ),
        key(
            "heartbeat",
            Duration(0),
            Toml("\"30s\""),
            "a logical message that goes the whole road; `\"0s\"` turns it off",
        ),
    ],
};

static STATE: Section = Section {
    title: "[state]",
    keys: &[key(
        "path",
        Path,
        Toml("\"walgate-state\""),
        "a folder on a local disk: checkpoints, journal, dead letters, registry of mappings",
    )],
};

static JOURNAL: Section = Section {
    title: "[journal]",
    keys: &[
        key(
            "retain",
            Duration(0),
            Toml("\"7d\""),
            "how long originals are kept; never less than what a sink has not done",
        ),
        key(
            "max_size",
            Size,
            Toml("\"10GiB\""),
            "how much is kept; never less than what a sink has not done; `\"0\"` keeps nothing: all sinks share the pace of the slowest, and `replay`, `trace` and `route hold` have nothing to go by",
        ),
        key(
            "on_full",
            Word(&["pause", "detach"], &[]),
            Toml("\"pause\""),
            "when what is undone reaches `max_size`: stop reading, or let go of the sink furthest behind, which then halts with a gap and needs a load",
        ),
        key("reserve", Size, Toml("\"512MiB\""), "disk kept free for progress and dead letters"),
        key(
            "confirm",
            Word(&["delivered", "journaled"], &[]),
            Toml("\"delivered\""),
            "the slot moves when every sink is done, or when the journal has it on disk",
        ),
        key(
            "wal_budget",
            Size,
            Toml("\"4GiB\""),
            "with `delivered`: when a slow sink makes Postgres keep more WAL than this, what is journaled is confirmed instead; `\"0\"` turns it off",
        ),
    ],
};

static ADMIN: Section = Section {
    title: "[admin]",
    keys: &[
        key(
            "listen",
            Text,
            Toml("\"127.0.0.1:7717\""),
            "address and port, 0 for any that is free; anything but loopback needs a token",
        ),
        key("token", Secret, None, "what callers must show: `authorization: Bearer TOKEN`"),
    ],
};
