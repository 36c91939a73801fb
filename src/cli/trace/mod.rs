//! `walgate trace`: the life of one row, from the journal, what was delivered and the dead letters.

pub(super) mod key;
mod life;
mod tell;

use std::collections::BTreeMap;

use self::key::Key;
use self::life::{Event, Life, Wanted};
use self::tell::Told;
use super::failure::{Exit, Failure};
use super::{Global, asking, output};
use crate::config::{Config, suggestion};
use crate::delivery::{Fate, fate};
use crate::journal::{self, Archive, Moment, Window};
use crate::mapping::{SourceLabel, TablePattern};
use crate::progress::store::{self, Stored};
use crate::state::{self, Reader, State, meta};

/// Changes whose fates are looked up in one go: what bounds memory, and how long a look takes.
const PAGE_MAX: usize = 256;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate trace --table public.customers --key '{\"id\": 42}'
  walgate trace --table public.customers --key '{\"id\": 42}' --sink crm --from 2026-11-23T00:00:00Z
  walgate trace --table public.customers --key '{\"id\": 42}' --json | jq '.sinks[].state'

Only reads, with or without a running instance; the database is not asked. Goes back as far as the
journal does.")]
pub(super) struct Args {
    /// The table
    #[arg(long, value_name = "SCHEMA.TABLE")]
    table: String,
    /// The row's key, as JSON: every column of the route's key
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    key: String,
    /// One JSON object a change
    #[arg(long)]
    json: bool,
    /// One sink alone
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// From then on: a time (RFC 3339) or an LSN
    #[arg(long, value_name = "T")]
    from: Option<Moment>,
    /// Up to then
    #[arg(long, value_name = "T")]
    to: Option<Moment>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    asking::needs_journal(&config)?;
    let key = Key::parse(&args.key)?;
    let table = table(&args.table)?;
    let sinks = sinks(&config, args.sink.as_deref())?;
    let reader = match State::open_reader(&config.state) {
        Err(state::Error::Missing { .. }) => {
            output::note("nothing has run with this state folder yet");
            return Ok(Exit::Done);
        }
        opened => opened.map_err(|error| Failure::of_stage(Exit::Failed, &error))?,
    };
    let archive = Archive::open(&config.state, &reader).map_err(|error| broken(&error))?;
    let label = label(&reader)?;
    let mut life = Life::new(&key, &config, &sinks, &label);
    let found = walk(args, &table, &archive, &reader, &mut life)?;
    if let Some(keys) = life.wrong_key() {
        let key = |columns: &Vec<String>| format!("{{{}}}", columns.join(", "));
        let keys: Vec<String> = keys.iter().map(key).collect();
        let message = format!("{} has another key than --key", args.table);
        return Err(
            Failure::new(Exit::Usage, message).help(format!("its key is {}", keys.join(" or ")))
        );
    }
    if !found {
        say_nothing_found(args, &archive);
    }
    Ok(Exit::Done)
}

/// Goes through the journal and tells what it finds. Returns whether there was anything.
fn walk(
    args: &Args,
    table: &TablePattern,
    archive: &Archive,
    reader: &Reader,
    life: &mut Life<'_>,
) -> Result<bool, Failure> {
    let tables = archive.tables(|relation| table.matches(relation));
    let tables = Some(tables.map_err(|error| broken(&error))?);
    let window = Window { from: args.from, to: args.to, tables };
    let mut page: Vec<Event> = Vec::new();
    let mut found = false;
    for chunk in archive.read(window.clone()) {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(journal::Error::Gone { from, begin }) => {
                output::note(&format!(
                    "no longer here: the journal was trimmed meanwhile, from {from} to {begin}"
                ));
                continue;
            }
            Err(error) => return Err(broken(&error)),
        };
        let events = life.of(&chunk, |entry| window.holds(&chunk, entry));
        let events = events.map_err(|error| Failure::of_stage(Exit::Failed, &error))?;
        found |= !events.is_empty();
        for event in events {
            page.push(event);
            if page.len() >= PAGE_MAX {
                tell(std::mem::take(&mut page), reader, args.json)?;
            }
        }
    }
    tell(page, reader, args.json)?;
    Ok(found)
}

/// Looks up what became of these changes, and prints it.
fn tell(events: Vec<Event>, reader: &Reader, json: bool) -> Result<(), Failure> {
    let mut fates: Vec<Vec<Fate>> = Vec::with_capacity(events.len());
    let progress = reader.read(|connection| {
        for event in &events {
            let of = |taker: &life::Taker| {
                let key_hash = match taker.wanted {
                    Wanted::Sent(key_hash) => key_hash,
                    Wanted::Skipped(_) => 0,
                };
                fate(connection, &taker.sink, event.id, key_hash)
            };
            fates.push(event.takers.iter().map(of).collect::<rusqlite::Result<_>>()?);
        }
        store::load_all(connection)
    });
    let progress: BTreeMap<String, Stored> =
        progress.map_err(|error| Failure::of_stage(Exit::Failed, &error))?;
    let mut out = String::new();
    for (event, fates) in events.into_iter().zip(fates) {
        let told = Told::new(event, fates, &progress);
        if json {
            let line = serde_json::to_string(&told);
            out.push_str(&line.map_err(|error| Failure::of(Exit::Failed, &error))?);
            out.push('\n');
        } else {
            out.push_str(&told.text());
        }
    }
    output::data(&out)
}

fn say_nothing_found(args: &Args, archive: &Archive) {
    if archive.is_empty() {
        output::note("nothing found: the journal is empty, or off");
        return;
    }
    let within = if args.from.is_some() || args.to.is_some() { " in this window" } else { "" };
    let since = match archive.oldest() {
        Some(oldest) => format!("; the journal goes back to {oldest}"),
        None => String::new(),
    };
    output::note(&format!("nothing found{within} of {} {}{since}", args.table, args.key));
}

pub(super) fn table(text: &str) -> Result<TablePattern, Failure> {
    let wrong = |message: String| Failure::new(Exit::Usage, format!("--table: {message}"));
    let pattern = TablePattern::parse(text).map_err(|error| wrong(error.to_string()))?;
    match pattern.literal() {
        Some(_) => Ok(pattern),
        None => Err(wrong("one table is wanted, without a glob".to_owned())),
    }
}

/// Returns the names of the sinks to look at.
fn sinks<'c>(config: &'c Config, wanted: Option<&str>) -> Result<Vec<&'c str>, Failure> {
    let names: Vec<&str> = config.sinks.iter().map(|sink| sink.name.as_str()).collect();
    let Some(wanted) = wanted else { return Ok(names) };
    if let Some(name) = names.iter().find(|name| **name == wanted) {
        return Ok(vec![name]);
    }
    let meant = suggestion(wanted, names.iter().copied());
    let meant = meant.map(|meant| format!("; did you mean \"{meant}\"?")).unwrap_or_default();
    Err(Failure::new(Exit::Usage, format!("there is no sink \"{wanted}\"{meant}"))
        .help(format!("the config has {}", names.join(", "))))
}

/// What events say of their source.
pub(super) fn label(reader: &Reader) -> Result<SourceLabel, Failure> {
    let meta = reader.read(meta::load);
    let meta = meta.map_err(|error| Failure::of_stage(Exit::Failed, &error))?;
    let label = |identity: meta::Identity| SourceLabel {
        system: identity.system_id,
        database: identity.database,
        slot: identity.slot,
    };
    Ok(meta.identity.map(label).unwrap_or_default())
}

fn broken(error: &journal::Error) -> Failure {
    Failure::of(Exit::Failed, error)
}
