//! The `amqp` sink: messages for an exchange of RabbitMQ, each confirmed by the server.
//!
//! What is sent and what an answer means is decided without I/O: `message` and `outcome`. `link`
//! keeps the connection and its channels, `dial` makes connections.

mod error;
mod message;
mod outcome;
mod dial;
mod link;

use std::fmt;
use std::time::Duration;

use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::{Confirmation, PublisherConfirm};
use tokio::time::timeout;

pub use self::error::Error;
use self::link::{Lease, Link};
use self::message::{Message, Writer};
use self::outcome::{Heard, Order, Said};
use super::{Answer, Batch, BoxFuture, Common, Failure, Sink, tls};
use crate::failure::Category;
use crate::secret::Secret;

/// The kind's word.
pub const KIND: &str = "amqp";

/// `[sink.NAME.amqp]`
#[derive(Clone, Debug)]
pub struct Config {
    /// `amqp://` or `amqps://`, with user, password and virtual host.
    pub url: Secret,
    /// Must be there; empty: the default exchange, where a routing key is a queue's name.
    pub exchange: String,
    /// May have `{{ }}`.
    pub routing_key: String,
    /// An event that no queue gets counts as not delivered.
    pub mandatory: bool,
    /// Messages outlive a restart of the server, in queues that do.
    pub persistent: bool,
    /// Whom to trust, and what to show.
    pub tls: tls::Files,
}

/// Publishes events to an exchange.
pub struct Amqp {
    link: Link,
    writer: Writer,
    mandatory: bool,
    common: Common,
}

impl Amqp {
    /// Checks the settings and makes the sink.
    ///
    /// # Errors
    /// A setting can't be used, or a file it names can't be read.
    pub fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        Ok(Self {
            link: Link::new(config, common.timeout)?,
            writer: Writer::new(config, common.form)?,
            mandatory: config.mandatory,
            common: *common,
        })
    }

    /// How long a request takes at most: a little less than delivery waits for it, so that it can
    /// say what it waited for.
    fn limit(&self) -> Duration {
        self.common.timeout.saturating_sub(self.common.timeout / 20)
    }

    async fn send(&self, batch: &Batch) -> Answer {
        match timeout(self.limit(), self.publish(batch)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(failure)) => Answer::Failed(failure),
            Err(_) => Answer::Failed(self.link.silent(self.common.timeout)),
        }
    }

    /// Publishes a batch and hears every confirmation. What is given up on the way is not heard of
    /// again: see [`Lease`].
    async fn publish(&self, batch: &Batch) -> Result<Answer, Failure> {
        let mut lease = self.link.lease().await?;
        let mut heard = Heard::default();
        let awaited = self.publish_all(batch, &lease, &mut heard).await;
        for (place, confirm) in awaited {
            let said = match confirm.await {
                Ok(Confirmation::Ack(returned)) => {
                    let carries_return = returned.is_some();
                    heard.returned.extend(returned.and_then(|message| returned_id(&message)));
                    Said::Taken { carries_return }
                }
                Ok(Confirmation::Nack(returned)) => {
                    heard.returned.extend(returned.and_then(|message| returned_id(&message)));
                    Said::Full
                }
                Ok(Confirmation::NotRequested) => Said::Unsent,
                Err(error) => {
                    heard.broke(self.link.failure(&error, &self.writer));
                    Said::Unsent
                }
            };
            heard.set(place, said);
        }
        lease.heard();
        let words = outcome::Words { host: self.link.host(), to: &self.writer };
        Ok(outcome::answer(&batch.events, batch.replay, heard, &words))
    }

    /// Publishes what can be, in order, until the channel breaks. Returns what is confirmed later,
    /// by its place in the batch.
    async fn publish_all(
        &self,
        batch: &Batch,
        lease: &Lease<'_>,
        heard: &mut Heard,
    ) -> Vec<(usize, PublisherConfirm)> {
        let (mut awaited, mut order) = (Vec::with_capacity(batch.events.len()), Order::default());
        for (place, event) in batch.events.iter().enumerate() {
            if heard.is_broken() || order.is_behind(event) {
                heard.say(Said::Unsent);
                continue;
            }
            let message = match self.writer.write(event, batch.replay, lease.frame_bytes_max) {
                Ok(message) => message,
                Err(problem) => {
                    order.failed(event);
                    heard.say(Said::Unfit(problem));
                    continue;
                }
            };
            heard.say(Said::Unsent);
            match self.publish_one(message, &event.body, lease).await {
                Ok(confirm) => awaited.push((place, confirm)),
                Err(error) => heard.broke(self.link.failure(&error, &self.writer)),
            }
        }
        awaited
    }

    async fn publish_one(
        &self,
        message: Message,
        body: &[u8],
        lease: &Lease<'_>,
    ) -> lapin::Result<PublisherConfirm> {
        let options = BasicPublishOptions { mandatory: self.mandatory, immediate: false };
        let exchange = self.writer.exchange.clone();
        let Message { routing_key, properties } = message;
        lease.channel().basic_publish(exchange, routing_key, options, body, properties).await
    }
}

/// Returns the id of a message that came back. It may come with the confirmation of another, since
/// the client gives those that came back to whatever is confirmed next.
fn returned_id(message: &BasicReturnMessage) -> Option<String> {
    message.properties.message_id().as_ref().map(ToString::to_string)
}

/// Shows where it sends to, and no credentials.
impl fmt::Debug for Amqp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Amqp").field("to", &self.link.host()).finish_non_exhaustive()
    }
}

impl Sink for Amqp {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        Box::pin(self.send(batch))
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(async move {
            match timeout(self.limit(), self.link.look(&self.writer)).await {
                Ok(seen) => seen,
                Err(_) => {
                    let failure = self.link.silent(self.common.timeout);
                    Err(Failure { category: Category::Setup, ..failure })
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::chunk::{Chunk, Operation};
    use crate::envelope::{Envelope, RouteLabel};
    use crate::lsn::{EventId, Lsn, Position};
    use crate::sink::Form;

    pub(super) fn config(routing_key: &str) -> Config {
        Config {
            url: Secret::new("amqp://localhost".to_owned()),
            exchange: "cdc".to_owned(),
            routing_key: routing_key.to_owned(),
            mandatory: true,
            persistent: true,
            tls: tls::Files::default(),
        }
    }

    pub(super) fn writer(config: &Config) -> Writer {
        Writer::new(config, Form::Walgate).unwrap()
    }

    pub(super) fn envelope(id: u32) -> Envelope {
        Envelope {
            id: EventId { timeline: 1, position: Position::new(Lsn(0x17C_8338), id) },
            operation: Operation::Insert,
            body: r#"{"data":{"v":"x"}}"#.into(),
            key: format!(r#"{{"id":{id}}}"#).into(),
            key_hash: id.into(),
            before_key_hash: None,
            before_key: None,
            outbox: None,
            commit_time: None,
            route: Arc::new(RouteLabel { name: "r".into(), mapping: Some(("m".into(), 3)) }),
            chunk: Arc::new(Chunk {
                timeline: 1,
                frames: Bytes::new(),
                transactions: Vec::new(),
                relations: Vec::new(),
                entries: Vec::new(),
                audience: None,
            }),
            entry: 0,
        }
    }

    #[track_caller]
    fn refused(url: &str, change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config { url: Secret::new(url.to_owned()), ..config("k") };
        change(&mut config);
        let common = Common {
            timeout: Duration::from_secs(1),
            concurrency: 1,
            max_events: 1,
            form: Form::Walgate,
        };
        match Amqp::new(&config, &common) {
            Ok(sink) => format!("{sink:?}"),
            Err(error) => format!("{}: {error}", error.key()),
        }
    }

    #[test]
    fn settings_that_make_no_sink_are_refused() {
        for url in ["", "localhost", "http://h/", "amqp:h", "amqp://", "amqp://h/?heartbeat=x"] {
            assert!(refused(url, |_| {}).starts_with("url: `url` is not an address"), "{url}");
        }
        let long = "x".repeat(256);
        let said = refused("amqp://h", |config| config.exchange.clone_from(&long));
        assert_eq!(said, "exchange: `exchange` is longer than 255 bytes");
        let said = refused("amqp://h", |config| config.routing_key = long);
        assert_eq!(said, "routing_key: `routing_key` is longer than 255 bytes");
        let said = refused("amqp://h", |config| config.routing_key = "{{ key".to_owned());
        assert_eq!(said, "routing_key: `routing_key`");
        let said = refused("amqp://h", |config| config.tls.ca = Some("ca.pem".into()));
        assert_eq!(
            said,
            "ca: `ca` is about TLS, which `url` does not ask for; write amqps:// there"
        );
        let said = refused("amqps://h", |config| config.tls.ca = Some("no-such.pem".into()));
        assert!(said.starts_with("ca: `ca`: no PEM"), "{said}");
    }

    #[test]
    fn a_sink_shows_its_host_and_no_credentials() {
        for (url, host) in [
            ("amqp://u:secret@rabbit.example.com/shop", "rabbit.example.com:5672"),
            ("amqps://u:secret@rabbit.example.com", "rabbit.example.com:5671"),
            ("amqp://u:secret@[::1]:5673/%2f", "[::1]:5673"),
            ("amqp://u:secret@127.0.0.1", "127.0.0.1:5672"),
        ] {
            assert_eq!(refused(url, |_| {}), format!("Amqp {{ to: {host:?}, .. }}"));
        }
    }
}
