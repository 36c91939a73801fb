//! Which changes of a table a route lets through: `where`, `columns_changed`, `on_leave`.

use super::expression::{Bound, Scene};
use super::key::Key;
use super::row::Row;
use super::rule::{OnLeave, OnWhereError, Route};
use super::verdict::{Reason, Skip, Verdict};
use crate::change::{Cell, Change};
use crate::chunk::Operation;
use crate::relation::Relation;

/// What a route lets through, for one version of a table.
#[derive(Debug)]
pub(super) struct Filter {
    condition: Option<Bound>,
    on_error: OnWhereError,
    on_leave: OnLeave,
    /// An update goes only when one of these changed.
    watched: Option<Watched>,
}

#[derive(Debug)]
struct Watched {
    columns: Vec<usize>,
    /// The table lacks one: whether that changed nobody can tell.
    lacks: bool,
}

/// What becomes of a change.
#[derive(Debug)]
pub(super) enum Passage {
    /// It is sent.
    Sent,
    /// It is sent as a delete: its row is no longer one that the route lets through.
    Left,
    /// It is not sent.
    Skipped(Skip),
    /// It becomes a dead letter.
    Rejected(Verdict),
}

impl Filter {
    /// Finds the columns; none where the route lets everything through.
    pub(super) fn compile(route: &Route, relation: &Relation) -> Option<Self> {
        if route.condition.is_none() && route.columns_changed.is_none() {
            return None;
        }
        let watched = route.columns_changed.as_ref().map(|names| Watched {
            columns: names.iter().filter_map(|name| relation.column(name)).collect(),
            lacks: names.iter().any(|name| relation.column(name).is_none()),
        });
        Some(Self {
            condition: route.condition.as_ref().map(|it| Bound::lenient(it, relation)),
            on_error: route.on_where_error,
            on_leave: route.on_leave,
            watched,
        })
    }

    /// Says what becomes of a change of a row.
    #[inline]
    pub(super) fn passage(&self, change: &Change<'_>, key: &Key) -> Passage {
        if change.operation == Operation::Truncate {
            return Passage::Sent;
        }
        if let Some(condition) = &self.condition {
            match condition.test(&Scene::new(Row::of(change))) {
                Ok(true) => {}
                Ok(false) => return self.kept_back(condition, change, Skip::Where),
                Err(fault) => {
                    let is_sent = fault.is_some();
                    let reason = fault.map_or(Reason::Unchanged, Reason::Expression);
                    match self.on_error {
                        OnWhereError::Send => {}
                        OnWhereError::Skip if is_sent => {
                            return self.kept_back(condition, change, Skip::WhereError(reason));
                        }
                        // A value that Postgres did not send is as it was: so far as anybody can
                        // tell the row did not leave.
                        OnWhereError::Skip => return Passage::Skipped(Skip::WhereError(reason)),
                        OnWhereError::Reject => {
                            return Passage::Rejected(Verdict::reject(&"where".into(), reason));
                        }
                    }
                }
            }
        }
        match &self.watched {
            None => Passage::Sent,
            Some(watched) if watched.changed(change) => Passage::Sent,
            // The far side does not know the row yet, or not under this key.
            Some(_) if self.enters(change) || key.has_changed(change) => Passage::Sent,
            Some(_) => Passage::Skipped(Skip::ColumnsChanged),
        }
    }

    /// An update that leaves the condition may be a delete at the far side.
    #[cold]
    fn kept_back(&self, condition: &Bound, change: &Change<'_>, why: Skip) -> Passage {
        if self.on_leave == OnLeave::Skip || change.operation != Operation::Update {
            return Passage::Skipped(why);
        }
        match self.was_let_through(condition, change) {
            Some(false) => Passage::Skipped(why),
            Some(true) | None => Passage::Left,
        }
    }

    /// Whether the row was not let through before, or nobody can tell.
    fn enters(&self, change: &Change<'_>) -> bool {
        let condition = self.condition.as_ref();
        condition.is_some_and(|condition| self.was_let_through(condition, change) != Some(true))
    }

    /// Whether the row was let through as it was before an update; none: nobody can tell.
    fn was_let_through(&self, condition: &Bound, change: &Change<'_>) -> Option<bool> {
        let scene = Scene::new(Row::left(change));
        if condition.guesses(&scene) {
            return None;
        }
        match condition.test(&scene) {
            Ok(was) => Some(was),
            Err(Some(_)) => Some(self.on_error == OnWhereError::Send),
            Err(None) => None,
        }
    }
}

impl Watched {
    /// Whether one of the columns changed, or nobody can tell.
    fn changed(&self, change: &Change<'_>) -> bool {
        change.operation != Operation::Update
            || self.lacks
            || self.columns.iter().any(|index| is_changed(change, *index))
    }
}

fn is_changed(change: &Change<'_>, index: usize) -> bool {
    let new = change.new_cell(index);
    match (new, change.old_cell(index)) {
        // What Postgres does not send anew is as it was.
        (Cell::Unchanged, _) => false,
        (new, old @ (Cell::Value(_) | Cell::Null)) => new != old,
        // The old key comes only where the key changed.
        (_, Cell::Unchanged | Cell::Absent) => {
            let columns = change.relation.map(|relation| relation.columns.as_slice());
            let column = columns.and_then(|columns| columns.get(index));
            column.is_none_or(|column| change.images.old.present || !column.in_identity)
        }
    }
}
