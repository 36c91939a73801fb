//! `walgate mappings`: the versions of mappings, in what they differ, and what the next would do.

mod shadow;
mod versions;

use super::failure::{Exit, Failure};
use super::{Global, output};
use crate::config::Config;
use crate::delivery::{KeptMapping, kept_mappings};
use crate::state::{self, State};
use versions::Version;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate mappings list
  walgate mappings show contact@2
  walgate mappings diff contact              # the newest that ran, against the config's
  walgate mappings shadow contact            # what [mapping.contact.next] would do otherwise

Only reads, with or without a running instance; before the first run there is the config alone.")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists the versions that ran, and those of the config
    #[command(after_help = "Example:\n  walgate mappings list --json | jq 'select(.today)'")]
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Shows the fields of a version: of the config unless @VERSION names another
    #[command(after_help = "Example:\n  walgate mappings show contact@2")]
    Show {
        /// The mapping, and with @ its version
        #[arg(value_name = "NAME[@VERSION]")]
        name: String,
        /// One JSON document: the canonical form, of which the hash is
        #[arg(long)]
        json: bool,
    },
    /// Says in what two versions differ; ends with 0 also where they do
    #[command(after_help = "Example:\n  walgate mappings diff contact 2 3")]
    Diff {
        /// The mapping
        name: String,
        /// The older version; the newest that ran unless given
        from: Option<u32>,
        /// The newer version; the config's unless given
        to: Option<u32>,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Says how often the next version of a mapping would differ, and in what
    #[command(after_help = "Example:\n  walgate mappings shadow contact --json | jq .fields")]
    Shadow {
        /// The mapping; all that have a next version unless given
        name: Option<String>,
        /// One JSON object a mapping
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    match &args.command {
        Command::List { json } => versions::list(&config, &all(&config)?, *json),
        Command::Show { name, json } => versions::show(&all(&config)?, name, *json),
        Command::Diff { name, from, to, json } => {
            versions::diff(&all(&config)?, name, *from, *to, *json)
        }
        Command::Shadow { name, json } => shadow::run(&config, name.as_deref(), *json),
    }
}

/// Returns the versions that ran and those of the config, by name and number; of one that both have
/// and that is not the same, both.
fn all(config: &Config) -> Result<Vec<Version>, Failure> {
    let kept: Vec<KeptMapping> = read(config, kept_mappings)?.unwrap_or_default();
    let mut all: Vec<Version> = kept.into_iter().map(Version::kept).collect();
    for (mapping, is_next) in config
        .mappings
        .iter()
        .map(|mapping| (mapping, false))
        .chain(config.nexts.iter().map(|mapping| (mapping, true)))
    {
        let (hash, version) = (mapping.hash(), mapping.version);
        let same = all.iter_mut().find(|known| {
            known.name == mapping.name && known.version == version && known.hash == hash
        });
        match same {
            Some(known) if is_next => known.is_next = true,
            Some(known) => known.is_today = true,
            None => all.push(Version::of_config(mapping, is_next)),
        }
    }
    all.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
    Ok(all)
}

/// Reads something of the state; none where nothing has run yet.
fn read<T>(
    config: &Config,
    work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>,
) -> Result<Option<T>, Failure> {
    let reader = match State::open_reader(&config.state) {
        Err(state::Error::Missing { .. }) => return Ok(None),
        opened => opened.map_err(|error| super::asking::failed(&error))?,
    };
    super::asking::read(&reader, work).map(Some)
}

/// Writes an object a line.
fn line(value: &serde_json::Value) -> Result<(), Failure> {
    output::data(&format!("{value}\n"))
}
