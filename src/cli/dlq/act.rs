//! `walgate dlq replay|discard`

use std::cell::RefCell;
use std::time::{Duration, Instant};

use clap::builder::NonEmptyStringValueParser;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{PAGE, Select, named};
use crate::cli::failure::{Exit, Failure};
use crate::cli::{asking, output, run};
use crate::config::{Config, Sink, SinkKind};
use crate::delivery::{
    DeadLetter, DeadLetterFilter, dead_letter_mappings, discard_selected_dead_letters,
    kept_mapping, list_dead_letters, replay_outcomes,
};
use crate::inspect::request::{Outcome, Request};
use crate::inspect::status::stored as stored_report;
use crate::pipeline;
use crate::progress::known;
use crate::state::{Reader, State};

/// After so long without an outcome it is said what is waited for.
const SAY_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    #[command(flatten)]
    select: Select,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Map with this version of the mapping, or with the one that each had
    #[arg(long, value_name = "N|original", value_parser = version)]
    mapping_version: Option<u32>,
    /// Send also what is older than what the sink has by now
    #[arg(long)]
    force: bool,
    /// Don't wait for what becomes of them
    #[arg(long)]
    no_wait: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Discard {
    #[command(flatten)]
    select: Select,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Why; it is kept
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: String,
}

/// Reads a version of a mapping; `original` is 0.
fn version(text: &str) -> Result<u32, String> {
    match text {
        "original" => Ok(0),
        number => match number.parse() {
            Ok(version) if version > 0 => Ok(version),
            _ => Err("a version such as 3, or `original`, is needed".to_owned()),
        },
    }
}

/// Everything at once has to be asked for in so many words.
fn filter(select: &Select, all: bool) -> Result<DeadLetterFilter, Failure> {
    let filter = select.filter()?;
    if filter.is_empty() && !all {
        let message = "which of them? give numbers or filters";
        return Err(Failure::new(Exit::Usage, message).help("`--all` takes every one"));
    }
    Ok(filter)
}

pub(super) async fn replay(config: Config, args: &Replay) -> Result<Exit, Failure> {
    let filter = filter(&args.select, args.all)?;
    let mapping = args.mapping_version;
    let what = Request::ReplayDead { filter: filter.clone(), mapping, force: args.force };
    let reader = asking::reader(&config)?;
    named::check_all(&config, &reader, &filter)?;
    if let Some(version) = mapping {
        can_be_had(&config, &reader, &filter, version)?;
    }
    if asking::is_running(&config) {
        let (id, answer) = asking::ask(&config, &what).await?;
        say(answer);
        if args.no_wait {
            return Ok(Exit::Done);
        }
        return Outcomes::new(id, args.json).follow(&reader).await;
    }
    of_receivers(&config, &reader, &filter)?;
    if args.no_wait {
        let message = "no instance runs that could send them while nobody waits";
        return Err(Failure::new(Exit::Usage, message).help("leave --no-wait out"));
    }
    let stop = CancellationToken::new();
    let outcomes = RefCell::new(None);
    let operated = pipeline::operate(config, what, stop.clone(), |id, answer| {
        say(answer);
        outcomes.replace(Some(Outcomes::new(id, args.json)));
    });
    let operated = tokio::select! {
        operated = operated => operated,
        second = run::signals(stop.clone()) => {
            let message = format!("stopped at once by a second {second}; the rest waits");
            return Err(Failure::new(Exit::Failed, message));
        }
        told = follow_here(&reader, &outcomes) => return told.map(|()| Exit::Failed),
    };
    let answered = operated
        .map_err(|error| Failure::of_stage(run::exit(error.ending()), &error))?
        .map_err(|reason| Failure::new(Exit::Failed, reason));
    answered?;
    match outcomes.into_inner() {
        Some(outcomes) => outcomes.finish(&reader),
        None => Ok(Exit::Done),
    }
}

/// Looks whether the version that is asked for can be had of each mapping, before anything is done.
fn can_be_had(
    config: &Config,
    reader: &Reader,
    filter: &DeadLetterFilter,
    version: u32,
) -> Result<(), Failure> {
    for (name, own) in asking::read(reader, |c| dead_letter_mappings(c, filter))? {
        let version = if version == 0 { own } else { version };
        let today = config.mappings.iter().find(|mapping| mapping.name == name);
        // Without an instance it runs for the first time now.
        if today.is_some_and(|today| today.version == version) && !asking::is_running(config) {
            continue;
        }
        let today = today.map(AsRef::as_ref);
        asking::read(reader, |c| kept_mapping(c, &name, version, today))?
            .map_err(|error| Failure::of(Exit::Usage, &error))?;
    }
    Ok(())
}

/// Says of which sinks only a running instance hands dead letters out.
fn of_receivers(
    config: &Config,
    reader: &Reader,
    filter: &DeadLetterFilter,
) -> Result<(), Failure> {
    let of = |sink: &&Sink| filter.sink.as_ref().is_none_or(|name| *name == sink.name);
    for sink in config.sinks.iter().filter(|sink| sink.kind.is_polled()).filter(of) {
        let (name, state) = (Some(sink.name.clone()), Some("dead".to_owned()));
        let dead = DeadLetterFilter { sink: name, state, ..filter.clone() };
        if asking::read(reader, |c| list_dead_letters(c, &dead, 0, 1))?.is_empty() {
            continue;
        }
        let message =
            format!("dead letters of sink \"{}\" are fetched from a running instance", sink.name);
        if filter.sink.is_some() {
            return Err(Failure::new(Exit::Usage, message).help("start `walgate run` first"));
        }
        output::note(&format!("{message}; they stay where they are"));
    }
    Ok(())
}

fn say(answer: Outcome) {
    let Outcome { begun, refused, .. } = answer;
    match (begun, refused) {
        (0, 0) => output::note("no dead letter fits"),
        (begun, 0) => output::note(&format!("dead letters sent again: {begun}")),
        (begun, refused) => output::note(&format!(
            "dead letters sent again: {begun}; refused: {refused}, as the sink has a newer change \
             of the same key, or may have one (--force)"
        )),
    }
}

/// Prints what becomes of what a request had sent again, in order.
struct Outcomes {
    request: i64,
    json: bool,
    /// The last that was printed.
    after: i64,
    printed: u64,
    failed: u64,
    /// The sink of the first that is under way.
    waits_for: String,
}

impl Outcomes {
    const fn new(request: i64, json: bool) -> Self {
        Self { request, json, after: 0, printed: 0, failed: 0, waits_for: String::new() }
    }

    /// Prints until there is nothing under way any more.
    async fn follow(mut self, reader: &Reader) -> Result<Exit, Failure> {
        let mut moved_at = Instant::now();
        loop {
            let before = self.after;
            if self.print(reader)? {
                return Ok(self.exit());
            }
            if self.after > before {
                moved_at = Instant::now();
            } else if moved_at.elapsed() > SAY_AFTER {
                moved_at = Instant::now();
                say_why(reader, &self.waits_for)?;
            }
            tokio::time::sleep(asking::LOOK_EVERY).await;
        }
    }

    /// Prints what is there.
    fn finish(mut self, reader: &Reader) -> Result<Exit, Failure> {
        if !self.print(reader)? {
            output::note("the rest goes on with the next run");
            return Ok(Exit::Failed);
        }
        Ok(self.exit())
    }

    /// Says of more than one how many came through.
    fn exit(&self) -> Exit {
        let Self { printed, failed, .. } = self;
        if *printed > 1 {
            output::note(&format!("{} of {printed} delivered", printed - failed));
        }
        if *failed > 0 { Exit::Rejected } else { Exit::Done }
    }

    /// Prints up to the first that is still under way; true when there is none.
    fn print(&mut self, reader: &Reader) -> Result<bool, Failure> {
        loop {
            let (request, after) = (self.request, self.after);
            let page = asking::read(reader, |c| replay_outcomes(c, request, after, PAGE))?;
            if page.is_empty() {
                return Ok(true);
            }
            for letter in &page {
                if letter.state == "replaying" {
                    self.waits_for.clone_from(&letter.sink);
                    return Ok(false);
                }
                self.after = letter.id;
                self.printed += 1;
                self.failed += u64::from(letter.state != "delivered");
                output::data(&line(letter, self.json))?;
            }
        }
    }
}

fn line(letter: &DeadLetter, as_json: bool) -> String {
    let refused = letter.state == "dead" && letter.reason.is_some();
    let outcome = if refused { "refused" } else { letter.state.as_str() };
    let why = if letter.state == "delivered" {
        None
    } else {
        letter.reason.as_deref().or(letter.message.as_deref())
    };
    if as_json {
        let DeadLetter { id, event_id, sink, .. } = letter;
        let line = json!({
            "id": id, "event_id": event_id, "sink": sink, "outcome": outcome, "message": why,
        });
        return format!("{line}\n");
    }
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    format!("{:<7} {outcome}{why}\n", letter.id)
}

/// Prints what becomes of what this process has sent again, and says what keeps the sinks from
/// taking it; ends only where that can't be read.
async fn follow_here(reader: &Reader, outcomes: &RefCell<Option<Outcomes>>) -> Result<(), Failure> {
    let mut moved_at = Instant::now();
    loop {
        tokio::time::sleep(asking::LOOK_EVERY).await;
        if let Some(outcomes) = outcomes.borrow_mut().as_mut() {
            let before = outcomes.after;
            outcomes.print(reader)?;
            if outcomes.after > before {
                moved_at = Instant::now();
            }
        }
        if moved_at.elapsed() > SAY_AFTER {
            moved_at = Instant::now();
            say_why(reader, "")?;
        }
    }
}

/// Says what keeps the sinks from taking what is sent again.
pub(in crate::cli) fn say_why(reader: &Reader, waits_for: &str) -> Result<(), Failure> {
    let Some(mut report) = asking::read(reader, stored_report)? else { return Ok(()) };
    report.status.tell_held(&asking::read(reader, known::held_back)?);
    for sink in report.status.sinks {
        if sink.name == waits_for && sink.kind.as_deref() == Some(SinkKind::POLL) {
            output::note(&format!("still waiting: the receiver of sink {waits_for} fetches them"));
        }
        if let Some(reason) = sink.reason {
            let (name, state) = (sink.name, sink.state.as_str());
            output::note(&format!("still waiting: sink {name} is {state}: {reason}"));
        }
    }
    Ok(())
}

pub(super) async fn discard(config: Config, args: &Discard) -> Result<Exit, Failure> {
    let filter = filter(&args.select, args.all)?;
    let reason = args.reason.clone();
    named::check_all(&config, &asking::reader(&config)?, &filter)?;
    let count = if asking::is_running(&config) {
        let what = Request::Discard { filter, reason };
        asking::ask(&config, &what).await?.1.discarded
    } else {
        let state = State::open(&config.state).map_err(|error| asking::failed(&error))?;
        let discarded =
            state.write(move |c| discard_selected_dead_letters(c, &filter, &reason)).await;
        discarded.map_err(|error| asking::failed(&error))?.count
    };
    output::note(&format!("events discarded: {count}"));
    Ok(Exit::Done)
}
