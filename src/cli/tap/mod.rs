//! `walgate tap`: changes as they commit, from a slot of its own.

mod lines;
mod out;

use std::time::Duration;

use tokio::time::sleep;

use self::lines::{Lines, Wanted};
use super::failure::{Exit, Failure};
use super::{Global, duration, map, output, run};
use crate::config::Config;
use crate::failure::chain;
use crate::lsn::Lsn;
use crate::mapping::{Route, Selector, SourceLabel, TablePattern};
use crate::source::{self, Catalog, Confirmer, Ending, Opened, Reader, Received, Writer};

/// How long the server is given to take the last word: then its slot is gone at once.
const FAREWELL: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate tap                                          # every change of the publication's tables
  walgate tap --table 'public.*' --limit 10
  walgate tap --route customers-to-crm | jq .data      # what that route would send

One JSON object a line, as a sink with format \"walgate\" gets it; masked fields stay masked. Reads
a temporary slot: it moves no position, sends nothing, and needs no running instance and no state
folder. Ends with Ctrl-C.")]
pub(super) struct Args {
    /// Only changes of these tables; globs as in routes
    #[arg(long, value_name = "SCHEMA.TABLE")]
    table: Option<String>,
    /// Only what this route would send
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// End after so many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// End after so long
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    time: Option<Duration>,
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    let wrong = |error| Failure::new(Exit::Usage, format!("--table: {error}"));
    let table = args.table.as_deref().map(TablePattern::parse).transpose().map_err(wrong)?;
    let route = args.route.as_deref().map(|name| map::route(&config, name)).transpose()?;
    let asked_to_end = async {
        tokio::select! {
            () = run::signalled() => {}
            () = out::reader_gone() => {}
        }
    };
    let mut asked_to_end = Box::pin(asked_to_end);
    let attached = tokio::select! {
        attached = attach(&config) => attached?,
        () = &mut asked_to_end => return Ok(Exit::Done),
    };
    is_published(&config, table.as_ref(), route.map(AsRef::as_ref)).await?;
    if global.quiet == 0 {
        let from = attached.2.started_at;
        output::note(&format!("tapping what commits from {from} on; Ctrl-C ends it"));
    }
    let wanted = Wanted {
        table,
        route: route.map(|route| route.name.clone()),
        limit: args.limit.unwrap_or(u64::MAX),
        says_skips: global.verbose > 0,
    };
    let end = async {
        tokio::select! {
            () = asked_to_end => {}
            () = passed(args.time) => {}
        }
    };
    tap(&config, wanted, attached, end).await
}

/// Shows what is wanted until `end`.
async fn tap(
    config: &Config,
    wanted: Wanted,
    (mut reader, writer, opened): (Reader, Writer, Opened),
    end: impl Future<Output = ()>,
) -> Result<Exit, Failure> {
    let Opened { identity, confirmer, .. } = opened;
    let source::Identity { system_id: system, database, slot, .. } = identity;
    let mut lines = Lines::new(config, wanted, &SourceLabel { system, database, slot });
    let mut writing = Box::pin(writer.run());
    tokio::select! {
        shown = show(&mut reader, &mut lines, &confirmer) => shown?,
        broken = &mut writing => {
            return Err(ended_by(&broken.err().unwrap_or(source::Error::Closed)));
        }
        () = end => {}
    }
    confirmer.finish();
    // The read half lives on until then: with it the writer would give up its own.
    let _in_time = tokio::time::timeout(FAREWELL, writing).await;
    Ok(Exit::Done)
}

/// Attaches; waits for transactions that keep a slot from being made.
async fn attach(config: &Config) -> Result<(Reader, Writer, Opened), Failure> {
    let settings = config.source.settings();
    let mut told = String::new();
    loop {
        match source::tap(&settings).await {
            Ok(attached) => return Ok(attached),
            Err(error @ source::Error::SlotWaits { .. }) => {
                let source::Error::SlotWaits { holders, .. } = &error else { continue };
                let names: Vec<String> = holders.iter().map(ToString::to_string).collect();
                let names = names.join("; ");
                if told != names {
                    output::note(&format!("waiting for transactions that are open: {names}"));
                    told = names;
                }
            }
            Err(error) => return Err(preflight(&error)),
        }
    }
}

/// Sorts what keeps it from beginning.
fn preflight(error: &source::Error) -> Failure {
    let exit = match error.ends_run() {
        Some(Ending::Preflight | Ending::Halted | Ending::InUse) => Exit::Preflight,
        None if error.is_no_room() => Exit::Preflight,
        None => Exit::Failed,
    };
    Failure::of_stage(exit, error)
}

/// Says why the stream ended: it is not attached again, as what came meanwhile would be missing.
fn ended_by(error: &source::Error) -> Failure {
    let failure = Failure::of_stage(Exit::Failed, error);
    Failure { message: format!("the stream ended: {}", chain(error)), ..failure }
}

/// Looks whether anything can come: says what is not published, and refuses what is nothing else.
async fn is_published(
    config: &Config,
    table: Option<&TablePattern>,
    route: Option<&Route>,
) -> Result<(), Failure> {
    let of_route = match route.map(|route| &route.selector) {
        Some(Selector::Table(pattern)) => Some(pattern),
        Some(Selector::Message(_)) if table.is_some() => {
            let message = "--table: the route takes logical messages, which are of no table";
            return Err(Failure::new(Exit::Usage, message));
        }
        Some(Selector::Message(_)) | None => None,
    };
    let publication = &config.source.publication;
    let mut catalog =
        Catalog::connect(config.source.url.expose()).await.map_err(|error| preflight(&error))?;
    let tables = catalog.publication_tables(publication).await;
    // One that is missing is told of when the stream is to start.
    let tables = tables.map_err(|error| preflight(&error))?;
    for pattern in [table, of_route].into_iter().flatten() {
        if tables.iter().any(|it| pattern.matches_names(&it.namespace, &it.name)) {
            continue;
        }
        let what = pattern.as_str();
        output::note(&format!(
            "warning: publication \"{publication}\" has no table {what}: nothing of it will come"
        ));
    }
    Ok(())
}

/// Ends after a time; never without one.
async fn passed(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Shows what comes until all that is wanted was shown, or nobody reads it any more.
async fn show(
    reader: &mut Reader,
    lines: &mut Lines,
    confirmer: &Confirmer,
) -> Result<(), Failure> {
    loop {
        match reader.next().await.map_err(|error| ended_by(&error))? {
            Received::Chunk(chunk) => {
                let told = lines.tell(&chunk)?;
                for note in &told.notes {
                    output::note(note);
                }
                if !out::write(told.text).await? || lines.is_done() {
                    return Ok(());
                }
                let whole = chunk.transactions.iter().filter_map(|it| it.end_lsn).max();
                confirmer.confirm(whole.unwrap_or(Lsn::ZERO));
            }
            Received::Idle { wal_end } => confirmer.confirm(wal_end),
        }
    }
}
