//! The far side: what every destination is to delivery. No sink knows PostgreSQL.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::envelope::Envelope;
use crate::failure::Category;

/// A future that owns what it needs or borrows from the sink.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A destination. One value serves all lanes of a sink at the same time.
pub trait Sink: Send + Sync + fmt::Debug {
    /// Returns the kind's word: `http`, `file`, `stdout`.
    fn kind(&self) -> &'static str;

    /// Sends a batch and tells what the far side said. Never empty, one key order within.
    ///
    /// An [`Answer::Acknowledged`] means that the far side has it for good (an HTTP 2xx, a file
    /// after fsync). Cancel safety: dropping the future leaves it unknown whether the batch
    /// arrived; it is sent again.
    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer>;

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
