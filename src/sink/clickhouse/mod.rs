//! The `clickhouse` sink: rows in tables over ClickHouse's HTTP interface.
//!
//! What is written is made without I/O: `step` folds a batch into an insert a table, `code` sorts
//! what the server refuses. A row is never changed in place: the newest version of a key wins when
//! the server merges (`ReplacingMergeTree`), so that a repeat changes nothing.
//!
//! See <https://clickhouse.com/docs/interfaces/http>.

mod code;
mod error;
mod name;
mod settings;
mod step;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::Method;
use ring::digest;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

pub use self::error::Error;
use self::name::{Name, quoted};
pub use self::settings::{Config, Mode};
use self::step::{APPEND_COLUMNS, Plan, Rows, Step, UPSERT_COLUMNS, Work};
use super::keyed::Board;
use super::template::Template;
use super::web::client::{Ask, Client, Heard};
use super::web::{self, Auth};
use super::{Answer, Batch, BoxFuture, Common, Failure, Sink};
use crate::failure::Category;

/// The kind's word.
pub const KIND: &str = "clickhouse";

/// Says which of its errors the server answered.
const CODE: &str = "x-clickhouse-exception-code";

/// What every insert asks for: nothing is guessed, dropped, cut or put in a column's place, and the
/// answer is that of the whole work.
const INSERT: [(&str, &str); 8] = [
    ("input_format_skip_unknown_fields", "0"),
    ("input_format_null_as_default", "0"),
    ("input_format_json_read_objects_as_strings", "1"),
    ("date_time_input_format", "best_effort"),
    ("date_time_overflow_behavior", "throw"),
    ("precise_float_parsing", "1"),
    ("wait_for_async_insert", "1"),
    ("wait_end_of_query", "1"),
];

/// The insert's own mark: the server drops one that it has had already.
const TOKEN: &str = "insert_deduplication_token";

/// A statement that waits longer for the table is not run after all.
const LOCK_TIMEOUT: &str = "lock_acquire_timeout";

/// Parameters of the interface beside those of an insert that are walgate's own.
const RESERVED: [&str; 8] =
    [TOKEN, LOCK_TIMEOUT, "database", "query", "user", "password", "compress", "decompress"];

/// The server's error for a column that is not there.
const NO_COLUMN: u32 = 16;

/// Writes events to ClickHouse.
pub struct ClickHouse {
    client: Client,
    table: Template,
    mode: Mode,
    /// The path of the URL, with what every request asks for; more may follow.
    base: String,
    database: String,
    gzip: bool,
    timeout: Duration,
    /// The last request failed, and not by its rows.
    is_down: AtomicBool,
}

impl ClickHouse {
    /// Checks the settings and makes the sink. Connects to nothing yet.
    ///
    /// # Errors
    /// A setting can't be used, or a file it names can't be read.
    pub fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        let url = web::url("url", config.url.expose())?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() {
            return Err(Error::Url);
        }
        let table = Template::parse(&config.table).map_err(Error::Template)?;
        super::name::look(&table).map_err(Error::Table)?;
        let auth = Auth::Basic { user: config.user.clone(), password: config.password.clone() };
        Ok(Self {
            client: Client::new("url", &url, Some(&auth), &config.reach, common)?,
            table,
            mode: config.mode,
            base: base(&url, config)?,
            database: config.database.clone(),
            gzip: config.gzip,
            timeout: common.timeout,
            is_down: AtomicBool::new(false),
        })
    }

    /// Writes a batch, table by table. What of a batch that fails is in already may come again: its
    /// version tells.
    async fn send(&self, batch: &Batch) -> Answer {
        let deadline = self.client.deadline();
        let mut board = Board::new(self.client.host(), batch.events.len());
        let plan = Plan::read(&batch.events, &self.table, self.mode, &mut board);
        // A batch of which nothing is sent must not say that the server is there again.
        if plan.steps.is_empty()
            && self.is_down.load(Ordering::Relaxed)
            && let Err(failure) = self.query("SELECT 1", deadline).await
        {
            return Answer::Failed(failure);
        }
        let mut failed = HashSet::new();
        for Step { table, work, events } in &plan.steps {
            // What follows in a table must not come before what failed in it.
            let Some(name) = plan.tables.get(*table).filter(|_| !failed.contains(table)) else {
                continue;
            };
            match self.run(name, work, batch.replay, deadline).await {
                Ok(()) => board.done(events),
                Err(failure) => {
                    failed.insert(*table);
                    if !board.failed_at_once(events, &failure) {
                        break;
                    }
                }
            }
        }
        board.answer()
    }

    async fn run(
        &self,
        table: &Name,
        work: &Work,
        replay: u32,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let table = table.quoted(&self.database);
        match work {
            Work::Truncate => {
                let limit = self.timeout.as_secs().max(1).to_string();
                let sql = format!("TRUNCATE TABLE {table}");
                let settings = [(LOCK_TIMEOUT, limit.as_str())];
                self.ask(&settings, sql.into_bytes(), deadline, &Target::of(&table, &[])).await?;
            }
            Work::Insert(rows) => {
                let names: Vec<String> = rows.columns.iter().map(|name| quoted(name)).collect();
                let sql = format!("INSERT INTO {table} ({}) FORMAT JSONEachRow\n", names.join(","));
                let token = token(rows, replay);
                let mut asked = INSERT.to_vec();
                asked.push((TOKEN, &token));
                let body = [sql.as_bytes(), &rows.json].concat();
                let target = Target::of(&table, &rows.columns);
                self.ask(&asked, body, deadline, &target).await?;
            }
        }
        Ok(())
    }

    /// Asks for something that no event is about.
    async fn query(&self, sql: &str, deadline: Instant) -> Result<String, Failure> {
        let sql = format!("{sql} FORMAT TabSeparated");
        let heard = self.ask(&[], sql.into_bytes(), deadline, &Target::default()).await?;
        Ok(String::from_utf8_lossy(&heard.body).trim().to_owned())
    }

    /// Sends a statement with what follows it.
    async fn ask(
        &self,
        settings: &[(&str, &str)],
        body: Vec<u8>,
        deadline: Instant,
        target: &Target<'_>,
    ) -> Result<Heard, Failure> {
        let query = Serializer::new(String::new()).extend_pairs(settings).finish();
        let ask = Ask::new(Method::POST, format!("{}&{query}", self.base));
        let ask = if self.gzip && body.len() >= web::GZIP_BYTES_MIN {
            let body = web::gzip(&body).map_err(|error| {
                Failure::new(Category::Transient, format!("{}: gzip: {error}", self.client.host()))
            })?;
            ask.with("text/plain", body).header("content-encoding", "gzip")
        } else {
            ask.with("text/plain", body)
        };
        let heard = self.client.ask(&ask, deadline).await;
        let answer = heard.and_then(|heard| self.judge(heard, target));
        let is_down = answer.as_ref().is_err_and(|failure| failure.category != Category::Rejected);
        self.is_down.store(is_down, Ordering::Relaxed);
        answer
    }

    /// Says what an answer means: the server's own code, where it has one.
    fn judge(&self, heard: Heard, target: &Target<'_>) -> Result<Heard, Failure> {
        let code = heard.headers.get(CODE).and_then(|code| code.to_str().ok()?.parse().ok());
        match code {
            None | Some(0) if heard.status.is_success() => Ok(heard),
            None | Some(0) => Err(self.client.refusal(&heard)),
            Some(code) => {
                let mut failure = self.client.refusal(&heard);
                failure.category = code::category(code);
                let name = code::name(code).map_or_else(String::new, |name| format!(" ({name})"));
                let host = heard.host;
                failure.message = format!("{host} answered error {code}{name}{target}");
                if code == NO_COLUMN && !target.columns.is_empty() {
                    failure.message.push_str(", which has not all of the columns ");
                    failure.message.push_str(&target.columns.join(", "));
                }
                Err(failure)
            }
        }
    }

    /// Asks for the version, and of a table that no event names whether it is as it has to be.
    async fn look(&self) -> Result<String, Failure> {
        let deadline = self.client.deadline();
        let seen = self.client.check(deadline).await?;
        let version = self.query("SELECT version()", deadline).await?;
        let seen = format!("{seen}; ClickHouse {version}");
        let fixed = self.table.fixed().and_then(|text| Name::parse(text).ok());
        let Some(table) = fixed else { return Ok(seen) };
        let name = table.quoted(&self.database);
        let wrong = |what: String| {
            let message = format!("{}: the table {name} {what}", self.client.host());
            Err(Failure::new(Category::Setup, message))
        };
        let own: &[&str] = match self.mode {
            Mode::Upsert => &UPSERT_COLUMNS,
            Mode::Append => &APPEND_COLUMNS,
        };
        let described = self.query(&format!("DESCRIBE TABLE {name}"), deadline).await?;
        let is_there = |column: &str| described.lines().any(|line| first(line) == column);
        if let Some(column) = own.iter().find(|column| !is_there(column)) {
            return wrong(format!("has no column {column}"));
        }
        let database = table.database.as_deref().unwrap_or(&self.database);
        let engine = format!(
            "SELECT engine FROM system.tables WHERE database = {} AND name = {}",
            literal(database),
            literal(&table.table)
        );
        let engine = self.query(&engine, deadline).await?;
        let keeps_all = engine.ends_with("MergeTree") && !engine.contains("Replacing");
        if self.mode == Mode::Upsert && keeps_all {
            let cure = "ReplacingMergeTree(_version, _deleted) keeps the newest version of a row";
            return wrong(format!("is a {engine}, where every version of a row stays: {cure}"));
        }
        Ok(format!("{seen}; the table {name} is a {engine}"))
    }
}

/// What a statement writes to, for its error; nothing where it only asks.
#[derive(Default)]
struct Target<'a> {
    /// As SQL quotes it.
    table: &'a str,
    /// Those that the statement names.
    columns: &'a [String],
}

impl<'a> Target<'a> {
    fn of(table: &'a str, columns: &'a [String]) -> Self {
        Self { table, columns }
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.table.is_empty() { Ok(()) } else { write!(f, " for {}", self.table) }
    }
}

/// Returns the mark of an insert. The same rows have the same, unless an operator sends them again:
/// what the server has had may be gone there.
fn token(rows: &Rows, replay: u32) -> String {
    let hash = digest::digest(&digest::SHA256, &rows.json);
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if replay == 0 { hash } else { format!("{hash}-r{replay}") }
}

/// Returns the path with what every request asks for.
fn base(url: &Url, config: &Config) -> Result<String, Error> {
    let mut query = Serializer::new(String::new());
    query.append_pair("database", &config.database);
    for (name, value) in &config.settings {
        let own = INSERT.iter().map(|(own, _)| *own);
        if own.chain(RESERVED).any(|own| own == name) {
            return Err(Error::Setting { name: name.clone(), key: format!("settings.{name}") });
        }
        query.append_pair(name, value.expose());
    }
    Ok(format!("{}?{}", url.path(), query.finish()))
}

/// Returns the first column of a line.
fn first(line: &str) -> &str {
    line.split('\t').next().unwrap_or_default()
}

/// Writes text as SQL does.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Shows where it sends to.
impl fmt::Debug for ClickHouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouse").field("to", &self.client.host()).finish_non_exhaustive()
    }
}

impl Sink for ClickHouse {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn host(&self) -> Option<&str> {
        Some(self.client.origin())
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        Box::pin(self.send(batch))
    }

    fn tidy(&self) -> Option<Instant> {
        self.client.tidy()
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(self.look())
    }
}
