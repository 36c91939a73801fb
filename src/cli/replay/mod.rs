//! `walgate replay`: a part of the journal is sent to a sink again.

mod dry;
mod telling;

use std::cell::Cell;

use tokio_util::sync::CancellationToken;

use self::telling::Telling;
use super::failure::{Exit, Failure};
use super::{Global, asking, output, run};
use crate::config::unit;
use crate::delivery::WindowProgress;
use crate::inspect;
use crate::inspect::request::{Outcome, Request};
use crate::journal::Moment;
use crate::pipeline;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate replay --sink crm --from 2026-11-23T10:00:00Z --to 2026-11-23T11:00:00Z --dry-run
  walgate replay --sink crm --from 0/17C8338 --table public.customers --rate 50/s

The events are the same as they were, with the header `walgate-replay: true`, in order per key.
Works beside a running instance, which then does the sending, and without one.")]
pub(super) struct Args {
    /// The sink
    #[arg(long, value_name = "NAME")]
    sink: String,
    /// From then on: a time (RFC 3339) or an LSN
    #[arg(long, value_name = "T", value_parser = moment)]
    from: String,
    /// Up to then; up to the present unless given
    #[arg(long, value_name = "T", value_parser = moment)]
    to: Option<String>,
    /// Of this table
    #[arg(long, value_name = "SCHEMA.TABLE")]
    table: Option<String>,
    /// With these columns in the key: {"id": 42}
    #[arg(long, value_name = "JSON", allow_hyphen_values = true, value_parser = key)]
    key: Option<String>,
    /// Map with this version of the mapping
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    mapping_version: Option<u32>,
    /// So many events at most: 50/s
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Option<String>,
    /// Send nothing: print what would be sent, and what differs from what was
    #[arg(long)]
    dry_run: bool,
    /// Don't wait for its end
    #[arg(long, conflicts_with = "dry_run")]
    no_wait: bool,
}

fn moment(text: &str) -> Result<String, String> {
    text.parse::<Moment>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn key(text: &str) -> Result<String, String> {
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
        Ok(columns) if !columns.is_empty() => Ok(text.to_owned()),
        _ => Err("a JSON object of the key's columns is needed: {\"id\": 42}".to_owned()),
    }
}

fn rate(text: &str) -> Result<String, String> {
    let rate = unit::rate(text).map(|_| text.to_owned());
    rate.ok_or_else(|| "a rate such as 50/s or 1000/m is needed".to_owned())
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    asking::needs_journal(&config)?;
    let names = config.sinks.iter().map(|sink| sink.name.as_str()).collect();
    asking::has("sink", &args.sink, names)?;
    args.table.as_deref().map(inspect::table).transpose()?;
    if args.dry_run {
        let sink = config.sinks.iter().find(|sink| sink.name == args.sink);
        return sink.map_or(Ok(Exit::Done), |sink| dry::run(args, &config, sink));
    }
    let reader = asking::reader(&config)?;
    dry::look(args, &config, &reader)?;
    let what = Request::Replay {
        sink: args.sink.clone(),
        from: args.from.clone(),
        to: args.to.clone(),
        table: args.table.clone(),
        key: args.key.clone(),
        mapping_version: args.mapping_version,
        rate: args.rate.clone(),
    };
    if asking::is_running(&config) {
        let mut told = Telling::new(&reader, &args.sink);
        let wait = !args.no_wait;
        let (_, answer) = asking::ask_and(&config, &what, |progress| {
            told.progress(progress)?;
            Ok(wait)
        })
        .await?;
        drop(told);
        let Some(window) = answer.window else {
            output::note("the replay is under way");
            return Ok(Exit::Done);
        };
        return Ok(say(&window));
    }
    if args.no_wait {
        let message = "no instance runs that could send them while nobody waits";
        return Err(Failure::new(Exit::Usage, message).help("leave --no-wait out"));
    }
    let stop = CancellationToken::new();
    let request = Cell::new(None);
    let operated = pipeline::operate(config, what, stop.clone(), |id, _| request.set(Some(id)));
    let operated = tokio::select! {
        operated = operated => operated,
        second = run::signals(stop.clone()) => {
            let message = format!("stopped at once by a second {second}; the rest waits");
            return Err(Failure::new(Exit::Failed, message));
        }
        told = telling::follow(&reader, &args.sink, &request) => return told.map(|()| Exit::Failed),
    };
    operated
        .map_err(|error| Failure::of_stage(run::exit(error.ending()), &error))?
        .map_err(|reason| Failure::new(Exit::Failed, reason))?;
    let Some(id) = request.get() else { return Ok(Exit::Done) };
    match asking::read(&reader, |connection| crate::state::request::answer(connection, id))? {
        Some(crate::state::request::Answer::Done(text)) => {
            let answer: Outcome = serde_json::from_str(&text).unwrap_or_default();
            Ok(say(&answer.window.unwrap_or_default()))
        }
        Some(crate::state::request::Answer::Failed(reason)) => {
            Err(Failure::new(Exit::Failed, reason))
        }
        _ => {
            output::note("stopped; the rest goes on with the next run");
            Ok(Exit::Done)
        }
    }
}

/// Says what came of it.
fn say(window: &WindowProgress) -> Exit {
    let WindowProgress { sent, delivered, set_aside, left_out, not_wanted, refused, .. } = window;
    let mut said = format!("{sent} events were sent again, {delivered} of them delivered");
    for (count, what) in [
        (set_aside, "are among the dead letters now (`walgate dlq list`)"),
        (left_out, "were left out: they wait among the dead letters, or are a TRUNCATE"),
        (not_wanted, "are skipped by their route or mapping"),
        (refused, "are refused by their mapping (`--dry-run` says why)"),
    ] {
        if *count > 0 {
            said.push_str(&format!("; {count} {what}"));
        }
    }
    output::note(&said);
    if *set_aside > 0 || *refused > 0 { Exit::Rejected } else { Exit::Done }
}
