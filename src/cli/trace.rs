//! `walgate trace`: the life of one row, from the journal, what was delivered and the dead letters.

use super::failure::{Exit, Failure};
use super::{Global, asking, output};
use crate::inspect::trace::{self, Asked, Told, Walked};
use crate::journal::Moment;
use crate::state::{self, State};

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
    let reader = match State::open_reader(&config.state) {
        Err(state::Error::Missing { .. }) => {
            output::note("nothing has run with this state folder yet");
            return Ok(Exit::Done);
        }
        opened => opened.map_err(|error| Failure::of_stage(Exit::Failed, &error))?,
    };
    let asked = Asked {
        table: &args.table,
        key: &args.key,
        sink: args.sink.as_deref(),
        from: args.from,
        to: args.to,
    };
    let walked = trace::walk(asked, &config, &reader, |told| say(&told, args.json))?;
    for (from, begin) in &walked.trimmed {
        output::note(&format!(
            "no longer here: the journal was trimmed meanwhile, from {from} to {begin}"
        ));
    }
    if !walked.has_found {
        say_nothing_found(args, &walked);
    }
    Ok(Exit::Done)
}

fn say(told: &[Told], json: bool) -> Result<(), Failure> {
    let mut out = String::new();
    for told in told {
        if json {
            let line = serde_json::to_string(told);
            out.push_str(&line.map_err(|error| Failure::of(Exit::Failed, &error))?);
            out.push('\n');
        } else {
            out.push_str(&told.text());
        }
    }
    output::data(&out)
}

fn say_nothing_found(args: &Args, walked: &Walked) {
    if walked.is_empty {
        output::note("nothing found: the journal is empty, or off");
        return;
    }
    let within = if args.from.is_some() || args.to.is_some() { " in this window" } else { "" };
    let since = match walked.oldest {
        Some(oldest) => format!("; the journal goes back to {oldest}"),
        None => String::new(),
    };
    output::note(&format!("nothing found{within} of {} {}{since}", args.table, args.key));
}
