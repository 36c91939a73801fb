//! [`Intake`]: from the slot into the journal, over every break of the connection.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::load::Splice;
use super::shared::Shared;
use super::tables::Tables;
use super::tally;
use super::{Error, Options};
use crate::chunk::Chunk;
use crate::failure::{Classify, chain};
use crate::journal::Journal;
use crate::lsn::{Lsn, Position, Timestamp};
use crate::progress::pieces;
use crate::source::{
    self, Identity, OpenOptions, Opened, Reader, Received, Resume, Settings, Streaming, Writer,
};
use crate::state::{State, intent, meta};

/// The longest wait between two attempts to attach.
const BACKOFF_MAX: Duration = Duration::from_secs(15);
/// The bound of the first wait.
const BACKOFF_INITIAL: Duration = Duration::from_millis(200);

/// How long a server that shuts down is kept waiting, so that what is in flight may be confirmed.
const DRAIN: Duration = Duration::from_secs(5);

/// A connection that streams.
pub(super) type Attached = (Reader, Writer, Opened);

/// Keeps the stream going.
pub(super) struct Intake {
    settings: Settings,
    options: OpenOptions,
    shared: Arc<Shared>,
    state: State,
    journal: Arc<Journal>,
    splice: Arc<Splice>,
    identity: Option<Identity>,
    /// What the state knew at the start.
    received: Lsn,
    /// The first connection, where it had to be made to know whose changes these are.
    first: Option<Attached>,
}

impl Intake {
    pub(super) fn new(
        attach: Attach,
        shared: &Arc<Shared>,
        state: &State,
        journal: &Arc<Journal>,
        splice: &Arc<Splice>,
        received: Lsn,
        first: Option<Attached>,
    ) -> Self {
        let Attach { settings, options, resume, .. } = attach;
        Self {
            settings,
            options,
            shared: Arc::clone(shared),
            state: state.clone(),
            journal: Arc::clone(journal),
            splice: Arc::clone(splice),
            identity: resume.identity,
            received,
            first,
        }
    }

    /// Runs until something happens that waiting does not mend; after `stop` it reads nothing
    /// more and returns once the writer has said the last word.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let (mut failures, mut stuck) = (0, 0);
        loop {
            let attached = match self.first.take() {
                Some(attached) => attached,
                None => tokio::select! {
                    attached = self.attach(&mut failures) => attached?,
                    () = stop.cancelled() => return Ok(()),
                },
            };
            failures = 0;
            let before = self.journal.end();
            let ended = self.stream(attached, &stop).await?;
            if stop.is_cancelled() {
                return Ok(());
            }
            if let Some(error) = ended {
                self.note(&error);
                if is_final(&error, self.options.reconnect) {
                    return Err(Error::Source(error));
                }
                if error.is_of_streaming() && self.settings.streaming != Streaming::Off {
                    tracing::warn!("until the next start, transactions come once they commit");
                    self.settings.streaming = Streaming::Off;
                }
                // Attaching goes well each time, and the stream ends at the same change again.
                let is_stuck = matches!(error, source::Error::Unsendable { .. });
                if !is_stuck || self.journal.end() != before {
                    stuck = 0;
                }
                if is_stuck {
                    tokio::select! {
                        () = back_off(&mut stuck) => {}
                        () = stop.cancelled() => return Ok(()),
                    }
                }
            }
        }
    }

    /// Attaches, as often as it takes.
    async fn attach(&mut self, failures: &mut u32) -> Result<Attached, Error> {
        loop {
            let resume = self.resume();
            let options = OpenOptions { reconnect: self.options.reconnect, ..self.options };
            if options.standby && !options.reconnect {
                self.shared.lock().stands_by();
            }
            match source::open(&self.settings, &resume, options).await {
                Ok(attached) => {
                    let opened = &attached.2;
                    if let Some(switch) = opened.switch {
                        self.shared.lock().left_at(switch);
                    }
                    remember(&self.state, opened, &resume).await?;
                    if let Some(lsn) = opened.known_up_to() {
                        self.splice.give_back(lsn);
                    }
                    self.identity = Some(opened.identity.clone());
                    if opened.gap.is_some() {
                        // Else the slot would seem to be someone else's at the next break.
                        self.received = opened.started_at;
                        self.shared.lock().confirmed = opened.confirmed;
                    }
                    return Ok(attached);
                }
                Err(error) if is_final(&error, options.reconnect) => {
                    return Err(Error::Source(error));
                }
                Err(error) => {
                    self.note(&error);
                    back_off(failures).await;
                }
            }
        }
    }

    /// What the journal and the state know by now.
    fn resume(&self) -> Resume {
        Resume {
            identity: self.identity.clone(),
            received: self.journal.received().unwrap_or_default().max(self.received),
            journaled: self.journal.end().previous(),
            confirmed: self.shared.lock().confirmed,
            intent: None,
        }
    }

    /// Streams until the connection ends; returns why.
    async fn stream(
        &mut self,
        (mut reader, writer, opened): Attached,
        stop: &CancellationToken,
    ) -> Result<Option<source::Error>, Error> {
        let source = &opened.identity;
        tracing::info!(slot = source.slot, database = source.database, from = %opened.started_at,
            "streaming");
        self.options.reconnect = true;
        self.options.adopt_slot = false;
        self.options.accept_gap = false;
        self.splice.reset();
        {
            let mut inner = self.shared.lock();
            if let Some(gap) = opened.gap {
                let lost = format!(
                    "what was committed from {} to {} is lost to the stream",
                    gap.from, gap.to
                );
                inner.gap = Some((lost, Timestamp::now()));
            }
            inner.attached(opened.confirmer);
        }
        let mut writing = Box::pin(writer.run());
        let Self { shared, journal, splice, .. } = &*self;
        let hands = Hands { shared, journal, splice, tables: splice.tables() };
        let ended = tokio::select! {
            ended = read(&mut reader, &hands) => Some(ended),
            ended = &mut writing => Some(ended.map_err(Stopped::Source)),
            () = left_behind(&self.shared) => Some(Err(Stopped::Source(source::Error::ServerStopping))),
            () = stop.cancelled() => None,
        };
        match ended {
            None => {
                // The read half must live for the writer to go on.
                if let Err(error) = writing.await {
                    tracing::debug!(error = chain(&error), "the last word was not heard");
                }
                Ok(None)
            }
            Some(Ok(())) => Ok(Some(source::Error::Closed)),
            Some(Err(Stopped::Source(error))) => Ok(Some(error)),
            Some(Err(Stopped::Here(error))) => Err(error),
        }
    }

    fn note(&self, error: &source::Error) {
        let mut reason = chain(error);
        if let source::Error::Unsendable { .. } = error {
            let help = error.help();
            tracing::error!(error = reason, help, "the stream is stuck");
            if let Some(help) = help {
                reason = format!("{reason}; {help}");
            }
        } else {
            tracing::warn!(error = reason, help = error.help(), "not attached to the source");
        }
        self.shared.lock().detached(reason);
    }
}

/// What is needed to attach.
pub(super) struct Attach {
    pub(super) settings: Settings,
    pub(super) options: OpenOptions,
    pub(super) resume: Resume,
    /// The slot that was about to be made last.
    intent: Option<source::Intent>,
}

impl Attach {
    pub(super) fn new(config: &crate::config::Source, options: Options, resume: Resume) -> Self {
        let settings = config.settings();
        let Options { adopt_slot, accept_gap, standby, .. } = options;
        let options = OpenOptions { adopt_slot, accept_gap, standby, reconnect: false };
        Self { settings, options, resume, intent: None }
    }

    /// Attaches for the first time, as often as it takes.
    pub(super) async fn first(&mut self, state: &State) -> Result<Attached, Error> {
        self.intent = state.read(intent::load).await.map_err(Error::State)?.map(of_state);
        let mut failures = 0;
        loop {
            match self.open(state).await? {
                Ok(attached) => return Ok(attached),
                Err(error) if is_final(&error, false) => return Err(Error::Source(error)),
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        help = error.help(),
                        "not attached to the source"
                    );
                    back_off(&mut failures).await;
                }
            }
        }
    }

    /// Attaches once. That a slot will be made is stored before.
    async fn open(&mut self, state: &State) -> Result<Result<Attached, source::Error>, Error> {
        match source::intend(&self.settings).await {
            // What an earlier attempt made, if it was one.
            Ok(None) => self.resume.intent.clone_from(&self.intent),
            // This one has made nothing yet: a slot that appears meanwhile is someone else's.
            Ok(Some(fresh)) => {
                let stored = to_state(fresh.clone());
                let write = state.write(move |connection| intent::set(connection, &stored));
                write.await.map_err(Error::State)?;
                self.resume.intent = None;
                self.intent = Some(fresh);
            }
            Err(error) => return Ok(Err(error)),
        }
        match source::open(&self.settings, &self.resume, self.options).await {
            Ok(attached) => {
                remember(state, &attached.2, &self.resume).await?;
                Ok(Ok(attached))
            }
            Err(error) => Ok(Err(error)),
        }
    }
}

fn of_state(stored: intent::Intent) -> source::Intent {
    let intent::Intent { system_id, database, slot, lsn } = stored;
    source::Intent { system_id, database, slot, lsn }
}

fn to_state(intent: source::Intent) -> intent::Intent {
    let source::Intent { system_id, database, slot, lsn } = intent;
    intent::Intent { system_id, database, slot, lsn }
}

/// Whether waiting does not mend it. What was in order at the start is somebody's work in progress
/// at a `reconnect`: a password or a right that is being changed. And who holds the slot then is
/// most likely our own last connection, which the server takes a while to give up.
const fn is_final(error: &source::Error, reconnect: bool) -> bool {
    match error.ends_run() {
        None => false,
        Some(source::Ending::Preflight | source::Ending::InUse) => !reconnect,
        Some(source::Ending::Halted) => true,
    }
}

/// Stores whose positions these are, before the first change of theirs is.
async fn remember(state: &State, opened: &Opened, resume: &Resume) -> Result<(), Error> {
    let Identity { system_id, timeline, began, started, database, slot } = opened.identity.clone();
    let identity = meta::Identity { system_id, timeline, began, started, database, slot };
    let switch = opened.switch;
    let is_new = resume.identity.is_none() || opened.gap.is_some();
    let (started_at, confirmed) = (opened.started_at, opened.confirmed);
    let known_up_to = opened.known_up_to();
    if let Some(gap) = opened.gap {
        tracing::error!(from = %gap.from, to = %gap.to,
            "going on behind a gap: what was committed in between is lost to the stream");
    }
    let write = state.write(move |connection| {
        meta::set_identity(connection, &identity)?;
        intent::clear(connection)?;
        if is_new {
            meta::restart_at(connection, started_at, confirmed)?;
        } else if let Some(switch) = switch {
            meta::lower_confirmed(connection, switch)?;
        }
        known_up_to.map_or(Ok(()), |lsn| pieces::give_back(connection, lsn))
    });
    write.await.map_err(Error::State)
}

enum Stopped {
    Source(source::Error),
    /// Nothing at the source.
    Here(Error),
}

/// Ends when a server that shuts down has waited for us long enough.
///
/// The reader knows that by itself as long as it reads. While the journal takes no more nobody
/// reads, and the server, which is answered all the same, would wait for ever.
async fn left_behind(shared: &Shared) {
    shared.server_stops.notified().await;
    tokio::time::sleep(DRAIN).await;
}

/// Where what comes goes.
struct Hands<'a> {
    shared: &'a Shared,
    journal: &'a Journal,
    splice: &'a Splice,
    tables: &'a Tables,
}

/// Hands on what comes, and notes where the slot may stop.
async fn read(reader: &mut Reader, hands: &Hands<'_>) -> Result<(), Stopped> {
    let shared = hands.shared;
    loop {
        match reader.next().await.map_err(Stopped::Source)? {
            Received::Chunk(chunk) => {
                let chunk = hands.tables.note(chunk).await.map_err(Stopped::Here)?;
                for chunk in hands.splice.take(chunk).await.map_err(Stopped::Here)? {
                    append(chunk, hands).await?;
                }
            }
            Received::Idle { wal_end } => {
                let mut inner = shared.lock();
                let end = inner.end;
                inner.marks.push(end, wal_end);
                inner.seen = inner.seen.max(wal_end);
                inner.lag.idle(wal_end, Timestamp::now());
            }
        }
    }
}

async fn append(chunk: Arc<Chunk>, hands: &Hands<'_>) -> Result<(), Stopped> {
    let end = chunk.end_position();
    let committed = chunk.transactions.last().and_then(|last| last.commit_time);
    let oldest = chunk.transactions.iter().filter_map(|transaction| transaction.commit_time).min();
    let whole = chunk.transactions.iter().rev().find(|t| t.end_lsn.is_some()).copied();
    let counted = tally::count(&chunk);
    hands.shared.decoded.add(&chunk);
    let appended = hands.journal.append(chunk).await;
    appended.map_err(|error| Stopped::Here(Error::Journal(error)))?;
    let mut inner = hands.shared.lock();
    inner.end = inner.end.max(end);
    inner.seen = inner.seen.max(end.commit_lsn);
    inner.tally.add(counted);
    if let Some(committed) = committed {
        inner.lag.read(end.commit_lsn, committed);
    }
    inner.fresh.ages.push(end, oldest);
    if let Some(whole) = whole
        && let Some(end_lsn) = whole.end_lsn
    {
        inner.marks.push(Position::after_transaction(whole.commit_lsn), end_lsn);
    }
    Ok(())
}

/// Waits a random time below a doubling bound.
async fn back_off(failures: &mut u32) {
    let bound = BACKOFF_INITIAL.saturating_mul(1 << (*failures).min(10)).min(BACKOFF_MAX);
    *failures = failures.saturating_add(1);
    tokio::time::sleep(bound.mul_f64(fastrand::f64())).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_order_at_the_start_is_waited_for_later() {
        let slot = || "walgate".to_owned();
        let wal_level = source::Error::WalLevel { seen: "replica".to_owned() };
        let busy = source::Error::SlotBusy { slot: slot(), pid: None };
        let missing =
            source::Error::SlotMissing { slot: slot(), received: Lsn(1), log_end: Lsn(2) };
        let closed = source::Error::Closed;
        for (error, at_start, later) in [
            (wal_level, true, false),
            (busy, true, false),
            (missing, true, true),
            (closed, false, false),
        ] {
            assert_eq!(is_final(&error, false), at_start, "{error}");
            assert_eq!(is_final(&error, true), later, "{error}");
        }
    }
}
