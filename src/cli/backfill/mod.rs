//! `walgate backfill`: rows that are there are sent again while streaming goes on.

mod progress;

use super::failure::{Exit, Failure};
use super::maintain::ask_or_store;
use super::{Global, asking, output};
use crate::chunk::Operation;
use crate::config::Config;
use crate::inspect::load::Document;
use crate::inspect::request::Request;
use crate::lsn::Timestamp;
use crate::mapping::{Selector, TablePattern};
use crate::progress::load::{self, Load, LoadState, Wanted};
use crate::progress::tables;
use crate::relation::TableName;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate backfill start public.orders
  walgate backfill start public.orders --sink warehouse --where \"created_at > '2026-01-01'\"
  walgate backfill start public.orders --sweep    # after a gap: deletes, too
  walgate backfill list

The rows come as `read` events, each after what happened before it and before what happens later.
Works beside a running instance; without one it is stored, and the next run does it.")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Sends the rows of a table, or of every table that is routed
    #[command(after_help = "Example:\n  walgate backfill start public.orders --sink warehouse")]
    Start(Start),
    /// Lists what was loaded, newest last
    #[command(after_help = "Example:\n  walgate backfill list --json")]
    List {
        /// An object a line
        #[arg(long)]
        json: bool,
    },
    /// Reads no more of a table until it is resumed, over restarts too
    #[command(after_help = "Example:\n  walgate backfill pause public.orders")]
    Pause(Which),
    /// Goes on where it was, also with what failed
    #[command(after_help = "Example:\n  walgate backfill resume public.orders")]
    Resume(Which),
    /// Gives it up; what was read is delivered
    #[command(after_help = "Example:\n  walgate backfill cancel public.orders")]
    Cancel(Which),
}

#[derive(Debug, clap::Args)]
struct Start {
    /// The table, as SQL would quote it; every table that is routed unless given
    #[arg(value_name = "TABLE")]
    table: Option<String>,
    /// For this sink alone
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Only rows that meet this condition, in SQL
    #[arg(long = "where", value_name = "SQL", requires = "table")]
    filter: Option<String>,
    /// Also delete what the journal knows and the table no longer has
    #[arg(long, requires = "table", conflicts_with = "filter")]
    sweep: bool,
    /// Don't wait for its end
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The table; every one unless given
    #[arg(value_name = "TABLE")]
    table: Option<String>,
    /// Only what was asked for this sink
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    match &args.command {
        Command::Start(start) => begin(&config, start).await,
        Command::List { json } => list(&config, *json),
        Command::Pause(which) => turn(&config, which, LoadState::Paused).await,
        Command::Resume(which) => turn(&config, which, LoadState::Running).await,
        Command::Cancel(which) => turn(&config, which, LoadState::Cancelled).await,
    }
}

async fn begin(config: &Config, start: &Start) -> Result<Exit, Failure> {
    sink_exists(config, start.sink.as_deref())?;
    if start.sweep {
        asking::needs_journal(config)?;
    }
    let table = start.table.as_deref().map(literal).transpose()?;
    let reader = asking::reader(config)?;
    let mut routes = routes(config, table.as_ref(), start.sink.as_deref());
    if let Some(asked) = table.as_ref().filter(|_| routes.is_empty()) {
        let former = asking::read(&reader, former_name(asked))?;
        let former = former.as_deref().map(literal).transpose()?;
        if former.is_some() {
            routes = self::routes(config, former.as_ref(), start.sink.as_deref());
        }
    }
    if routes.is_empty() {
        let what = table.as_ref().map_or_else(|| "any table".to_owned(), |t| t.as_str().to_owned());
        let of = start.sink.as_ref().map(|sink| format!(" of sink \"{sink}\"")).unwrap_or_default();
        let message = format!("no route{of} takes rows of {what} that are there");
        let help = "add a [[route]] for it; its `on` must not leave out \"read\"";
        return Err(Failure::new(Exit::Usage, message).help(help));
    }
    let wanted = table.map(|table| Wanted {
        table: table.as_str().to_owned(),
        sink: start.sink.clone(),
        routes: routes.clone(),
        filter: start.filter.clone(),
        sweep: start.sweep,
    });
    let before = asking::read(&reader, |c| load::all(c, false))?;
    let newest = before.last().map_or(0, |load| load.id);
    let is_running = asking::is_running(config);
    let what = Request::Load { wanted: wanted.clone(), routes: routes.clone() };
    let store = move |connection: &rusqlite::Connection| {
        load::want(connection, wanted.as_ref(), &routes, Timestamp::now())
    };
    ask_or_store(config, &what, store).await?;
    if !is_running {
        output::note("no instance runs: it begins with the next `walgate run`");
        return Ok(Exit::Done);
    }
    if start.no_wait {
        output::note("it is under way: `walgate backfill list` says how far");
        return Ok(Exit::Done);
    }
    progress::follow(config, &reader, newest).await
}

fn sink_exists(config: &Config, sink: Option<&str>) -> Result<(), Failure> {
    let Some(sink) = sink else { return Ok(()) };
    asking::has("sink", sink, config.sinks.iter().map(|sink| sink.name.as_str()).collect())
}

/// Reads a table's name.
fn literal(text: &str) -> Result<TablePattern, Failure> {
    let wrong = |message: String| Failure::new(Exit::Usage, message);
    let table = TablePattern::parse(text).map_err(|error| wrong(error.to_string()))?;
    match table.literal() {
        Some(_) => Ok(table),
        None => Err(wrong(format!("{text} is no single table")).help("name one: schema.table")),
    }
}

/// Returns the routes that take rows which are there: of the table, to the sink.
fn routes(config: &Config, table: Option<&TablePattern>, sink: Option<&str>) -> Vec<String> {
    let takes = |selector: &Selector| match selector {
        Selector::Message(_) => false,
        Selector::Table(pattern) => {
            let names = table.and_then(TablePattern::literal);
            names.is_none_or(|(namespace, name)| pattern.matches_names(namespace, name))
        }
    };
    let routes = config.routes.iter().filter(|route| {
        takes(&route.selector)
            && route.on.contains(Operation::Read)
            && sink.is_none_or(|sink| sink == route.sink)
    });
    routes.map(|route| route.name.clone()).collect()
}

/// Returns by which name the table was first known that is called so by now.
fn former_name(
    asked: &TablePattern,
) -> impl Fn(&rusqlite::Connection) -> rusqlite::Result<Option<String>> {
    move |connection| {
        let known = tables::load(connection)?;
        let is_it = |now: &TableName| asked.literal() == Some((&now.namespace, &now.name));
        let mut named = known.into_values().filter(|named| is_it(&named.now));
        Ok(named.next().map(|named| named.first.quoted()))
    }
}

fn list(config: &Config, json: bool) -> Result<Exit, Failure> {
    let reader = asking::reader(config)?;
    let loads = asking::read(&reader, |connection| load::all(connection, false))?;
    let now = Timestamp::now();
    if json {
        for load in &loads {
            output::line(&Document::of(load, now))?;
        }
        return Ok(Exit::Done);
    }
    if loads.is_empty() {
        output::note("nothing was loaded");
    }
    let lines: String =
        loads.iter().map(|load| format!("{}\n", progress::line(load, now))).collect();
    output::data(&lines)?;
    Ok(Exit::Done)
}

/// Pauses, resumes or gives up.
async fn turn(config: &Config, which: &Which, state: LoadState) -> Result<Exit, Failure> {
    sink_exists(config, which.sink.as_deref())?;
    let table = which.table.as_deref().map(literal).transpose()?;
    let reader = asking::reader(config)?;
    let all = asking::read(&reader, |connection| load::all(connection, false))?;
    let is_meant = |load: &&Load| {
        table.as_ref().is_none_or(|table| table.as_str() == load.table)
            && which.sink.as_ref().is_none_or(|sink| load.sink.as_ref() == Some(sink))
            && match state {
                LoadState::Running => matches!(load.state, LoadState::Paused | LoadState::Failed),
                _ => load.state.is_open() && load.state != state,
            }
    };
    let ids: Vec<i64> = all.iter().filter(is_meant).map(|load| load.id).collect();
    if ids.is_empty() {
        let message = "there is no such backfill that could be changed";
        let help = "`walgate backfill list` shows them";
        return Err(Failure::new(Exit::Usage, message).help(help));
    }
    let what = Request::TurnLoads { ids: ids.clone(), state };
    let count = ids.len();
    ask_or_store(config, &what, move |c| load::turn_all(c, &ids, state, Timestamp::now())).await?;
    let word = match state {
        LoadState::Paused => "paused",
        LoadState::Running => "going on",
        LoadState::Cancelled | LoadState::Done | LoadState::Failed => "given up",
    };
    output::note(&format!("{count} {word}"));
    Ok(Exit::Done)
}
