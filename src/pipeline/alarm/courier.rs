//! [`Courier`]: brings notices to one destination, however long that takes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::Connection;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::alert::{Instance, Next, Notice, Post, folded, store};
use crate::chunk::{Chunk, Operation};
use crate::config::{Sink as Settings, SinkKind};
use crate::delivery::RetrySettings;
use crate::envelope::{Envelope, RouteLabel};
use crate::failure::{Category, chain};
use crate::lsn::{EventId, Lsn, Position, Timestamp};
use crate::sink::{self, Answer, Batch, Failure, Sink};
use crate::state::State;

/// A notice that is refused so often will not be taken.
const REFUSALS_MAX: u32 = 3;
/// Between two log lines of a destination that can't be told.
const LOG_EVERY: Duration = Duration::from_secs(600);

/// Goes to one destination. It has a sink of its own, with that sink's address, credentials and
/// guards, so that it waits for no event and no event for it.
#[derive(Debug)]
pub(super) struct Courier {
    destination: String,
    slack: bool,
    sink: Box<dyn Sink>,
    retry: RetrySettings,
    instance: Instance,
    state: State,
    post: Post,
    /// When it was last said that it can't be told, and how often it failed since.
    logged: Option<Instant>,
    unlogged: u32,
}

/// What goes in one request.
struct Parcel {
    batch: Batch,
    /// By incident and number.
    notices: Vec<(i64, u32)>,
}

impl Courier {
    pub(super) fn new(
        settings: &Settings,
        slack: bool,
        instance: &Instance,
        state: &State,
    ) -> Result<Self, Failure> {
        let SinkKind::Sent(kind) = &settings.kind else {
            return Err(Failure::new(Category::Setup, "nothing is sent to a sink that is polled"));
        };
        let built = sink::build(&settings.name, kind, &settings.common_of_notices());
        Ok(Self {
            destination: settings.name.clone(),
            slack,
            sink: built.map_err(|error| Failure::new(Category::Setup, chain(&error)))?,
            retry: settings.delivery.retry,
            instance: instance.clone(),
            state: state.clone(),
            post: Post::default(),
            logged: None,
            unlogged: 0,
        })
    }

    /// Runs until nobody gives it anything any more and all has arrived.
    pub(super) async fn run(mut self, mut incoming: mpsc::Receiver<Notice>) {
        loop {
            while let Ok(notice) = incoming.try_recv() {
                self.add(notice).await;
            }
            match self.post.next(Timestamp::now()) {
                Next::Nothing => match incoming.recv().await {
                    Some(notice) => self.add(notice).await,
                    None => return,
                },
                Next::Wait(until) => {
                    let micros = until.0.saturating_sub(Timestamp::now().0).max(0).unsigned_abs();
                    if !self.pause(Duration::from_micros(micros), &mut incoming).await {
                        return;
                    }
                }
                Next::One(notice) => {
                    let body = match self.slack {
                        true => notice.slack(&self.instance),
                        false => notice.json(&self.instance),
                    };
                    let parcel = Parcel::new(&body, &[*notice]);
                    self.bring(&parcel, &mut incoming).await;
                }
                Next::Many(notices, lost) => {
                    let body = folded(&notices, lost, &self.instance, self.slack);
                    self.bring(&Parcel::new(&body, &notices), &mut incoming).await;
                }
            }
        }
    }

    /// Sends a parcel until it is taken, or will not be.
    async fn bring(&mut self, parcel: &Parcel, incoming: &mut mpsc::Receiver<Notice>) {
        let (mut failures, mut refusals, mut noted) = (0_u32, 0, None);
        loop {
            let failure = match self.sink.deliver(&parcel.batch).await {
                Answer::Acknowledged => break,
                Answer::Failed(failure) => failure,
                Answer::PerEvent(outcomes) => match outcomes.into_iter().find_map(Result::err) {
                    Some(failure) => failure,
                    None => break,
                },
            };
            failures = failures.saturating_add(1);
            refusals += u32::from(failure.category == Category::Rejected);
            self.log(&failure);
            if refusals >= REFUSALS_MAX {
                let (destination, error) = (&self.destination, &failure.message);
                tracing::error!(destination, error, "a notice is given up: it is refused");
                break;
            }
            if noted.as_ref() != Some(&failure.message) {
                let (why, notices) = (failure.message.clone(), parcel.notices.clone());
                self.note(move |c, to| store::failed(c, to, &notices, &why)).await;
                noted = Some(failure.message.clone());
            }
            let bound = self.retry.initial.saturating_mul(1 << failures.min(16)) / 2;
            let bound = bound.min(self.retry.max);
            let wait = bound.mul_f64(f64::midpoint(1.0, fastrand::f64()));
            let asked = failure.retry_after.map(|asked| asked.min(self.retry.retry_after_max));
            // At the end of the run it goes on for as long as it may.
            let wait = asked.unwrap_or(wait);
            if !self.pause(wait, incoming).await {
                tokio::time::sleep(wait).await;
            }
        }
        if failures > 0 && refusals < REFUSALS_MAX {
            tracing::info!(destination = self.destination, failures, "notices arrive again");
        }
        (self.logged, self.unlogged) = (None, 0);
        let notices = parcel.notices.clone();
        self.note(move |c, to| store::settled(c, to, &notices)).await;
    }

    /// Waits, and takes in what comes meanwhile; false, at once, where nothing will come any more.
    async fn pause(&mut self, time: Duration, incoming: &mut mpsc::Receiver<Notice>) -> bool {
        let until = Instant::now() + time;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return true,
                notice = incoming.recv() => match notice {
                    Some(notice) => self.add(notice).await,
                    None => return false,
                },
            }
        }
    }

    async fn add(&mut self, notice: Notice) {
        if let Some(given_up) = self.post.add(notice) {
            let given_up = [(given_up.incident, given_up.number)];
            self.note(move |c, to| store::settled(c, to, &given_up)).await;
        }
    }

    /// Says that the destination can't be told, now and then.
    fn log(&mut self, failure: &Failure) {
        self.unlogged += 1;
        if self.logged.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            return;
        }
        tracing::warn!(
            destination = self.destination,
            failures = self.unlogged,
            error = failure.message,
            "a notice can't be sent; it is tried again"
        );
        (self.logged, self.unlogged) = (Some(Instant::now()), 0);
    }

    async fn note<F>(&self, what: F)
    where
        F: FnOnce(&Connection, &str) -> rusqlite::Result<()> + Send + 'static,
    {
        let destination = self.destination.clone();
        if let Err(error) = self.state.write(move |c| what(c, &destination)).await {
            tracing::debug!(error = chain(&error), "how a notice went can't be noted");
        }
    }
}

impl Parcel {
    fn new(body: &serde_json::Value, notices: &[Notice]) -> Self {
        let newest = notices.iter().map(|notice| (notice.incident, notice.number)).max();
        let (incident, number) = newest.unwrap_or_default();
        // A receiver that knows a repeat by its id takes each once: one of several notices has
        // their number where others have a timeline.
        let timeline = u32::try_from(notices.len()).unwrap_or(u32::MAX).saturating_sub(1);
        let position = Position::new(Lsn(incident.cast_unsigned()), number);
        let name = notices.first().map(|notice| notice.name.clone()).unwrap_or_default();
        let chunk = Chunk {
            timeline: 0,
            frames: Bytes::new(),
            transactions: Vec::new(),
            relations: Vec::new(),
            entries: Vec::new(),
            audience: None,
        };
        let envelope = Envelope {
            id: EventId { timeline, position },
            operation: Operation::Message,
            body: Bytes::from(body.to_string()),
            key: Bytes::new(),
            key_hash: 0,
            before_key_hash: None,
            before_key: None,
            outbox: None,
            commit_time: None,
            route: Arc::new(RouteLabel { name, mapping: None }),
            chunk: Arc::new(chunk),
            entry: 0,
        };
        Self {
            batch: Batch { events: vec![envelope], replay: 0 },
            notices: notices.iter().map(|notice| (notice.incident, notice.number)).collect(),
        }
    }
}
