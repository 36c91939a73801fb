//! [`Lines`]: what is shown of a chunk, and what is not shown (pure).
//!
//! A change is shown as each route that sends it does. One that nobody sends is shown as it is:
//! with `route` null, and without a value that a mapping of the config masks. A table may have been
//! renamed, or be a partition of the one that is routed, so a column is covered by its name wherever
//! it stands; and where a mapping masks a column that its table no longer has, whose values may
//! have another name by now, no column is shown at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};

use crate::chunk::{Chunk, Entry, Operation};
use crate::cli::failure::{Exit, Failure};
use crate::config::Config;
use crate::inspect::dead_letter::Hidden;
use crate::mapping::{
    Draft, Format, Mapped, Members, Operations, Route, Selector, SinkMapper, SourceLabel,
    TablePattern,
};
use crate::relation::Relation;

/// What of the stream is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Of these tables; none: of all.
    pub(super) table: Option<TablePattern>,
    /// What this route sends; none: everything.
    pub(super) route: Option<String>,
    /// So many lines.
    pub(super) limit: u64,
    /// Say also what a rule skips.
    pub(super) says_skips: bool,
}

/// What is shown of a chunk.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Lines, each with its end.
    pub(super) text: Vec<u8>,
    /// For stderr. Holds no values.
    pub(super) notes: Vec<String>,
}

/// Makes lines of chunks.
#[derive(Debug)]
pub(super) struct Lines {
    wanted: Wanted,
    /// One a sink.
    mappers: Vec<SinkMapper>,
    /// Of what nobody sends.
    plain: SinkMapper,
    routes: Vec<Arc<Route>>,
    /// The columns that any mapping masks.
    masked: BTreeSet<String>,
    shown: u64,
    buffer: Vec<u8>,
}

impl Lines {
    pub(super) fn new(config: &Config, wanted: Wanted, source: &SourceLabel) -> Self {
        let of_route = |name: &str| config.routes.iter().find(|route| route.name == name);
        let sink = wanted.route.as_deref().and_then(of_route).map(|route| route.sink.as_str());
        let sinks = config.sinks.iter().filter(|it| sink.is_none_or(|name| it.name == name));
        let mapper = |name: &str| SinkMapper::new(config.routes_of(name), source, Format::Walgate);
        let mappings = config.mappings.iter();
        let masked = mappings.flat_map(|it| it.masked_columns().map(str::to_owned)).collect();
        Self {
            mappers: sinks.map(|sink| mapper(&sink.name)).collect(),
            plain: SinkMapper::new(everything().into_iter().collect(), source, Format::Walgate),
            routes: config.routes.clone(),
            masked,
            wanted,
            shown: 0,
            buffer: Vec::new(),
        }
    }

    /// Whether all that is wanted was shown.
    pub(super) const fn is_done(&self) -> bool {
        self.shown >= self.wanted.limit
    }

    /// Makes the lines of a chunk, in its order.
    pub(super) fn tell(&mut self, chunk: &Arc<Chunk>) -> Result<Told, Failure> {
        let mut told = Told::default();
        for (index, entry) in (0..).zip(&chunk.entries) {
            let relation = chunk.relation(entry);
            let is_wanted = match (&self.wanted.table, relation) {
                (None, _) => true,
                (Some(pattern), Some(relation)) => pattern.matches(relation),
                (Some(_), None) => false,
            };
            if !is_wanted {
                continue;
            }
            let is_sent = self.sent(chunk, index, &mut told)?;
            if !is_sent && self.wanted.route.is_none() && !self.is_done() {
                self.unsent(chunk, index, &mut told)?;
            }
            if self.is_done() {
                break;
            }
        }
        Ok(told)
    }

    /// Shows what the routes send of a change; true where one does.
    fn sent(&mut self, chunk: &Arc<Chunk>, index: u32, told: &mut Told) -> Result<bool, Failure> {
        let mut is_sent = false;
        for mapper in &mut self.mappers {
            self.buffer.clear();
            let mapped = mapper.map(chunk, index, &mut self.buffer);
            let is_wanted = |name: &str| self.wanted.route.as_deref().is_none_or(|it| it == name);
            match mapped.map_err(|error| Failure::of_stage(Exit::Failed, &error))? {
                Mapped::Event(draft) if is_wanted(&draft.route.name) => {
                    is_sent = true;
                    if self.shown < self.wanted.limit {
                        self.shown += 1;
                        line(self.buffer.get(draft.body).unwrap_or_default(), told);
                    }
                }
                Mapped::Rejected { draft, field, reason } if is_wanted(&draft.route.name) => {
                    let what = what(chunk, &draft);
                    let route = &draft.route.name;
                    let note =
                        format!("rejected by route {route}: {what}: field \"{field}\": {reason}");
                    told.notes.push(note);
                }
                Mapped::Skipped { route, reason }
                    if is_wanted(&route.name) && self.wanted.says_skips =>
                {
                    let what = chunk.entries.get(index as usize).map(|entry| of(chunk, entry));
                    let what = what.unwrap_or_default();
                    told.notes.push(format!("skipped by route {}: {what}: {reason}", route.name));
                }
                _ => {}
            }
        }
        Ok(is_sent)
    }

    /// Shows a change that nobody sends. A logical message is not shown.
    fn unsent(&mut self, chunk: &Arc<Chunk>, index: u32, told: &mut Told) -> Result<(), Failure> {
        let Some(entry) = chunk.entries.get(index as usize) else { return Ok(()) };
        let Some(relation) = chunk.relation(entry) else { return Ok(()) };
        self.buffer.clear();
        let mapped = self.plain.map(chunk, index, &mut self.buffer);
        let mapped = mapped.map_err(|error| Failure::of_stage(Exit::Failed, &error))?;
        let text = match mapped {
            Mapped::Event(draft) => {
                let body = self.buffer.get(draft.body).unwrap_or_default();
                serde_json::from_slice::<Members>(body).ok()
            }
            Mapped::Rejected { .. } | Mapped::Skipped { .. } | Mapped::Unrouted => None,
        };
        let hidden = Hidden::Columns(self.masked.clone());
        let members = match text {
            Some(members) => plain(members, &hidden, self.shows_columns(relation)),
            // Its key did not come.
            None => bare(chunk, entry, relation),
        };
        let text = serde_json::to_string(&members);
        self.shown += 1;
        line(text.map_err(|error| Failure::of(Exit::Failed, &error))?.as_bytes(), told);
        Ok(())
    }

    /// Whether each column that is masked where this table is routed is known by its name.
    fn shows_columns(&self, relation: &Relation) -> bool {
        let fits = |route: &&Arc<Route>| match &route.selector {
            Selector::Table(pattern) => pattern.matches(relation),
            Selector::Message(_) => false,
        };
        let mappings = self.routes.iter().filter(fits).filter_map(|route| route.mapping.as_ref());
        let mut masked = mappings.flat_map(|mapping| mapping.masked_columns());
        masked.all(|column| relation.column(column).is_some())
    }
}

/// The route of what nobody sends: everything of every table.
fn everything() -> Option<Arc<Route>> {
    let all = TablePattern::parse("*.*").ok()?;
    let on: Operations = Operation::ALL.into_iter().collect();
    Some(Arc::new(Route { on, ..Route::new("", Selector::Table(all), "") }))
}

/// Makes an event of nobody's of one of a route.
fn plain(members: Members, hidden: &Hidden, shows_columns: bool) -> Members {
    let rows = ["data", "before", "unchanged", "json_nulls"];
    let covered = ["key", "before_key", "data", "before"];
    let kept =
        members.0.into_iter().filter(|(name, _)| shows_columns || !rows.contains(&name.as_str()));
    let shown = kept.map(|(name, value)| {
        let value = match name.as_str() {
            "route" => null(),
            name if covered.contains(&name) => hidden.cover(value),
            _ => value,
        };
        (name, value)
    });
    Members(shown.collect())
}

/// What is known of a change whose key was not sent.
fn bare(chunk: &Chunk, entry: &Entry, relation: &Relation) -> Members {
    let text = |text: &str| to_raw_value(text).unwrap_or_else(|_| null());
    let members = [
        ("id", text(&chunk.event_id(entry).to_string())),
        ("op", text(entry.operation.as_str())),
        ("table", text(&relation.quoted_name())),
        ("key", null()),
        ("route", null()),
    ];
    Members(members.map(|(name, value)| (name.to_owned(), value)).into())
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

fn line(body: &[u8], told: &mut Told) {
    told.text.extend_from_slice(body);
    told.text.push(b'\n');
}

/// Names a change without a value of it.
fn what(chunk: &Chunk, draft: &Draft) -> String {
    let entry = chunk.entries.get(draft.entry as usize);
    entry.map(|entry| of(chunk, entry)).unwrap_or_default()
}

fn of(chunk: &Chunk, entry: &Entry) -> String {
    let (id, operation) = (chunk.event_id(entry), entry.operation.as_str());
    match chunk.relation(entry) {
        Some(relation) => format!("{id}, {operation} of {}", relation.quoted_name()),
        None => format!("{id}, {operation}"),
    }
}
