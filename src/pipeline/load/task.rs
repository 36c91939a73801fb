//! [`Task`]: one load, piece after piece.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::super::shared::Shared;
use super::super::{Error, insist};
use super::splice::{Offer, Outcome, Splice};
use super::sweep::Candidates;
use crate::failure::{Classify, chain};
use crate::journal::Journal;
use crate::lsn::Timestamp;
use crate::mapping::TablePattern;
use crate::progress::load::{self, Load, LoadState, Step};
use crate::relation::TableName;
use crate::source::load::{Cursor, Loader, Source};
use crate::source::{self, Settings};
use crate::state::State;

/// Rows of the first piece.
const ROWS_FIRST: usize = 1_000;
/// Rows of a piece, at most.
const ROWS_MAX: usize = 50_000;
/// A piece that is faster than this may be twice as large; one that takes four times as long is
/// halved.
const PIECE_TIME: Duration = Duration::from_millis(500);

/// A load waits while the sinks that it is for are so many bytes of the journal behind.
const AHEAD_BYTES_MAX: u64 = 64 << 20;
/// Between two looks at how far they are.
const AHEAD_POLL: Duration = Duration::from_millis(100);
/// After so many of them others may be read in its place.
const AHEAD_POLLS: u32 = 10;

/// Keys of a sweep that are looked for at once.
const KEYS_MAX: usize = 1_000;

/// The first wait after a failure, and the longest.
const RETRY_INITIAL: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// SQLSTATE of a table that is not there.
const UNDEFINED_TABLE: &str = "42P01";

/// What can't be noted while the state takes nothing.
const WHAT: &str = "how far a load is";

/// What every load is done with.
#[derive(Clone, Debug)]
pub(super) struct Means {
    pub(super) settings: Settings,
    pub(super) state: State,
    pub(super) shared: Arc<Shared>,
    pub(super) journal: Arc<Journal>,
    pub(super) splice: Arc<Splice>,
    /// The sink of each route.
    pub(super) sinks: Arc<std::collections::BTreeMap<String, String>>,
    /// Tables that may be read at the same time.
    pub(super) places: Arc<Semaphore>,
}

/// See the module.
pub(super) struct Task {
    means: Means,
    id: i64,
    loader: Option<(Loader, Source)>,
    /// One of [`Means::places`]; whoever waits leaves it to others.
    place: Option<OwnedSemaphorePermit>,
    limit: usize,
    /// Of a sweep: the keys that may be gone.
    candidates: Option<Candidates>,
}

/// What a piece is of.
enum What {
    /// Rows from here on, so many at most.
    Rows(Cursor, usize),
    /// Those of these keys that are gone.
    Gone(Vec<Vec<String>>),
}

/// Why a load does not go on.
enum Stop {
    /// It is over, or a person stopped it.
    Ended,
    /// It may be tried again.
    Wait(String),
    /// It may be tried again, and a person has to do something for it.
    Stuck(String),
    /// It can't be done; nor later.
    Never(String),
}

impl Task {
    pub(super) const fn new(means: Means, id: i64) -> Self {
        Self { means, id, loader: None, place: None, limit: ROWS_FIRST, candidates: None }
    }

    /// Goes on until the load is over or somebody stops it.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        let mut wait = RETRY_INITIAL;
        loop {
            let stop = match self.piece().await {
                Ok(Ok(())) => {
                    self.means.shared.lock().loading.stuck(self.id, false);
                    wait = RETRY_INITIAL;
                    continue;
                }
                Ok(Err(stop)) => stop,
                Err(error) => return Err(error),
            };
            let id = self.id;
            self.means.shared.lock().loading.stuck(id, matches!(stop, Stop::Stuck(_)));
            match stop {
                Stop::Ended => return Ok(()),
                Stop::Never(reason) => {
                    tracing::error!(load = id, reason, "a load can't be done");
                    let now = Timestamp::now();
                    let turn = move |c: &rusqlite::Connection| {
                        load::turn(c, id, LoadState::Failed, Some(&reason), now).map(drop)
                    };
                    return insist::write(&self.means.state, WHAT, turn).await;
                }
                Stop::Wait(reason) | Stop::Stuck(reason) => {
                    tracing::info!(load = id, reason, "a load waits");
                    (self.loader, self.place) = (None, None);
                    let note = move |c: &rusqlite::Connection| load::note(c, id, Some(&reason));
                    insist::write(&self.means.state, WHAT, note).await?;
                    sleep(wait).await;
                    wait = (wait * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Does the next piece.
    async fn piece(&mut self) -> Result<Result<(), Stop>, Error> {
        let id = self.id;
        let mut row = loop {
            // Behind what was left to the writer, so that no piece is read twice for nothing.
            let get = move |c: &rusqlite::Connection| load::get(c, id);
            let row = insist::write(&self.means.state, WHAT, get).await?;
            let row = row.filter(|row| row.state == LoadState::Running);
            let Some(row) = row else { return Ok(Err(Stop::Ended)) };
            if !self.waited(&row).await {
                break row;
            }
        };
        let (loader, source) = match self.loader.take() {
            Some(open) => open,
            None => match self.means.open(&mut row).await? {
                Ok(open) => open,
                Err(stop) => return Ok(Err(stop)),
            },
        };
        if row.sweep && source.primary_key().is_empty() {
            let reason = format!("{} has no primary key to be swept by", row.table);
            return Ok(Err(Stop::Never(reason)));
        }
        let (mut loader, began) = (loader, Instant::now());
        let cursor = row.cursor.as_deref().map(serde_json::from_str).transpose();
        let cursor: Cursor = cursor.unwrap_or_default().unwrap_or_default();
        let what = if cursor == Cursor::Sweep {
            let keys = self.keys(&source).await?;
            if keys.is_empty() {
                let (step, now) = (Step { load: id, rows: 0, next: None }, Timestamp::now());
                let last = move |c: &rusqlite::Connection| load::step(c, &step, now);
                insist::write(&self.means.state, WHAT, last).await?;
                return Ok(Err(Stop::Ended));
            }
            What::Gone(keys)
        } else {
            What::Rows(cursor, self.limit)
        };
        let done = self.means.read(&mut loader, &source, &row, &what).await;
        Ok(match done {
            Ok((Outcome::Taken, full)) => {
                match (&what, &mut self.candidates) {
                    (What::Gone(keys), Some(candidates)) => candidates.pass(keys.len()),
                    _ => self.adapt(began.elapsed(), full),
                }
                self.loader = Some((loader, source));
                Ok(())
            }
            Ok((Outcome::TooLong(reason), _)) if self.limit > 1 => {
                tracing::debug!(load = id, rows = self.limit, reason, "a piece is read again");
                self.limit = (self.limit / 4).max(1);
                self.loader = Some((loader, source));
                Ok(())
            }
            Ok((Outcome::Void(reason) | Outcome::TooLong(reason), _)) => {
                // A shorter window meets less.
                self.limit = (self.limit / 2).max(1);
                Err(Stop::Wait(reason))
            }
            Err(stop) => Err(stop),
        })
    }

    /// Waits until the sinks that it is for have done most of what they were given, and a place
    /// is free. Returns whether it had to: a person may have stopped it meanwhile.
    async fn waited(&mut self, row: &Load) -> bool {
        let mut polls = 0;
        while self.means.is_ahead(row) {
            if polls == AHEAD_POLLS {
                (self.loader, self.place) = (None, None);
            }
            polls += 1;
            sleep(AHEAD_POLL).await;
        }
        if self.place.is_some() {
            return polls > 0;
        }
        let places = &self.means.places;
        self.place = Arc::clone(places).try_acquire_owned().ok();
        if self.place.is_some() {
            return polls > 0;
        }
        self.place = Arc::clone(places).acquire_owned().await.ok();
        true
    }

    /// The next keys of a sweep.
    async fn keys(&mut self, source: &Source) -> Result<Vec<Vec<String>>, Error> {
        let candidates = self.candidates.get_or_insert_with(|| {
            let (namespace, name) = source.name();
            let name = TableName { namespace: namespace.to_owned(), name: name.to_owned() };
            Candidates::new(source.oid(), name, source.primary_key().to_vec())
        });
        Ok(candidates.peek(&self.means.journal, KEYS_MAX).await?.to_vec())
    }

    /// Asks for more or fewer rows the next time. `full`: so many were all that a piece holds, and
    /// the server sent the rest for nothing.
    fn adapt(&mut self, took: Duration, full: Option<usize>) {
        if let Some(rows) = full {
            self.limit = (rows + rows / 4).clamp(1, ROWS_MAX);
        } else if took.as_millis() < PIECE_TIME.as_millis() {
            let doubled = self.limit.saturating_mul(2);
            self.limit = if doubled < ROWS_MAX { doubled } else { ROWS_MAX };
        } else if took.as_millis() > PIECE_TIME.as_millis() * 4 && self.limit > 1 {
            self.limit /= 2;
        }
    }
}

impl Means {
    /// Connects, and finds the table. Where that is another than before, the load begins anew.
    async fn open(&self, row: &mut Load) -> Result<Result<(Loader, Source), Stop>, Error> {
        let Ok(pattern) = TablePattern::parse(&row.table) else {
            return Ok(Err(Stop::Never(format!("{} is no table's name", row.table))));
        };
        let Some((namespace, name)) = pattern.literal() else {
            return Ok(Err(Stop::Never(format!("{} is no single table", row.table))));
        };
        let asked = TableName { namespace: namespace.to_owned(), name: name.to_owned() };
        // It may have been renamed: since it was last read, or since it was asked for.
        let known = row.relation.or_else(|| self.splice.tables().first(&asked));
        let opened = async {
            let mut loader = Loader::connect(&self.settings).await?;
            let source = loader.find((namespace, name), known, row.filter.as_deref()).await?;
            Ok(source.map(|source| (loader, source)))
        };
        let (loader, source) = match opened.await {
            Ok(Some(open)) => open,
            Ok(None) => {
                let publication = &self.settings.publication;
                let reason = format!("{} is not in publication {publication}", row.table);
                return Ok(Err(Stop::Stuck(reason)));
            }
            Err(error) => return Ok(Err(failed(&error, row.filter.is_some()))),
        };
        let (id, oid, rows) = (row.id, source.oid(), source.estimate());
        if row.relation.is_some_and(|before| before != oid) {
            tracing::warn!(
                load = id,
                table = row.table,
                "a table was made anew while it was loaded: it is read from its first row"
            );
            row.cursor = None;
        }
        let note = move |c: &rusqlite::Connection| load::found(c, id, oid, rows);
        insist::write(&self.state, WHAT, note).await?;
        Ok(Ok((loader, source)))
    }

    /// Reads a piece between two watermarks.
    async fn read(
        &self,
        loader: &mut Loader,
        source: &Source,
        row: &Load,
        what: &What,
    ) -> Result<(Outcome, Option<usize>), Stop> {
        let nonce = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let splice = &self.splice;
        let expected = Expected { splice, nonce };
        let outcome = splice.expect(&expected.nonce, source.oid());
        let has_filter = row.filter.is_some();
        let stop = |error: source::Error| failed(&error, has_filter);
        loader.mark(&format!("{} low", expected.nonce)).await.map_err(stop)?;
        let piece = match what {
            What::Rows(cursor, limit) => loader.read(source, cursor, *limit).await,
            What::Gone(keys) => loader.missing(source, keys).await,
        };
        let piece = match piece {
            // By its name there is nothing any more: it is looked for by what it is.
            Err(error) if error.code() == Some(UNDEFINED_TABLE) => {
                let (namespace, name) = source.name();
                let moved = source::Error::Moved { table: format!("{namespace}.{name}") };
                return Err(Stop::Wait(chain(&moved)));
            }
            piece => piece.map_err(stop)?,
        };
        let full = piece.is_full.then(|| piece.len());
        let sweep = row.sweep.then_some(Cursor::Sweep);
        let next = piece.next.clone().or(sweep);
        let next = next.and_then(|next| serde_json::to_string(&next).ok());
        let audience = row.routes.clone().into();
        splice.offer(&expected.nonce, Offer { load: row.id, piece, next, audience });
        loader.mark(&format!("{} high", expected.nonce)).await.map_err(stop)?;
        loader.release().await.map_err(stop)?;
        let outcome = outcome.await;
        let broke = |_| Stop::Wait("the stream broke off meanwhile".to_owned());
        outcome.map(|outcome| (outcome, full)).map_err(broke)
    }

    /// Whether the sinks that it is for are far behind: what they have not done would fill the
    /// journal.
    fn is_ahead(&self, row: &Load) -> bool {
        let Self { shared, journal, sinks, .. } = self;
        let is_meant = |name: &str| {
            row.routes.iter().any(|route| sinks.get(route).is_some_and(|sink| sink == name))
        };
        let behind = shared.sinks().iter().filter(|sink| is_meant(sink.name())).map(|sink| {
            let snapshot = sink.snapshot();
            if snapshot.detached { 0 } else { journal.bytes_behind(snapshot.reached.floor) }
        });
        behind.max().unwrap_or(0) > AHEAD_BYTES_MAX
    }
}

/// A piece that is waited for; dropped, nobody does any more.
struct Expected<'a> {
    splice: &'a Splice,
    nonce: String,
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.splice.withdraw(&self.nonce);
    }
}

/// Sorts what the server said. `has_filter`: a person's own condition may be at fault.
fn failed(error: &source::Error, has_filter: bool) -> Stop {
    let mut reason = chain(error);
    if let Some(help) = error.help() {
        reason = format!("{reason}; {help}");
    }
    match error.code() {
        // A right may be granted yet.
        Some("42501") => Stop::Stuck(reason),
        // Syntax, types and the like: it is the same the next time.
        Some(code) if has_filter && (code.starts_with("42") || code.starts_with("22")) => {
            Stop::Never(reason)
        }
        _ if matches!(error, source::Error::Unloadable { .. }) => Stop::Stuck(reason),
        _ => Stop::Wait(reason),
    }
}
