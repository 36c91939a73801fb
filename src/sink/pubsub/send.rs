//! Sending a batch: several requests under way, each key in order.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::Method;
use serde::Deserialize;
use tokio::time::Instant;

use super::held::{Held, not_sent};
use super::message::Message;
use super::requests::{Item, Requests, body};
use super::{IN_FLIGHT, PubSub};
use crate::failure::Category;
use crate::sink::web::client::Ask;
use crate::sink::{Answer, Batch, Failure};

type Outcome = Result<(), Failure>;

/// So many requests in a row that fail by no fault of their events: the sink is down, and nothing
/// more is begun.
const FAILURES_MAX: u32 = 3;

/// How a batch stands.
struct Sending<'a> {
    requests: Requests<'a>,
    held: Held<'a>,
    /// By place.
    outcomes: Vec<Option<Outcome>>,
    /// Why nothing more is begun.
    stopped: Option<Failure>,
    /// Since the last that was taken.
    failures: u32,
    /// There is an event that does not come again.
    has_settled: bool,
}

/// What became of a request.
struct Sent<'a> {
    at: usize,
    each: Vec<(Item<'a>, Outcome)>,
    /// What is wrong with more than its events.
    failure: Option<Failure>,
}

/// Until when.
#[derive(Clone, Copy)]
struct Time {
    /// The last answer is to be heard.
    deadline: Instant,
    /// Something is begun: half of the time is left for the last request, as what is taken is not
    /// sent again because others took long.
    enough: Instant,
}

impl PubSub {
    pub(super) async fn publish(&self, batch: &Batch) -> Answer {
        let time = Time { deadline: self.deadline(), enough: Instant::now() + self.timeout / 2 };
        let made: Vec<Result<Message, Failure>> = batch
            .events
            .iter()
            .map(|envelope| {
                self.shape.message(envelope, batch.replay > 0).map_err(|problem| {
                    let host = self.client.host();
                    Failure::new(Category::Rejected, format!("{host}: {problem}"))
                })
            })
            .collect();
        let mut sending = Sending::new(batch, &made);
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < IN_FLIGHT
                && let Some((at, items)) = sending.next(time)
            {
                under_way.push(self.send(at, items, time));
            }
            let Some(sent) = under_way.next().await else { break };
            sending.heard(sent);
        }
        sending.answer()
    }

    /// Sends the events of a request, in halves where they are refused together: one of them may be
    /// at fault for all.
    async fn send<'a>(&self, at: usize, items: Vec<Item<'a>>, time: Time) -> Sent<'a> {
        let (mut parts, mut held) = (vec![items], Held::default());
        let mut sent = Sent { at, each: Vec::new(), failure: None };
        while let Some(part) = parts.pop() {
            let why = |item: Item<'a>| held.why(item).cloned();
            let (stay, mut part): (Vec<_>, Vec<_>) =
                part.into_iter().partition(|item| why(*item).is_some());
            sent.each.extend(stay.into_iter().filter_map(|item| Some((item, Err(why(item)?)))));
            if part.is_empty() {
                continue;
            }
            let answer = match &sent.failure {
                Some(failure) => Err(failure.clone()),
                None if !sent.each.is_empty() && Instant::now() >= time.enough => {
                    Err(not_sent("the requests before it took long"))
                }
                None => self.request(&part, time.deadline).await,
            };
            match answer {
                Ok(()) => sent.each.extend(part.into_iter().map(|item| (item, Ok(())))),
                Err(failure) if failure.category == Category::Rejected && part.len() > 1 => {
                    let behind = part.split_off(part.len() / 2);
                    parts.push(behind);
                    parts.push(part);
                }
                Err(failure) => {
                    part.iter().for_each(|item| held.add(*item, &failure));
                    sent.each.extend(part.into_iter().map(|item| (item, Err(failure.clone()))));
                    if failure.category != Category::Rejected {
                        sent.failure = Some(failure);
                    }
                }
            }
        }
        sent
    }

    /// Makes one request, which is taken as a whole or not at all.
    async fn request(&self, items: &[Item<'_>], deadline: Instant) -> Outcome {
        #[derive(Deserialize)]
        struct Published {
            #[serde(rename = "messageIds", default)]
            message_ids: Vec<String>,
        }
        let Some(first) = items.first() else { return Ok(()) };
        let ask = Ask::new(Method::POST, first.message.topic.path(":publish"));
        let said = self.ask(&ask.json(body(items)), deadline).await?;
        let published: Option<Published> = serde_json::from_slice(&said).ok();
        if published.is_some_and(|published| published.message_ids.len() == items.len()) {
            return Ok(());
        }
        let why = "answered a request without an id for each of its messages";
        Err(Failure::new(Category::Transient, format!("{} {why}", self.client.host())))
    }
}

impl<'a> Sending<'a> {
    fn new(batch: &'a Batch, made: &'a [Result<Message, Failure>]) -> Self {
        let (mut outcomes, mut held) = (vec![None; batch.events.len()], Held::default());
        let mut items = Vec::with_capacity(made.len());
        let each = made.iter().zip(&batch.events).zip(&mut outcomes).enumerate();
        for (place, ((message, envelope), outcome)) in each {
            match message {
                Ok(message) => items.push(Item { place, message, envelope }),
                Err(failure) => {
                    held.add_unfit(place, envelope, failure);
                    *outcome = Some(Err(failure.clone()));
                }
            }
        }
        let requests = Requests::new(items.into_iter());
        Self { requests, held, outcomes, stopped: None, failures: 0, has_settled: false }
    }

    /// Takes the next request, without those of its events that stay behind others.
    fn next(&mut self, time: Time) -> Option<(usize, Vec<Item<'a>>)> {
        loop {
            if self.stopped.is_none() && self.has_settled && Instant::now() >= time.enough {
                self.stopped = Some(not_sent("the requests before it took long"));
            }
            if self.stopped.is_some() {
                return None;
            }
            let (at, items) = self.requests.next()?;
            let mut going = Vec::with_capacity(items.len());
            for item in items {
                match self.held.why(item).cloned() {
                    None => going.push(item),
                    Some(failure) => self.set(item, Err(failure)),
                }
            }
            if !going.is_empty() {
                return Some((at, going));
            }
            self.requests.over(at);
        }
    }

    fn heard(&mut self, sent: Sent<'a>) {
        for (item, outcome) in sent.each {
            if outcome.is_ok() {
                self.failures = 0;
            }
            self.set(item, outcome);
        }
        self.requests.over(sent.at);
        let Some(failure) = sent.failure else { return };
        self.failures += 1;
        let is_down = match failure.category {
            Category::Transient | Category::Exhausted => self.failures >= FAILURES_MAX,
            Category::Throttled | Category::Setup | Category::Rejected => true,
        };
        if is_down {
            self.stopped.get_or_insert(failure);
        }
    }

    fn set(&mut self, item: Item<'a>, outcome: Outcome) {
        match &outcome {
            Ok(()) => self.has_settled = true,
            Err(failure) => {
                self.has_settled |= failure.category == Category::Rejected;
                self.held.add(item, failure);
            }
        }
        if let Some(slot) = self.outcomes.get_mut(item.place) {
            *slot = Some(outcome);
        }
    }

    fn answer(self) -> Answer {
        let Self { outcomes, stopped, has_settled, .. } = self;
        if outcomes.iter().all(|outcome| matches!(outcome, Some(Ok(())))) {
            return Answer::Acknowledged;
        }
        if let Some(stopped) = stopped.as_ref().filter(|_| !has_settled) {
            return Answer::Failed(stopped.clone());
        }
        let unsent = stopped.unwrap_or_else(|| not_sent("an earlier event of the batch failed"));
        let told = |outcome: Option<Outcome>| outcome.unwrap_or_else(|| Err(unsent.clone()));
        Answer::PerEvent(outcomes.into_iter().map(told).collect())
    }
}
