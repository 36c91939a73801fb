//! The `redis` sink: events as entries of Redis streams, a batch all or none of it.
//!
//! What is added and what an answer means is decided without I/O: `entry` makes it, `place` says
//! under which id, `answer` judges. `link` is the connections, `newest` what streams have.

mod settings;
mod entry;
mod place;
mod newest;
mod link;
mod answer;
mod preflight;
#[cfg(test)]
mod tests;

use std::fmt;

use redis::{Cmd, Value};
use tokio::time::{Instant, timeout_at};

use self::entry::Writer;
use self::link::{Connection, Link};
use self::newest::Newest;
use self::place::Place;
pub use self::settings::{Config, Error, Ids};
use super::in_order::{self, InOrder};
use super::{Answer, Batch, BoxFuture, Common, Failure, Sink};
use crate::failure::Category;

/// The kind's word.
pub const KIND: &str = "redis";

/// Adds events to streams.
pub struct Redis {
    link: Link,
    writer: Writer,
    common: Common,
    /// With `ids = "lsn"`: the newest entry of each stream.
    newest: Option<Newest>,
    wait_replicas: u32,
}

/// An event that can be added.
struct Ready {
    /// Its place in the batch.
    place: usize,
    stream: String,
    fields: Vec<(String, Vec<u8>)>,
}

impl Redis {
    /// Checks the settings and makes the sink.
    ///
    /// # Errors
    /// A setting can't be used, or a file it names can't be read.
    pub fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        Ok(Self {
            link: Link::new(config, common)?,
            writer: Writer::new(config, common)?,
            common: *common,
            newest: (config.ids == Ids::Lsn).then(Newest::default),
            wait_replicas: config.wait_replicas,
        })
    }

    async fn send(&self, batch: &Batch) -> Answer {
        let deadline = Instant::now() + self.common.timeout;
        let answer = timeout_at(deadline, async {
            let mut connection = self.link.take().await?;
            let answer = self.add(&mut connection, batch).await?;
            self.link.put(connection);
            Ok(answer)
        });
        let failure = match answer.await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(failure)) => failure,
            Err(_) => {
                let (host, limit) = (self.link.host(), self.common.timeout);
                Failure::new(Category::Transient, format!("{host}: no answer within {limit:?}"))
            }
        };
        self.link.close();
        Answer::Failed(failure)
    }

    /// Adds a batch, or nothing of it. With an error the connection is closed.
    async fn add(&self, connection: &mut Connection, batch: &Batch) -> Result<Answer, Failure> {
        let mut outcomes = vec![None; batch.events.len()];
        let ready = self.ready(batch, connection.argument_bytes_max, &mut outcomes);
        match &self.newest {
            None => {
                let adds = ready
                    .iter()
                    .map(|event| self.writer.add(&event.stream, None, &event.fields))
                    .collect();
                let added = self.transact(connection, adds).await?;
                for (event, outcome) in ready.iter().zip(added) {
                    set(&mut outcomes, event.place, outcome);
                }
            }
            Some(newest) => {
                // Not known while it changes.
                let mut known = newest.take();
                let places = known.places(connection, batch, &ready, self.link.host()).await?;
                let mut adds = Vec::new();
                for (event, place) in ready.iter().zip(&places) {
                    if let Place::At(id) = place {
                        adds.push(self.writer.add(&event.stream, Some(*id), &event.fields));
                    }
                }
                let mut added = self.transact(connection, adds).await?.into_iter();
                for (event, place) in ready.iter().zip(&places) {
                    let outcome = match place {
                        Place::There => Some(Ok(())),
                        Place::At(_) => added.next(),
                    };
                    outcome.into_iter().for_each(|it| set(&mut outcomes, event.place, it));
                }
                if outcomes.iter().flatten().all(Result::is_ok) {
                    newest.put(known);
                }
            }
        }
        Ok(in_order::answer(outcomes, None))
    }

    /// Makes the entries that can be made, in the batch's order. What stands behind a refused one
    /// of its key is left out.
    fn ready(
        &self,
        batch: &Batch,
        bytes_max: u64,
        outcomes: &mut [Option<Result<(), Failure>>],
    ) -> Vec<Ready> {
        let mut order = InOrder::new(&batch.events);
        let mut ready = Vec::with_capacity(batch.events.len());
        while let Some(place) = order.next() {
            let Some(event) = batch.events.get(place) else { continue };
            let made = self.writer.stream(event).and_then(|stream| {
                let fields = Writer::fields(event, batch.replay, bytes_max)?;
                Ok(Ready { place, stream, fields })
            });
            match made {
                Ok(made) => {
                    ready.push(made);
                    order.done(place);
                }
                Err(problem) => {
                    let message = format!("{}: {problem}", self.link.host());
                    set(outcomes, place, Err(Failure::new(Category::Rejected, message)));
                }
            }
        }
        ready.sort_unstable_by_key(|event| event.place);
        ready
    }

    /// Does all commands or none, and returns the outcome of each.
    async fn transact(
        &self,
        connection: &mut Connection,
        adds: Vec<Cmd>,
    ) -> Result<Vec<Result<(), Failure>>, Failure> {
        let (host, count) = (self.link.host(), adds.len());
        let mut commands = Vec::with_capacity(count.saturating_add(3));
        if count > 0 {
            commands.push(redis::cmd("MULTI"));
            commands.extend(adds);
            commands.push(redis::cmd("EXEC"));
        }
        if self.wait_replicas > 0 {
            // Before the whole request has no more time.
            let limit = self.common.timeout.checked_div(2).unwrap_or_default();
            let mut wait = redis::cmd("WAIT");
            wait.arg(self.wait_replicas).arg(u64::try_from(limit.as_millis()).unwrap_or(1).max(1));
            commands.push(wait);
        }
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut answers = connection.ask(&commands).await.map_err(|broken| broken.failure(host))?;
        let waited = if self.wait_replicas > 0 { answers.pop() } else { None };
        let outcomes = match count {
            0 => Vec::new(),
            _ => answer::transaction(&answers, count, host)?,
        };
        match waited {
            None => Ok(outcomes),
            Some(Value::Int(replicas)) if replicas >= i64::from(self.wait_replicas) => Ok(outcomes),
            Some(Value::ServerError(error)) => Err(answer::refused(&error, host)),
            Some(_) => {
                let wanted = self.wait_replicas;
                let message = format!("{host}: fewer than {wanted} replicas have the batch");
                Err(Failure::new(Category::Transient, message))
            }
        }
    }
}

fn set(outcomes: &mut [Option<Result<(), Failure>>], place: usize, outcome: Result<(), Failure>) {
    if let Some(slot) = outcomes.get_mut(place) {
        *slot = Some(outcome);
    }
}

/// Shows where it sends to, and no credentials.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("to", &self.link.host()).finish_non_exhaustive()
    }
}

impl Sink for Redis {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        Box::pin(self.send(batch))
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(preflight::look(self))
    }
}
