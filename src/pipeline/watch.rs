//! Beside the stream, over ordinary SQL: heartbeats, and what the server says of the slot, of what
//! holds it back, and of the publication.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Options;
use super::growth::Growth;
use super::rewrites::Rewrites;
use super::shared::{Shared, Wal};
use super::wanted::{Wanted, Warning};
use crate::config::{Config, Source};
use crate::failure::chain;
use crate::inspect::status::HeldBy;
use crate::lsn::Timestamp;
use crate::mapping::Route;
use crate::progress::files;
use crate::source::catalog::{Holder, Server, SlotRow, SlotWal, TableFile};
use crate::source::{Catalog, Error};
use crate::state::{self, State};

/// Between two looks at the slot.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between two looks at the publication.
const PUBLICATION_EVERY: Duration = Duration::from_secs(10);
/// Looks at the tables' files may take so small a part of the time.
const FILES_SHARE: u32 = 100;
/// Between two attempts to look at them.
const FILES_RETRY: Duration = Duration::from_secs(600);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_secs(2);
/// A question that has no answer by then is asked again over another connection: this one may lead
/// nowhere any more.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A transaction that has been open for less holds nothing back worth a word.
const HELD_MIN: Duration = Duration::from_secs(10);
/// So many seconds until the slot may be lost are worth a warning.
const DANGER_SECONDS: u64 = 3600;

/// Looks after the source. Nothing of the road waits for it: it may fail and is tried again.
pub(super) struct Watch {
    source: Source,
    wanted: Wanted,
    routes: Vec<Arc<Route>>,
    state: State,
    shared: Arc<Shared>,
    until_caught_up: bool,
    started: Instant,
    growth: Growth,
    /// Since when each transaction is known to be open.
    open: HashMap<String, Instant>,
    /// What the publication lacked when last looked at.
    lacks: Vec<Warning>,
    looked_at: Option<Instant>,
    /// The publication has every table.
    all_tables: bool,
    /// What is known of the tables' files; none until it was read.
    rewrites: Option<Rewrites>,
    rewritten: Vec<Warning>,
    /// When the files are looked at again.
    files_at: Instant,
    /// What was warned of last.
    warned: Vec<Warning>,
    beat_at: Option<Instant>,
    told: bool,
}

impl Watch {
    pub(super) fn new(
        config: &Config,
        state: &State,
        shared: &Arc<Shared>,
        options: Options,
    ) -> Self {
        Self {
            source: config.source.clone(),
            wanted: Wanted::of(config),
            routes: config.routes.clone(),
            state: state.clone(),
            shared: Arc::clone(shared),
            until_caught_up: options.until_caught_up,
            started: Instant::now(),
            growth: Growth::default(),
            open: HashMap::new(),
            lacks: Vec::new(),
            looked_at: None,
            all_tables: false,
            rewrites: None,
            rewritten: Vec::new(),
            files_at: Instant::now(),
            warned: Vec::new(),
            beat_at: None,
            told: false,
        }
    }

    /// Runs until dropped.
    pub(super) async fn run(mut self) {
        loop {
            if let Err(error) = Box::pin(self.connection()).await {
                tracing::debug!(error = chain(&error), "the source can't be looked at");
                if error.is_server_stopping() {
                    self.shared.server_stops.notify_waiters();
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// One connection's life.
    async fn connection(&mut self) -> Result<(), Error> {
        let mut catalog = Catalog::connect(self.source.url.expose()).await?;
        let server = in_time(catalog.server()).await?;
        let wants_goal = self.until_caught_up && self.shared.lock().goal.is_none();
        if wants_goal {
            self.shared.lock().goal = Some(server.lsn);
        }
        loop {
            if let Some(wal) = in_time(catalog.slot_wal(&self.source.slot)).await? {
                self.look(&mut catalog, wal).await?;
            }
            let heartbeat = self.source.heartbeat;
            let due = self.beat_at.is_none_or(|at: Instant| at.elapsed() >= heartbeat);
            if (due && !heartbeat.is_zero()) || (wants_goal && self.beat_at.is_none()) {
                self.beat(&mut catalog, &server).await;
            }
            let pause = if heartbeat.is_zero() { LOOK_EVERY } else { LOOK_EVERY.min(heartbeat) };
            tokio::time::sleep(pause).await;
        }
    }

    async fn look(&mut self, catalog: &mut Catalog, wal: SlotWal) -> Result<(), Error> {
        let slot = in_time(catalog.slot(&self.source.slot)).await?;
        let status = slot.as_ref().and_then(|slot| slot.wal_status().map(str::to_owned));
        {
            let mut inner = self.shared.lock();
            inner.server_lsn = Some(wal.server_lsn);
            // Who is not attached is not in step, whatever there is to be read.
            if inner.confirmer.is_some() {
                let seen = inner.seen;
                inner.lag.looked(wal.server_lsn, seen, Timestamp::now());
            }
            inner.retained_wal = wal.retained;
            inner.wal_status.clone_from(&status);
        }
        let held_by = self.ages(in_time(catalog.holders()).await?);
        let retained = wal.retained.and_then(|retained| u64::try_from(retained).ok());
        self.growth.look(self.started.elapsed(), wal.server_lsn, retained.unwrap_or(0));
        let seconds_left = self.growth.seconds_left(wal.safe);
        let mut warnings = self.warnings(catalog, slot.as_ref()).await?;
        warnings.extend(danger(status.as_deref(), seconds_left));
        self.warn(&warnings);
        self.shared.lock().wal = Wal {
            safe: wal.safe,
            per_second: self.growth.wal_per_second(),
            seconds_left,
            held_by,
            warnings: warnings.into_iter().map(|warning| warning.text).collect(),
        };
        Ok(())
    }

    /// Looks for what is wrong with the publication and with standbys that are waited for.
    async fn warnings(
        &mut self,
        catalog: &mut Catalog,
        slot: Option<&SlotRow>,
    ) -> Result<Vec<Warning>, Error> {
        if self.looked_at.is_none_or(|at| at.elapsed() >= PUBLICATION_EVERY) {
            self.looked_at = Some(Instant::now());
            let publication = in_time(catalog.publication(&self.source.publication)).await?;
            let tables = in_time(catalog.publication_tables(&self.source.publication)).await?;
            self.lacks = self.wanted.missing(publication.as_ref(), &tables);
            self.all_tables = publication.is_some_and(|publication| publication.all_tables);
        }
        if self.files_at <= Instant::now() {
            let began = Instant::now();
            // One that takes too long breaks the connection; the others come first then.
            self.files_at = began + FILES_RETRY;
            let files = in_time(catalog.table_files(&self.source.publication)).await?;
            self.files_at = began + began.elapsed() * FILES_SHARE;
            // It is looked again.
            if let Err(error) = self.look_at_files(&files).await {
                tracing::debug!(error = chain(&error), "the tables' files can't be noted");
            }
        }
        let mut warnings = self.lacks.clone();
        warnings.extend_from_slice(&self.rewritten);
        if slot.is_some_and(|slot| slot.fails_over() == Some(true)) {
            for name in in_time(catalog.absent_standbys()).await? {
                let text = format!(
                    "the server sends nothing new while standby \"{name}\" \
                     (synchronized_standby_slots) is away"
                );
                warnings.push(Warning::new(format!("standby {name}"), text));
            }
        }
        Ok(warnings)
    }

    /// Looks for tables with rows of which no event tells.
    async fn look_at_files(&mut self, files: &[TableFile]) -> Result<(), state::Error> {
        let now = Timestamp::now();
        let rewrites = match &mut self.rewrites {
            Some(rewrites) => rewrites,
            none => none.insert(Rewrites::new(self.state.read(files::load).await?)),
        };
        let changed = rewrites.look(files, self.all_tables, now);
        if !changed.is_empty() {
            self.state.write(move |connection| files::save(connection, &changed)).await?;
        }
        let loaded = self.state.read(files::loaded).await?;
        self.rewritten = rewrites.warnings(files, &self.routes, &loaded, now);
        Ok(())
    }

    /// Keeps of the open transactions those that have been so for long.
    fn ages(&mut self, holders: Vec<Holder>) -> Vec<HeldBy> {
        self.open.retain(|xid, _| holders.iter().any(|holder| holder.xid == *xid));
        let mut held = Vec::new();
        for holder in holders {
            let Holder { pid, gid, xid, role, database, application_name, state, seconds } = holder;
            let since = *self.open.entry(xid).or_insert_with(Instant::now);
            let told = seconds.and_then(|seconds| u64::try_from(seconds).ok());
            let seconds = told.unwrap_or_default().max(since.elapsed().as_secs());
            if seconds >= HELD_MIN.as_secs() {
                held.push(HeldBy { pid, gid, role, database, application_name, state, seconds });
            }
        }
        held
    }

    /// Says what has become wrong, and what no longer is, once.
    fn warn(&mut self, warnings: &[Warning]) {
        let has = |list: &[Warning], key: &str| list.iter().any(|warning| warning.key == key);
        for warning in warnings.iter().filter(|it| !has(&self.warned, &it.key)) {
            tracing::warn!(warning = warning.text, "the source needs a look");
        }
        for warning in self.warned.iter().filter(|it| !has(warnings, &it.key)) {
            tracing::info!(warning = warning.text, "this is over at the source");
        }
        self.warned = warnings.to_vec();
    }

    async fn beat(&mut self, catalog: &mut Catalog, server: &Server) {
        let nonce = format!("{:016x}", fastrand::u64(..));
        // One that failed is tried again at the next look, not a whole interval later.
        match in_time(catalog.heartbeat(&nonce)).await {
            Ok(()) => self.beat_at = Some(Instant::now()),
            // A standby can't; the stream's own keepalives then have to do.
            Err(_) if server.in_recovery => {}
            Err(error) if !self.told => {
                self.told = true;
                tracing::warn!(error = chain(&error), "no heartbeat could be sent");
            }
            Err(_) => {}
        }
    }
}

/// Returns whether the slot is about to be lost.
fn danger(wal_status: Option<&str>, seconds_left: Option<u64>) -> Option<Warning> {
    let text = match (wal_status, seconds_left) {
        (Some("unreserved"), _) => {
            "the slot may be lost at the next checkpoint: it needs WAL that the server is about to \
             remove"
                .to_owned()
        }
        (_, Some(seconds)) if seconds < DANGER_SECONDS => format!(
            "the slot may be lost in about {} min: the WAL kept for it nears \
             max_slot_wal_keep_size",
            seconds / 60
        ),
        _ => return None,
    };
    Some(Warning::new("danger", text))
}

/// Bounds a question. Connecting has bounds of its own.
async fn in_time<T>(question: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let answer = tokio::time::timeout(ANSWER_MAX, question).await;
    answer.unwrap_or(Err(Error::Silent { seconds: ANSWER_MAX.as_secs() }))
}
