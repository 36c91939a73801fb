//! [`Windows`]: parts of the journal that are on their way to a sink again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{Config, unit};
use crate::delivery::{Rate, WindowOrder, WindowProgress, WindowTold, kept_mapping};
use crate::failure::chain;
use crate::inspect::request::Request;
use crate::journal::{Journal, Moment, Window};
use crate::lsn::{Lsn, Position};
use crate::mapping::{Mapping, TablePattern};
use crate::state::State;

/// Receivers tell replays apart by a number; those of dead letters count from 1.
const NUMBERS_FROM: u32 = 1000;

/// See the module.
#[derive(Debug)]
pub(super) struct Windows {
    state: State,
    journal: Arc<Journal>,
    /// The mappings of each sink's routes.
    mappings: BTreeMap<String, Vec<Arc<Mapping>>>,
    under_way: BTreeMap<i64, (String, WindowTold)>,
}

impl Windows {
    pub(super) fn new(config: &Config, state: &State, journal: &Arc<Journal>) -> Self {
        let mut mappings: BTreeMap<String, Vec<Arc<Mapping>>> = BTreeMap::new();
        for route in &config.routes {
            let own = mappings.entry(route.sink.clone()).or_default();
            own.extend(route.mapping.iter().map(Arc::clone));
            own.sort_by(|one, other| one.name.cmp(&other.name));
            own.dedup_by(|one, other| one.name == other.name);
        }
        let (state, journal) = (state.clone(), Arc::clone(journal));
        Self { state, journal, mappings, under_way: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether a request is being done.
    pub(super) fn is_under_way(&self, id: i64) -> bool {
        self.under_way.contains_key(&id)
    }

    /// Whether one is on its way to this sink.
    pub(super) fn is_busy(&self, sink: &str) -> bool {
        self.under_way.values().any(|(name, _)| name == sink)
    }

    pub(super) fn begin(&mut self, id: i64, sink: &str, told: WindowTold) {
        self.under_way.insert(id, (sink.to_owned(), told));
    }

    pub(super) fn end(&mut self, id: i64) {
        self.under_way.remove(&id);
    }

    /// Returns what is under way.
    pub(super) fn look(&self) -> Vec<(i64, WindowTold)> {
        self.under_way.iter().map(|(id, (_, told))| (*id, told.clone())).collect()
    }

    /// Makes an order of a request, or says what is wrong with it. One that an earlier run began
    /// with goes on where that came to, up to the present: what it sent again may lie behind
    /// something newer by now, which then has to come last.
    pub(super) async fn order(
        &self,
        id: i64,
        what: &Request,
        progress: Option<&str>,
    ) -> Result<(WindowOrder, WindowTold), String> {
        if let Request::Begin { routes, ranges, .. } = what {
            return begin(id, routes, ranges, progress);
        }
        let Request::Replay { sink, from, to, table, key, mapping_version, rate } = what else {
            return Err("this is no replay".to_owned());
        };
        let moment = |text: &str| text.parse::<Moment>().map_err(|error| chain(&error));
        let from = moment(from)?;
        let to = to.as_deref().map(moment).transpose()?;
        let earlier = progress.and_then(|text| serde_json::from_str::<WindowProgress>(text).ok());
        let reached = earlier.and_then(|progress| position(&progress.at));
        let begin = reached.unwrap_or(match from {
            Moment::Lsn(lsn) => Position::new(lsn, 0).max(self.journal.begin()),
            Moment::Time(time) => self.journal.position_at(time),
        });
        let wrong = |what: &str, error: &dyn std::error::Error| format!("{what}: {}", chain(error));
        let table = table.as_deref().map(TablePattern::parse).transpose();
        let key = key.as_deref().map(serde_json::from_str).transpose();
        let told = WindowTold::default();
        let rate = match rate.as_deref().map(unit::rate) {
            None => None,
            Some(Some(rate)) => Some(Rate { amount: rate.count, per: rate.per }),
            Some(None) => return Err("the rate is none: 50/s or 1000/m is wanted".to_owned()),
        };
        let order = WindowOrder {
            request: id,
            from: begin,
            window: Window { from: Some(from), to: to.filter(|_| reached.is_none()), tables: None },
            ranges: Vec::new(),
            routes: BTreeSet::new(),
            table: table.map_err(|error| wrong("the table", &error))?,
            key: key.map_err(|error| wrong("the key", &error))?.unwrap_or_default(),
            mappings: self.versions(sink, *mapping_version).await?,
            rate,
            number: u32::try_from(id).unwrap_or(u32::MAX).saturating_add(NUMBERS_FROM),
            told: told.clone(),
        };
        Ok((order, told))
    }

    /// Returns the sink's mappings in this version; each must have run in it.
    async fn versions(
        &self,
        sink: &str,
        version: Option<u32>,
    ) -> Result<Vec<Arc<Mapping>>, String> {
        let Some(version) = version else { return Ok(Vec::new()) };
        let own = self.mappings.get(sink).cloned().unwrap_or_default();
        let read = self.state.read(move |connection| {
            own.iter().map(|own| kept_mapping(connection, &own.name, version, Some(own))).collect()
        });
        let found: Vec<_> = read.await.map_err(|error| chain(&error))?;
        let found = found.into_iter().map(|mapping| mapping.map(Arc::new));
        let found: Result<Vec<_>, _> = found.collect();
        let found = found.map_err(|error| chain(&error))?;
        if found.is_empty() {
            return Err(format!("no route of sink `{sink}` has a mapping"));
        }
        Ok(found)
    }
}

/// Makes the order of routes that are new. One that an earlier run began with goes on where that
/// came to.
fn begin(
    id: i64,
    routes: &[String],
    ranges: &[(String, String)],
    progress: Option<&str>,
) -> Result<(WindowOrder, WindowTold), String> {
    let range = |(start, end): &(String, String)| Some((position(start)?, position(end)?));
    let ranges: Option<Vec<_>> = ranges.iter().map(range).collect();
    let ranges = ranges.ok_or_else(|| "its ranges can't be read".to_owned())?;
    let earlier = progress.and_then(|text| serde_json::from_str::<WindowProgress>(text).ok());
    let reached = earlier.and_then(|progress| position(&progress.at));
    let first = ranges.first().map(|(start, _)| *start).unwrap_or_default();
    let told = WindowTold::default();
    let order = WindowOrder {
        request: id,
        from: reached.unwrap_or(first),
        window: Window::default(),
        ranges,
        routes: routes.iter().cloned().collect(),
        table: None,
        key: BTreeMap::new(),
        mappings: Vec::new(),
        rate: None,
        number: 0,
        told: told.clone(),
    };
    Ok((order, told))
}

/// Reads a position in print: `0/17C8338#3`.
fn position(text: &str) -> Option<Position> {
    let (lsn, seq) = text.split_once('#')?;
    Some(Position::new(lsn.parse::<Lsn>().ok()?, seq.parse().ok()?))
}
