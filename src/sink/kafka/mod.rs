//! The `kafka` sink: an event is a message, acknowledged once every replica that is in sync has it.
//!
//! What is sent and what a code means is decided without I/O: `topic`, `message`, `cloudevents`,
//! `properties`, `code`, `behind`. `client` is librdkafka's producer, `send` takes a batch through
//! it, and `transaction` makes one of a batch.
//!
//! Order: one producer serves all lanes, its queue of a partition is first in, first out, and the
//! brokers take each message of it once and in that order (idempotence), over retries and broken
//! connections. So what was given up and is sent again queues behind itself. Only a producer that
//! is unusable makes room for another; what it has not sent by then it never sends.

mod settings;
mod error;
mod properties;
mod topic;
mod message;
mod cloudevents;
mod code;
mod behind;
mod client;
mod transaction;
mod send;
mod look;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;

use self::client::Client;
pub use self::error::Error;
use self::message::Plan;
pub use self::settings::{Config, Sasl, Tombstones};
use super::{Answer, Batch, BoxFuture, Common, Failure, Sink};
use crate::failure::Category;
use crate::secret::Secret;

/// The kind's word.
pub const KIND: &str = "kafka";

/// Shorter secrets are not blotted out: every other word would be one.
const HIDDEN_BYTES_MIN: usize = 4;

/// Sends events to Kafka.
pub struct Kafka {
    /// The brokers, as failures call them.
    brokers: String,
    plan: Plan,
    properties: ClientConfig,
    is_transactional: bool,
    timeout: Duration,
    /// What must not show, should librdkafka or a broker say it.
    hidden: Vec<Secret>,
    client: Mutex<Option<Arc<Client>>>,
}

impl Kafka {
    /// Checks the settings and makes the sink. Connects to nothing yet.
    ///
    /// # Errors
    /// A setting can't be used, or a file it names can't be read.
    pub fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        let sasl = config.sasl.iter().flat_map(|sasl| [&sasl.user, &sasl.password]);
        let secrets = sasl.chain(config.properties.iter().map(|(_, value)| value));
        let long = |secret: &&Secret| secret.expose().len() >= HIDDEN_BYTES_MIN;
        Ok(Self {
            brokers: config.brokers.join(","),
            plan: Plan::new(config, common)?,
            properties: properties::client(config, common)?,
            is_transactional: config.transactional_id.is_some(),
            timeout: common.timeout,
            hidden: secrets.filter(long).cloned().collect(),
            client: Mutex::default(),
        })
    }

    /// Returns the producer, made anew where there is none.
    fn client(&self) -> Result<Arc<Client>, Failure> {
        let mut slot = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*slot {
            return Ok(Arc::clone(client));
        }
        let client = Client::new(&self.properties, &self.hidden);
        let client = Arc::new(client.map_err(|error| self.unmade(&error))?);
        *slot = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Takes no new batch with this producer. It ends with the last batch that it has.
    fn retire(&self, client: &Arc<Client>) {
        let mut slot = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take_if(|current| Arc::ptr_eq(current, client));
    }

    /// What keeps librdkafka from making a producer are settings that don't go together.
    fn unmade(&self, error: &KafkaError) -> Failure {
        let message = format!("kafka {}: no producer can be made: {error}", self.brokers);
        Failure::new(Category::Setup, message)
    }
}

/// Shows where it sends to, and nothing that may be secret.
impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").field("to", &self.brokers).finish_non_exhaustive()
    }
}

impl Sink for Kafka {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        Box::pin(self.send(batch))
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(self.look())
    }
}
