//! [`Plan`]: a batch becomes requests, an insert a table.

use std::collections::HashSet;

use super::name::Name;
use super::settings::Mode;
use crate::chunk::Operation;
use crate::envelope::Envelope;
use crate::lsn::Position;
use crate::sink::fold::{Action, Put, Work as Folded};
use crate::sink::keyed::{Board, Changes};
use crate::sink::row::{Change, Field, Key};
use crate::sink::template::Template;

/// What is to be asked for, in order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) tables: Vec<Name>,
    pub(super) steps: Vec<Step>,
}

/// One request.
#[derive(Debug)]
pub(super) struct Step {
    /// Its table in the plan's.
    pub(super) table: usize,
    pub(super) work: Work,
    /// The events that it stands for.
    pub(super) events: Vec<usize>,
}

/// What a request does.
#[derive(Debug)]
pub(super) enum Work {
    /// Rows are added.
    Insert(Rows),
    /// The table is emptied.
    Truncate,
}

/// Rows as JSON, a line each.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) json: Vec<u8>,
    /// Every name that one of them has, in the order in which they came.
    pub(super) columns: Vec<String>,
    known: HashSet<String>,
}

pub(super) const NO_KEY: &str =
    "the row has no key to be kept by: give the route a key, or use mode = \"append\"";

/// A version of a row is whole, or it would take away what the event does not have.
const UNCHANGED: &str = "the event does not have the whole row (Postgres does not send large \
                         values that did not change): ALTER TABLE … REPLICA IDENTITY FULL at the \
                         source, or leave these columns out by a mapping";

/// What each row has beside the event's.
pub(super) const UPSERT_COLUMNS: [&str; 2] = ["_version", "_deleted"];
pub(super) const APPEND_COLUMNS: [&str; 7] =
    ["_id", "_op", "_table", "_version", "_time", "_before_key", "_unchanged"];

impl Plan {
    /// Makes the requests of a batch. What can't be written is refused on the board.
    pub(super) fn read(
        events: &[Envelope],
        template: &Template,
        mode: Mode,
        board: &mut Board,
    ) -> Self {
        let name = |text: &str| Name::parse(text).map_err(|error| format!("`table` {error}"));
        let fits = |change: &Change<'_>| {
            let is_of_a_row = change.operation != Operation::Truncate;
            let lacks = mode == Mode::Upsert && is_of_a_row && change.key.is_none();
            if lacks { Err(NO_KEY) } else { Ok(()) }
        };
        let changes = Changes::read(events, template, board, name, fits);
        let mut plan = Self::default();
        match mode {
            Mode::Append => {
                for of in &changes.all {
                    let Some(envelope) = events.get(of.event) else { continue };
                    plan.write(of.table, &[of.event], |rows| rows.event(&of.change, envelope));
                }
            }
            Mode::Upsert => {
                for action in changes.fold(board, NO_KEY) {
                    plan.fold(action, events, board);
                }
            }
        }
        for step in &plan.steps {
            board.expect(&step.events);
        }
        plan.tables = changes.tables;
        plan
    }

    /// Adds what is left of the changes of a row, or a TRUNCATE.
    fn fold(&mut self, action: Action<'_>, all: &[Envelope], board: &mut Board) {
        let Action { scope: table, work, events } = action;
        let position = |event: &usize| all.get(*event).map(|event| event.id.position);
        let version = events.iter().filter_map(position).max().map(version_of).unwrap_or_default();
        match work {
            // Rows that were made before it are not written any more: nothing stands open.
            Folded::Clear => self.steps.push(Step { table, work: Work::Truncate, events }),
            Folded::Delete(key) => self.write(table, &events, |rows| rows.delete(&key, version)),
            Folded::Put(put) if put.missing.is_empty() => {
                self.write(table, &events, |rows| rows.upsert(&put, version));
            }
            Folded::Put(_) => board.refuse(&events, UNCHANGED),
        }
    }

    /// Adds a row to the insert of a table: the last request of it, unless that empties it.
    fn write(&mut self, table: usize, events: &[usize], write: impl FnOnce(&mut Rows)) {
        let last = self.steps.iter_mut().rev().find(|step| step.table == table);
        if let Some(Step { work: Work::Insert(rows), events: all, .. }) = last {
            write(rows);
            all.extend(events);
            return;
        }
        let mut rows = Rows::default();
        write(&mut rows);
        self.steps.push(Step { table, work: Work::Insert(rows), events: events.to_vec() });
    }
}

/// Returns the version that a change makes of a row: rises as commits did.
fn version_of(position: Position) -> u128 {
    (u128::from(position.commit_lsn.0) << 32) | u128::from(position.seq)
}

impl Rows {
    /// Writes a row as it is now.
    fn upsert(&mut self, put: &Put<'_>, version: u128) {
        let mut line = self.begin();
        put.key.fields.iter().for_each(|field| line.field(field));
        let is_of_key =
            |field: &&Field<'_>| !put.key.fields.iter().any(|own| own.name == field.name);
        put.fields.iter().filter(is_of_key).for_each(|field| line.field(field));
        line.versioned(version, "0");
    }

    /// Writes that a row is gone.
    fn delete(&mut self, key: &Key<'_>, version: u128) {
        let mut line = self.begin();
        key.fields.iter().for_each(|field| line.field(field));
        line.versioned(version, "1");
    }

    /// Writes an event as a row of its own.
    fn event(&mut self, change: &Change<'_>, envelope: &Envelope) {
        let mut line = self.begin();
        change.data.iter().for_each(|field| line.field(field));
        line.raw("_id", &text(&envelope.id.to_string()));
        line.raw("_op", &text(envelope.operation.as_str()));
        line.raw("_table", &text(&envelope.table().unwrap_or_default()));
        line.raw("_version", &text(&version_of(envelope.id.position).to_string()));
        let time = envelope.commit_time.map(|time| text(&time.to_string()));
        line.raw("_time", time.as_deref().unwrap_or("null"));
        let before = change.before_key.as_ref().map(|key| text(key.raw));
        line.raw("_before_key", before.as_deref().unwrap_or("null"));
        let unchanged: Vec<String> = change.unchanged.iter().map(|name| text(name)).collect();
        line.raw("_unchanged", &format!("[{}]", unchanged.join(",")));
        line.end();
    }

    fn begin(&mut self) -> Line<'_> {
        self.json.push(b'{');
        Line { rows: self, fields: 0 }
    }

    /// Notes the name of a row's field; mostly it is the one that the row before had there.
    fn note(&mut self, place: usize, name: &str) {
        let is_there = self.columns.get(place).is_some_and(|column| column == name);
        if !is_there && !self.known.contains(name) {
            self.known.insert(name.to_owned());
            self.columns.push(name.to_owned());
        }
    }
}

/// A row that is being written.
struct Line<'r> {
    rows: &'r mut Rows,
    fields: usize,
}

impl Line<'_> {
    fn field(&mut self, field: &Field<'_>) {
        self.raw(&field.name, field.value.get());
    }

    fn raw(&mut self, name: &str, json: &str) {
        if self.fields > 0 {
            self.rows.json.push(b',');
        }
        self.rows.note(self.fields, name);
        self.fields = self.fields.saturating_add(1);
        self.rows.json.extend_from_slice(text(name).as_bytes());
        self.rows.json.push(b':');
        self.rows.json.extend_from_slice(json.as_bytes());
    }

    fn versioned(mut self, version: u128, deleted: &str) {
        let [of_version, of_deleted] = UPSERT_COLUMNS;
        self.raw(of_version, &text(&version.to_string()));
        self.raw(of_deleted, deleted);
        self.end();
    }

    fn end(self) {
        self.rows.json.extend_from_slice(b"}\n");
    }
}

/// Writes text as JSON does.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
