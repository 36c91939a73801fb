//! Opens what a run needs, and refuses what must not go on by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::ages::Ages;
use super::alarm;
use super::freshness::Freshness;
use super::intake::{Attach, Attached, Intake};
use super::load::Splice;
use super::report::{self, Base};
use super::shadow::{Shadows, store as shadows};
use super::shared::Shared;
use super::{Error, Options};
use crate::chunk::Operation;
use crate::config::{Config, SinkKind};
use crate::delivery::{
    Gates, Ordered, Orders, Parts, PollParts, Poller, Runner, SinkProgress, Versions,
    changed_mappings, kept_mappings, remember_mapping,
};
use crate::failure::chain;
use crate::inspect;
use crate::inspect::request::Request;
use crate::journal::{self, Journal};
use crate::lsn::{Lsn, Position, Timestamp};
use crate::mapping::{Route, Selector, SourceLabel, Start};
use crate::progress::decoded::Decoded;
use crate::progress::known::{self as roster, Kind};
use crate::progress::ledger::Reached;
use crate::progress::load;
use crate::progress::shapes::{self, Shape};
use crate::progress::store::{self, Stored};
use crate::source::{Identity, Resume};
use crate::state::{self, State, meta, request};

/// Between two looks at a state folder that another instance has.
const LOCK_POLL: Duration = Duration::from_secs(1);

/// Everything that a run joins.
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) state: State,
    pub(super) journal: Arc<Journal>,
    pub(super) splice: Arc<Splice>,
    pub(super) intake: Intake,
    pub(super) runners: Vec<Runner>,
    pub(super) pollers: Vec<Poller>,
    pub(super) bases: BTreeMap<String, Base>,
    /// Gives orders to each sink that is served.
    pub(super) orders: BTreeMap<String, Orders>,
    /// As `orders`, of sinks whose receivers come and ask: of dead letters alone.
    pub(super) shelves: BTreeMap<String, Orders>,
    /// Runs the next versions of mappings beside the present ones; none: there are none.
    pub(super) shadows: Option<Shadows>,
}

/// Opens state, journal, source and sinks, in that order.
pub(super) async fn open(config: &Config, options: Options) -> Result<Opened, Error> {
    let state = open_state(config, options).await?;
    let last = state.read(inspect::status::stored).await.map_err(Error::State)?;
    let fresh = last.as_ref().map(report::known_fresh).unwrap_or_default();
    // What an earlier run said of itself is not true of this one.
    let begin = |connection: &rusqlite::Connection| {
        inspect::status::clear(connection)?;
        inspect::history::prune(connection, Timestamp::now())
    };
    state.write(begin).await.map_err(Error::State)?;
    let opened = Box::pin(join(config, options, state.clone(), fresh)).await;
    report::ended(&state, &config.source.slot, opened.as_ref().err()).await;
    if !options.only_asked {
        Box::pin(alarm::ended(config, &state, opened.as_ref().err())).await;
    }
    opened
}

/// Opens the rest.
async fn join(
    config: &Config,
    options: Options,
    state: State,
    fresh: BTreeMap<String, Timestamp>,
) -> Result<Opened, Error> {
    let now = Timestamp::now();
    check_mappings(config, &state).await?;
    let (mut known, progress) = known(&state).await?;
    check_known(config, &state).await?;
    let journal =
        Arc::new(Journal::open(journal_settings(config), &state).map_err(Error::Journal)?);
    let received = if journal.is_on() {
        journal.received().unwrap_or_default().max(known.received)
    } else {
        // What is not done is nowhere but at the source.
        leave_journal(config, &state, &journal, &progress).await?;
        known.confirmed
    };
    let resume = Resume {
        identity: known.identity.as_ref().map(inspect::identity),
        received,
        journaled: journal.end().previous(),
        confirmed: known.confirmed,
        intent: None,
    };
    let mut attach = Attach::new(&config.source, options, resume);
    // Events say where they come from: the first run has to ask before it can map.
    let first: Option<Attached> = match &attach.resume.identity {
        Some(_) => None,
        None if options.only_asked => return Err(Error::NothingYet),
        None => {
            let attached = attach.first(&state).await?;
            attach.resume.identity = Some(attached.2.identity.clone());
            known = state.read(meta::load).await.map_err(Error::State)?;
            Some(attached)
        }
    };
    let label = attach.resume.identity.as_ref().map(label).unwrap_or_default();
    let received = if journal.is_on() { known.received } else { known.confirmed };
    let floors = progress.values().map(|stored| stored.reached.floor);
    let lowest = floors.min().filter(|_| !journal.is_on());
    journal.begin_at(lowest.into_iter().fold(Position::new(received, 0), Position::min));
    let decoded = Arc::new(Decoded::new(journal.end()));
    let sinks = sinks(config, &state, &journal, &progress, &decoded, now).await?;
    remember(config, &state, journal.begin(), &sinks, now).await?;
    let end = journal.end();
    let handles = sinks.iter().map(|(_, progress)| progress.clone()).collect();
    let fresh = freshness(&state, &progress, fresh).await?;
    let shared = Arc::new(Shared::new(handles, decoded, end, known.confirmed, fresh));
    seed_marks(&shared, &journal, &known);
    let kept = state.read(|c| Ok((roster::held(c)?, roster::former_names(c)?, shapes::load(c)?)));
    let (held, formerly, shapes) = kept.await.map_err(Error::State)?;
    let Served { runners, pollers, orders, shelves } = {
        let (state, journal, formerly) = (&state, &journal, &formerly);
        let road = Road { config, state, journal, label: &label, formerly, shapes };
        served(&road, sinks, &progress, &held, options)?
    };
    remember_mappings(config, &state, now).await?;
    let splice = Arc::new(Splice::new(&state, &journal).await?);
    let intake = Intake::new(attach, &shared, &state, &journal, &splice, received, first);
    let bases = progress.into_iter().map(|(name, stored)| (name, Base::of(&stored))).collect();
    let shadows = Shadows::new(config, options, &state, &journal, &label).await?;
    Ok(Opened {
        shared,
        state,
        journal,
        splice,
        intake,
        runners,
        pollers,
        bases,
        orders,
        shelves,
        shadows,
    })
}

/// What every sink is served with.
struct Road<'a> {
    config: &'a Config,
    state: &'a State,
    journal: &'a Arc<Journal>,
    label: &'a SourceLabel,
    /// What routes were called before.
    formerly: &'a BTreeMap<String, Vec<String>>,
    /// What routes know of their tables.
    shapes: Vec<Shape>,
}

impl Road<'_> {
    /// The routes of a sink, with the names that they had.
    fn routes_of(&self, sink: &str) -> Vec<Arc<Route>> {
        let mut routes = self.config.routes_of(sink);
        for route in &mut routes {
            if let Some(formerly) = self.formerly.get(&route.name) {
                Arc::make_mut(route).formerly.clone_from(formerly);
            }
        }
        routes
    }
}

/// Who serves the sinks.
struct Served {
    runners: Vec<Runner>,
    pollers: Vec<Poller>,
    orders: BTreeMap<String, Orders>,
    shelves: BTreeMap<String, Orders>,
}

/// Makes who serves each sink. `held` are the routes that a person holds.
fn served(
    road: &Road<'_>,
    sinks: Vec<(&crate::config::Sink, SinkProgress)>,
    progress: &BTreeMap<String, Stored>,
    held: &[String],
    options: Options,
) -> Result<Served, Error> {
    let gates = Gates::default();
    let (mut runners, mut pollers) = (Vec::new(), Vec::new());
    let (mut orders, mut shelves) = (BTreeMap::new(), BTreeMap::new());
    for (sink, handle) in sinks {
        let kind = match &sink.kind {
            // It tells whoever asks why nothing comes.
            SinkKind::Polled => {
                let (giver, ordered) = Orders::new();
                if !handle.is_detached() && !options.only_asked {
                    shelves.insert(sink.name.clone(), giver);
                }
                pollers.push(poller(road, sink, handle, ordered)?);
                continue;
            }
            SinkKind::Sent(_) if handle.is_detached() => continue,
            SinkKind::Sent(kind) => kind,
        };
        let (giver, ordered) = Orders::new();
        orders.insert(sink.name.clone(), giver);
        let routes = road.config.routes.iter().filter(|route| route.sink == sink.name);
        let held = routes.map(|route| route.name.clone()).filter(|name| held.contains(name));
        let paused = progress.get(&sink.name).and_then(Stored::paused).map(str::to_owned);
        let parts = Parts {
            name: sink.name.clone(),
            settings: sink.delivery.clone(),
            sinks: road.config.sinks.len(),
            sink: far_side(sink, kind)?,
            gates: gates.clone(),
            versions: Versions {
                routes: road.routes_of(&sink.name),
                source: road.label.clone(),
                format: sink.format,
            },
            journal: Arc::clone(road.journal),
            journal_keeps: road.journal.is_on(),
            reads: !options.only_asked,
            at_once: options.until_caught_up,
            paused,
            held: held.collect(),
            shapes: road.shapes.clone(),
            state: road.state.clone(),
            progress: handle,
            orders: ordered,
        };
        runners.push(Runner::new(parts).map_err(Error::Delivery)?);
    }
    Ok(Served { runners, pollers, orders, shelves })
}

async fn open_state(config: &Config, options: Options) -> Result<State, Error> {
    let mut told = false;
    loop {
        match State::open(&config.state) {
            Err(error @ state::Error::Locked { .. }) if options.standby => {
                if !told {
                    tracing::info!(error = chain(&error), "waiting for the state folder");
                }
                told = true;
                tokio::time::sleep(LOCK_POLL).await;
            }
            opened => return opened.map_err(Error::State),
        }
    }
}

/// The same number with other fields would leave events behind that nobody can tell apart.
async fn check_mappings(config: &Config, state: &State) -> Result<(), Error> {
    let kept = state.read(kept_mappings).await.map_err(Error::State)?;
    match changed_mappings(&kept, &config.routed_mappings()).into_iter().next() {
        Some(changed) => Err(Error::MappingChanged(Box::new(changed))),
        None => Ok(()),
    }
}

/// Stores the versions that run from now on: a start that failed before this has used up none.
async fn remember_mappings(config: &Config, state: &State, now: Timestamp) -> Result<(), Error> {
    let (mappings, nexts) = (config.routed_mappings(), config.nexts.clone());
    let write = state.write(move |connection| {
        mappings.iter().try_for_each(|mapping| remember_mapping(connection, mapping, now))?;
        shadows::begin(connection, &mappings, &nexts, now)
    });
    write.await.map_err(Error::State)
}

/// What the state knows and the config no longer has would be lost without a word.
async fn check_known(config: &Config, state: &State) -> Result<(), Error> {
    let has_sink = |name: &str| config.sinks.iter().any(|sink| sink.name == name);
    let has_route = |name: &str| config.routes.iter().any(|route| route.name == name);
    let mut gone: Vec<(Kind, String)> = Vec::new();
    for (kind, name, sink) in state.read(roster::load).await.map_err(Error::State)? {
        match kind {
            Kind::Sink if !has_sink(&name) => gone.push((kind, name)),
            // A route goes with its sink.
            Kind::Route if !has_route(&name) && has_sink(&sink) => gone.push((kind, name)),
            Kind::Sink | Kind::Route => {}
        }
    }
    if !gone.is_empty() {
        return Err(Error::Gone { gone });
    }
    Ok(())
}

/// Remembers what the config has. What the journal has of a route that is new, and that begins
/// there, is asked for where its sink has passed it already.
async fn remember(
    config: &Config,
    state: &State,
    begin: Position,
    sinks: &[(&crate::config::Sink, SinkProgress)],
    now: Timestamp,
) -> Result<(), Error> {
    let known = state.read(roster::load).await.map_err(Error::State)?;
    let is_new =
        |name: &str| !known.iter().any(|(kind, other, _)| *kind == Kind::Route && other == name);
    let mut asked = Vec::new();
    for (sink, progress) in sinks {
        let of = config.routes.iter().filter(|route| route.sink == sink.name);
        let new = of.filter(|route| route.start == Start::Journal && is_new(&route.name));
        let routes: Vec<String> = new.map(|route| route.name.clone()).collect();
        let reached = progress.snapshot().reached;
        let passed = std::iter::once((begin, reached.floor)).chain(reached.finished);
        let passed = passed.filter(|(start, end)| start < end);
        let ranges: Vec<_> = passed.map(|(a, b)| (a.to_string(), b.to_string())).collect();
        if !routes.is_empty() && !ranges.is_empty() && !progress.is_detached() {
            let what = Request::Begin { sink: sink.name.clone(), routes, ranges };
            asked.push(serde_json::to_string(&what).unwrap_or_default());
        }
    }
    let loaded = config.routes.iter().filter(|route| {
        route.start == Start::Load
            && matches!(route.selector, Selector::Table(_))
            && route.on.contains(Operation::Read)
            && is_new(&route.name)
    });
    let loaded: Vec<String> = loaded.map(|route| route.name.clone()).collect();
    let sinks = config.sinks.iter().map(|sink| (Kind::Sink, sink.name.clone(), String::new()));
    let routes = config.routes.iter();
    let routes = routes.map(|route| (Kind::Route, route.name.clone(), route.sink.clone()));
    let all: Vec<_> = sinks.chain(routes).collect();
    let write = state.write(move |connection| {
        asked
            .iter()
            .try_for_each(|what| request::add(connection, what, "walgate", now).map(drop))?;
        all.iter().try_for_each(|(kind, name, sink)| {
            roster::remember(connection, *kind, name, sink, now)
        })?;
        loaded.iter().try_for_each(|route| load::plan(connection, route))
    });
    write.await.map_err(Error::State)
}

async fn known(state: &State) -> Result<(meta::Meta, BTreeMap<String, Stored>), Error> {
    let read = state.read(|connection| Ok((meta::load(connection)?, store::load_all(connection)?)));
    read.await.map_err(Error::State)
}

/// Where each sink goes on, or begins.
async fn sinks<'a>(
    config: &'a Config,
    state: &State,
    journal: &Journal,
    progress: &BTreeMap<String, Stored>,
    decoded: &Arc<Decoded>,
    now: Timestamp,
) -> Result<Vec<(&'a crate::config::Sink, SinkProgress)>, Error> {
    let mut sinks = Vec::new();
    for sink in &config.sinks {
        let stored = match progress.get(&sink.name) {
            Some(stored) => stored.clone(),
            None => {
                let routes = config.routes_of(&sink.name);
                let from_journal = routes.iter().all(|route| route.start == Start::Journal);
                let floor = if from_journal { journal.begin() } else { journal.end() };
                let stored = Stored {
                    reached: Reached { floor, ..Reached::default() },
                    ..Stored::default()
                };
                let (name, new) = (sink.name.clone(), stored.clone());
                // Stored at once: else a restart would begin it later than now.
                let write = move |c: &Connection| store::save(c, &name, &new, now);
                state.write(write).await.map_err(Error::State)?;
                stored
            }
        };
        let handle = SinkProgress::new(&sink.name, &stored.reached, decoded);
        if let Some(gap) = stored.gap() {
            tracing::warn!(sink = sink.name, reason = gap, "the sink stays halted");
            handle.detach(gap, None);
        } else if journal.is_on()
            && let Err(source) = journal.cursor(stored.reached.floor)
        {
            return Err(Error::SinkBehind { name: sink.name.clone(), source });
        }
        sinks.push((sink, handle));
    }
    Ok(sinks)
}

/// Gives up what an earlier run kept in a journal, or says who still needs it.
async fn leave_journal(
    config: &Config,
    state: &State,
    journal: &Journal,
    progress: &BTreeMap<String, Stored>,
) -> Result<(), Error> {
    let floors = config.sinks.iter().filter_map(|sink| {
        let stored = progress.get(&sink.name).filter(|stored| stored.gap().is_none())?;
        Some((sink.name.clone(), stored.reached.floor))
    });
    let floors: Vec<_> = floors.collect();
    let lowest = floors.iter().map(|(_, floor)| floor.commit_lsn).min();
    let needed = state.read(move |connection| {
        for (name, floor) in floors {
            if journal::stored_bytes_behind(connection, floor)? > 0 {
                return Ok(Some(name));
            }
        }
        let sql = "SELECT sink FROM dead_letters
                   WHERE original IS NULL AND state IN ('retrying', 'blocked', 'replaying') LIMIT 1";
        connection.prepare(sql)?.query_row([], |row| row.get(0)).optional()
    });
    if let Some(name) = needed.await.map_err(Error::State)? {
        return Err(Error::JournalNeeded { name });
    }
    if let Some(lowest) = lowest {
        // One that is turned on later begins where the sinks are.
        let write = state.write(move |connection| meta::lower_received(connection, lowest));
        write.await.map_err(Error::State)?;
    }
    journal.forget_disk().await.map_err(Error::Journal)
}

/// What is known of how old what each sink has is: what the last run said, or else the newest that
/// it had, or else when it began.
async fn freshness(
    state: &State,
    progress: &BTreeMap<String, Stored>,
    said: BTreeMap<String, Timestamp>,
) -> Result<Freshness, Error> {
    let read = state.read(|c| Ok((roster::first_seen(c)?, journal::stored_ages(c)?)));
    let (mut known, parts) = read.await.map_err(Error::State)?;
    let newest = |(name, stored): (&String, &Stored)| Some((name.clone(), stored.newest_done?));
    known.extend(progress.iter().filter_map(newest));
    known.extend(said);
    let mut ages = Ages::new(parts.first().map_or(Position::ZERO, |(first, ..)| *first));
    for (_, end, oldest) in parts {
        ages.push(end, oldest);
    }
    Ok(Freshness::new(ages, known))
}

fn far_side(
    sink: &crate::config::Sink,
    kind: &crate::sink::Config,
) -> Result<Arc<dyn crate::sink::Sink>, Error> {
    let built = crate::sink::build(&sink.name, kind, &sink.common());
    let failed = |source| Error::Sink { name: sink.name.clone(), source: Box::new(source) };
    built.map(Arc::from).map_err(failed)
}

fn poller(
    road: &Road<'_>,
    sink: &crate::config::Sink,
    progress: SinkProgress,
    orders: Ordered,
) -> Result<Poller, Error> {
    let Road { config, state, journal, label, .. } = *road;
    let parts = PollParts {
        name: sink.name.clone(),
        settings: sink.delivery.clone(),
        sinks: config.sinks.len(),
        routes: road.routes_of(&sink.name),
        label: label.clone(),
        format: sink.format,
        journal: Arc::clone(journal),
        state: state.clone(),
        progress,
        orders,
    };
    Poller::new(parts).map_err(Error::Delivery)
}

/// Lets the slot move over what an earlier run received, once it is done.
fn seed_marks(shared: &Shared, journal: &Journal, known: &meta::Meta) {
    let received = journal.received().unwrap_or_default().max(known.received);
    if received > Lsn::ZERO {
        // Behind the last whole transaction in the journal: its end is the LSN.
        let after = journal.end().min(Position::new(received, 0));
        shared.lock().marks.push(after, received);
    }
}

fn journal_settings(config: &Config) -> journal::Settings {
    journal::Settings {
        retain: config.journal.retain,
        max_bytes: config.journal.max_size,
        reserve_bytes: config.journal.reserve,
    }
}

fn label(identity: &Identity) -> SourceLabel {
    SourceLabel {
        system: identity.system_id.clone(),
        database: identity.database.clone(),
        slot: identity.slot.clone(),
    }
}
