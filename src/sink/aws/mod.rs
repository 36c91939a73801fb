//! Amazon's queues and streams: SQS, SNS, Kinesis, Firehose and `EventBridge`.
//!
//! All of them take several events a call and answer for each. What one takes and says is decided
//! without I/O by a file of its own, behind `Service`; `calls` spreads a batch
//! over calls, `caller` signs and sends them with what `credentials` finds, from `place`. Signing
//! is our own, over what HTTP already has: the SDK would bring a second HTTP stack.

mod settings;
mod error;
mod around;
mod place;
mod credentials;
mod sign;
mod xml;
mod code;
mod service;
mod message;
mod sqs;
mod sns;
mod kinesis;
mod firehose;
mod eventbridge;
mod calls;
mod caller;
#[cfg(test)]
mod tests;

use std::fmt;

use tokio::time::Instant;

use self::around::Around;
use self::caller::{Caller, Refusal};
use self::calls::{Held, Item};
pub use self::error::Error;
use self::service::{Entry, Service};
pub use self::settings::{Config, Identity, Target};
use super::template::Event;
use super::{Answer, Batch, BoxFuture, Common, Failure, Sink};
use crate::envelope::Envelope;
use crate::failure::Category;

/// Sends events to one of the services.
pub struct Aws {
    kind: &'static str,
    service: Box<dyn Service>,
    caller: Caller,
    common: Common,
}

type Outcome = Result<(), Failure>;

impl Aws {
    /// Checks the settings, looks at the environment and makes the sink.
    ///
    /// # Errors
    /// A setting can't be used, or nothing says the region.
    pub fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        Ok(Self {
            kind: config.kind(),
            service: service::of(config)?,
            caller: Caller::new(config, common, &Around::of_process())?,
            common: *common,
        })
    }

    async fn send(&self, batch: &Batch) -> Answer {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.events.len()];
        let entries: Vec<Result<Entry, Failure>> =
            batch.events.iter().map(|envelope| self.entry(batch, envelope)).collect();
        let (mut items, mut held) = (Vec::with_capacity(entries.len()), Held::default());
        for (place, (entry, envelope)) in entries.iter().zip(&batch.events).enumerate() {
            match entry {
                Ok(entry) => items.push(Item { place, entry, envelope }),
                Err(failure) => {
                    held.add(envelope, None, failure);
                    set(&mut outcomes, place, Err(failure.clone()));
                }
            }
        }
        let stopped = self.call_all(items, held, &mut outcomes).await;
        if outcomes.iter().all(|outcome| matches!(outcome, Some(Ok(())))) {
            return Answer::Acknowledged;
        }
        let told = |outcome: Option<Outcome>| outcome.unwrap_or_else(|| Err(stopped.clone()));
        Answer::PerEvent(outcomes.into_iter().map(told).collect())
    }

    fn entry(&self, batch: &Batch, envelope: &Envelope) -> Result<Entry, Failure> {
        let event = Event { envelope, form: self.common.form };
        self.service.entry(&event, batch.replay).map_err(|problem| {
            Failure::new(Category::Rejected, format!("{}: {problem}", self.kind))
        })
    }

    /// Makes one call after the other. Returns why those stay that have no outcome then.
    async fn call_all<'a>(
        &self,
        items: Vec<Item<'a>>,
        mut held: Held<'a>,
        outcomes: &mut [Option<Outcome>],
    ) -> Failure {
        let begin = Instant::now();
        // Half of a request's time is left for the last call: what is taken is not sent again
        // because others took long.
        let enough = self.common.timeout / 2;
        let mut calls = calls::spread(items.into_iter(), self.service.limits());
        // Whether there is an event that does not come again.
        let mut has_settled = false;
        while let Some(call) = calls.pop_front() {
            if has_settled && begin.elapsed() >= enough {
                break;
            }
            let mut going = Vec::with_capacity(call.len());
            for item in call {
                match held.why(item) {
                    None => going.push(item),
                    Some(failure) => {
                        held.add_item(item, &failure);
                        set(outcomes, item.place, Err(failure));
                    }
                }
            }
            if going.is_empty() {
                continue;
            }
            match self.call(&going).await {
                Ok(each) => {
                    has_settled |= each.iter().any(is_settled);
                    for (item, outcome) in going.into_iter().zip(each) {
                        if let Err(failure) = &outcome {
                            held.add_item(item, failure);
                        }
                        set(outcomes, item.place, outcome);
                    }
                }
                // One of them may be at fault for all.
                Err(failure) if failure.category == Category::Rejected && going.len() > 1 => {
                    let behind = going.split_off(going.len() / 2);
                    calls.push_front(behind);
                    calls.push_front(going);
                }
                Err(failure) => {
                    let is_events = failure.category == Category::Rejected;
                    for item in going {
                        held.add_item(item, &failure);
                        set(outcomes, item.place, Err(failure.clone()));
                    }
                    if !is_events {
                        return failure;
                    }
                    has_settled = true;
                }
            }
        }
        calls::not_sent("the calls before it took long")
    }

    /// Makes one call. Returns what became of each event of it.
    async fn call(&self, items: &[Item<'_>]) -> Result<Vec<Outcome>, Failure> {
        let entries: Vec<&Entry> = items.iter().map(|item| item.entry).collect();
        let request = self.service.request(&entries);
        let heard = self.caller.ask(&request).await.map_err(|refusal| refusal.failure)?;
        let each = self.service.outcomes(&heard.body, entries.len());
        let each = each.ok_or_else(|| self.caller.unread(&heard))?;
        Ok(each
            .into_iter()
            .map(|one| one.map_err(|said| self.caller.entry(&heard, &said)))
            .collect())
    }

    async fn look(&self) -> Result<String, Failure> {
        let (reached, look) = (self.caller.reach().await?, self.service.look());
        match self.caller.ask(&look).await.map_err(|refusal| *refusal) {
            Ok(heard) => Ok(format!("{reached}; {}", self.service.seen(&heard.body))),
            Err(Refusal { said: Some(said), .. }) if said.is_denied() => Ok(format!(
                "{reached}; what is there can't be seen without the right {}, which sending does \
                 not need",
                look.action
            )),
            Err(Refusal { failure, .. }) => Err(failure),
        }
    }
}

fn is_settled(outcome: &Outcome) -> bool {
    outcome.as_ref().err().is_none_or(|failure| failure.category == Category::Rejected)
}

fn set(outcomes: &mut [Option<Outcome>], place: usize, outcome: Outcome) {
    if let Some(slot) = outcomes.get_mut(place) {
        *slot = Some(outcome);
    }
}

/// Shows where it sends to.
impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws")
            .field("service", &self.service)
            .field("to", &self.caller.origin())
            .finish_non_exhaustive()
    }
}

impl Sink for Aws {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        Box::pin(self.send(batch))
    }

    fn tidy(&self) -> Option<Instant> {
        self.caller.tidy()
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(self.look())
    }
}
