//! The life of one row: each change of it that the journal has, and what became of that at each
//! sink.

mod key;
mod life;
mod text;
mod told;

use std::collections::BTreeMap;

pub use key::{Bond, Key, Place};
pub use told::{AtSink, Mapping, Told, ToldTry};

use self::life::{Event, Life, Wanted};
use super::Error;
use crate::config::{Config, suggestion};
use crate::delivery::{Fate, fate};
use crate::journal::{self, Archive, Moment, Window};
use crate::lsn::{Position, Timestamp};
use crate::progress::store::{self, Stored};
use crate::state::Reader;

/// Changes whose fates are looked up in one go: what bounds memory, and how long a look takes.
const PAGE_MAX: usize = 256;

/// Whose life, and which part of it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The table, as SQL would quote it.
    pub table: &'a str,
    /// The key, as a JSON object of its columns.
    pub key: &'a str,
    /// Of one sink alone; none: of all.
    pub sink: Option<&'a str>,
    /// From then on.
    pub from: Option<Moment>,
    /// Up to then.
    pub to: Option<Moment>,
}

/// How the look through the journal went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// There was something of the row.
    pub has_found: bool,
    /// What was trimmed while it was looked at.
    pub trimmed: Vec<(Position, Position)>,
    /// The journal is empty, or off.
    pub is_empty: bool,
    /// When the oldest commit in it was made.
    pub oldest: Option<Timestamp>,
}

/// Goes through the journal and gives what it finds to `each`, oldest first, some at a time.
///
/// # Errors
/// [`Error::Asked`] for a key or table that is none, [`Error::Missing`] for a sink that is not
/// there, [`Error::Unfit`] for a key that is not the table's; others when state or journal can't be read; what `each` returns.
pub fn walk<E: From<Error>>(
    asked: Asked<'_>,
    config: &Config,
    reader: &Reader,
    mut each: impl FnMut(Vec<Told>) -> Result<(), E>,
) -> Result<Walked, E> {
    let key = Key::parse(asked.key)?;
    let table = super::table(asked.table)?;
    let sinks = sinks(config, asked.sink)?;
    let archive = Archive::open(&config.state, reader).map_err(Error::Journal)?;
    let label = super::label(reader)?;
    let mut life = Life::new(&key, config, &sinks, &label);
    let tables = archive.tables(|relation| table.matches(relation)).map_err(Error::Journal)?;
    let window = Window { from: asked.from, to: asked.to, tables: Some(tables) };
    let mut page: Vec<Event> = Vec::new();
    let mut walked = Walked {
        has_found: false,
        trimmed: Vec::new(),
        is_empty: archive.is_empty(),
        oldest: archive.oldest(),
    };
    for chunk in archive.read(window.clone()) {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(journal::Error::Gone { from, begin }) => {
                walked.trimmed.push((from, begin));
                continue;
            }
            Err(error) => return Err(Error::Journal(error).into()),
        };
        let events = life.of(&chunk, |entry| window.holds(&chunk, entry));
        let events = events.map_err(Error::Mapping)?;
        walked.has_found |= !events.is_empty();
        for event in events {
            page.push(event);
            if page.len() >= PAGE_MAX {
                each(tell(std::mem::take(&mut page), reader)?)?;
            }
        }
    }
    each(tell(page, reader)?)?;
    if let Some(keys) = life.wrong_key() {
        let key = |columns: &Vec<String>| format!("{{{}}}", columns.join(", "));
        let keys: Vec<String> = keys.iter().map(key).collect();
        let message = format!("{} has another key", asked.table);
        let help = format!("its key is {}", keys.join(" or "));
        return Err(Error::Unfit { message, help }.into());
    }
    Ok(walked)
}

/// Looks up what became of these changes.
fn tell(events: Vec<Event>, reader: &Reader) -> Result<Vec<Told>, Error> {
    let mut fates: Vec<Vec<Fate>> = Vec::with_capacity(events.len());
    let progress: BTreeMap<String, Stored> = reader.read(|connection| {
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
    })?;
    let told = events.into_iter().zip(fates);
    Ok(told.map(|(event, fates)| Told::new(event, fates, &progress)).collect())
}

/// Returns the names of the sinks to look at.
fn sinks<'c>(config: &'c Config, wanted: Option<&str>) -> Result<Vec<&'c str>, Error> {
    let names: Vec<&str> = config.sinks.iter().map(|sink| sink.name.as_str()).collect();
    let Some(wanted) = wanted else { return Ok(names) };
    if let Some(name) = names.iter().find(|name| **name == wanted) {
        return Ok(vec![name]);
    }
    let meant = suggestion(wanted, names.iter().copied());
    let meant = meant.map(|meant| format!("; did you mean \"{meant}\"?")).unwrap_or_default();
    let message = format!("there is no sink \"{wanted}\"{meant}");
    Err(Error::Missing { message, help: format!("the config has {}", names.join(", ")) })
}
