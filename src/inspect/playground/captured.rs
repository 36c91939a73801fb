//! Rows that came: events of the journal, and what was set aside.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Fault, Scene};
use crate::change::{Cell, Change, Image, Images};
use crate::chunk::{Chunk, Operation};
use crate::config::Config;
use crate::delivery::{DeadLetter, DeadLetterFilter, newest_dead_letters};
use crate::inspect::dead_letter::{self, Hidden, Originals};
use crate::inspect::fake::fake;
use crate::inspect::{Error, label};
use crate::journal::{self, Archive, Moment, Window};
use crate::lsn::EventId;
use crate::mapping::{Error as Undecodable, Format, Mapped, Mapping, Route, Selector, SinkMapper};
use crate::pgoutput;
use crate::pgoutput::build::{self, Old};
use crate::relation::Relation;
use crate::state::Reader;

/// So much of the journal's end is looked at.
const RUNS: usize = 48;
/// So many events, and dead letters, are there to choose from.
const CHOICE: usize = 20;
const LETTERS: u32 = 20;
/// The largest change that is tried.
const CHANGE_BYTES_MAX: usize = 256 << 10;

/// An event to choose.
#[derive(Clone, Debug)]
pub struct Captured {
    /// The event's id.
    pub id: String,
    /// The operation.
    pub op: &'static str,
    /// As SQL would quote it.
    pub table: String,
    /// As JSON; `null` without one.
    pub key: String,
    /// When it was committed, RFC 3339.
    pub time: Option<String>,
}

/// What there is to choose from, newest first.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Events of the journal that the route takes.
    pub events: Vec<Captured>,
    /// What was set aside of the route.
    pub letters: Vec<DeadLetter>,
}

/// Returns the rows of a route that there are to try its mapping on.
///
/// # Errors
/// When state or journal can't be read.
pub fn choice(config: &Config, reader: &Reader, route: &Route) -> Result<Choice, Error> {
    if route.sink.is_empty() {
        return Ok(Choice::default());
    }
    let filter = DeadLetterFilter {
        sink: Some(route.sink.clone()),
        route: Some(route.name.clone()),
        ..DeadLetterFilter::default()
    };
    let letters = reader.read(|c| newest_dead_letters(c, &filter, i64::MAX, LETTERS))?;
    // Its key and nothing that could refuse a change.
    let plain = Route {
        key: route.key.clone(),
        on: route.on,
        formerly: route.formerly.clone(),
        ..Route::new(route.name.clone(), route.selector.clone(), route.sink.clone())
    };
    let mut mapper = SinkMapper::new(vec![Arc::new(plain)], &label(reader)?, Format::Mapped);
    let mut events = VecDeque::with_capacity(CHOICE);
    newest(config, reader, |chunk, entry| {
        if let Some(event) = captured(chunk, entry, &mut mapper)? {
            if events.len() >= CHOICE {
                events.pop_front();
            }
            events.push_back(event);
        }
        Ok(())
    })?;
    Ok(Choice { events: events.into_iter().rev().collect(), letters })
}

/// Walks the journal's end, oldest first.
fn newest(
    config: &Config,
    reader: &Reader,
    mut see: impl FnMut(&Arc<Chunk>, u32) -> Result<(), Error>,
) -> Result<(), Error> {
    let archive = Archive::open(&config.state, reader)?;
    let from = Some(Moment::Lsn(archive.near_end(RUNS).commit_lsn));
    let window = Window { from, ..Window::default() };
    for chunk in archive.read(window.clone()) {
        let chunk = match chunk {
            // What is newer is still there.
            Err(journal::Error::Gone { .. }) => continue,
            chunk => chunk?,
        };
        for (at, entry) in (0_u32..).zip(&chunk.entries) {
            let is_row = !matches!(entry.operation, Operation::Truncate | Operation::Message);
            if is_row && window.holds(&chunk, entry) {
                see(&chunk, at)?;
            }
        }
    }
    Ok(())
}

fn captured(
    chunk: &Arc<Chunk>,
    at: u32,
    mapper: &mut SinkMapper,
) -> Result<Option<Captured>, Error> {
    if !mapper.takes(chunk, at) {
        return Ok(None);
    }
    let Some(entry) = chunk.entries.get(at as usize) else { return Ok(None) };
    let mut buffer = Vec::new();
    let key = match mapper.map(chunk, at, &mut buffer)? {
        Mapped::Event(draft) | Mapped::Rejected { draft, .. } => draft.key,
        Mapped::Skipped { .. } | Mapped::Unrouted => None,
    };
    let key = key.and_then(|range| buffer.get(range));
    let time = chunk.transaction(entry).and_then(|transaction| transaction.commit_time);
    Ok(Some(Captured {
        id: chunk.event_id(entry).to_string(),
        op: entry.operation.as_str(),
        table: chunk.relation(entry).map(|it| it.quoted_name()).unwrap_or_default(),
        key: key.map_or("null".into(), |key| String::from_utf8_lossy(key).into_owned()),
        time: time.map(|time| time.to_string()),
    }))
}

/// Returns the newest shape of a table that a route takes; none where the journal's end has none.
pub(super) fn shape(
    config: &Config,
    reader: &Reader,
    route: &Route,
) -> Result<Option<Arc<Relation>>, Error> {
    let mut last = None;
    newest(config, reader, |chunk, at| {
        let entry = chunk.entries.get(at as usize);
        let relation = entry.and_then(|entry| entry.relation);
        let relation = relation.and_then(|index| chunk.relations.get(index as usize));
        if let Some(relation) = relation.filter(|relation| takes(route, relation)) {
            last = Some(Arc::clone(relation));
        }
        Ok(())
    })?;
    Ok(last.filter(|_| !route.sink.is_empty()))
}

fn takes(route: &Route, relation: &Relation) -> bool {
    matches!(&route.selector, Selector::Table(pattern) if pattern.matches(relation))
}

/// Returns an event of the journal.
pub(super) fn event(
    config: &Config,
    reader: &Reader,
    route: &Route,
    id: &str,
) -> Result<Scene, Fault> {
    let wanted: EventId = id.parse().map_err(|_| Error::asked(format!("{id} is no event's id")))?;
    let moment = Some(Moment::Lsn(wanted.position.commit_lsn));
    let archive = Archive::open(&config.state, reader)?;
    for chunk in archive.read(Window { from: moment, to: moment, tables: None }) {
        let chunk = match chunk {
            Err(journal::Error::Gone { .. }) => continue,
            chunk => chunk?,
        };
        let mut entries = (0_u32..).zip(&chunk.entries);
        if let Some((at, _)) = entries.find(|(_, entry)| chunk.event_id(entry) == wanted) {
            return covered(config, route, &chunk, at, &Hidden::nothing());
        }
    }
    Err(Error::Missing {
        message: format!("the journal has no event {id}"),
        help: "it may have been there; choose another".to_owned(),
    }
    .into())
}

/// Returns what was set aside.
pub(super) fn dead_letter(
    config: &Config,
    reader: &Reader,
    route: &Route,
    id: i64,
) -> Result<Scene, Fault> {
    let letter = dead_letter::find(reader, id)?;
    let hidden = Hidden::of(&letter.listed, config, reader)?;
    let change = Originals::new(config, reader).change(&letter);
    let Some((chunk, at)) = change else {
        return Err(Error::Missing {
            message: format!("of dead letter {id} the original is no longer kept"),
            help: "choose another row".to_owned(),
        }
        .into());
    };
    covered(config, route, &chunk, at, &hidden)
}

/// Makes the change anew, with made-up values where something is hidden.
fn covered(
    config: &Config,
    route: &Route,
    chunk: &Chunk,
    at: u32,
    hidden: &Hidden,
) -> Result<Scene, Fault> {
    let undecodable = |error: pgoutput::Error| Error::from(Undecodable::from(error));
    let entry =
        chunk.entries.get(at as usize).ok_or(pgoutput::Error::Index).map_err(undecodable)?;
    let mut images = Images::default();
    let change = pgoutput::change(chunk, entry, &mut images).map_err(undecodable)?;
    let is_row = !matches!(change.operation, Operation::Truncate | Operation::Message);
    let Some(relation) = change.relation.filter(|_| is_row) else {
        let message = format!("a {} has no row to be tried", change.operation.as_str());
        return Err(Error::asked(message).into());
    };
    if change.frame.len() > CHANGE_BYTES_MAX {
        let message =
            format!("a change of {} KiB is the largest to be tried here", CHANGE_BYTES_MAX >> 10);
        return Err(Error::asked(message).with("`walgate map` takes any").into());
    }
    let masked = masked(config, route, relation);
    let is_hidden = |name: &str| masked.contains(name) || hidden.hides(name);
    let mut made_up = BTreeSet::new();
    let new = image(&change, &change.images.new, relation, &is_hidden, &mut made_up);
    let old = image(&change, &change.images.old, relation, &is_hidden, &mut made_up);
    let frame = frame(&change, relation, &new, &old).map_err(undecodable)?;
    let chunk = build::chunk(relation, change.operation, frame).map_err(undecodable)?;
    Ok(Scene { chunk, made_up: made_up.into_iter().collect() })
}

/// The columns that any mapping in force masks by which the table's rows are sent.
fn masked<'c>(config: &'c Config, route: &'c Route, relation: &Relation) -> BTreeSet<&'c str> {
    let routed = config.routes.iter().filter(|route| takes(route, relation));
    let mappings = routed.filter_map(|route| route.mapping.as_ref()).chain(&route.mapping);
    mappings.flat_map(|mapping| Mapping::masked_columns(mapping)).collect()
}

/// A value of its own, or what there is in its place.
enum Made {
    Value(Vec<u8>),
    Null,
    Unchanged,
}

fn image(
    change: &Change<'_>,
    image: &Image,
    relation: &Relation,
    is_hidden: &impl Fn(&str) -> bool,
    made_up: &mut BTreeSet<String>,
) -> Vec<Made> {
    let columns = relation.columns.iter().enumerate();
    let cells = columns.map(|(index, column)| match image.cell(change.frame, index) {
        Cell::Value(text) if is_hidden(&column.name) => {
            made_up.insert(column.name.clone());
            Made::Value(fake(&column.kind, &String::from_utf8_lossy(text)).into_bytes())
        }
        Cell::Value(text) => Made::Value(text.to_vec()),
        Cell::Unchanged => Made::Unchanged,
        Cell::Null | Cell::Absent => Made::Null,
    });
    cells.collect()
}

fn frame(
    change: &Change<'_>,
    relation: &Relation,
    new: &[Made],
    old: &[Made],
) -> Result<Vec<u8>, pgoutput::Error> {
    fn cells(made: &[Made]) -> Vec<Cell<'_>> {
        made.iter()
            .map(|made| match made {
                Made::Value(text) => Cell::Value(text),
                Made::Null => Cell::Null,
                Made::Unchanged => Cell::Unchanged,
            })
            .collect()
    }
    let (new, old) = (cells(new), cells(old));
    let images = change.images;
    let old = if images.old_is_full { Old::Full(&old) } else { Old::Key(&old) };
    let mut frame = Vec::new();
    match change.operation {
        Operation::Update => {
            build::update(relation.oid, images.old.present.then_some(old), &new, &mut frame)?;
        }
        Operation::Delete => build::delete(relation.oid, old, &mut frame)?,
        _ => build::insert(relation.oid, &new, &mut frame)?,
    }
    Ok(frame)
}
