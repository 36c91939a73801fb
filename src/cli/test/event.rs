//! Finds a real event, among the dead letters or in the journal.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::change::Images;
use crate::chunk::{Chunk, Operation};
use crate::cli::asking;
use crate::cli::failure::{Exit, Failure};
use crate::config::Config;
use crate::delivery::show_dead_letter;
use crate::inspect;
use crate::inspect::dead_letter::Hidden;
use crate::inspect::trace::Key;
use crate::journal::{self, Archive, Moment, Window, record};
use crate::lsn::EventId;
use crate::mapping::{Mapping, SinkMapper, SourceLabel};
use crate::pgoutput;

/// An event, and the mappings that take it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) chunk: Arc<Chunk>,
    pub(super) entry: u32,
    /// Never empty; each once.
    pub(super) mappings: Vec<Arc<Mapping>>,
    /// What the version hid by which it was set aside.
    pub(super) hidden: Hidden,
}

/// Returns the event of a dead letter, as its sink's routes take it.
pub(super) fn of_dead_letter(config: &Config, id: i64) -> Result<Found, Failure> {
    let reader = asking::reader(config)?;
    let Some(letter) = asking::read(&reader, |connection| show_dead_letter(connection, id))? else {
        let message = format!("there is no dead letter {id}");
        return Err(Failure::new(Exit::Usage, message).help("`walgate dlq list` has the numbers"));
    };
    let sink = letter.listed.sink.as_str();
    let hidden = Hidden::of(&letter.listed, config, &reader)?;
    let found = match letter.original {
        Some(record) => {
            let chunk =
                record::decode(&record).map_err(|error| Failure::of(Exit::Failed, &error))?;
            taken(config, Arc::new(chunk), 0, Some(sink))?
        }
        // It waits behind another: only the journal has it.
        None => of_id(config, &letter.listed.event_id, Some(sink))?,
    };
    Ok(Found { hidden, ..found })
}

/// Returns an event of the journal by its id.
pub(super) fn of_id(config: &Config, id: &str, sink: Option<&str>) -> Result<Found, Failure> {
    asking::needs_journal(config)?;
    let wanted: EventId = id.parse().map_err(|error| Failure::of(Exit::Usage, &error))?;
    let moment = Some(Moment::Lsn(wanted.position.commit_lsn));
    let window = Window { from: moment, to: moment, tables: None };
    let archive = archive(config)?;
    for chunk in archive.read(window) {
        let chunk = chunk.map_err(|error| broken(&error))?;
        let mut entries = (0_u32..).zip(&chunk.entries);
        let found = entries.find(|(_, entry)| chunk.event_id(entry) == wanted).map(|(at, _)| at);
        if let Some(entry) = found {
            return taken(config, chunk, entry, sink);
        }
    }
    Err(Failure::new(Exit::Usage, format!("the journal has no event {id}")))
}

/// Returns the last event of a row that the journal has.
pub(super) fn of_key(
    config: &Config,
    table: &str,
    key: &str,
    sink: Option<&str>,
) -> Result<Found, Failure> {
    asking::needs_journal(config)?;
    let pattern = inspect::table(table)?;
    let parsed = Key::parse(key)?;
    let archive = archive(config)?;
    let tables = archive.tables(|relation| pattern.matches(relation));
    let tables: BTreeSet<u32> = tables.map_err(|error| broken(&error))?;
    let window = Window { tables: Some(tables), ..Window::default() };
    let mut images = Images::default();
    let mut last = None;
    for chunk in archive.read(window.clone()) {
        let chunk = match chunk {
            // What is newer is still there.
            Err(journal::Error::Gone { .. }) => continue,
            chunk => chunk.map_err(|error| broken(&error))?,
        };
        for (index, entry) in (0_u32..).zip(&chunk.entries) {
            let Some(relation) = chunk.relation(entry).filter(|_| window.holds(&chunk, entry))
            else {
                continue;
            };
            let Some(place) = parsed.place(relation) else { continue };
            let change = pgoutput::change(&chunk, entry, &mut images);
            let change = change.map_err(|error| Failure::of_stage(Exit::Failed, &error))?;
            let is_row = entry.operation != Operation::Truncate;
            if is_row && parsed.bond(&place, relation, &change).is_some() {
                last = Some((Arc::clone(&chunk), index));
            }
        }
    }
    match last {
        Some((chunk, entry)) => taken(config, chunk, entry, sink),
        None => {
            Err(Failure::new(Exit::Usage, format!("the journal has no event of {table} {key}")))
        }
    }
}

fn archive(config: &Config) -> Result<Archive, Failure> {
    let reader = asking::reader(config)?;
    Archive::open(&config.state, &reader).map_err(|error| broken(&error))
}

fn broken(error: &journal::Error) -> Failure {
    Failure::of(Exit::Failed, error)
}

/// Finds the mappings that take an event, of one sink or all.
fn taken(
    config: &Config,
    chunk: Arc<Chunk>,
    entry: u32,
    sink: Option<&str>,
) -> Result<Found, Failure> {
    if let Some(sink) = sink {
        asking::has("sink", sink, config.sinks.iter().map(|sink| sink.name.as_str()).collect())?;
    }
    let mut mappings: Vec<Arc<Mapping>> = Vec::new();
    for looked in config.sinks.iter().filter(|other| sink.is_none_or(|sink| sink == other.name)) {
        let routes = config.routes_of(&looked.name);
        let source = SourceLabel::default();
        // The first that takes it, as the sink would have it.
        let route = routes.iter().find(|route| {
            let mut mapper = SinkMapper::new(vec![Arc::clone(route)], &source, looked.format);
            mapper.takes(&chunk, entry)
        });
        if let Some(mapping) = route.and_then(|route| route.mapping.as_ref())
            && !mappings.iter().any(|known| known.name == mapping.name)
        {
            mappings.push(Arc::clone(mapping));
        }
    }
    if mappings.is_empty() {
        let message = "no route with a mapping takes this event";
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(Found { chunk, entry, mappings, hidden: Hidden::nothing() })
}
