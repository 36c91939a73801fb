//! `walgate map`: what a route would send for one row, and why.

mod row;
mod table;

use std::sync::Arc;

use bytes::Bytes;
use clap::ValueEnum;
use serde_json::json;

use self::table::Found;
use super::failure::{Exit, Failure};
use super::{Global, output};
use crate::chunk::{Chunk, Operation};
use crate::config::{Config, Sink, suggestion};
use crate::inspect::made;
use crate::mapping::{self, Mapped, Rest, Route, SinkMapper, SourceLabel};
use crate::relation::{ReplicaIdentity, quote_identifier};
use crate::source::catalog::Row;
use crate::source::{self, Catalog};

/// So many rows are taken from the table when none is given.
const SAMPLE_ROWS_MAX: u32 = 5;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate map --route customers-to-crm                  # for a few rows of the table
  walgate map --route customers-to-crm --op delete --row '{\"id\": 42}'
  echo '{\"id\": 42, \"email\": null}' | walgate map --route customers-to-crm --row -

Prints what the sink would get, one JSON document a line, and on stderr where each field comes
from. Its place in the log, its time and its transaction are zero. A rejection ends it with 5.")]
pub(super) struct Args {
    /// The route's name
    #[arg(long, value_name = "NAME")]
    route: String,
    /// The row as JSON, - for stdin; a sample of the table unless given
    #[arg(long, value_name = "JSON|-", allow_hyphen_values = true)]
    row: Option<String>,
    /// What is done with the row
    #[arg(long, value_enum, value_name = "OP", default_value = "insert")]
    op: Op,
    /// Which table, where the route takes several
    #[arg(long, value_name = "SCHEMA.TABLE")]
    table: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Op {
    Insert,
    Update,
    Delete,
    Read,
}

impl Op {
    const fn operation(self) -> Operation {
        match self {
            Self::Insert => Operation::Insert,
            Self::Update => Operation::Update,
            Self::Delete => Operation::Delete,
            Self::Read => Operation::Read,
        }
    }
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    let route = route(&config, &args.route)?;
    let sink = config.sinks.iter().find(|sink| sink.name == route.sink);
    let sink = sink.ok_or_else(|| Failure::new(Exit::Usage, "the route's sink is not there"))?;
    let given = args.row.as_deref().map(row::text).transpose()?;
    let connected = Catalog::connect(config.source.url.expose()).await;
    let mut catalog = connected.map_err(|error| broken(&error))?;
    let found = table::find(&config, route, args.table.as_deref(), &mut catalog).await?;
    let rows = match &given {
        Some(json) => vec![one(json, &found, &mut catalog).await?],
        None => sample(&found, &mut catalog).await?,
    };
    let label = label(&config, &mut catalog).await?;
    let shown = Shown { route, sink, found: &found, operation: args.op.operation() };
    let explains = global.quiet == 0;
    if explains {
        shown.say_what();
    }
    let mut mapper = SinkMapper::new(config.routes_of(&sink.name), &label, sink.format);
    let mut is_rejected = false;
    for (index, row) in rows.iter().enumerate() {
        if explains && rows.len() > 1 {
            output::note(&format!("row {} of {}", index + 1, rows.len()));
        }
        is_rejected |= shown.row(row, &mut mapper, explains)?;
    }
    Ok(if is_rejected { Exit::Rejected } else { Exit::Done })
}

/// Finds the route, or says which there are.
pub(super) fn route<'c>(config: &'c Config, name: &str) -> Result<&'c Arc<Route>, Failure> {
    let names = || config.routes.iter().map(|route| route.name.as_str());
    config.routes.iter().find(|route| route.name == name).ok_or_else(|| {
        let meant = suggestion(name, names());
        let meant = meant.map(|meant| format!("; did you mean \"{meant}\"?")).unwrap_or_default();
        Failure::new(Exit::Usage, format!("there is no route \"{name}\"{meant}"))
            .help(format!("the config has {}", names().collect::<Vec<_>>().join(", ")))
    })
}

fn broken(error: &source::Error) -> Failure {
    let exit = match error.ends_run() {
        Some(source::Ending::Preflight) => Exit::Preflight,
        _ => Exit::Failed,
    };
    Failure::of_stage(exit, error)
}

/// Reads the one row that was given.
async fn one(json: &str, found: &Found, catalog: &mut Catalog) -> Result<Row, Failure> {
    let names = row::check(json, &found.table, &found.relation)?;
    if !names.not_sent.is_empty() {
        let columns = names.not_sent.join(", ");
        output::note(&format!("left aside, as Postgres does not send it: column {columns}"));
    }
    if !names.key_missing.is_empty() {
        let columns = names.key_missing.join(", ");
        output::note(&format!("the row lacks {columns} of the primary key: NULL is taken"));
    }
    catalog.row(&found.relation, json).await.map_err(|error| match error.code() {
        // The values of a row are the user's: data that does not fit, breaks a domain's rule, or
        // can't be read as an hstore.
        Some(code) if code.starts_with("22") || code.starts_with("23") || code == "42601" => {
            Failure::of_stage(Exit::Usage, &error)
        }
        _ => broken(&error),
    })
}

async fn sample(found: &Found, catalog: &mut Catalog) -> Result<Vec<Row>, Failure> {
    let filter = found.row_filter.as_deref();
    let rows = catalog.sample(&found.relation, filter, SAMPLE_ROWS_MAX).await;
    let rows = rows.map_err(|error| broken(&error))?;
    if rows.is_empty() {
        let table = found.relation.quoted_name();
        let which =
            if filter.is_some() { " that the publication's row filter lets through" } else { "" };
        output::note(&format!("{table} has no row{which}; give one with --row '{{…}}'"));
    }
    Ok(rows)
}

/// What events say of their source. The system's number takes a replication connection to know;
/// where none is to be had it is zero like the rest.
async fn label(config: &Config, catalog: &mut Catalog) -> Result<SourceLabel, Failure> {
    let server = catalog.server().await.map_err(|error| broken(&error))?;
    let system = match source::probe(&config.source.settings()).await {
        Ok(probed) => probed.identity.system_id,
        Err(_) => "0".to_owned(),
    };
    Ok(SourceLabel { system, database: server.database, slot: config.source.slot.clone() })
}

/// Everything at hand while a row is shown.
struct Shown<'a> {
    route: &'a Route,
    sink: &'a Sink,
    found: &'a Found,
    operation: Operation,
}

impl Shown<'_> {
    /// Says which road a row takes, before the first.
    fn say_what(&self) {
        let Self { route, sink, found, .. } = self;
        let mapping = match &route.mapping {
            None if route.outbox.is_some() => "an outbox: its payload".to_owned(),
            Some(mapping) => format!("mapping {} version {}", mapping.name, mapping.version),
            None => "no mapping: every column as it is".to_owned(),
        };
        output::note(&format!(
            "route {}: {} of {}, {mapping}, to sink {} ({}, format {})",
            route.name,
            self.operation.as_str(),
            found.relation.quoted_name(),
            sink.name,
            sink.kind.kind(),
            sink.format.as_str()
        ));
        for note in &found.notes {
            output::note(note);
        }
        if let Some(mapping) = route.mapping.as_ref().filter(|it| it.rest == Rest::Omit) {
            let taken = mapping.columns();
            let names = found.relation.columns.iter().map(|column| column.name.as_str());
            let left: Vec<String> =
                names.filter(|n| !taken.contains(n)).map(quote_identifier).collect();
            if !left.is_empty() {
                output::note(&format!("not sent, as no field takes it: {}", left.join(", ")));
            }
        }
        match (self.operation, found.relation.identity) {
            (Operation::Update, ReplicaIdentity::Full) => output::note(
                "the old row is not known here; with REPLICA IDENTITY FULL a real update brings \
                 it, and the event has it in \"before\"",
            ),
            (Operation::Update, _) => output::note(
                "the old row is not known here: taken as an update that leaves the key as it is",
            ),
            (Operation::Delete, identity) if identity != ReplicaIdentity::Full => {
                output::note("a delete brings the columns of the replica identity alone");
            }
            _ => {}
        }
    }

    /// Prints what becomes of one row; true when it is rejected.
    fn row(
        &self,
        row: &[Option<String>],
        mapper: &mut SinkMapper,
        explains: bool,
    ) -> Result<bool, Failure> {
        let undecodable = |error: &dyn std::error::Error| Failure::of(Exit::Failed, error);
        let chunk = made::chunk(&self.found.relation, self.operation, row);
        let Some(chunk) = chunk.map_err(|error| undecodable(&error))? else {
            let why = "Postgres sends no delete of a table without a replica identity";
            return skipped(why).map(|()| false);
        };
        let mut buffer = Vec::new();
        let mapped = mapper.map(&chunk, 0, &mut buffer).map_err(|error| undecodable(&error))?;
        let label = match &mapped {
            Mapped::Unrouted => None,
            Mapped::Event(draft) | Mapped::Rejected { draft, .. } => Some(&draft.route),
            Mapped::Skipped { route, .. } => Some(route),
        };
        match label {
            Some(label) if label.name != self.route.name => {
                let why = format!(
                    "route \"{}\" takes it: it stands before this one in the config",
                    label.name
                );
                return skipped(&why).map(|()| false);
            }
            Some(_) if explains => self.explain(&chunk)?,
            _ => {}
        }
        match mapped {
            Mapped::Event(draft) => {
                let envelope = draft.envelope(&Bytes::from(buffer));
                let mut line = String::from_utf8_lossy(&envelope.body).into_owned();
                line.push('\n');
                output::data(&line)?;
                Ok(false)
            }
            Mapped::Unrouted => {
                let why = format!("the route does not take {}s (`on`)", self.operation.as_str());
                skipped(&why).map(|()| false)
            }
            Mapped::Skipped { reason, .. } => skipped(&reason.to_string()).map(|()| false),
            Mapped::Rejected { field, reason, .. } => {
                let reason = reason.to_string();
                output::note(&format!("rejected: field \"{field}\": {reason}"));
                let document = json!({ "rejected": { "field": &*field, "reason": reason } });
                output::data(&format!("{document}\n"))?;
                Ok(true)
            }
        }
    }

    fn explain(&self, chunk: &Arc<Chunk>) -> Result<(), Failure> {
        let told = mapping::explain(self.route, chunk, 0);
        let told = told.map_err(|error| Failure::of(Exit::Failed, &error))?;
        let width = told.iter().map(|told| told.field.chars().count()).max().unwrap_or(0);
        for mapping::Explanation { field, how } in told {
            output::note(&format!("  {field:<width$}  {how}"));
        }
        Ok(())
    }
}

fn skipped(why: &str) -> Result<(), Failure> {
    output::note(&format!("skipped: {why}"));
    output::data(&format!("{}\n", json!({ "skipped": why })))
}
