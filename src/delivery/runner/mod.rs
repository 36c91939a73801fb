//! [`Runner`]: the event loop of one sink.

mod audit;
mod effects;
mod flights;
mod gather;
mod operator;
pub(super) mod original;
mod parts;
mod window;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::gather::{Broken, Gather};
use self::operator::Operator;
pub(super) use self::operator::is_keyless;
use self::original::{Found, Loaded};
pub use self::parts::{Error, Parts};
use super::bounds::Bounds;
use super::dead_letter;
use super::gate::Gate;
use super::handle::SinkProgress;
use super::lane::keys;
use super::orders::{Order, Ordered};
use super::parked::LetterState;
use super::reader::{Read, Reader};
use super::scheduler::{DispatchId, Effect, Scheduler};
use super::settings::Settings;
use super::shapes::Shapes;
use super::spans::{Tracer, Tracing};
use super::view::View;
use super::ward::{Outcome, Ward};
use super::window::Window;
use crate::failure::chain;
use crate::journal::{self, Journal};
use crate::lsn::EventId;
use crate::sink::{BoxFuture, Failure, Reply, Sink};
use crate::state::{self, State};

/// How long to wait before a transaction that failed is tried again.
const STATE_RETRY: Duration = Duration::from_secs(1);

/// What has come back is taken so much at a time, before it is looked what to send.
const LANDED_MAX: u32 = 128;

/// Serves one sink: reads, maps, sends, and remembers what became of it.
#[derive(Debug)]
pub struct Runner {
    name: Arc<str>,
    settings: Settings,
    sink: Arc<dyn Sink>,
    gate: Gate,
    journal: Arc<Journal>,
    journal_keeps: bool,
    /// It is sent what the journal has; else only what is asked for.
    reads: bool,
    state: State,
    progress: SinkProgress,
    bounds: Bounds,
    scheduler: Scheduler,
    reader: Reader,
    /// How far it reads, where it has times of its own.
    gather: Option<Gather>,
    ward: Ward,
    view: View,
    started: Instant,
    flights: FuturesUnordered<BoxFuture<'static, Landed>>,
    /// Events in requests that were not answered yet.
    unanswered: u64,
    /// Stored events that are being tried again: their originals.
    loaded: HashMap<EventId, Loaded>,
    effects: Vec<Effect>,
    read: Vec<Read>,
    /// When the request was sent whose answer is looked at, in microseconds since 1970, and how
    /// long the answer took.
    answered_in: (i64, u64),
    /// When the dead letters are counted again, because there were too many.
    recount_at: Option<Duration>,
    /// When to look whether every event is accounted for; none: nothing happened since.
    audit_at: Option<Duration>,
    orders: Ordered,
    operator: Operator,
    /// A part of the journal that is sent again.
    window: Option<Box<Window>>,
    /// What routes know of their tables.
    shapes: Shapes,
    /// The routes that are held.
    held: HashSet<String>,
    /// Makes a span of each request; none: nobody wants them.
    tracer: Option<Arc<Tracer>>,
}

/// What comes back from outside.
#[derive(Debug)]
enum Landed {
    Answered { id: DispatchId, events: u64, reply: Reply, took: Duration },
    Loaded { id: DispatchId, event: EventId, found: Result<Found, Failure> },
    Written(Outcome),
    Counted(Result<u64, state::Error>),
}

/// Everything that can happen to a sink.
#[derive(Debug)]
enum Happened {
    Stop,
    Landed(Landed),
    Read(Result<(), journal::Error>),
    Looked(Result<(), Broken>),
    Ordered(Order),
    ReadWindow(Result<(), journal::Error>),
    Woke,
}

impl Runner {
    /// Takes up where the progress says that the sink is.
    ///
    /// # Errors
    /// When the journal no longer has what the sink has not done.
    pub fn new(parts: Parts) -> Result<Self, Error> {
        let Parts { name, settings, sinks, sink, gates, orders, reads, paused, held, .. } = parts;
        let Parts { versions, journal, journal_keeps, state, progress, at_once, shapes, .. } =
            parts;
        let bounds = Bounds::share(sinks, &settings);
        let floor = progress.floor();
        let gone = |source| Error::Journal { sink: name.clone(), source };
        let cursor = journal.cursor(floor).map_err(gone)?;
        let gather = Gather::new(&settings, at_once, &journal, &versions, floor).map_err(gone)?;
        let mut scheduler = Scheduler::new(&settings);
        scheduler.set_paused(paused);
        for route in &held {
            scheduler.hold(route, true, Duration::ZERO, &mut Vec::new());
        }
        // Until what an earlier run set aside is looked through.
        progress.with_snapshot(|snapshot| snapshot.is_moving = true);
        Ok(Self {
            scheduler,
            reader: Reader::new(
                cursor,
                progress.takes_from(floor),
                versions.today(),
                bounds.chunk_bytes_max,
            ),
            gather: gather.filter(|_| reads),
            bounds,
            ward: Ward::new(&name, state.clone()),
            view: View::new(&name, progress.clone()),
            name: Arc::from(name),
            settings,
            gate: gates.of(sink.host()),
            sink,
            journal,
            journal_keeps,
            state,
            progress,
            started: Instant::now(),
            flights: FuturesUnordered::new(),
            unanswered: 0,
            loaded: HashMap::new(),
            effects: Vec::new(),
            read: Vec::new(),
            answered_in: (0, 0),
            recount_at: None,
            audit_at: None,
            reads,
            orders,
            shapes: Shapes::new(versions.watched(), shapes),
            held: held.into_iter().collect(),
            operator: Operator::new(versions),
            window: None,
            tracer: None,
        })
    }

    /// As it is, and each of its requests becomes a span, where somebody wants them.
    #[must_use]
    pub fn traced(mut self, tracing: Option<&Tracing>) -> Self {
        let source = &self.operator.versions().source;
        let tracer = tracing.map(|to| Tracer::new(to, &self.name, &*self.sink, source));
        self.tracer = tracer.map(Arc::new);
        self
    }

    /// Serves the sink until `stop` is cancelled; then lets what is in flight finish within
    /// `grace`. Returns how many events were unanswered at its end: those may repeat. A sink that
    /// is let go is served no longer, but the state takes what is on its way there.
    ///
    /// Cancel safety: dropping it loses nothing; what was in flight repeats.
    ///
    /// # Errors
    /// When the journal or the state can't be read, or a change can't be decoded. Never for what
    /// the far side does.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) -> Result<u64, Error> {
        self.restore().await?;
        loop {
            let now = self.work()?;
            match self.happened(now, &stop).await {
                Happened::Stop => break,
                Happened::Landed(landed) => self.all_landed(landed)?,
                // What was not read yet may be gone already.
                Happened::Read(Err(_)) if self.progress.is_detached() => break,
                Happened::Looked(Err(_)) if self.progress.is_detached() => break,
                Happened::Looked(looked) => looked.map_err(|broken| self.broken(broken))?,
                Happened::Read(read) => read.map_err(|source| self.journal_error(source))?,
                Happened::Ordered(order) => self.ordered(order, self.now()),
                Happened::ReadWindow(Ok(())) => {}
                Happened::ReadWindow(Err(error)) => self.window_failed(chain(&error)),
                Happened::Woke => {}
            }
        }
        let is_detached = self.progress.is_detached();
        let unanswered = self.finish(grace).await?;
        if is_detached {
            stop.cancelled().await;
            return Ok(0);
        }
        Ok(unanswered)
    }

    /// Takes back what an earlier run set aside.
    async fn restore(&mut self) -> Result<(), Error> {
        let (name, on_dead) = (Arc::clone(&self.name), self.settings.on_dead);
        let floor = self.progress.floor();
        let read = self.state.read(move |connection| {
            let stored = dead_letter::load(connection, &name, on_dead, floor)?;
            let keys = dead_letter::keys_of_dead(connection, &name)?;
            Ok((stored, dead_letter::count_dead(connection, &name)?, keys))
        });
        let (stored, dead, keys) = read.await.map_err(|source| self.state_error(source))?;
        for stored in &stored {
            self.ward.know(stored.id, stored.row);
            self.scheduler.restore(stored, floor);
            if let Some(gather) = &mut self.gather
                && stored.state != LetterState::Dead
            {
                // It is tried once the stream has come by, and that was under way already.
                gather.had_come_to(stored.id.position.next());
            }
        }
        self.scheduler.passed(floor, Duration::ZERO);
        self.scheduler.set_dead(dead, Duration::ZERO);
        self.operator.restore(keys);
        self.show();
        Ok(())
    }

    /// Does all that can be done without waiting. Returns the time for which that holds.
    fn work(&mut self) -> Result<Duration, Error> {
        let now = self.now();
        self.gathers(now)?;
        if !self.has_memory() {
            self.scheduler.relieve(now, &mut self.effects);
            if !self.effects.is_empty() {
                self.view.changed();
                self.apply(now, None);
            }
        }
        if !self.reader.needs_chunk() && self.has_room() {
            self.read_slice(now)?;
        }
        if self.window.is_some() {
            self.work_on_window(now)?;
        }
        if let Some(until) = self.gate.hear() {
            let until = until.saturating_duration_since(self.started);
            self.scheduler.told_to_wait(until, now);
        }
        if !self.ward.is_reopening() {
            while let Some(dispatch) = self.scheduler.next(now) {
                self.send(dispatch);
            }
        }
        self.feed();
        if let Some(write) = self.ward.start(&self.progress) {
            self.flights.push(Box::pin(async move { Landed::Written(write.await) }));
        }
        self.recount(now);
        self.audit(now);
        self.show();
        Ok(now)
    }

    fn read_slice(&mut self, now: Duration) -> Result<(), Error> {
        let mut read = std::mem::take(&mut self.read);
        self.reader
            .slice(&self.progress, &mut read)
            .map_err(|source| Error::Mapping { sink: self.name.to_string(), source })?;
        for item in read.drain(..) {
            match item {
                Read::Event(event) => {
                    if let Some(window) = &mut self.window {
                        window.passed(keys(&event.envelope));
                    }
                    self.look_at_shape(&event.envelope);
                    self.scheduler.push(event, now, &mut self.effects);
                }
                Read::LeftOut(key_hash) => self.scheduler.leave_out(key_hash),
                Read::Rejected(refused) => {
                    let (event, failure) = *refused;
                    if self.look_at_shape(&event.envelope) {
                        // What a person does about the table may mend it.
                        self.scheduler.push(event, now, &mut self.effects);
                    } else {
                        self.scheduler.refuse(event, failure, now, &mut self.effects);
                    }
                }
            }
        }
        self.read = read;
        self.ask_for_audit(now);
        self.scheduler.passed(self.progress.with_ledger(|ledger| ledger.read_to()), now);
        self.progress.notify();
        self.apply(now, None);
        Ok(())
    }

    /// Whether more may be read. Chunks are only counted while something waits: nothing stops a sink
    /// that has nothing to do.
    fn has_room(&mut self) -> bool {
        let waits = self.window.as_ref().is_some_and(|window| window.holds_stream());
        self.reads && !waits && self.has_space()
    }

    /// Whether more may wait to be sent.
    fn has_space(&mut self) -> bool {
        self.has_memory()
            && !self.scheduler.is_full()
            && !self.scheduler.has_too_many_dead()
            && !self.ward.is_full()
            && (self.scheduler.holds().0 == 0 || !self.reader.holds_too_much())
    }

    fn has_memory(&self) -> bool {
        let (events, bytes) = self.scheduler.holds();
        events < self.bounds.events_max && bytes < self.bounds.bytes_max
    }

    /// Waits for the next thing to happen. `now`: that of the work that was done; what became due
    /// since then was not looked at.
    async fn happened(&mut self, now: Duration, stop: &CancellationToken) -> Happened {
        let has_room = self.has_room();
        let is_used_up = self.reader.needs_chunk();
        let wants_chunk = has_room && is_used_up && self.is_due();
        let goes_on = !stop.is_cancelled() && !self.progress.is_detached();
        let reads_on = (has_room && !is_used_up) || self.window_goes_on(now);
        if reads_on && goes_on {
            // More of the chunk can be mapped at once; look at the answers that are there first.
            let landed = futures_util::FutureExt::now_or_never(self.flights.next());
            tokio::task::coop::consume_budget().await;
            return landed.flatten().map_or(Happened::Woke, Happened::Landed);
        }
        let wants_window = self.wants_window_chunk(now);
        let wake = self.wake_at(now);
        tokio::select! {
            biased;
            () = stop.cancelled() => Happened::Stop,
            () = self.progress.detached() => Happened::Stop,
            order = self.orders.next() => Happened::Ordered(order),
            Some(landed) = self.flights.next() => Happened::Landed(landed),
            read = self.reader.next_chunk(), if wants_chunk => Happened::Read(read),
            read = next_of(&mut self.window), if wants_window => Happened::ReadWindow(read),
            looked = gather::step(&mut self.gather) => Happened::Looked(looked),
            () = self.gate.wakes() => Happened::Woke,
            () = tokio::time::sleep_until(wake.unwrap_or(self.started)), if wake.is_some() => {
                Happened::Woke
            }
        }
    }

    fn wake_at(&self, now: Duration) -> Option<Instant> {
        // While requests are under way their sink tidies itself.
        let tidy = if self.unanswered == 0 { self.sink.tidy() } else { None };
        let scheduler = self.scheduler.wake_at().filter(|_| !self.ward.is_reopening());
        let window = self.window.as_ref().map(|window| window.next_at).filter(|at| *at > now);
        let look = self.gather.as_ref().map(Gather::wake_at);
        let others = self.recount_at.into_iter().chain(self.view.wake_at()).chain(look);
        let others = others.chain(self.audit_at);
        let wake = scheduler.into_iter().chain(window).chain(others).min();
        // A timer of tokio's has a resolution of a millisecond and never fires early.
        wake.and_then(|wake| self.started.checked_add(wake)).into_iter().chain(tidy).min()
    }

    /// Counts the dead letters now and then while there are too many: a person may have removed
    /// some.
    fn recount(&mut self, now: Duration) {
        if !self.scheduler.has_too_many_dead() {
            self.recount_at = None;
            return;
        }
        let due = *self.recount_at.get_or_insert(now.saturating_add(self.settings.halt_probe));
        if due > now {
            return;
        }
        self.recount_at = Some(now.saturating_add(self.settings.halt_probe));
        self.count_dead();
    }

    /// Counts the dead letters as they are stored.
    fn count_dead(&self) {
        let (state, name) = (self.state.clone(), Arc::clone(&self.name));
        self.flights.push(Box::pin(async move {
            let count = move |connection: &_| dead_letter::count_dead(connection, &name);
            Landed::Counted(state.read(count).await)
        }));
    }

    /// Lets what is in flight finish, and stores what follows from it.
    async fn finish(mut self, grace: Duration) -> Result<u64, Error> {
        let deadline = self.now_instant() + grace;
        loop {
            if let Some(write) = self.ward.start(&self.progress) {
                self.flights.push(Box::pin(async move { Landed::Written(write.await) }));
            }
            if self.unanswered == 0 && self.ward.is_idle() {
                break;
            }
            match tokio::time::timeout_at(deadline, self.flights.next()).await {
                Ok(Some(Landed::Loaded { .. })) => {}
                Ok(Some(landed)) => self.landed(landed)?,
                Ok(None) | Err(_) => break,
            }
        }
        self.show();
        Ok(self.unanswered)
    }

    /// Shows the rest of the process how the sink is.
    fn show(&mut self) {
        let now = self.now();
        let window = self.window.as_ref().map(|window| window.needed_from());
        let reopening = self.ward.pinned_from().into_iter().chain(window).min();
        self.view.show(&self.scheduler, reopening, now);
    }

    fn now(&self) -> Duration {
        self.now_instant().saturating_duration_since(self.started)
    }

    fn now_instant(&self) -> Instant {
        Instant::now()
    }

    fn journal_error(&self, source: journal::Error) -> Error {
        Error::Journal { sink: self.name.to_string(), source }
    }

    fn state_error(&self, source: state::Error) -> Error {
        Error::State { sink: self.name.to_string(), source }
    }
}

/// Waits for the next chunk of a window; never returns without one.
async fn next_of(window: &mut Option<Box<Window>>) -> Result<(), journal::Error> {
    match window {
        Some(window) => window.next_chunk().await,
        None => std::future::pending().await,
    }
}
