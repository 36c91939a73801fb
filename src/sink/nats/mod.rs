//! The `nats` sink: events into a stream of NATS JetStream, which says of each that it has it.
//!
//! What is published and what an answer means is decided without I/O: `subject` says where, `message`
//! what, `answer` judges. `link` is the connection, `absent` remembers subjects that nobody takes.

mod settings;
mod subject;
mod message;
mod link;
mod absent;
mod answer;
mod preflight;
#[cfg(test)]
mod tests;

use std::fmt;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until, timeout_at};

use self::absent::Absent;
use self::answer::Refusal;
use self::link::{Connection, Link, Use};
use self::message::Writer;
pub use self::settings::{Auth, Config, Error};
use self::subject::Subject;
use super::in_order::{self, InOrder};
use super::template::Event;
use super::{Answer, Batch, BoxFuture, Common, Failure, Sink};
use crate::envelope::Envelope;
use crate::failure::Category;

/// The kind's word.
pub const KIND: &str = "nats";

/// So many messages of a batch may wait for their answers at a time: enough to fill any network,
/// and the client stops past 5000.
const WINDOW: usize = 1000;

/// Publishes events to a stream.
pub struct Nats {
    link: Link,
    subject: Subject,
    writer: Writer,
    common: Common,
    absent: Absent,
    /// The stream that must take them, by its name.
    stream: Option<String>,
}

/// A batch on its way.
struct Sending<'a> {
    batch: &'a Batch,
    order: InOrder,
    outcomes: Vec<Option<Result<(), Failure>>>,
    /// Why nothing more is sent.
    stopped: Option<Failure>,
    /// The connection is of no more use.
    is_broken: bool,
}

impl Nats {
    /// Checks the settings and makes the sink.
    ///
    /// # Errors
    /// A setting can't be used, or a file it names can't be read.
    pub fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        Ok(Self {
            subject: Subject::parse(&config.subject)?,
            writer: Writer::new(config, common)?,
            link: Link::new(config, common)?,
            common: *common,
            absent: Absent::default(),
            stream: config.stream.clone(),
        })
    }

    async fn publish(&self, batch: &Batch) -> Answer {
        let deadline = Instant::now() + self.common.timeout;
        let connection = match timeout_at(deadline, self.link.connection()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(failure)) => return Answer::Failed(failure),
            Err(_) => return Answer::Failed(self.too_slow()),
        };
        let mut sending = Sending {
            batch,
            order: InOrder::new(&batch.events),
            outcomes: vec![None; batch.events.len()],
            stopped: None,
            is_broken: false,
        };
        let mut connection = Use::new(connection);
        self.send(&connection, &mut sending, deadline).await;
        connection.is_well = !sending.is_broken;
        in_order::answer(sending.outcomes, sending.stopped.as_ref())
    }

    /// Sends what may go, hears the answers, and so on; until all are heard, the connection is
    /// gone or the time is over.
    async fn send(&self, connection: &Connection, sending: &mut Sending<'_>, deadline: Instant) {
        let mut trouble = connection.trouble.clone();
        let mut answers = FuturesUnordered::new();
        loop {
            while sending.stopped.is_none() && answers.len() < WINDOW {
                let Some(place) = sending.order.next() else { break };
                let Some(event) = sending.batch.events.get(place) else { break };
                let message = self.message(event, sending.batch.replay);
                let (subject, message) = match message {
                    Ok(message) => message,
                    Err(failure) => {
                        sending.heard(place, Err(failure));
                        continue;
                    }
                };
                let sent = connection.stream.send_publish(subject, message);
                match timeout_at(deadline, sent).await {
                    Ok(Ok(answer)) => answers.push(async move { (place, answer.await) }),
                    Ok(Err(error)) => self.refused(sending, place, Refusal::of(error)),
                    Err(_) => sending.broke(self.too_slow()),
                }
            }
            if answers.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                Some((place, answer)) = answers.next() => match answer {
                    Ok(_) => {
                        if let Some(event) = sending.batch.events.get(place) {
                            self.absent.taken(event.id);
                        }
                        sending.heard(place, Ok(()));
                    }
                    Err(error) => self.refused(sending, place, Refusal::of(error)),
                },
                changed = trouble.changed() => {
                    let told = trouble.borrow().clone().filter(|_| changed.is_ok());
                    let host = self.link.host();
                    let failure = told.map_or_else(|| link::lost(host), |told| told.failure(host));
                    return sending.broke(failure);
                }
                () = sleep_until(deadline) => return sending.broke(self.too_slow()),
            }
        }
    }

    fn message(
        &self,
        event: &Envelope,
        replay: u32,
    ) -> Result<(String, async_nats::jetstream::message::PublishMessage), Failure> {
        let seen = Event { envelope: event, form: self.common.form };
        let made = self
            .subject
            .of(&seen)
            .and_then(|subject| Ok((subject, self.writer.write(event, replay)?)));
        made.map_err(|problem| {
            Failure::new(Category::Rejected, format!("{}: {problem}", self.link.host()))
        })
    }

    fn refused(&self, sending: &mut Sending<'_>, place: usize, refusal: Refusal) {
        let host = self.link.host();
        let failure = match refusal {
            Refusal::Answered(answer) => answer::refused(&answer, host),
            Refusal::NoStream => {
                let event = sending.batch.events.get(place);
                let category = event.map_or(Category::Transient, |event| {
                    self.absent.category(event.id, Instant::now())
                });
                let pattern = self.subject.pattern();
                let message =
                    format!("{host} has no stream that takes an event's subject, one of {pattern}");
                Failure { status: Some(503), ..Failure::new(category, message) }
            }
            Refusal::TooLarge => {
                let message = format!("{host}: the event is larger than the server takes");
                Failure::new(Category::Rejected, message)
            }
            Refusal::Broken => return sending.broke(link::lost(host)),
            Refusal::Strange => {
                let message = format!("{host} gave no answer that can be understood");
                Failure::new(Category::Transient, message)
            }
        };
        sending.heard(place, Err(failure));
    }

    fn too_slow(&self) -> Failure {
        let message = format!("{}: no answer within {:?}", self.link.host(), self.common.timeout);
        Failure::new(Category::Transient, message)
    }
}

impl Sending<'_> {
    /// Takes what became of an event. What is wrong with more than the event stops the rest.
    fn heard(&mut self, place: usize, outcome: Result<(), Failure>) {
        match &outcome {
            Ok(()) => self.order.done(place),
            Err(failure) if failure.category == Category::Rejected => {}
            Err(failure) => {
                self.stopped.get_or_insert_with(|| failure.clone());
            }
        }
        if let Some(slot) = self.outcomes.get_mut(place) {
            *slot = Some(outcome);
        }
    }

    /// Nothing more is heard over this connection.
    fn broke(&mut self, failure: Failure) {
        self.is_broken = true;
        self.stopped.get_or_insert(failure);
    }
}

/// Shows where it sends to, and no credentials.
impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("to", &self.link.host()).finish_non_exhaustive()
    }
}

impl Sink for Nats {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        Box::pin(self.publish(batch))
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(preflight::look(self))
    }
}
