//! A batch on its way: all of it is handed to the producer, then each report is waited for.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::producer::DeliveryFuture;
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::time::{Instant, timeout_at};

use super::behind::Behind;
use super::client::{Client, Trouble};
use super::message::Message;
use super::transaction::Transaction;
use super::{Kafka, code, properties};
use crate::envelope::Envelope;
use crate::failure::Category;
use crate::sink::{Answer, Batch, Failure};

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Arrived,
    /// A broker, or librdkafka before any broker, answered so.
    Code(Code),
    /// It can't be made a message.
    Unmade(String),
    /// An earlier event of its key did not arrive.
    Behind,
    /// Nothing was heard of it in time.
    Silence,
}

/// What goes for the whole batch.
struct Sending<'a> {
    client: &'a Arc<Client>,
    started: Instant,
    deadline: Instant,
}

impl Kafka {
    /// Sends a batch and says what became of each event.
    pub(super) async fn send(&self, batch: &Batch) -> Answer {
        let client = match self.client() {
            Ok(client) => client,
            Err(failure) => return Answer::Failed(failure),
        };
        let started = Instant::now();
        // Delivery gives up at the timeout itself, and knows less of why.
        let deadline = started + self.timeout.mul_f64(0.95);
        let sending = Sending { client: &client, started, deadline };
        let fates = self.fates(batch, &sending).await;
        // Only a producer that is new asks at once whether it is mended.
        let fixed = self.plan.topic.fixed().is_some();
        let sticks = |fate: &Fate| matches!(fate, Fate::Code(code) if code::sticks(*code, fixed));
        let is_stuck = match &fates {
            Ok(fates) => fates.iter().any(sticks),
            Err(failure) => failure.category == Category::Setup,
        };
        if is_stuck || client.fatal().is_some() {
            self.retire(&client);
        }
        match fates {
            Ok(fates) => self.answer(fates, &sending),
            Err(failure) => Answer::Failed(failure),
        }
    }

    /// Returns the fate of each event; the error goes for all of them.
    async fn fates(&self, batch: &Batch, sending: &Sending<'_>) -> Result<Vec<Fate>, Failure> {
        if !self.is_transactional {
            let mut fates = self.pipelined(batch, sending).await?;
            self.one_by_one(batch, sending, &mut fates).await?;
            return Ok(fates);
        }
        let broken = |code: Code| {
            self.retire(sending.client);
            self.failure(code, sending)
        };
        let transaction =
            Transaction::begin(sending.client, sending.deadline).await.map_err(broken)?;
        let mut fates = self.pipelined(batch, sending).await?;
        if fates.iter().all(|fate| *fate == Fate::Arrived) {
            transaction.commit().await.map_err(broken)?;
            return Ok(fates);
        }
        transaction.abort().await.map_err(broken)?;
        // Who is at fault among those of a set shows when the batch is smaller.
        let of_set = |fate: &Fate| matches!(fate, Fate::Code(code) if code::is_of_set(*code));
        if batch.events.len() > 1 && fates.iter().filter(|fate| of_set(fate)).count() > 1 {
            return Err(self.failure(Code::MessageSizeTooLarge, sending));
        }
        let arrived = fates.iter_mut().filter(|fate| **fate == Fate::Arrived);
        arrived.for_each(|fate| *fate = Fate::Behind);
        Ok(fates)
    }

    /// Hands every event over, and then waits for the reports.
    async fn pipelined(&self, batch: &Batch, sending: &Sending<'_>) -> Result<Vec<Fate>, Failure> {
        let mut behind = Behind::default();
        let mut under_way = Vec::with_capacity(batch.events.len());
        for event in &batch.events {
            // What is known to fail keeps those behind it from being sent at all.
            let handed = match self.plan.messages(event, batch.replay > 0) {
                _ if behind.is(event) => Err(Fate::Behind),
                Err(problem) => Err(Fate::Unmade(problem)),
                Ok(messages) => hand_over(&messages, sending).await,
            };
            if handed.is_err() {
                behind.add(event);
            }
            under_way.push(handed);
        }
        let mut fates = Vec::with_capacity(under_way.len());
        for handed in under_way {
            fates.push(match handed {
                Ok(reports) => self.reported(reports, sending).await?,
                Err(fate) => fate,
            });
        }
        follow(&batch.events, &mut fates);
        Ok(fates)
    }

    /// Brokers refuse a whole set of messages for one in it: those are sent again, each alone, and
    /// what came behind them too.
    async fn one_by_one(
        &self,
        batch: &Batch,
        sending: &Sending<'_>,
        fates: &mut [Fate],
    ) -> Result<(), Failure> {
        let of_set = |fate: &Fate| matches!(fate, Fate::Code(code) if code::is_of_set(*code));
        if fates.iter().filter(|fate| of_set(fate)).count() < 2 {
            return Ok(());
        }
        let mut behind = Behind::default();
        for (event, fate) in batch.events.iter().zip(fates.iter_mut()) {
            if of_set(fate) || *fate == Fate::Behind {
                *fate = match self.plan.messages(event, batch.replay > 0) {
                    _ if behind.is(event) => Fate::Behind,
                    Err(problem) => Fate::Unmade(problem),
                    Ok(messages) => match hand_over(&messages, sending).await {
                        Ok(reports) => self.reported(reports, sending).await?,
                        Err(fate) => fate,
                    },
                };
            }
            if *fate != Fate::Arrived {
                behind.add(event);
            }
        }
        Ok(())
    }

    /// Waits for the reports of one event; the error goes for all events.
    async fn reported(
        &self,
        reports: Vec<DeliveryFuture>,
        sending: &Sending<'_>,
    ) -> Result<Fate, Failure> {
        let Sending { client, started, deadline } = *sending;
        let mut fate = Fate::Arrived;
        for report in reports {
            let reported = tokio::select! {
                biased;
                reported = timeout_at(deadline, report) => reported,
                trouble = client.refused(started) => return Err(self.refusal(&trouble)),
            };
            let one = match reported {
                Ok(Ok(Ok(_))) => {
                    client.well();
                    Fate::Arrived
                }
                Ok(Ok(Err((error, _)))) => {
                    Fate::Code(error.rdkafka_error_code().unwrap_or(Code::Fail))
                }
                Ok(Err(_)) => Fate::Code(Code::DestroyBroker),
                Err(_) => Fate::Silence,
            };
            if fate == Fate::Arrived {
                fate = one;
            }
        }
        Ok(fate)
    }

    /// Makes an answer of the fates.
    fn answer(&self, fates: Vec<Fate>, sending: &Sending<'_>) -> Answer {
        if fates.iter().all(|fate| *fate == Fate::Arrived) {
            return Answer::Acknowledged;
        }
        let outcome = |fate| match fate {
            Fate::Arrived => Ok(()),
            Fate::Code(code) => Err(self.failure(code, sending)),
            Fate::Unmade(problem) => {
                Err(Failure::new(Category::Rejected, format!("kafka: {problem}")))
            }
            Fate::Behind => Err(Failure::new(
                Category::Transient,
                format!("kafka {}: an earlier event did not arrive", self.brokers),
            )),
            Fate::Silence => Err(self.silence(sending.deadline - sending.started, sending)),
        };
        Answer::PerEvent(fates.into_iter().map(outcome).collect())
    }

    /// Says what a code means.
    fn failure(&self, code: Code, sending: &Sending<'_>) -> Failure {
        if matches!(code, Code::MessageTimedOut | Code::OperationTimedOut) {
            return self.silence(properties::message_timeout(self.timeout), sending);
        }
        // The reason, where a producer is past use, is what made it so.
        let code = match code {
            Code::Fatal => sending.client.fatal().unwrap_or(code),
            code => code,
        };
        let topic = &self.plan.topic;
        let category = code::category(code, topic.fixed().is_some());
        let message = format!("kafka {}, topic `{}`: {code}", self.brokers, topic.text);
        Failure { status: code::number(code), ..Failure::new(category, message) }
    }

    /// Nothing was heard: the reason is what is known of the connections.
    fn silence(&self, limit: Duration, sending: &Sending<'_>) -> Failure {
        let trouble = sending.client.trouble(sending.started);
        let lasts =
            trouble.as_ref().is_some_and(|trouble| code::lasts(trouble.code, &trouble.text));
        let category = if lasts { Category::Setup } else { Category::Transient };
        let why = trouble.map(|trouble| format!(": {}", trouble.text)).unwrap_or_default();
        let brokers = &self.brokers;
        Failure::new(category, format!("kafka {brokers}: no acknowledgement within {limit:?}{why}"))
    }

    /// The credentials were refused.
    pub(super) fn refusal(&self, trouble: &Trouble) -> Failure {
        let message = format!("kafka {} refused the credentials: {}", self.brokers, trouble.text);
        Failure::new(Category::Setup, message)
    }
}

/// Hands the messages of an event over, in order.
async fn hand_over(
    messages: &[Message<'_>],
    sending: &Sending<'_>,
) -> Result<Vec<DeliveryFuture>, Fate> {
    let mut reports = Vec::with_capacity(messages.len());
    for message in messages {
        let handed = sending.client.enqueue(message, sending.deadline).await;
        reports.push(handed.map_err(Fate::Code)?);
    }
    Ok(reports)
}

/// Of what arrived behind an earlier event of its key that did not, nothing counts.
fn follow(events: &[Envelope], fates: &mut [Fate]) {
    let mut behind = Behind::default();
    for (event, fate) in events.iter().zip(fates) {
        if *fate == Fate::Arrived && behind.is(event) {
            *fate = Fate::Behind;
        }
        if *fate != Fate::Arrived {
            behind.add(event);
        }
    }
}
