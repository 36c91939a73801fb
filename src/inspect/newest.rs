//! The newest changes of the journal, as routes make them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Error, label};
use crate::chunk::Chunk;
use crate::config::Config;
use crate::journal::{self, Archive, Moment, Window};
use crate::mapping::{Mapped, SinkMapper, TablePattern};
use crate::state::Reader;

/// So much of the journal's end is looked at: what a busy table wrote must not hide a quiet one's
/// changes at once, and a look must stay short.
const RUNS: usize = 48;

/// Which changes.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this table; none: of all.
    pub table: Option<String>,
    /// For this sink; none: for all.
    pub sink: Option<String>,
    /// So many at most.
    pub limit: usize,
}

/// A change as a sink gets it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The event's id.
    pub id: String,
    /// When it was committed, RFC 3339.
    pub time: Option<String>,
    /// The operation.
    pub op: &'static str,
    /// As SQL would quote it; empty for a logical message.
    pub table: String,
    /// As JSON; `null` without one.
    pub key: String,
    /// The route that took it.
    pub route: String,
    /// The sink.
    pub sink: String,
    /// What it was made.
    pub outcome: Outcome,
}

/// What a route makes of a change.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// This is sent.
    Sent(String),
    /// Nothing is sent, for this reason.
    Not(String),
}

/// Reads the newest, newest first.
///
/// # Errors
/// [`Error::Asked`] for a table that is none; others when state or journal can't be read.
pub fn read(config: &Config, reader: &Reader, wanted: &Wanted) -> Result<Vec<Event>, Error> {
    let table = wanted.table.as_deref().map(super::table).transpose()?;
    let archive = Archive::open(&config.state, reader)?;
    let label = label(reader)?;
    let sinks = config.sinks.iter().filter(|it| wanted.sink.as_ref().is_none_or(|w| *w == it.name));
    let mut mappers: Vec<(&str, SinkMapper)> = sinks
        .map(|sink| {
            let routes = config.routes_of(&sink.name);
            (sink.name.as_str(), SinkMapper::new(routes, &label, sink.format))
        })
        .collect();
    let from = Some(Moment::Lsn(archive.near_end(RUNS).commit_lsn));
    let window = Window { from, ..Window::default() };
    let mut newest: VecDeque<Event> = VecDeque::with_capacity(wanted.limit);
    for chunk in archive.read(window.clone()) {
        let chunk = match chunk {
            // What is newer is still there.
            Err(journal::Error::Gone { .. }) => continue,
            chunk => chunk?,
        };
        // Those before would be pushed out again.
        let entries: Vec<u32> = (0_u32..)
            .zip(&chunk.entries)
            .filter(|(_, entry)| window.holds(&chunk, entry))
            .filter(|(at, _)| is_of(&chunk, *at, table.as_ref()))
            .map(|(at, _)| at)
            .collect();
        for entry in entries.iter().skip(entries.len().saturating_sub(wanted.limit)) {
            for (sink, mapper) in &mut mappers {
                let Some(event) = event(&chunk, *entry, sink, mapper)? else { continue };
                if newest.len() >= wanted.limit {
                    newest.pop_front();
                }
                newest.push_back(event);
            }
        }
    }
    Ok(newest.into_iter().rev().collect())
}

fn is_of(chunk: &Chunk, entry: u32, table: Option<&TablePattern>) -> bool {
    let Some(table) = table else { return true };
    let entry = usize::try_from(entry).ok().and_then(|entry| chunk.entries.get(entry));
    entry.and_then(|entry| chunk.relation(entry)).is_some_and(|it| table.matches(it))
}

fn event(
    chunk: &Arc<Chunk>,
    at: u32,
    sink: &str,
    mapper: &mut SinkMapper,
) -> Result<Option<Event>, Error> {
    let entry = usize::try_from(at).ok().and_then(|at| chunk.entries.get(at));
    let Some(entry) = entry else { return Ok(None) };
    let mut buffer = Vec::new();
    let mut key = "null".to_owned();
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into();
    let (route, outcome) = match mapper.map(chunk, at, &mut buffer)? {
        Mapped::Unrouted => return Ok(None),
        Mapped::Skipped { route, reason } => (route, Outcome::Not(format!("skipped: {reason}"))),
        Mapped::Event(draft) => {
            if let Some(range) = draft.key {
                key = text(buffer.get(range));
            }
            (draft.route, Outcome::Sent(text(buffer.get(draft.body))))
        }
        Mapped::Rejected { draft, field, reason } => {
            if let Some(range) = draft.key {
                key = text(buffer.get(range));
            }
            (draft.route, Outcome::Not(format!("rejected: field `{field}`: {reason}")))
        }
    };
    let time = chunk.transaction(entry).and_then(|transaction| transaction.commit_time);
    Ok(Some(Event {
        id: chunk.event_id(entry).to_string(),
        time: time.map(|time| time.to_string()),
        op: entry.operation.as_str(),
        table: chunk.relation(entry).map(|it| it.quoted_name()).unwrap_or_default(),
        key,
        route: route.name.clone(),
        sink: sink.to_owned(),
        outcome,
    }))
}
