//! The far side: what every destination is to delivery. No sink knows PostgreSQL.
//!
//! Adding a kind is one file and three edits here: the module, the variant of [`Config`] and its
//! arm in [`build`].

mod blocking;
mod template;
mod outbox;
pub mod tls;
pub mod web;
pub mod http;
pub mod file;
pub mod stdout;
#[cfg(feature = "kafka")]
pub mod kafka;

pub use self::template::TemplateError;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::envelope::Envelope;
use crate::failure::{Category, Classify};

/// The kind of a sink and its settings: exactly one table of `[sink.NAME]`.
#[derive(Clone, Debug)]
pub enum Config {
    /// `[sink.NAME.http]`
    Http(Box<http::Config>),
    /// `[sink.NAME.file]`
    File(file::Config),
    /// `[sink.NAME.stdout]`
    Stdout(stdout::Config),
    /// `[sink.NAME.kafka]`
    #[cfg(feature = "kafka")]
    Kafka(Box<kafka::Config>),
}

impl Config {
    /// Returns the kind's word, as the config's table is called.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => http::KIND,
            Self::File(_) => file::KIND,
            Self::Stdout(_) => stdout::KIND,
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => kafka::KIND,
        }
    }
}

/// Whether this build has a kind: those with clients of their own are features.
#[must_use]
pub fn is_built(kind: &str) -> bool {
    match kind {
        "kafka" => cfg!(feature = "kafka"),
        _ => true,
    }
}

/// What of `[sink.NAME]` a sink must know, whatever its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common {
    /// Of one request.
    pub timeout: Duration,
    /// Requests in flight at most.
    pub concurrency: usize,
    /// Events in a batch at most (`batch.max_events`). 1: an HTTP body is the event itself, more:
    /// an array of events.
    pub max_events: usize,
    /// What a body is.
    pub form: Form,
}

/// What a body is (`format`), where that matters to a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// The whole event.
    #[default]
    Walgate,
    /// The mapping's output alone.
    Mapped,
    /// What Debezium writes.
    Debezium,
    /// CloudEvents 1.0, structured JSON.
    CloudEvents,
}

/// A sink that can't be made from its settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An HTTP sink's settings don't fit.
    #[error("sink `{sink}`")]
    Http {
        /// The sink's name.
        sink: String,
        /// What is wrong.
        source: http::Error,
    },
    /// A Kafka sink's settings don't fit.
    #[cfg(feature = "kafka")]
    #[error("sink `{sink}`")]
    Kafka {
        /// The sink's name.
        sink: String,
        /// What is wrong.
        source: kafka::Error,
    },
}

impl Error {
    /// Returns the key below `[sink.NAME.KIND]` that is wrong, with dots: `on.delete.url`.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Http { source, .. } => source.key(),
            #[cfg(feature = "kafka")]
            Self::Kafka { source, .. } => source.key(),
        }
    }
}

impl Classify for Error {
    fn category(&self) -> Category {
        match self {
            Self::Http { .. } => Category::Setup,
            #[cfg(feature = "kafka")]
            Self::Kafka { .. } => Category::Setup,
        }
    }
}

/// Makes a sink from its settings. Opens nothing yet: that is what [`Sink::check`] and the first
/// delivery do.
///
/// # Errors
/// The settings can't work together or a file they name can't be read.
pub fn build(name: &str, config: &Config, common: &Common) -> Result<Box<dyn Sink>, Error> {
    Ok(match config {
        Config::Http(config) => Box::new(
            http::Http::new(config, common)
                .map_err(|source| Error::Http { sink: name.to_owned(), source })?,
        ),
        Config::File(config) => Box::new(file::File::new(config, common.concurrency)),
        Config::Stdout(config) => Box::new(stdout::Stdout::new(config)),
        #[cfg(feature = "kafka")]
        Config::Kafka(config) => Box::new(
            kafka::Kafka::new(config, common)
                .map_err(|source| Error::Kafka { sink: name.to_owned(), source })?,
        ),
    })
}

/// A future that owns what it needs or borrows from the sink.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A destination. One value serves all lanes of a sink at the same time.
pub trait Sink: Send + Sync + fmt::Debug {
    /// Returns the kind's word: `http`, `file`, `stdout`.
    fn kind(&self) -> &'static str;

    /// Returns the host that it sends to, with scheme and port; none where there is not just one.
    /// What a host says of the rate it bears goes for all sinks that send there.
    fn host(&self) -> Option<&str> {
        None
    }

    /// Sends a batch and tells what the far side said. Never empty, one key order within.
    ///
    /// An [`Answer::Acknowledged`] means that the far side has it for good (an HTTP 2xx, a file
    /// after fsync). Cancel safety: dropping the future leaves it unknown whether the batch
    /// arrived; it is sent again.
    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer>;

    /// Sends a batch as [`Sink::deliver`] does, and also tells how long the far side wants to be
    /// left alone from then on. Only a kind whose far side says such things has this of its own.
    ///
    /// Cancel safety: as that of [`Sink::deliver`].
    fn reply<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Reply> {
        Box::pin(async move { self.deliver(batch).await.into() })
    }

    /// Lets go of what it has kept for the next request for too long. Returns when to ask again;
    /// none where there is nothing.
    fn tidy(&self) -> Option<Instant> {
        None
    }

    /// Looks whether the destination can be reached and used, without sending an event. Returns
    /// what was seen.
    ///
    /// # Errors
    /// What stands in the way.
    fn check(&self) -> BoxFuture<'_, Result<String, Failure>>;
}

/// Events that go in one request, in order.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Never empty.
    pub events: Vec<Envelope>,
    /// How often an operator has sent these again (0: never).
    pub replay: u32,
}

/// What a sink said of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of it has arrived for good.
    Acknowledged,
    /// None of it is known to have arrived.
    Failed(Failure),
    /// One outcome an event, in the batch's order.
    PerEvent(Vec<Result<(), Failure>>),
}

/// What a sink said of a batch, and of the time to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What became of the batch.
    pub answer: Answer,
    /// How long nothing more is to be sent, whatever became of this: a rate limit is used up.
    pub pause: Option<Duration>,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, pause: None }
    }
}

/// Why a sink did not take something. Holds no row values but what the far side answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What it means.
    pub category: Category,
    /// One sentence: who refused what with which answer. No secrets.
    pub message: String,
    /// How long the far side asked us to wait.
    pub retry_after: Option<Duration>,
    /// The HTTP status or the protocol's own code.
    pub status: Option<u16>,
    /// The first 2 KiB of what it answered.
    pub answer: Option<String>,
}

impl Failure {
    /// Makes a failure that nobody answered.
    #[must_use]
    pub fn new(category: Category, message: impl Into<String>) -> Self {
        Self { category, message: message.into(), retry_after: None, status: None, answer: None }
    }
}

impl Classify for Failure {
    fn category(&self) -> Category {
        self.category
    }
}
