//! `walgate replay --dry-run`: what would be sent, and what of it differs from what was.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Args;
use crate::chunk::{Chunk, Entry, Operation};
use crate::cli::failure::{Exit, Failure};
use crate::cli::{asking, output};
use crate::config::{Config, Sink};
use crate::delivery::{Fate, Versions, fate, has_key, kept_mapping, mapping_today};
use crate::inspect;
use crate::journal::{self, Archive, Moment, Window, record};
use crate::lsn::Position;
use crate::mapping::{Format, Mapped, SinkMapper, TablePattern};
use crate::state::Reader;

/// A line of the output.
#[derive(Serialize)]
struct Line {
    event_id: String,
    op: &'static str,
    table: Option<String>,
    key: Option<Box<RawValue>>,
    /// What would be sent; none: nothing.
    would_send: Option<Box<RawValue>>,
    /// Why nothing would be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The versions of the mapping: by which it was delivered, and by which it would be.
    was: Option<u32>,
    would_be: Option<u32>,
    /// The fields of the data that differ between the two; none: nobody knows what was sent.
    differs: Option<Vec<String>>,
}

/// Mappers of the versions by which events were delivered.
struct Earlier<'a> {
    versions: Versions,
    reader: &'a Reader,
    mappers: BTreeMap<(String, u32), Option<SinkMapper>>,
}

/// Looks before anything is asked for: the version can be had; and says what the journal no longer
/// has of the window.
pub(super) fn look(args: &Args, config: &Config, reader: &Reader) -> Result<(), Failure> {
    if let Some(sink) = config.sinks.iter().find(|sink| sink.name == args.sink) {
        wanted(args, config, &versions(config, sink, reader)?, reader)?;
    }
    let archive = Archive::open(&config.state, reader).map_err(|error| broken(&error))?;
    say_begin(&window(args), &archive);
    Ok(())
}

/// Says where the journal begins, should that be behind where the window does.
fn say_begin(window: &Window, archive: &Archive) {
    match (window.from, archive.oldest()) {
        (Some(Moment::Lsn(from)), _) if Position::new(from, 0) < archive.begin() => {
            gone(Position::new(from, 0), archive.begin());
        }
        (Some(Moment::Time(from)), Some(oldest)) if from < oldest => {
            output::note(&format!("the oldest change in the journal is of {oldest}"));
        }
        _ => {}
    }
}

fn gone(from: Position, begin: Position) {
    output::note(&format!("not in the journal: what lies from {from} to {begin}"));
}

fn versions(config: &Config, sink: &Sink, reader: &Reader) -> Result<Versions, Failure> {
    let routes = config.routes_of(&sink.name);
    Ok(Versions { routes, source: inspect::label(reader)?, format: sink.format })
}

fn window(args: &Args) -> Window {
    let moment = |text: &str| text.parse::<Moment>().ok();
    let (from, to) = (moment(&args.from), args.to.as_deref().and_then(moment));
    Window { from, to, tables: None }
}

pub(super) fn run(args: &Args, config: &Config, sink: &Sink) -> Result<Exit, Failure> {
    let reader = asking::reader(config)?;
    let archive = Archive::open(&config.state, &reader).map_err(|error| broken(&error))?;
    let versions = versions(config, sink, &reader)?;
    let mut mapper = wanted(args, config, &versions, &reader)?;
    let mut earlier = Earlier { versions, reader: &reader, mappers: BTreeMap::new() };
    let table = args.table.as_deref().map(inspect::table).transpose()?;
    let window = window(args);
    say_begin(&window, &archive);
    let (mut count, mut differ, mut untold) = (0_u64, 0_u64, 0_u64);
    for chunk in archive.read(window.clone()) {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(journal::Error::Gone { from, begin }) => {
                gone(from, begin);
                continue;
            }
            Err(error) => return Err(broken(&error)),
        };
        let wanted = |entry: &&Entry| {
            window.holds(&chunk, entry)
                && entry.operation != Operation::Truncate
                && of_table(&chunk, entry, table.as_ref())
        };
        for entry in chunk.entries.iter().filter(wanted) {
            let alone = Arc::new(record::extract(&chunk, entry));
            let Some(line) = line(args, sink, &alone, &mut mapper, &mut earlier)? else { continue };
            count += 1;
            untold += u64::from(line.differs.is_none());
            differ += u64::from(line.differs.as_ref().is_some_and(|fields| !fields.is_empty()));
            let text = serde_json::to_string(&line).map_err(|e| Failure::of(Exit::Failed, &e))?;
            output::data(&format!("{text}\n"))?;
        }
    }
    let untold = match untold {
        0 => String::new(),
        untold => format!("; of {untold} nobody knows what was delivered"),
    };
    output::note(&format!("{count} events; {differ} differ from what was delivered{untold}"));
    Ok(Exit::Done)
}

/// Returns the mapper of the version that is asked for.
fn wanted(
    args: &Args,
    config: &Config,
    versions: &Versions,
    reader: &Reader,
) -> Result<SinkMapper, Failure> {
    let Some(version) = args.mapping_version else { return Ok(versions.today()) };
    let mut found = Vec::new();
    for route in &versions.routes {
        let Some(mapping) = &route.mapping else { continue };
        // Without an instance it runs for the first time now.
        if mapping.version == version && !asking::is_running(config) {
            continue;
        }
        let kept =
            asking::read(reader, |c| kept_mapping(c, &mapping.name, version, Some(mapping)))?;
        found.push(Arc::new(kept.map_err(|error| Failure::of(Exit::Usage, &error))?));
    }
    Ok(versions.at(&found))
}

fn of_table(chunk: &Chunk, entry: &Entry, table: Option<&TablePattern>) -> bool {
    let is = |table: &TablePattern| chunk.relation(entry).is_some_and(|r| table.matches(r));
    table.is_none_or(is)
}

fn line(
    args: &Args,
    sink: &Sink,
    chunk: &Arc<Chunk>,
    mapper: &mut SinkMapper,
    earlier: &mut Earlier<'_>,
) -> Result<Option<Line>, Failure> {
    let mut body = Vec::new();
    let mapped = mapper.map(chunk, 0, &mut body);
    let mapped = mapped.map_err(|error| Failure::of_stage(Exit::Failed, &error))?;
    let (draft, reason) = match mapped {
        Mapped::Event(draft) => (draft, None),
        Mapped::Rejected { draft, field, reason } => {
            (draft, Some(format!("rejected: field `{field}`: {reason}")))
        }
        Mapped::Unrouted | Mapped::Skipped { .. } => return Ok(None),
    };
    let key = draft.key.clone().and_then(|key| body.get(key)).map(<[u8]>::to_vec);
    let wanted = args.key.as_deref().and_then(|key| serde_json::from_str(key).ok());
    if !has_key(key.as_deref(), &wanted.unwrap_or_default()) {
        return Ok(None);
    }
    let sent = body.get(draft.body.clone()).unwrap_or_default().to_vec();
    let (id, key_hash) = (draft.id, draft.key_hash);
    let fate = asking::read(earlier.reader, |c| fate(c, &sink.name, id, key_hash))?;
    let was = match &fate {
        Fate::Delivered(record) => {
            let same = record.routes.iter().find(|route| route.name == draft.route.name);
            same.map(|route| route.mapping.clone())
        }
        Fate::SetAside(letter) if letter.state == "delivered" => Some(letter.mapping.clone()),
        Fate::SetAside(_) | Fate::Untold => None,
    };
    let differs = match &was {
        None => None,
        Some(None) if draft.route.mapping.is_none() => Some(Vec::new()),
        Some(was) if *was == draft.route.mapping => Some(Vec::new()),
        Some(None) => None,
        Some(Some(was)) => {
            let format = sink.format;
            earlier.body(was, chunk)?.map(|before| differing(format, &before, &sent))
        }
    };
    let relation = chunk.entries.first().and_then(|entry| chunk.relation(entry));
    Ok(Some(Line {
        event_id: id.to_string(),
        op: draft.operation.as_str(),
        table: relation.map(|relation| relation.quoted_name()),
        key: key.as_deref().and_then(raw),
        would_send: if reason.is_some() { None } else { raw(&sent) },
        reason,
        was: was.flatten().map(|(_, version)| version),
        would_be: draft.route.mapping.as_ref().map(|(_, version)| *version),
        differs,
    }))
}

impl Earlier<'_> {
    /// Returns what a version of a mapping made of the change; none when nobody can tell.
    fn body(
        &mut self,
        mapping: &(String, u32),
        chunk: &Arc<Chunk>,
    ) -> Result<Option<Vec<u8>>, Failure> {
        if !self.mappers.contains_key(mapping) {
            let (name, version) = mapping;
            let today = mapping_today(&self.versions.routes, name).map(Arc::as_ref);
            let kept = asking::read(self.reader, |c| kept_mapping(c, name, *version, today))?;
            let mapper = kept.ok().map(|kept| self.versions.at(&[Arc::new(kept)]));
            self.mappers.insert(mapping.clone(), mapper);
        }
        let Some(Some(mapper)) = self.mappers.get_mut(mapping) else { return Ok(None) };
        let mut body = Vec::new();
        let mapped = mapper.map(chunk, 0, &mut body);
        Ok(match mapped.map_err(|error| Failure::of_stage(Exit::Failed, &error))? {
            Mapped::Event(draft) => body.get(draft.body).map(<[u8]>::to_vec),
            Mapped::Rejected { .. } | Mapped::Skipped { .. } | Mapped::Unrouted => None,
        })
    }
}

/// Returns the fields of the data that differ.
fn differing(format: Format, before: &[u8], after: &[u8]) -> Vec<String> {
    type Members = BTreeMap<String, Box<RawValue>>;
    let fields = |body: &[u8]| -> BTreeMap<String, String> {
        let text = std::str::from_utf8(body).unwrap_or_default();
        let whole: Members = serde_json::from_str(text).unwrap_or_default();
        let member = |name: &str| serde_json::from_str(whole.get(name)?.get()).ok();
        let data: Members = match format {
            Format::Walgate | Format::CloudEvents => member("data").unwrap_or_default(),
            Format::Mapped => whole,
            // Of a delete the one is null.
            Format::Debezium => member("after").or_else(|| member("before")).unwrap_or_default(),
        };
        data.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect()
    };
    let (before, after) = (fields(before), fields(after));
    let mut names: Vec<String> = before
        .keys()
        .chain(after.keys())
        .filter(|name| before.get(*name) != after.get(*name))
        .cloned()
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn raw(json: &[u8]) -> Option<Box<RawValue>> {
    serde_json::from_str(std::str::from_utf8(json).ok()?).ok()
}

fn broken(error: &journal::Error) -> Failure {
    Failure::of(Exit::Failed, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_differ_by_their_text_in_each_format() {
        let (one, other) = (r#"{"a":1,"b":"s","c":null}"#, r#"{"a":1.0,"b":"s","d":null}"#);
        for (format, start, end) in [
            (Format::Walgate, r#"{"id":"x","data":"#, "}"),
            (Format::CloudEvents, r#"{"id":"x","data":"#, "}"),
            (Format::Mapped, "", ""),
            (Format::Debezium, r#"{"before":{"c":1},"after":"#, "}"),
            (Format::Debezium, r#"{"before":"#, r#","after":null}"#),
        ] {
            let body = |data: &str| format!("{start}{data}{end}").into_bytes();
            assert_eq!(differing(format, &body(one), &body(other)), ["a", "c", "d"]);
            assert_eq!(differing(format, &body(one), &body(one)), Vec::<String>::new());
        }
    }
}
