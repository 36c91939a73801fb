//! The `salesforce` sink: rows are records with an external id, or events are platform events.
//!
//! `collections` sends up to 200 records a request, `deletes` up to 25, `bulk` a whole load as one
//! job. What goes is decided by `keyed`, how it is written by `record`, and `verdict` judges what
//! comes back.

mod budget;
mod bulk;
mod check;
mod collections;
mod deletes;
mod record;
mod settings;
mod verdict;

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::{Method, StatusCode};
use tokio::time::Instant;

use self::budget::Budget;
pub use self::settings::{Config, Error, Login, Mode};
use self::settings::{is_name, is_version};
use self::verdict::Problem;
use super::keyed::{self, Board};
use super::template::{Event, Template};
use super::web::client::{Ask, Client, Heard};
use super::{Answer, Batch, BoxFuture, Common, Failure, Form, Reply, Sink, web};
use crate::chunk::Operation;
use crate::envelope::Envelope;
use crate::failure::Category;

/// The kind's word.
pub const KIND: &str = "salesforce";

/// Keeps records of an org.
pub struct Salesforce {
    client: Client,
    object: Template,
    /// Empty for platform events.
    external_id: String,
    mode: Mode,
    deletes: bool,
    bulk: Option<usize>,
    allow_duplicates: bool,
    /// `/services/data/v66.0`
    base: String,
    budget: Budget,
    /// The last request failed as a whole.
    is_down: AtomicBool,
    /// Jobs that were under way when the time of their batch was over, by the batch.
    jobs: Mutex<HashMap<u64, String>>,
}

/// What a batch is sent with.
struct Sending {
    deadline: Instant,
    board: Board,
    /// How long nothing more is to be sent, as some answer said.
    pause: Option<Duration>,
    /// Something was asked for.
    has_asked: bool,
}

impl Salesforce {
    /// Checks the settings and makes the sink.
    ///
    /// # Errors
    /// A setting can't be used, or a file it names can't be read.
    pub fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        let url = web::url("url", &config.url)?;
        if url.path() != "/" || url.query().is_some() {
            return Err(Error::Path);
        }
        let object = Template::parse(&config.object).map_err(Error::Template)?;
        if object.fixed().is_some_and(|name| !is_name(name)) {
            return Err(Error::Name { key: "object", like: "Contact or Invoice__c" });
        }
        if !is_version(&config.api) {
            return Err(Error::Version);
        }
        match (config.mode, &config.external_id) {
            (Mode::Upsert, None) => return Err(Error::NoExternalId),
            (Mode::PlatformEvent, Some(_)) => return Err(Error::OfRecords { key: "external_id" }),
            (Mode::PlatformEvent, None) if config.bulk.is_some() => {
                return Err(Error::OfRecords { key: "bulk" });
            }
            (Mode::Upsert, Some(name)) if !is_name(name) => {
                return Err(Error::Name { key: "external_id", like: "Ext_Id__c" });
            }
            (Mode::Upsert | Mode::PlatformEvent, _) => {}
        }
        let auth = config.auth.at(&config.url);
        Ok(Self {
            client: Client::new("url", &url, Some(&auth), &config.reach, common)?,
            object,
            external_id: config.external_id.clone().unwrap_or_default(),
            mode: config.mode,
            deletes: config.deletes,
            bulk: config.bulk,
            allow_duplicates: config.allow_duplicates,
            base: format!("/services/data/{}", config.api),
            budget: Budget::new(config.daily_budget),
            is_down: AtomicBool::new(false),
            jobs: Mutex::default(),
        })
    }

    async fn send(&self, batch: &Batch) -> Reply {
        let deadline = self.client.deadline();
        if let Err(failure) = self.has_budget(deadline).await {
            return Answer::Failed(failure).into();
        }
        let board = Board::new(self.client.host(), batch.events.len());
        let mut sending = Sending { deadline, board, pause: None, has_asked: false };
        match self.mode {
            Mode::Upsert => self.keep(batch, &mut sending).await,
            Mode::PlatformEvent => self.publish(batch, &mut sending).await,
        }
        // A batch of which nothing is sent must not say that the org is there again.
        if !sending.has_asked
            && self.is_down.load(Ordering::Relaxed)
            && let Err(failure) = self.ask(&self.limits(), deadline).await
        {
            return Answer::Failed(failure).into();
        }
        Reply { answer: sending.board.answer(), pause: sending.pause }
    }

    /// Looks whether enough of the day's requests is left, asking again where it was not.
    async fn has_budget(&self, deadline: Instant) -> Result<(), Failure> {
        if self.budget.spent(self.client.host()).is_none() {
            return Ok(());
        }
        self.ask(&self.limits(), deadline).await?;
        match self.budget.spent(self.client.host()) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn limits(&self) -> Ask {
        Ask::new(Method::GET, format!("{}/limits", self.base))
    }

    /// Records follow their rows: those that are gone first, since a new one may take the place of
    /// theirs in a field that is unique.
    async fn keep(&self, batch: &Batch, sending: &mut Sending) {
        let mut objects: Vec<String> = Vec::new();
        let plan =
            keyed::plan(batch, &self.external_id, self.deletes, &mut sending.board, |event| {
                let name = self.object_of(event)?;
                let known = objects.iter().position(|object| *object == name);
                Ok(known.unwrap_or_else(|| {
                    objects.push(name);
                    objects.len() - 1
                }))
            });
        for (scope, object) in objects.iter().enumerate() {
            let gone: Vec<_> = plan.deletes.iter().filter(|record| record.scope == scope).collect();
            if !self.delete(object, &gone, sending).await {
                return;
            }
        }
        // The rows of a load, beside which changes may have come that are newer.
        let is_loaded = |record: &&keyed::Record<'_>| {
            let mut events = record.events.iter().filter_map(|index| batch.events.get(*index));
            events.all(|event| event.operation == Operation::Read)
        };
        let (mut loaded, mut kept): (Vec<_>, Vec<_>) = plan.upserts.iter().partition(is_loaded);
        match (self.bulk, objects.as_slice()) {
            (Some(min), [object]) if loaded.len() >= min => {
                match record::csv(&self.external_id, &loaded) {
                    Ok(csv) => {
                        if !self.load(batch, object, &loaded, csv, sending).await {
                            return;
                        }
                    }
                    Err(_) => kept.append(&mut loaded),
                }
            }
            _ => kept.append(&mut loaded),
        }
        for (scope, object) in objects.iter().enumerate() {
            let kept = kept.iter().copied().filter(|record| record.scope == scope);
            if !self.upsert(object, &kept.collect::<Vec<_>>(), sending).await {
                return;
            }
        }
    }

    /// Returns the API name of the object that an event is about.
    fn object_of(&self, envelope: &Envelope) -> Result<String, String> {
        let event = Event { envelope, form: Form::Walgate };
        let name = self.object.render(&event).map_err(|error| error.to_string())?;
        if is_name(&name) { Ok(name) } else { Err("`object` becomes no API name".to_owned()) }
    }

    /// Asks, and judges what is no success.
    async fn ask(&self, ask: &Ask, deadline: Instant) -> Result<Heard, Failure> {
        let answer = self.client.ask(ask, deadline).await.and_then(|heard| {
            self.budget.note(&heard.headers);
            if heard.status.is_success() { Ok(heard) } else { Err(self.refusal(&heard)) }
        });
        let is_down = answer.as_ref().is_err_and(|failure| failure.category != Category::Rejected);
        self.is_down.store(is_down, Ordering::Relaxed);
        answer
    }

    /// Asks for a batch. A failure that is not the records' own is put on the board for all of
    /// `events`; returns nothing then, or whether to go on.
    async fn ask_for(
        &self,
        ask: &Ask,
        events: &[usize],
        sending: &mut Sending,
    ) -> Result<Heard, bool> {
        sending.has_asked = true;
        match self.ask(ask, sending.deadline).await {
            Ok(heard) => {
                sending.pause = sending.pause.max(heard.asked.pause);
                Ok(heard)
            }
            Err(failure) => Err(sending.board.failed_at_once(events, &failure)),
        }
    }

    /// Says what an answer means that is no success: the code in its body before its status.
    fn refusal(&self, heard: &Heard) -> Failure {
        let mut failure = self.client.refusal(heard);
        let problems: Vec<Problem> = serde_json::from_slice(&heard.body).unwrap_or_default();
        if heard.status == StatusCode::MULTIPLE_CHOICES {
            failure.category = Category::Rejected;
        }
        let sorted = problems.iter().find_map(|problem| problem.category(&self.external_id));
        if let Some(category) = sorted {
            failure.category = category;
        }
        if !problems.is_empty() {
            failure.message = format!("{}: {}", failure.message, verdict::words(&problems));
        }
        if problems.iter().any(|problem| problem.code == "REQUEST_LIMIT_EXCEEDED") {
            failure.retry_after = failure.retry_after.or(Some(budget::REST));
        }
        failure
    }

    /// Says what the errors of a record mean. `part`: what the answer has of it.
    fn refusal_of(&self, heard: &Heard, problems: &[Problem], part: &str) -> Failure {
        let words = verdict::words(problems);
        Failure {
            category: verdict::of_record(problems, &self.external_id),
            message: format!("{} refused a record: {words}", heard.host),
            retry_after: None,
            status: Some(heard.status.as_u16()),
            answer: self.client.text(heard, part.as_bytes()),
        }
    }
}

/// Shows where it sends to.
impl fmt::Debug for Salesforce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Salesforce").field("to", &self.client.host()).finish_non_exhaustive()
    }
}

impl Sink for Salesforce {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn host(&self) -> Option<&str> {
        Some(self.client.origin())
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        Box::pin(async move { self.send(batch).await.answer })
    }

    fn reply<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Reply> {
        Box::pin(self.send(batch))
    }

    fn tidy(&self) -> Option<Instant> {
        self.client.tidy()
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(self.look())
    }
}
