//! The far side: what every destination is to delivery. No sink knows the source; that one kind
//! writes to a PostgreSQL is its own affair.
//!
//! Adding a kind is a module here and its lines in `kinds`.

mod kinds;
mod blocking;
mod fold;
#[cfg(any(feature = "nats", feature = "redis"))]
mod in_order;
mod keyed;
#[cfg(any(feature = "amqp", feature = "nats", feature = "redis"))]
mod lasting;
mod name;
mod outbox;
mod row;
pub mod span;
mod template;
pub mod tls;
pub mod web;
#[cfg(feature = "amqp")]
pub mod amqp;
pub mod aws;
pub mod clickhouse;
pub mod elasticsearch;
pub mod file;
pub mod http;
pub mod hubspot;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "nats")]
pub mod nats;
pub mod postgres;
pub mod pubsub;
#[cfg(feature = "redis")]
pub mod redis;
pub mod salesforce;
pub mod stdout;

pub use self::kinds::{Config, Error, build, is_built};
pub use self::name::NotAName;
pub use self::template::TemplateError;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::envelope::Envelope;
use crate::failure::{Category, Classify};
use crate::lsn::Position;

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

    /// Hears that everything below is stored as done: none of it comes again by itself. Only a kind
    /// that remembers what it has sent has this of its own.
    fn settled(&self, _floor: Position) {}

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
