//! Whether what was asked for by name is there at all: a slip is no empty answer.

use crate::cli::asking;
use crate::cli::failure::{Exit, Failure};
use crate::config::{Config, suggestion};
use crate::delivery::{DeadLetterFilter, missing_dead_letters, owners_of_dead_letters};
use crate::progress::known::{self, Kind};
use crate::state::Reader;

/// Refuses a sink or route that neither the config nor the state knows. Of one that was removed
/// dead letters may be left.
pub(super) fn check(
    config: &Config,
    reader: &Reader,
    filter: &DeadLetterFilter,
) -> Result<(), Failure> {
    if filter.sink.is_none() && filter.route.is_none() {
        return Ok(());
    }
    let known = asking::read(reader, known::load)?;
    let (sinks, routes) = asking::read(reader, owners_of_dead_letters)?;
    let of = |kind: Kind| known.iter().filter(move |(it, ..)| *it == kind).map(|(_, name, _)| name);
    if let Some(sink) = &filter.sink {
        let own = config.sinks.iter().map(|sink| &sink.name);
        has(Kind::Sink, sink, own.chain(of(Kind::Sink)).chain(&sinks))?;
    }
    if let Some(route) = &filter.route {
        let own = config.routes.iter().map(|route| &route.name);
        has(Kind::Route, route, own.chain(of(Kind::Route)).chain(&routes))?;
    }
    Ok(())
}

/// As [`check`]; refuses numbers too that no dead letter has.
pub(super) fn check_all(
    config: &Config,
    reader: &Reader,
    filter: &DeadLetterFilter,
) -> Result<(), Failure> {
    check(config, reader, filter)?;
    let missing = asking::read(reader, |connection| missing_dead_letters(connection, &filter.ids))?;
    if missing.is_empty() {
        return Ok(());
    }
    let numbers: Vec<String> = missing.iter().map(i64::to_string).collect();
    let message = format!("there is no dead letter {}", numbers.join(", "));
    Err(Failure::new(Exit::Usage, message).help("`walgate dlq list` has the numbers"))
}

fn has<'n>(kind: Kind, name: &str, names: impl Iterator<Item = &'n String>) -> Result<(), Failure> {
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    if names.contains(&name) {
        return Ok(());
    }
    names.sort_unstable();
    names.dedup();
    let word = kind.as_str();
    let message = format!("neither the config nor the state knows a {word} \"{name}\"");
    Err(Failure::new(Exit::Usage, message).help(match suggestion(name, names.iter().copied()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("there is {}", names.join(", ")),
    }))
}
