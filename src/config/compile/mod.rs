//! The checked config: from what stands in the file to what the stages take.

mod alert;
mod check;
mod expression;
mod lookup;
mod mapping;
mod meaning;
mod outbox;
mod route;
mod shelf;
mod sink;
mod telemetry;
mod test;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(super) use self::shelf::{Held, Shelf};
pub use self::sink::{Sink, SinkKind};
pub use self::telemetry::Otlp;
use super::problem::{Notes, Problem};
use super::tree::{Entry, Table};
use super::walk::suggestion;
use crate::alert::Rule;
use crate::mapping::{Case, Mapping, Route};
use crate::secret::Secret;
use crate::source;
use crate::source::conninfo::{Conninfo, anchored};

/// Everything that the config file says, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long what is in flight may take to finish at a stop.
    pub shutdown_grace: Duration,
    /// The database to read.
    pub source: Source,
    /// The folder of the state.
    pub state: PathBuf,
    /// How originals are kept.
    pub journal: Journal,
    /// Metrics, health and events to fetch.
    pub admin: Admin,
    /// The collector that is told; none: none is.
    pub otlp: Option<Otlp>,
    /// In the order of the file.
    pub mappings: Vec<Arc<Mapping>>,
    /// The next versions of mappings that have one, each under its mapping's name.
    pub nexts: Vec<Arc<Mapping>>,
    /// The tests of the mappings, in the order of the file.
    pub tests: Vec<Case>,
    /// In the order of the file. Never empty.
    pub sinks: Vec<Sink>,
    /// In the order of the file. Never empty; each names one of `sinks`.
    pub routes: Vec<Arc<Route>>,
    /// In the order of the file.
    pub alerts: Vec<Rule>,
    /// What works but the user should know.
    pub warnings: Vec<Problem>,
    /// All of it as TOML, defaults too, without secrets.
    pub text: String,
    /// Tables of lookups that lie in files, for mappings that are tried.
    pub(super) held: Held,
}

/// `[source]`
#[derive(Clone, Debug)]
pub struct Source {
    /// libpq URL or key=value string.
    pub url: Secret,
    /// The publication's name.
    pub publication: String,
    /// The replication slot's name.
    pub slot: String,
    /// Values are sent in binary form.
    pub binary: bool,
    /// Between two heartbeats; zero: none.
    pub heartbeat: Duration,
    /// Whether transactions come while they are still open.
    pub streaming: source::Streaming,
    /// Where they are kept that there is no room for in memory.
    pub spill: PathBuf,
}

impl Source {
    /// Returns what the source itself needs to know.
    #[must_use]
    pub fn settings(&self) -> source::Settings {
        source::Settings {
            url: self.url.clone(),
            publication: self.publication.clone(),
            slot: self.slot.clone(),
            binary: self.binary,
            status_interval: source::Settings::STATUS_INTERVAL,
            streaming: self.streaming,
            spill: self.spill.clone(),
        }
    }
}

/// `[journal]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Journal {
    /// How long originals are kept.
    pub retain: Duration,
    /// How much is kept, in bytes.
    pub max_size: u64,
    /// What happens when what is undone reaches `max_size`.
    pub on_full: OnFull,
    /// Disk kept free, in bytes.
    pub reserve: u64,
    /// When the slot moves.
    pub confirm: Confirm,
    /// How much WAL a slow sink may hold back, in bytes; 0: any.
    pub wal_budget: u64,
}

/// What happens when what is undone fills the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// Nothing more is read.
    #[default]
    Pause,
    /// The sink furthest behind is let go; it halts with a gap.
    Detach,
}

/// When the slot may move past a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confirm {
    /// Every sink is done with it.
    #[default]
    Delivered,
    /// The journal has it on disk.
    Journaled,
}

/// `[admin]`
#[derive(Clone, Debug)]
pub struct Admin {
    /// Host and port.
    pub listen: String,
    /// What callers must show; none on loopback only.
    pub token: Option<Secret>,
}

impl Config {
    /// Returns the mappings that a route has: the others make no event.
    #[must_use]
    pub fn routed_mappings(&self) -> Vec<Arc<Mapping>> {
        let has = |mapping: &Mapping| {
            let mut routed = self.routes.iter().filter_map(|route| route.mapping.as_ref());
            routed.any(|routed| routed.name == mapping.name)
        };
        self.mappings.iter().filter(|mapping| has(mapping)).map(Arc::clone).collect()
    }

    /// Returns the routes of a sink in the order of the file.
    #[must_use]
    pub fn routes_of(&self, sink: &str) -> Vec<Arc<Route>> {
        self.routes.iter().filter(|route| route.sink == sink).map(Arc::clone).collect()
    }
}

/// Turns the tree into settings; none only when a problem has been noted.
pub(super) fn compile(tree: &Table, folder: &Path, notes: &mut Notes<'_>) -> Option<Config> {
    let state = tree.table("state").and_then(|table| table.path("path")).cloned();
    let spill = state.as_deref().map(|state| state.join("spill")).unwrap_or_default();
    let source = tree.table("source").and_then(|table| read_source(table, folder, spill, notes));
    let journal = tree.table("journal").and_then(|table| journal(table, notes));
    let admin = tree.table("admin").and_then(|table| admin(table, notes));
    let otlp = telemetry::otlp(tree, notes);
    let shelf = Shelf::open(folder);
    let mappings = mapping::all(tree, &shelf, notes);
    let nexts = mapping::nexts(tree, &shelf, notes);
    let tests = test::all(tree, notes);
    let sinks = sink::all(tree, notes);
    let routes = route::all(tree, &mappings, notes);
    outbox::headers(tree, sinks.as_deref().unwrap_or_default(), notes);
    let alerts = alert::all(tree, sinks.as_deref().unwrap_or_default(), notes);
    unused(tree, notes);
    Some(Config {
        shutdown_grace: tree.duration("shutdown_grace")?,
        source: source?,
        state: state?,
        journal: journal?,
        admin: admin?,
        otlp: otlp?,
        mappings: mappings?,
        nexts: nexts?,
        tests: tests?,
        sinks: sinks?,
        routes: routes?,
        alerts: alerts?,
        warnings: Vec::new(),
        text: String::new(),
        held: shelf.into_held(),
    })
}

/// Reads the mappings and tests of a text that has nothing else; none only when a problem has been
/// noted.
pub(super) fn mappings(
    tree: &Table,
    shelf: &Shelf<'_>,
    notes: &mut Notes<'_>,
) -> Option<(Vec<Arc<Mapping>>, Vec<Case>)> {
    let mappings = mapping::all(tree, shelf, notes);
    // Its problems are told as well.
    let nexts = mapping::nexts(tree, shelf, notes);
    let tests = test::all(tree, notes);
    nexts?;
    Some((mappings?, tests?))
}

/// Postgres cuts longer names, so that two could become one.
const NAME_BYTES_MAX: usize = 63;

fn read_source(
    table: &Table,
    folder: &Path,
    spill: PathBuf,
    notes: &mut Notes<'_>,
) -> Option<Source> {
    let slot = table.text("slot");
    if let Some(slot) = slot {
        let fine = slot.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !fine || slot.len() > NAME_BYTES_MAX {
            notes.problem(
                &table.span("slot"),
                "\"slot\" may have lower case letters, digits and \"_\", 63 at most",
            );
        }
    }
    let publication = table.text("publication");
    if publication.is_some_and(|name| name.len() > NAME_BYTES_MAX) {
        notes.problem(&table.span("publication"), "\"publication\" may have 63 bytes at most");
    }
    let url = table.secret("url")?;
    if let Err(error) = url.expose().parse::<Conninfo>() {
        notes.problem(&table.span("url"), format!("cannot use the url: {error}"));
    }
    Some(Source {
        url: Secret::new(anchored(url.expose(), folder)),
        publication: publication?.to_owned(),
        slot: slot?.to_owned(),
        binary: table.boolean("binary")?,
        heartbeat: table.duration("heartbeat")?,
        streaming: match table.text("streaming")? {
            "off" => source::Streaming::Off,
            _ => source::Streaming::Auto,
        },
        spill,
    })
}

fn journal(table: &Table, notes: &mut Notes<'_>) -> Option<Journal> {
    let confirm = match table.text("confirm")? {
        "journaled" => Confirm::Journaled,
        _ => Confirm::Delivered,
    };
    let on_full = match table.text("on_full")? {
        "detach" => OnFull::Detach,
        _ => OnFull::Pause,
    };
    let max_size = table.size("max_size")?;
    if max_size == 0 {
        if confirm == Confirm::Journaled {
            notes.problem(
                &table.span("confirm"),
                "confirm = \"journaled\" needs a journal; raise \"max_size\" or write \"delivered\"",
            );
        }
        if table.given("wal_budget") {
            notes.problem(
                &table.span("wal_budget"),
                "\"wal_budget\" needs a journal; raise \"max_size\" or leave it out",
            );
        }
    }
    if confirm == Confirm::Journaled && table.given("wal_budget") {
        notes.problem(
            &table.span("wal_budget"),
            "\"wal_budget\" means nothing with confirm = \"journaled\"; leave it out",
        );
    }
    Some(Journal {
        retain: table.duration("retain")?,
        max_size,
        on_full,
        reserve: table.size("reserve")?,
        confirm,
        wal_budget: table.size("wal_budget")?,
    })
}

fn admin(table: &Table, notes: &mut Notes<'_>) -> Option<Admin> {
    let listen = table.text("listen")?;
    let span = table.span("listen");
    let address = listen.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    let Some((host, _)) = address.filter(|(host, _)| !host.is_empty()) else {
        notes.problem(&span, "\"listen\" must be host:port such as \"127.0.0.1:7717\"");
        return None;
    };
    let token = table.secret("token").filter(|token| !token.expose().is_empty()).cloned();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !loopback && token.is_none() {
        notes.problem(
            &span,
            "\"listen\" is open to others and needs \"token\"; set it, or listen on 127.0.0.1",
        );
    }
    Some(Admin { listen: listen.to_owned(), token })
}

/// Names end up in metrics, commands and paths.
fn check_name(what: &str, name: &str, span: &super::tree::Span, notes: &mut Notes<'_>) {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(fine) {
        notes.problem(
            span,
            format!(
                "the name of a {what} may have letters, digits, \"-\", \"_\" and \".\", 63 at most"
            ),
        );
    }
}

/// Looks a name up among tables of names and notes it when it is not there.
fn refer(what: &str, name: &str, known: &[Entry], span: &super::tree::Span, notes: &mut Notes<'_>) {
    if known.iter().any(|entry| entry.name == name) {
        return;
    }
    let cure = suggestion(name, known.iter().map(|entry| entry.name.as_str())).map_or_else(
        || format!("add [{what}.{name}]"),
        |meant| format!("did you mean \"{meant}\"?"),
    );
    notes.problem(span, format!("there is no {what} \"{name}\"; {cure}"));
}

/// Warns of sinks and mappings that no route names.
fn unused(tree: &Table, notes: &mut Notes<'_>) {
    for what in ["sink", "mapping"] {
        for entry in tree.named(what) {
            let mut routes = tree.list("route").iter().filter_map(Entry::table);
            let is_told = what == "sink" && alert::names(tree, &entry.name);
            if !is_told && !routes.any(|route| route.text(what) == Some(&entry.name)) {
                let message = format!("{what} \"{}\" is named by no route", entry.name);
                notes.warning(&entry.place, message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment, parse};
    use crate::mapping::Mapping;

    /// Reads a config whose mapping has these fields and keys, beside files of these names.
    pub(super) fn config(
        fields: &str,
        keys: &str,
        files: &[(&str, &str)],
    ) -> Result<Config, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let text = format!(
            "[source]\nurl = \"postgres://h/d\"\n[mapping.m]\nversion = 1\n{keys}\n\
             [mapping.m.fields]\n{fields}\n[sink.s.stdout]\n\
             [[route]]\nname = \"r\"\ntable = \"public.t\"\nmapping = \"m\"\nsink = \"s\"\n"
        );
        let environment = Environment { variable: &|_| None, folder: folder.path() };
        parse("walgate.toml", &text, &environment)
            .map_err(|problems| problems.0.iter().map(ToString::to_string).collect())
    }

    /// The mapping of a config that is fine.
    #[track_caller]
    pub(super) fn fields(fields: &str, files: &[(&str, &str)]) -> Mapping {
        Mapping::clone(&config(fields, "", files).unwrap().mappings[0])
    }

    /// What is wrong with one that is not.
    #[track_caller]
    pub(super) fn problems(fields: &str, files: &[(&str, &str)]) -> Vec<String> {
        config(fields, "", files).unwrap_err()
    }
}
