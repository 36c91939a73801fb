//! `walgate dlq`: what was set aside, and what a person does with it.

mod act;
mod named;
mod show;

pub(super) use act::say_why;

use super::failure::{Exit, Failure};
use super::{Global, asking, output};
use crate::delivery::{DeadLetter, DeadLetterFilter, list_dead_letters};
use crate::failure::Category;
use crate::inspect::dead_letter::Listed;
use crate::lsn::Timestamp;

/// So many are read at a time.
const PAGE: u32 = 500;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate dlq list --sink crm --state dead
  walgate dlq show 42
  walgate dlq replay --category rejected --since 1h
  walgate dlq discard 42 43 --reason \"test data\"

Works beside a running instance, which then does the sending, and without one.")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists what was set aside
    #[command(
        after_help = "Example:\n  walgate dlq list --json | jq 'select(.category == \"rejected\") | .message'"
    )]
    List {
        #[command(flatten)]
        select: Select,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Shows one with its original, what was sent, and every answer
    #[command(after_help = "Example:\n  walgate dlq show 42 --json | jq .original")]
    Show {
        /// Its number in `dlq list`
        id: i64,
        /// One JSON document
        #[arg(long)]
        json: bool,
        /// The original with the columns too that its mapping masks
        #[arg(long)]
        unmasked: bool,
    },
    /// Sends dead letters again, in order, and waits for what becomes of them
    #[command(
        after_help = "Example:\n  walgate dlq replay --sink crm --all\n  walgate dlq replay 42 --mapping-version original"
    )]
    Replay(act::Replay),
    /// Gives up what was set aside; what waits behind it goes on
    #[command(
        after_help = "Example:\n  walgate dlq discard --table public.test --reason \"test data\""
    )]
    Discard(act::Discard),
    /// Writes it all as JSON lines: original, what was sent, and every answer
    #[command(after_help = "Example:\n  walgate dlq export --sink crm > crm.jsonl")]
    Export {
        #[command(flatten)]
        select: Select,
        /// The originals with the columns too that their mappings mask
        #[arg(long)]
        unmasked: bool,
    },
}

/// Which of them.
#[derive(Debug, clap::Args)]
pub(super) struct Select {
    /// These numbers of `dlq list`
    ids: Vec<i64>,
    /// Of this sink
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Of this route
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Of this table
    #[arg(long, value_name = "SCHEMA.TABLE")]
    table: Option<String>,
    /// With these columns in the key: {"id": 42}
    #[arg(long, value_name = "JSON")]
    key: Option<String>,
    /// That failed so
    #[arg(long, value_name = "CATEGORY", value_parser = category)]
    category: Option<Category>,
    /// That failed with exactly this message
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// In this state
    #[arg(long, value_name = "STATE", value_parser = ["retrying", "blocked", "dead", "replaying", "discarded", "delivered"])]
    state: Option<String>,
    /// That failed last at or after this time (RFC 3339, or so long ago: 2h)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<i64>,
    /// That failed last before this time (RFC 3339, or so long ago: 2h)
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<i64>,
}

impl Select {
    pub(super) fn filter(&self) -> Result<DeadLetterFilter, Failure> {
        let mut filter = DeadLetterFilter {
            ids: self.ids.clone(),
            sink: self.sink.clone(),
            route: self.route.clone(),
            table: self.table.clone(),
            message: self.message.clone(),
            state: self.state.clone(),
            since: self.since,
            until: self.until,
            ..DeadLetterFilter::default()
        };
        if let Some(category) = self.category {
            filter.set_category(category);
        }
        if let Some(key) = &self.key {
            filter.set_key(key).map_err(|error| Failure::of(Exit::Usage, &error))?;
        }
        Ok(filter)
    }
}

fn category(text: &str) -> Result<Category, String> {
    let found = Category::ALL.into_iter().find(|category| category.as_str() == text);
    found.ok_or_else(|| {
        let words: Vec<&str> = Category::ALL.iter().map(|category| category.as_str()).collect();
        format!("one of {}", words.join(", "))
    })
}

/// Reads a moment: RFC 3339, or a duration that is that long ago. Microseconds since 1970.
fn time(text: &str) -> Result<i64, String> {
    if let Ok(ago) = super::duration(text) {
        let ago = i64::try_from(ago.as_micros()).map_err(|_| "too long ago".to_owned())?;
        return Ok(Timestamp::now().unix_micros().saturating_sub(ago));
    }
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(jiff::Timestamp::as_microsecond).map_err(|_| {
        "a time such as 2026-11-23T12:00:00Z, or a duration such as 2h, is needed".to_owned()
    })
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = global.load()?;
    match &args.command {
        Command::List { select, json } => list(&config, &select.filter()?, *json),
        Command::Show { id, json, unmasked } => show::run(&config, *id, *json, *unmasked),
        Command::Replay(args) => Box::pin(act::replay(config, args)).await,
        Command::Discard(args) => act::discard(config, args).await,
        Command::Export { select, unmasked } => show::export(&config, &select.filter()?, *unmasked),
    }
}

fn list(
    config: &crate::config::Config,
    filter: &DeadLetterFilter,
    json: bool,
) -> Result<Exit, Failure> {
    let reader = asking::reader(config)?;
    named::check(config, &reader, filter)?;
    let mut after = 0;
    let mut count = 0;
    loop {
        let page = asking::read(&reader, |c| list_dead_letters(c, filter, after, PAGE))?;
        let Some(last) = page.last() else { break };
        after = last.id;
        if !json && count == 0 {
            output::data(HEADER)?;
        }
        count += page.len();
        for letter in &page {
            if json {
                output::line(&Listed::of(letter))?;
            } else {
                output::data(&line(letter))?;
            }
        }
    }
    if count == 0 {
        output::note("nothing fits");
    }
    Ok(Exit::Done)
}

const HEADER: &str = "id      state      category   tries last failed            \
                      sink, table, key: message\n";

/// Returns one as a line for people.
fn line(letter: &DeadLetter) -> String {
    let category = letter.category.as_deref().unwrap_or("-");
    let last = letter.last_failed.map_or_else(|| "-".to_owned(), second);
    let table = letter.table.as_deref().unwrap_or("message");
    let key = letter.key.as_deref().unwrap_or("null");
    let why = letter.reason.as_deref().or(letter.message.as_deref());
    let why = why.map(|message| format!(": {message}")).unwrap_or_default();
    format!(
        "{:<7} {:<10} {category:<10} {:>5} {last:<22} {}, {table}, {key}{why}\n",
        letter.id, letter.state, letter.attempts, letter.sink
    )
}

/// Writes a time for people, to the second.
fn second(time: crate::lsn::Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('.') {
        Some((second, _)) => format!("{second}Z"),
        None => text,
    }
}
