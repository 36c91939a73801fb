//! The `pubsub` sink: messages for topics of Google Pub/Sub, by its REST API.
//!
//! `message` makes one of an event, for a topic of `topic`; `requests` puts those of a batch
//! together, `send` has several of them under way, `verdict` judges what comes back. `login` finds
//! who walgate says that it is.

mod cloudevents;
mod held;
mod login;
mod message;
mod requests;
mod send;
mod settings;
#[cfg(test)]
mod tests;
mod topic;
mod verdict;

use std::fmt;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use self::login::Login;
use self::message::Shape;
pub use self::settings::{Config, Error};
use super::web::client::{Ask, Client};
use super::{Answer, Batch, BoxFuture, Common, Failure, Sink, web};
use crate::failure::Category;

/// The kind's word.
pub const KIND: &str = "pubsub";

/// Google's own, for all regions.
const ENDPOINT: &str = "https://pubsub.googleapis.com";

/// So many requests of a batch are under way at once. A request has one ordering key, so that most
/// have one event.
const IN_FLIGHT: usize = 32;

/// What publishing needs.
const PUBLISH: &str = "pubsub.topics.publish";

/// What looking at a topic needs, and publishing does not.
const GET: &str = "pubsub.topics.get";

/// Publishes to topics.
pub struct PubSub {
    client: Client,
    shape: Shape,
    timeout: Duration,
    /// Credentials come from the machine, as nothing else names some.
    is_of_machine: bool,
}

impl PubSub {
    /// Checks the settings, looks at the environment and makes the sink.
    ///
    /// # Errors
    /// A setting can't be used, or a key can't be read.
    pub fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        Self::made(config, common, &|name| std::env::var(name).ok())
    }

    /// Makes it with what `variable` says of the environment.
    fn made(
        config: &Config,
        common: &Common,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let shape = Shape::new(config, common)?;
        let emulator = variable("PUBSUB_EMULATOR_HOST").map(|host| format!("http://{host}"));
        let login = Login::find(config, emulator.as_deref(), &variable)?;
        let endpoint = config.endpoint.as_deref().or(emulator.as_deref()).unwrap_or(ENDPOINT);
        let url = web::url("endpoint", endpoint)?;
        if url.path() != "/" || url.query().is_some() {
            return Err(Error::Path);
        }
        Ok(Self {
            client: client(&url, &login, config, common)?,
            shape,
            timeout: common.timeout,
            is_of_machine: matches!(login, Login::Machine(_)),
        })
    }

    /// Until when a batch is to be answered: a moment before whoever asked gives up, so that what
    /// was done of it is known.
    fn deadline(&self) -> Instant {
        let margin = (self.timeout / 10).min(Duration::from_secs(1));
        Instant::now() + self.timeout.saturating_sub(margin)
    }

    /// Asks, and returns the body of an answer that is a yes.
    async fn ask(&self, ask: &Ask, deadline: Instant) -> Result<Vec<u8>, Failure> {
        let heard = self.client.ask(ask, deadline).await.map_err(|failure| self.told(failure))?;
        if heard.status.is_success() {
            return Ok(heard.body);
        }
        let is_of_event = self.shape.topic.fixed().is_none();
        Err(verdict::refusal(self.client.refusal(&heard), &heard.body, is_of_event))
    }

    /// Says what to do where nothing is known of credentials.
    fn told(&self, failure: Failure) -> Failure {
        if !self.is_of_machine || !failure.message.starts_with("no token") {
            return failure;
        }
        let cure = "set `credentials` or GOOGLE_APPLICATION_CREDENTIALS to a service account's key \
                    where the machine has none";
        Failure { message: format!("{}; {cure}", failure.message), ..failure }
    }

    /// Looks at the topic, and whether it may be published to. Returns what was seen.
    async fn look(&self) -> Result<String, Failure> {
        let deadline = self.deadline();
        let seen = self.client.check(deadline).await.map_err(|failure| self.told(failure))?;
        let Some(topic) = self.shape.topic.fixed() else {
            return Ok(format!("{seen}; topics are named by events, so that none is looked at"));
        };
        let topic = topic.map_err(|problem| Failure::new(Category::Setup, problem))?;
        let looked = self.ask(&Ask::new(Method::GET, topic.path("")), deadline).await;
        let topic_seen = match looked {
            Ok(_) => format!("topic {topic} is there"),
            Err(failure) if failure.status == Some(StatusCode::FORBIDDEN.as_u16()) => format!(
                "whether topic {topic} is there can't be seen without the right {GET}, which \
                 publishing does not need"
            ),
            Err(failure) => return Err(failure),
        };
        self.may_publish(&topic, deadline).await?;
        Ok(format!("{seen}; {topic_seen}"))
    }

    /// Whether there is the right to publish. Nothing is known where nobody answers that: the
    /// emulator has no rights.
    async fn may_publish(&self, topic: &topic::Name, deadline: Instant) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Rights {
            #[serde(default)]
            permissions: Vec<String>,
        }
        let ask = Ask::new(Method::POST, topic.path(":testIamPermissions"));
        let ask = ask.json(format!("{{\"permissions\":[\"{PUBLISH}\"]}}"));
        let Ok(body) = self.ask(&ask, deadline).await else { return Ok(()) };
        let Ok(rights) = serde_json::from_slice::<Rights>(&body) else { return Ok(()) };
        if rights.permissions.iter().any(|right| right == PUBLISH) {
            return Ok(());
        }
        let host = self.client.host();
        let why = format!("{host}: the right {PUBLISH} on topic {topic} is missing");
        Err(Failure::new(Category::Setup, why))
    }
}

/// Makes the client, with connections for all requests of its batches.
fn client(
    url: &Url,
    login: &Login,
    config: &Config,
    common: &Common,
) -> Result<Client, web::Error> {
    let concurrency = common.concurrency.saturating_mul(IN_FLIGHT);
    let common = Common { concurrency, ..*common };
    Client::new("endpoint", url, login.auth().as_ref(), &config.reach, &common)
}

/// Shows where it sends to.
impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub").field("to", &self.client.host()).finish_non_exhaustive()
    }
}

impl Sink for PubSub {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn host(&self) -> Option<&str> {
        Some(self.client.origin())
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        Box::pin(self.publish(batch))
    }

    fn tidy(&self) -> Option<Instant> {
        self.client.tidy()
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(self.look())
    }
}
