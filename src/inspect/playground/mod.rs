//! The playground: an edited mapping tried on a row, beside the run. Nothing is stored or sent.
//!
//! Values of columns that the config in force masks are made up before the edited mapping sees
//! them: else a mapping without the mask would show what nobody may see.

mod captured;
mod trial;
mod typed;

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

pub use captured::{Captured, Choice, choice};

use super::proof::{self, Told};
use super::{Error, label};
use crate::chunk::{Chunk, Operation};
use crate::config::trial::{self as reading, Trial};
use crate::config::{Config, Problems};
use crate::mapping::{Budget, Mapping, Mismatch, Route, Selector, TablePattern};
use crate::state::Reader;

/// What is tried.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The mapping's name, as the config in force has it.
    pub mapping: String,
    /// The route by which rows come to it; none: the first that has it.
    pub route: Option<String>,
    /// The mapping as it is edited; none: as it is in force.
    pub toml: Option<String>,
    /// The row; none: only the tests are run.
    pub row: Option<Row>,
}

/// A row to try a mapping on.
#[derive(Clone, Debug)]
pub enum Row {
    /// An event of the journal, by its id.
    Event(String),
    /// What was set aside, by its number.
    DeadLetter(i64),
    /// Written down, as a JSON object by column.
    Typed {
        /// The object.
        json: String,
        /// What is done with it.
        operation: Operation,
    },
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// The mapping's name.
    pub mapping: String,
    /// The version that the text has.
    pub version: u32,
    /// The route by which the row came; none: the config has none for this mapping.
    pub route: Option<String>,
    /// What became of the row; none: there was none.
    pub row: Option<RowTried>,
    /// In what the text is not the mapping in force.
    pub differences: Vec<String>,
    /// The tests of the text.
    pub tests: Vec<Told>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// What became of a row.
#[derive(Clone, Debug, Serialize)]
pub struct RowTried {
    /// What was done with it.
    pub op: &'static str,
    /// Its table, as SQL would quote it.
    pub table: String,
    /// By column; what the config in force masks is made up.
    pub values: Option<Box<RawValue>>,
    /// The columns whose values are made up.
    pub made_up: Vec<String>,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How each field came to be what it is.
    pub trace: Vec<Step>,
}

/// What becomes of a row.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// An event is sent.
    Sent {
        /// What it says was done.
        event_op: &'static str,
        /// Its `data`.
        data: Box<RawValue>,
    },
    /// It is dropped and counted.
    Skipped {
        /// The rule.
        reason: String,
    },
    /// It becomes a dead letter.
    Rejected {
        /// The field that is at fault.
        field: String,
        /// What is the matter with it.
        reason: String,
    },
    /// The route does not take it.
    Unrouted {
        /// Why not.
        reason: String,
    },
}

/// How a field came to be what it is.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// The field, as the mapping names it.
    pub field: String,
    /// What the columns hold that it is made of.
    pub columns: Vec<ColumnSeen>,
    /// What the event has there; none: nothing.
    pub out: Option<Box<RawValue>>,
    /// Its origin and the policy that acted.
    pub how: String,
}

/// What a column holds.
#[derive(Clone, Debug, Serialize)]
pub struct ColumnSeen {
    /// Its name.
    pub name: String,
    /// Its value; none: it was not sent, or there is no such column.
    pub value: Option<Box<RawValue>>,
}

/// Why nothing came of it.
#[derive(Debug)]
pub enum Fault {
    /// The text is wrong.
    Text(Problems),
    /// It takes more to compute than anything that is tried may.
    TooMuch,
    /// What was asked for is wrong or not there, or can't be read.
    Other(Error),
}

impl<E: Into<Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// A row as it is tried.
#[derive(Debug)]
struct Scene {
    chunk: Arc<Chunk>,
    made_up: Vec<String>,
}

/// Tries a mapping. `budget` is at hand, and what is left of it is for all that this computes.
///
/// # Errors
/// What is wrong with the text or the row; state and journal where they can't be read.
pub fn run(
    config: &Config,
    reader: &Reader,
    asked: &Asked,
    budget: &Budget,
) -> Result<Tried, Fault> {
    let now = in_force(config, &asked.mapping)?;
    let route = route(config, now, asked.route.as_deref())?;
    let text = match &asked.toml {
        Some(text) => text.clone(),
        None => config.mapping_text(&now.name).unwrap_or_default(),
    };
    let read = reading::trial(&now.name, &text, config).map_err(Fault::Text)?;
    let mut notes = Vec::new();
    let scene = scene(config, reader, asked, &route, &read)?;
    let row = match scene {
        Ok(scene) => scene.map(|scene| trial::row(&route, scene, &read.mapping, &label(reader)?)),
        Err(why) => {
            notes.push(why);
            None
        }
    };
    let row = row.transpose()?;
    let tests = tests(config, &read, budget)?;
    if budget.is_exhausted() {
        return Err(Fault::TooMuch);
    }
    let differences = differences(now, &read, &mut notes);
    if read.has_stand_in {
        let hashed = "hashes are made with a stand-in for the key in force: they are not those that \
                      are sent, and a test that expects one holds only in `walgate test`";
        notes.push(hashed.to_owned());
    }
    let named = config.routes.iter().any(|known| known.name == route.name);
    Ok(Tried {
        mapping: now.name.clone(),
        version: read.mapping.version,
        route: named.then(|| route.name.clone()),
        row,
        differences,
        tests,
        notes,
    })
}

/// Returns a mapping of the config in force.
///
/// # Errors
/// [`Error::Missing`] where there is none of this name.
pub fn in_force<'c>(config: &'c Config, name: &str) -> Result<&'c Arc<Mapping>, Error> {
    let found = config.mappings.iter().find(|mapping| mapping.name == name);
    found.ok_or_else(|| {
        let names = config.mappings.iter().map(|mapping| mapping.name.as_str());
        Error::Missing {
            message: format!("there is no mapping \"{name}\""),
            help: format!("the config has {}", names.collect::<Vec<_>>().join(", ")),
        }
    })
}

/// Returns the route by which rows come to a mapping: the one that is named, else the first; one
/// that takes every table where the config has none.
///
/// # Errors
/// [`Error::Missing`] where it is named and does not have this mapping.
pub fn route(config: &Config, mapping: &Mapping, name: Option<&str>) -> Result<Route, Error> {
    let has_it = |route: &&Arc<Route>| {
        route.mapping.as_ref().is_some_and(|own| own.name == mapping.name)
            && name.is_none_or(|name| route.is_called(name))
    };
    match (config.routes.iter().find(has_it), name) {
        (Some(route), _) => Ok(Route::clone(route)),
        (None, Some(name)) => Err(Error::Missing {
            message: format!("there is no route \"{name}\" with mapping \"{}\"", mapping.name),
            help: "`/v1/config` has the routes".to_owned(),
        }),
        (None, None) => {
            let any =
                TablePattern::parse("*.*").map_err(|error| Error::asked(error.to_string()))?;
            let key = Some(Vec::new());
            Ok(Route { key, ..Route::new("", Selector::Table(any), "") })
        }
    }
}

/// Finds the row; the inner error says why none can be had that was asked for.
fn scene(
    config: &Config,
    reader: &Reader,
    asked: &Asked,
    route: &Route,
    read: &Trial,
) -> Result<Result<Option<Scene>, String>, Fault> {
    Ok(match &asked.row {
        None => Ok(None),
        Some(Row::Event(id)) => Ok(Some(captured::event(config, reader, route, id)?)),
        Some(Row::DeadLetter(id)) => Ok(Some(captured::dead_letter(config, reader, route, *id)?)),
        Some(Row::Typed { json, operation }) => {
            let shape = captured::shape(config, reader, route)?;
            typed::scene(json, *operation, shape.as_ref(), route, &read.mapping)?.map(Some)
        }
    })
}

fn tests(config: &Config, read: &Trial, budget: &Budget) -> Result<Vec<Told>, Fault> {
    let mut told = Vec::with_capacity(read.tests.len());
    for case in &read.tests {
        if budget.is_exhausted() {
            return Err(Fault::TooMuch);
        }
        let mismatches = proof::mismatches(config, case, &read.mapping);
        let mismatches = mismatches.unwrap_or_else(|error| {
            let expected = "a row that Postgres could send".to_owned();
            vec![Mismatch::Fate { expected, found: crate::failure::chain(&error) }]
        });
        told.push(Told::of(case, mismatches));
    }
    Ok(told)
}

/// Says in what the text is not the mapping in force, and what that takes.
fn differences(now: &Mapping, read: &Trial, notes: &mut Vec<String>) -> Vec<String> {
    let tried = match read.has_stand_in {
        // What stands in for a key is no other key.
        true => &Mapping { mask_key: now.mask_key.clone(), ..Mapping::clone(&read.mapping) },
        false => &*read.mapping,
    };
    let found: Vec<String> = now.differences(tried).iter().map(ToString::to_string).collect();
    if !found.is_empty() && tried.version <= now.version {
        notes.push(format!(
            "version {} is in force with other fields: raise it to {} when you put this to use",
            now.version,
            now.version.saturating_add(1)
        ));
    }
    found
}
