//! The `hubspot` sink: rows are records of a CRM object, told apart by a property that is unique.
//!
//! `batch` upserts and archives up to 100 records a request; `record` writes them, `verdict` and
//! `limits` judge what comes back.

mod batch;
mod limits;
mod record;
mod settings;
mod verdict;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use hyper::Method;
use serde::Deserialize;
use tokio::time::Instant;

use self::settings::is_name;
pub use self::settings::{Config, Error};
use self::verdict::Refusal;
use super::keyed::{self, Board};
use super::web::client::{Ask, Client, Heard};
use super::{Answer, Batch, BoxFuture, Common, Failure, Reply, Sink, web};
use crate::failure::Category;

/// The kind's word.
pub const KIND: &str = "hubspot";

/// A record that is locked is left alone for so long at least.
const LOCKED_WAIT: Duration = Duration::from_secs(2);

/// Keeps records of an account.
pub struct HubSpot {
    client: Client,
    object: String,
    id_property: String,
    archives: bool,
    /// The last request failed as a whole.
    is_down: AtomicBool,
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

impl HubSpot {
    /// Checks the settings and makes the sink.
    ///
    /// # Errors
    /// A setting can't be used.
    pub fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        let url = web::url("url", &config.url)?;
        if url.path() != "/" || url.query().is_some() {
            return Err(Error::Path);
        }
        if !is_name(&config.object) {
            let like = "an object such as contacts, companies or 2-1234567";
            return Err(Error::Name { key: "object", like });
        }
        if !is_name(&config.id_property) {
            let like = "a property's internal name such as external_id";
            return Err(Error::Name { key: "id_property", like });
        }
        let auth = web::Auth::Bearer(config.token.clone());
        Ok(Self {
            client: Client::new("url", &url, Some(&auth), &config.reach, common)?,
            object: config.object.clone(),
            id_property: config.id_property.clone(),
            archives: config.archives,
            is_down: AtomicBool::new(false),
        })
    }

    /// Those that are gone first, since a new one may take the place of theirs in a property that
    /// is unique.
    async fn send(&self, batch: &Batch) -> Reply {
        let board = Board::new(self.client.host(), batch.events.len());
        let mut sending =
            Sending { deadline: self.client.deadline(), board, pause: None, has_asked: false };
        let (id, archives) = (&self.id_property, self.archives);
        let plan = keyed::plan(batch, id, archives, &mut sending.board, |_| Ok(0));
        if self.archive(&plan.deletes, &mut sending).await {
            self.upsert(batch, &plan.upserts, &mut sending).await;
        }
        // A batch of which nothing is sent must not say that the account is there again.
        if !sending.has_asked
            && self.is_down.load(Ordering::Relaxed)
            && let Err(failure) = self.ask(&self.property(), sending.deadline).await
        {
            return Answer::Failed(failure).into();
        }
        Reply { answer: sending.board.answer(), pause: sending.pause }
    }

    /// Asks, and judges what is no success.
    async fn ask(&self, ask: &Ask, deadline: Instant) -> Result<Heard, Failure> {
        let answer = self.client.ask(ask, deadline).await.and_then(|heard| {
            if heard.status.is_success() { Ok(heard) } else { Err(self.refusal(&heard)) }
        });
        let is_down = answer.as_ref().is_err_and(|failure| failure.category != Category::Rejected);
        self.is_down.store(is_down, Ordering::Relaxed);
        answer
    }

    fn property(&self) -> Ask {
        let Self { object, id_property, .. } = self;
        Ask::new(Method::GET, format!("/crm/v3/properties/{object}/{id_property}"))
    }

    /// Asks for a batch. A failure that is not the records' own is put on the board for all of
    /// `events`; returns whether to go on then.
    async fn ask_for(
        &self,
        ask: &Ask,
        events: &[usize],
        sending: &mut Sending,
    ) -> Result<Heard, bool> {
        sending.has_asked = true;
        match self.ask(ask, sending.deadline).await {
            Ok(heard) => {
                let limits = limits::pause(&heard.headers, SystemTime::now());
                sending.pause = sending.pause.max(limits).max(heard.asked.pause);
                Ok(heard)
            }
            Err(failure) => Err(sending.board.failed_at_once(events, &failure)),
        }
    }

    /// Says what an answer means that is no success.
    fn refusal(&self, heard: &Heard) -> Failure {
        let mut failure = self.client.refusal(heard);
        let said: Refusal = serde_json::from_slice(&heard.body).unwrap_or_default();
        if let Some(category) = verdict::of_status(heard.status) {
            failure.category = category;
        }
        if !said.category.is_empty() {
            failure.message = format!("{}: {}", failure.message, said.category);
        }
        if failure.category == Category::Throttled {
            let wait = match heard.status.as_u16() {
                verdict::LOCKED => Some(LOCKED_WAIT),
                429 => {
                    failure.message = format!("{} ({})", failure.message, said.policy_name);
                    Some(limits::after(&said.policy_name, &heard.headers, SystemTime::now()))
                }
                _ => None,
            };
            failure.retry_after = failure.retry_after.max(wait);
        }
        failure
    }

    /// Asks for the property that records are told apart by. Returns what was seen.
    async fn look(&self) -> Result<String, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Property {
            #[serde(default)]
            has_unique_value: bool,
        }
        let deadline = self.client.deadline();
        let seen = self.client.check(deadline).await?;
        let Self { object, id_property, .. } = self;
        let heard = self.ask(&self.property(), deadline).await?;
        let property: Property = serde_json::from_slice(&heard.body)
            .map_err(|_| self.client.nonsense(&heard, "no description of a property"))?;
        // The one property that is unique and does not say so.
        let is_unique =
            property.has_unique_value || (object == "contacts" && id_property == "email");
        if !is_unique {
            let why = format!(
                "{}: {id_property} of {object} may have a value twice: make a property with unique \
                 values",
                self.client.host()
            );
            return Err(Failure::new(Category::Setup, why));
        }
        Ok(format!("{seen}; {object} are told apart by {id_property}"))
    }
}

/// Shows where it sends to.
impl fmt::Debug for HubSpot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSpot").field("to", &self.client.host()).finish_non_exhaustive()
    }
}

impl Sink for HubSpot {
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
