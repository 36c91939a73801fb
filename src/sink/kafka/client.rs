//! [`Client`]: a producer, and what librdkafka says beside what it answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer};
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::message::Message;
use super::transaction::Stage;
use crate::secret::Secret;

/// How often a full queue is tried again.
const QUEUE_STEP: Duration = Duration::from_millis(10);

/// What librdkafka calls its client.
pub(super) type Inner = FutureProducer<Context>;

/// A producer. Dropping it takes back what it has not sent yet.
pub(super) struct Client {
    /// None only while it is dropped.
    inner: Option<Inner>,
    trouble: watch::Sender<Option<Trouble>>,
    /// How far its transaction is.
    pub(super) stage: Arc<Mutex<Stage>>,
}

/// What went wrong with connections.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) code: Code,
    /// What librdkafka says; no secrets.
    pub(super) text: String,
    at: Instant,
}

impl Client {
    /// Makes one. It connects by itself.
    pub(super) fn new(config: &ClientConfig, hidden: &[Secret]) -> Result<Self, KafkaError> {
        let (trouble, _) = watch::channel(None);
        let context = Context { trouble: trouble.clone(), hidden: hidden.to_vec() };
        let inner = config.create_with_context(context)?;
        Ok(Self { inner: Some(inner), trouble, stage: Arc::default() })
    }

    /// Returns librdkafka's client; none while it is dropped.
    pub(super) const fn inner(&self) -> Option<&Inner> {
        self.inner.as_ref()
    }

    /// Hands a message over, and returns what will become of it. Waits while the queue is full.
    pub(super) async fn enqueue(
        &self,
        message: &Message<'_>,
        until: Instant,
    ) -> Result<DeliveryFuture, Code> {
        let producer = self.inner().ok_or(Code::DestroyBroker)?;
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&message.topic);
        record.key = message.key.as_deref();
        record.payload = message.value.as_deref();
        record.timestamp = message.time_ms;
        record.headers = Some(headers(message));
        loop {
            let code = match producer.send_result(record) {
                Ok(report) => return Ok(report),
                Err((error, back)) => {
                    record = back;
                    error.rdkafka_error_code().unwrap_or(Code::Fail)
                }
            };
            if code != Code::QueueFull || Instant::now() >= until {
                return Err(code);
            }
            tokio::time::sleep(QUEUE_STEP).await;
        }
    }

    /// Something arrived: what went wrong before is over.
    pub(super) fn well(&self) {
        self.trouble.send_if_modified(|trouble| trouble.take().is_some());
    }

    /// Returns what last went wrong since then.
    pub(super) fn trouble(&self, since: Instant) -> Option<Trouble> {
        self.trouble.borrow().clone().filter(|trouble| trouble.at >= since)
    }

    /// Returns once a broker has refused the credentials since then.
    pub(super) async fn refused(&self, since: Instant) -> Trouble {
        let mut told = self.trouble.subscribe();
        let is_refusal = |trouble: &Option<Trouble>| {
            trouble.as_ref().is_some_and(|it| it.code == Code::Authentication && it.at >= since)
        };
        match told.wait_for(is_refusal).await.map(|trouble| trouble.clone()) {
            Ok(Some(trouble)) => trouble,
            // The sender lives as long as this does.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Returns what has made it unusable for good.
    pub(super) fn fatal(&self) -> Option<Code> {
        self.inner()?.client().fatal_error().map(|(code, _)| code)
    }
}

/// Ending a producer blocks until its threads have ended.
impl Drop for Client {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(inner));
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

fn headers(message: &Message<'_>) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(message.headers.len());
    message.headers.iter().fold(headers, |headers, (name, value)| {
        headers.insert(Header { key: name, value: Some(value.as_ref()) })
    })
}

/// Takes what librdkafka says by itself.
pub(super) struct Context {
    trouble: watch::Sender<Option<Trouble>>,
    hidden: Vec<Secret>,
}

impl Context {
    fn blotted(&self, text: &str) -> String {
        self.hidden
            .iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret.expose(), "***"))
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = self.blotted(message);
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                tracing::warn!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        // It only sums up what was said of each broker.
        if code != Code::AllBrokersDown {
            let text = self.blotted(reason);
            self.trouble.send_replace(Some(Trouble { code, text, at: Instant::now() }));
        }
    }
}
