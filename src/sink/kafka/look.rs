//! Looking at a cluster without sending anything.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::producer::Producer;
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};
use tokio::time::Instant;

use super::client::Client;
use super::{Kafka, code};
use crate::failure::Category;
use crate::sink::Failure;

/// How long is looked at most.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// How long one question waits: between two, what went wrong is looked at.
const STEP: Duration = Duration::from_millis(250);

/// How long a cluster whose brokers can't be reached is tried.
const UNREACHED_MAX: Duration = Duration::from_secs(2);

impl Kafka {
    /// Asks the brokers who they are, with a producer of its own, and looks for the topic.
    pub(super) async fn look(&self) -> Result<String, Failure> {
        let client = Client::new(&self.properties, &self.hidden);
        let client = Arc::new(client.map_err(|error| self.unmade(&error))?);
        let started = Instant::now();
        loop {
            let asked = Arc::clone(&client);
            let metadata = tokio::task::spawn_blocking(move || ask(&asked)).await;
            match metadata.unwrap_or(Err(KafkaError::Canceled)) {
                Ok(metadata) => return self.seen(&metadata),
                Err(error) => self.goes_on(&client, started, &error)?,
            }
        }
    }

    /// Whether to ask once more.
    fn goes_on(
        &self,
        client: &Client,
        started: Instant,
        error: &KafkaError,
    ) -> Result<(), Failure> {
        let trouble = client.trouble(started);
        if let Some(trouble) = &trouble
            && trouble.code == Code::Authentication
        {
            return Err(self.refusal(trouble));
        }
        let limit = if trouble.is_some() { UNREACHED_MAX } else { LOOK_MAX };
        if started.elapsed() < limit.min(self.timeout) {
            return Ok(());
        }
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        let lasts =
            trouble.as_ref().is_some_and(|trouble| code::lasts(trouble.code, &trouble.text));
        let category = if lasts { Category::Setup } else { Category::Transient };
        let why = trouble.map_or_else(|| code.to_string(), |trouble| trouble.text);
        Err(Failure::new(category, format!("kafka {}: {why}", self.brokers)))
    }

    fn seen(&self, metadata: &Metadata) -> Result<String, Failure> {
        let brokers = match metadata.brokers().len() {
            1 => "1 broker".to_owned(),
            count => format!("{count} brokers"),
        };
        let Some(name) = self.plan.topic.fixed() else {
            return Ok(format!("{}: {brokers}", self.brokers));
        };
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        let unknown = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        let seen = match topic {
            Some(topic) => match topic.error() {
                None => format!("topic `{name}` has {} partitions", topic.partitions().len()),
                Some(error) if error == unknown => absent(name),
                Some(error) => {
                    let code = Code::from(error);
                    let message = format!("kafka {}, topic `{name}`: {code}", self.brokers);
                    return Err(Failure::new(code::category(code, true), message));
                }
            },
            None => absent(name),
        };
        Ok(format!("{}: {brokers}, {seen}", self.brokers))
    }
}

fn absent(name: &str) -> String {
    format!("no topic `{name}` yet: make it, unless the brokers make topics by themselves")
}

fn ask(client: &Client) -> Result<Metadata, KafkaError> {
    // All topics: asking for one by name may make it.
    let inner = client.inner().ok_or(KafkaError::Canceled)?;
    inner.client().fetch_metadata(None, STEP)
}
