//! [`Poller`]: reads ahead for a sink that comes and asks, and sets aside what its mapping refuses.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::shelf::Ready;
use super::{Inner, Polled, Recipe, keys_of};
use crate::chunk::Operation;
use crate::delivery::bounds::Bounds;
use crate::delivery::dead_letter::{self, Letter, Stored, Verdict};
use crate::delivery::handle::{AUDIT_EVERY, SinkProgress, SinkState};
use crate::delivery::lane::Tracked;
use crate::delivery::orders::{Ordered, Orders};
use crate::delivery::parked::LetterState;
use crate::delivery::reader::{Read, Reader};
use crate::delivery::runner::{Error, original};
use crate::delivery::settings::{OnDead, Settings};
use crate::delivery::view::View;
use crate::delivery::ward::{Ward, Write, Written};
use crate::failure::Category;
use crate::journal::{self, Journal};
use crate::lsn::{Position, Timestamp};
use crate::mapping::{Format, Route, SourceLabel};
use crate::sink::Failure;
use crate::state::{self, State};

/// How long to wait before a transaction that failed is tried again.
pub(super) const STATE_RETRY: Duration = Duration::from_secs(1);

/// What a sink that comes and asks is served with.
#[derive(Debug)]
pub struct PollParts {
    /// The sink's name.
    pub name: String,
    /// How it is served; of batches only the limits count.
    pub settings: Settings,
    /// So many sinks share the memory.
    pub sinks: usize,
    /// The sink's routes, in the order of the config.
    pub routes: Vec<Arc<Route>>,
    /// Where events come from, as they say it.
    pub label: SourceLabel,
    /// What a body looks like.
    pub format: Format,
    /// Where the changes are.
    pub journal: Arc<Journal>,
    /// Where dead letters are stored.
    pub state: State,
    /// Where the rest of the process looks.
    pub progress: SinkProgress,
    /// What a person asks of it.
    pub orders: Ordered,
}

/// Lays events out until there are enough, and goes on as they are acknowledged. One that nobody
/// asks costs no more than that: the rest waits in the journal.
#[derive(Debug)]
pub struct Poller {
    pub(super) name: Arc<str>,
    pub(super) settings: Settings,
    events_max: usize,
    pub(super) bytes_max: u64,
    pub(super) state: State,
    pub(super) progress: SinkProgress,
    pub(super) polled: Polled,
    pub(super) reader: Reader,
    pub(super) ward: Ward,
    pub(super) view: View,
    pub(super) started: Instant,
    /// Above the floor, and set aside by an earlier run: not to be handed out.
    settled: HashSet<Position>,
    /// From here on the journal keeps what was set aside and has no copy of its own.
    pub(super) pinned_from: Option<Position>,
    pub(super) dead: u64,
    /// When the dead letters are counted again, because there were too many or it failed.
    pub(super) recount_at: Option<Instant>,
    /// When to look whether every event is accounted for; none: nothing happened since.
    audit_at: Option<Instant>,
    orders: Ordered,
    /// There may be dead letters to send again.
    pub(super) feeds: bool,
    /// More than was laid out so far.
    pub(super) joins: bool,
}

impl Poller {
    /// Takes up where the progress says that the sink is. One that was let go lays out nothing.
    ///
    /// # Errors
    /// When the journal no longer has what the sink has not done.
    pub fn new(parts: PollParts) -> Result<Self, Error> {
        let PollParts {
            name,
            settings,
            sinks,
            routes,
            label,
            format,
            journal,
            state,
            progress,
            orders,
        } = parts;
        let from = progress.floor();
        let begin = if progress.is_detached() { journal.end() } else { from };
        let cursor = journal
            .cursor(begin)
            .map_err(|source| Error::Journal { sink: name.clone(), source })?;
        let bounds = Bounds::share(sinks, &settings);
        let recipe = Recipe { routes, label, format };
        let max_events = usize::try_from(settings.batch.max_events).unwrap_or(usize::MAX);
        Ok(Self {
            // A page and the next one.
            events_max: bounds.events_max.min(max_events.saturating_mul(2)),
            bytes_max: bounds.bytes_max,
            reader: Reader::new(
                cursor,
                progress.takes_from(begin),
                recipe.mapper(),
                bounds.chunk_bytes_max,
            ),
            ward: Ward::new(&name, state.clone()),
            view: View::new(&name, progress.clone()),
            polled: Polled(Arc::new(Inner {
                progress: progress.clone(),
                limits: settings.batch,
                journal,
                recipe,
                desk: Mutex::new(Desk::new(from)),
                grown: Notify::new(),
                room: Notify::new(),
                closed: CancellationToken::new(),
            })),
            name: Arc::from(name),
            settings,
            state,
            progress,
            started: Instant::now(),
            settled: HashSet::new(),
            pinned_from: None,
            dead: 0,
            recount_at: None,
            audit_at: None,
            orders,
            feeds: false,
            joins: false,
        })
    }

    /// Returns the sink's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what receivers ask.
    #[must_use]
    pub fn polled(&self) -> Polled {
        self.polled.clone()
    }

    /// Lays events out until `stop`; whoever waits for one is then told so. Returns how many
    /// events may be handed out again though they have arrived: none that anybody knows of.
    ///
    /// Cancel safety: dropping it loses nothing.
    ///
    /// # Errors
    /// When the journal or the state can't be read, or a change can't be decoded.
    pub async fn run(mut self, stop: CancellationToken) -> Result<u64, Error> {
        let closed = self.polled.0.closed.clone();
        let _closes_in_any_case = closed.drop_guard();
        if !self.progress.is_detached() {
            let progress = self.progress.clone();
            // What is being written at the stop is waited for.
            let too_late = async {
                stop.cancelled().await;
                tokio::time::sleep(STATE_RETRY).await;
            };
            tokio::select! {
                () = too_late => {}
                () = progress.detached() => {}
                served = self.serve(&stop) => served?,
            }
            // Whoever waits is told why nothing comes.
            self.polled.0.closed.cancel();
            self.end().await;
        }
        // Nobody takes an order any more.
        self.orders = Orders::new().1;
        stop.cancelled().await;
        Ok(0)
    }

    /// Notes what was acknowledged last, unless that takes long: it would be handed out again.
    async fn end(&mut self) {
        if self.ward.is_idle() {
            let _noted = tokio::time::timeout(STATE_RETRY, self.note()).await;
        }
    }

    async fn serve(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        self.restore().await?;
        loop {
            self.note().await;
            if stop.is_cancelled() {
                return Ok(());
            }
            self.feed().await?;
            self.audit();
            self.show();
            let has_room = self.has_room();
            if has_room && !self.reader.needs_chunk() {
                self.read_slice().await?;
                tokio::task::coop::consume_budget().await;
                continue;
            }
            let polled = self.polled.clone();
            let wake = self.wake_at();
            tokio::select! {
                () = stop.cancelled() => {}
                read = self.reader.next_chunk(), if has_room => match read {
                    // What was not read yet may be gone already.
                    Err(_) if self.progress.is_detached() => return Ok(()),
                    read => read.map_err(|source| self.journal_error(source))?,
                },
                () = polled.0.room.notified() => self.ask_for_audit(),
                order = self.orders.next() => self.ordered(order).await?,
                () = tokio::time::sleep_until(wake.unwrap_or(self.started)), if wake.is_some() => {
                    self.recount().await;
                }
            }
        }
    }

    /// Learns what an earlier run set aside.
    async fn restore(&mut self) -> Result<(), Error> {
        let (name, floor) = (Arc::clone(&self.name), self.progress.floor());
        let read = self.state.read(move |connection| {
            let stored = dead_letter::load(connection, &name, OnDead::Continue, floor)?;
            let keys = dead_letter::keys_of_dead(connection, &name)?;
            let pinned_from = dead_letter::pinned_from(connection, &name)?;
            Ok((stored, dead_letter::count_dead(connection, &name)?, keys, pinned_from))
        });
        let (stored, dead, keys, pinned_from) =
            read.await.map_err(|source| self.state_error(source))?;
        self.dead = dead;
        self.feeds = true;
        self.polled.desk().restore(keys);
        let positions = stored.iter().map(|letter| letter.id.position);
        self.settled = positions.filter(|position| *position >= floor).collect();
        let waits =
            |letter: &&Stored| matches!(letter.state, LetterState::Retrying | LetterState::Blocked);
        self.pinned_from = pinned_from;
        let events = stored.iter().filter(waits).count();
        if events > 0 {
            tracing::warn!(
                sink = %self.name, events,
                "events that were set aside while the sink was of another kind wait for that kind"
            );
        }
        Ok(())
    }

    /// Maps the next slice, stores what is refused, and lays the rest out.
    async fn read_slice(&mut self) -> Result<(), Error> {
        self.ask_for_audit();
        let mut read = Vec::new();
        self.reader
            .slice(&self.progress, &mut read)
            .map_err(|source| Error::Mapping { sink: self.name.to_string(), source })?;
        let end = self.progress.with_ledger(|ledger| ledger.read_to());
        let mut ready = Vec::new();
        for item in read {
            let (tracked, failure) = match item {
                Read::Event(tracked) => (tracked, None),
                Read::Rejected(refused) => (refused.0, Some(refused.1)),
                Read::LeftOut(_) => continue,
            };
            if self.settled.remove(&tracked.envelope.id.position) {
                self.progress.with_ledger(|ledger| ledger.acknowledge(tracked.ordinal));
            } else if let Some(failure) = failure {
                self.refuse(tracked, failure);
            } else {
                let Tracked { ordinal, envelope, .. } = tracked;
                let is_truncate = envelope.operation == Operation::Truncate;
                ready.push(Ready {
                    ordinal,
                    id: envelope.id,
                    keys: keys_of(&envelope),
                    truncated: envelope.table().filter(|_| is_truncate),
                    body: envelope.body,
                    route: envelope.route,
                    commit_time: envelope.commit_time,
                });
            }
        }
        self.store().await;
        self.polled.lay_out(ready, end);
        Ok(())
    }

    fn refuse(&mut self, tracked: Tracked, failure: Failure) {
        let Tracked { ordinal, envelope, .. } = tracked;
        self.polled.desk().died(keys_of(&envelope).into_iter().flatten(), envelope.id);
        let (category, state) = (Category::Rejected, LetterState::Dead);
        self.view.set_aside(&envelope, state, category, &failure, self.started.elapsed());
        let original = original::copy(&envelope.chunk, envelope.entry)
            .inspect_err(|error| self.view.cannot_copy(error))
            .ok();
        let verdict = Some(Verdict { category, failure, attempts: 0, at: Timestamp::now() });
        let letter = Box::new(Letter { envelope, original, state, verdict, replayed: false });
        self.ward.add(Write::Put { ordinal, letter });
    }

    /// Waits until what was refused is stored: nothing behind it is handed out before.
    async fn store(&mut self) {
        for written in self.write().await {
            if let Written::Put { ordinal, id } = written {
                self.progress.with_ledger(|ledger| ledger.acknowledge(ordinal));
                self.ward.forget(id);
                self.dead += 1;
            }
        }
    }

    /// Looks whether every event is accounted for, every second while anything happens.
    fn audit(&mut self) {
        if self.audit_at.is_some_and(|at| at <= Instant::now()) {
            self.audit_at = None;
            self.polled.audit(self.reader.taken());
        }
    }

    fn ask_for_audit(&mut self) {
        self.audit_at.get_or_insert_with(|| Instant::now() + AUDIT_EVERY);
    }

    fn has_room(&self) -> bool {
        let (events, bytes) = self.polled.desk().shelf.holds();
        events < self.events_max && bytes < self.bytes_max && !self.has_too_many_dead()
    }

    const fn has_too_many_dead(&self) -> bool {
        self.dead > self.settings.max_dead
    }

    fn wake_at(&mut self) -> Option<Instant> {
        if self.recount_at.is_none() && self.has_too_many_dead() {
            self.recount_at = Instant::now().checked_add(self.settings.halt_probe);
        }
        let tell_at = self.view.wake_at().and_then(|at| self.started.checked_add(at));
        self.recount_at.into_iter().chain(tell_at).chain(self.audit_at).min()
    }

    /// Counts the dead letters now and then while there are too many: a person may have removed
    /// some.
    async fn recount(&mut self) {
        self.view.tell_dead(self.started.elapsed());
        if self.recount_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.recount_at = None;
        self.count().await;
    }

    /// Shows the rest of the process how the sink is.
    fn show(&self) {
        let is_halted = self.has_too_many_dead();
        let reason =
            is_halted.then(|| format!("{} dead letters are more than max_dead", self.dead));
        let state = if is_halted { SinkState::Halted } else { SinkState::Ok };
        let was = self.progress.with_snapshot(|snapshot| {
            snapshot.reason.clone_from(&reason);
            snapshot.dead = self.dead;
            snapshot.pinned_from = self.pinned_from;
            std::mem::replace(&mut snapshot.state, state)
        });
        if was != state {
            match reason {
                Some(reason) => {
                    tracing::error!(sink = %self.name, reason, "the sink is halted; a person must act");
                }
                None => tracing::info!(sink = %self.name, "the sink goes on"),
            }
            self.progress.notify();
        }
    }

    fn journal_error(&self, source: journal::Error) -> Error {
        Error::Journal { sink: self.name.to_string(), source }
    }

    fn state_error(&self, source: state::Error) -> Error {
        Error::State { sink: self.name.to_string(), source }
    }
}
