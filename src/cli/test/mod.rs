//! `walgate test`: what becomes of the rows that the config's tests name, and of real ones.

mod block;
mod disguise;
mod event;

use std::sync::Arc;

use serde::Serialize;

use super::failure::{Exit, Failure};
use super::{Global, output};
use crate::config::Config;
use crate::inspect::proof::{self, Told};
use crate::mapping::{Case, Mapping, Mismatch};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate test
  walgate test --json | jq '.tests[] | select(.ok | not)'
  walgate test --from-dlq 42 >> walgate.toml
  walgate test --from-journal --table public.customers --key '{\"id\": 42}'
  walgate test --from-journal 00000001-00000000017C8338-00000003

Needs no database. Ends with 1 when a test fails. --from-dlq and --from-journal print a test made of
a real event, with what the mapping makes of it today; a column that a field masks gets a made-up
value with which the row meets the same fate; where none is found, a comment says so.")]
pub(super) struct Args {
    /// One JSON document
    #[arg(long)]
    json: bool,
    /// Prints a test made of this dead letter
    #[arg(long, value_name = "ID", conflicts_with_all = ["json", "from_journal"])]
    from_dlq: Option<i64>,
    /// Prints a test made of this event of the journal, or of the last one of --table and --key
    #[arg(long, value_name = "EVENT_ID", num_args = 0..=1, default_missing_value = "",
          conflicts_with = "json")]
    from_journal: Option<String>,
    /// The table of --from-journal
    #[arg(long, value_name = "SCHEMA.TABLE", requires_all = ["from_journal", "key"])]
    table: Option<String>,
    /// The row's key, as JSON: every column of the route's key
    #[arg(long, value_name = "JSON", allow_hyphen_values = true, requires = "table")]
    key: Option<String>,
    /// As this sink's routes map it; every mapping that takes the event unless given
    #[arg(long, value_name = "NAME", requires = "from_journal")]
    sink: Option<String>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    if let Some(id) = args.from_dlq {
        return block::print(&config, &event::of_dead_letter(&config, id)?);
    }
    if let Some(id) = &args.from_journal {
        let found = match (&args.table, &args.key) {
            (Some(table), Some(key)) if id.is_empty() => {
                event::of_key(&config, table, key, args.sink.as_deref())?
            }
            _ if !id.is_empty() => event::of_id(&config, id, args.sink.as_deref())?,
            _ => {
                let message = "--from-journal needs an event's id, or --table and --key";
                return Err(Failure::new(Exit::Usage, message));
            }
        };
        return block::print(&config, &found);
    }
    all(&config, args.json, global.quiet > 0)
}

/// Runs every test of the config.
fn all(config: &Config, json: bool, is_quiet: bool) -> Result<Exit, Failure> {
    let mut failed = 0_usize;
    let mut told = Vec::new();
    for case in &config.tests {
        let Some(mapping) = config.mappings.iter().find(|mapping| mapping.name == case.mapping)
        else {
            continue;
        };
        let mismatches = mismatches(config, case, mapping)?;
        failed += usize::from(!mismatches.is_empty());
        if json {
            told.push(Told::of(case, mismatches));
        } else if !is_quiet || !mismatches.is_empty() {
            output::data(&text(case, &mismatches))?;
        }
    }
    let passed = config.tests.len() - failed;
    if json {
        output::json(&Document { passed, failed, tests: told })?;
    } else if config.tests.is_empty() {
        output::note("there are no tests: add [[mapping.NAME.test]]");
    } else if !is_quiet {
        output::data(&format!("{passed} passed, {failed} failed\n"))?;
    }
    Ok(if failed > 0 { Exit::Failed } else { Exit::Done })
}

/// Runs one test.
fn mismatches(
    config: &Config,
    case: &Case,
    mapping: &Arc<Mapping>,
) -> Result<Vec<Mismatch>, Failure> {
    proof::mismatches(config, case, mapping).map_err(|error| {
        let message = format!("test \"{}\" of mapping {}", case.name, case.mapping);
        Failure::new(Exit::Failed, format!("{message}: {}", crate::failure::chain(&error)))
    })
}

fn text(case: &Case, mismatches: &[Mismatch]) -> String {
    let word = if mismatches.is_empty() { "ok  " } else { "FAIL" };
    let mut text = format!("{word} {}: {}\n", case.mapping, case.name);
    for mismatch in mismatches {
        text.push_str(&format!("       {mismatch}\n"));
    }
    text
}

/// What `--json` says of all tests.
#[derive(Serialize)]
struct Document {
    passed: usize,
    failed: usize,
    tests: Vec<Told>,
}
