//! [`Shapes`]: whether a table still is what a route's owner knows (pure).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::lsn::Oid;
use crate::progress::shapes::Shape as Stored;
use crate::relation::{Relation, Shape};

/// What a look finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing new.
    Known,
    /// The table was not seen before: to be stored.
    First(Stored),
    /// The table has another shape; what is different.
    Changed(String),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// The routes that are held when a table changes.
    routes: HashSet<String>,
    tables: HashMap<(String, Oid), Table>,
}

#[derive(Debug)]
struct Table {
    /// What a person knows.
    known: Shape,
    /// As it was seen last, and what that is.
    seen: Option<(Arc<Relation>, Shape)>,
}

impl Shapes {
    /// Watches over the tables of these routes, with what is known of them.
    pub(super) fn new(routes: impl Iterator<Item = String>, known: Vec<Stored>) -> Self {
        let routes: HashSet<String> = routes.collect();
        let known = known.into_iter().filter(|shape| routes.contains(&shape.route));
        let tables = known.map(|shape| {
            let known = serde_json::from_str(&shape.shape).unwrap_or_default();
            ((shape.route, shape.table), Table { known, seen: None })
        });
        let tables = tables.collect();
        Self { routes, tables }
    }

    /// Whether there is anything to look at.
    pub(super) fn is_idle(&self) -> bool {
        self.routes.is_empty()
    }

    /// Looks at the table of an event.
    pub(super) fn look(&mut self, route: &str, relation: &Arc<Relation>) -> Look {
        if !self.routes.contains(route) {
            return Look::Known;
        }
        let place = (route.to_owned(), relation.oid);
        let Some(table) = self.tables.get_mut(&place) else {
            let shape = Shape::of(relation);
            let first = stored(&shape, place.0.clone(), place.1);
            let seen = Some((Arc::clone(relation), shape.clone()));
            self.tables.insert(place, Table { known: shape, seen });
            return Look::First(first);
        };
        if !matches!(&table.seen, Some((seen, _)) if Arc::ptr_eq(seen, relation)) {
            table.seen = Some((Arc::clone(relation), Shape::of(relation)));
        }
        match &table.seen {
            Some((_, shape)) if *shape != table.known => Look::Changed(table.known.differs(shape)),
            _ => Look::Known,
        }
    }

    /// A person says go: what was seen last is known now. Returns what is to be stored, tables
    /// included that were not seen: the state has forgotten all of the route's.
    pub(super) fn accept(&mut self, route: &str) -> Vec<Stored> {
        let mut accepted = Vec::new();
        for ((name, oid), table) in &mut self.tables {
            if name == route {
                if let Some((_, shape)) = &table.seen {
                    table.known = shape.clone();
                }
                accepted.push(stored(&table.known, name.clone(), *oid));
            }
        }
        accepted
    }
}

fn stored(shape: &Shape, route: String, table: Oid) -> Stored {
    Stored { route, table, shape: serde_json::to_string(shape).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relation::{Column, Kind, ReplicaIdentity};

    fn relation(columns: &[(&str, u32)], key: &[u16]) -> Arc<Relation> {
        let column = |(name, oid): &(&str, u32)| Column {
            name: (*name).to_owned(),
            type_oid: Oid(*oid),
            type_modifier: -1,
            in_identity: false,
            kind: Kind::Text,
        };
        Arc::new(Relation {
            oid: Oid(9),
            namespace: "public".to_owned(),
            name: "t".to_owned(),
            identity: ReplicaIdentity::Default,
            columns: columns.iter().map(column).collect(),
            primary_key: key.to_vec(),
            formerly: None,
        })
    }

    #[test]
    fn another_shape_is_told_until_a_person_says_go() {
        let mut shapes = Shapes::new(["r".to_owned()].into_iter(), Vec::new());
        let before = relation(&[("id", 23), ("v", 25)], &[0]);
        let Look::First(first) = shapes.look("r", &before) else { panic!("it was there") };
        assert_eq!(shapes.look("r", &before), Look::Known);
        assert_eq!(shapes.look("other", &before), Look::Known, "nobody asked");
        let after = relation(&[("id", 20), ("w", 25)], &[]);
        let what = "column \"id\" has another type, column \"w\" is new, column \"v\" is gone, \
                    the primary key is another";
        assert_eq!(shapes.look("r", &after), Look::Changed(what.to_owned()));
        assert_eq!(shapes.look("r", &before), Look::Known, "it is as it was");
        assert_eq!(shapes.look("r", &after), Look::Changed(what.to_owned()));
        let accepted = shapes.accept("r");
        assert_eq!(shapes.look("r", &after), Look::Known);
        // Over a restart.
        let mut again = Shapes::new(["r".to_owned()].into_iter(), vec![first]);
        assert_eq!(again.look("r", &after), Look::Changed(what.to_owned()));
        let mut again = Shapes::new(["r".to_owned()].into_iter(), accepted);
        assert_eq!(again.look("r", &after), Look::Known);
    }

    #[test]
    fn a_table_that_was_not_seen_is_still_known_once_a_person_says_go() {
        let mut shapes = Shapes::new(["r".to_owned()].into_iter(), Vec::new());
        let quiet = relation(&[("id", 23)], &[0]);
        let Look::First(stored) = shapes.look("r", &quiet) else { panic!("it was there") };
        let mut again = Shapes::new(["r".to_owned()].into_iter(), vec![stored.clone()]);
        let other = Relation { oid: Oid(10), ..Relation::clone(&quiet) };
        let _first = again.look("r", &Arc::new(other));
        assert!(again.accept("r").contains(&stored));
    }

    #[test]
    fn the_same_columns_in_another_order_are_another_shape() {
        let mut shapes = Shapes::new(["r".to_owned()].into_iter(), Vec::new());
        let _first = shapes.look("r", &relation(&[("a", 23), ("b", 23)], &[]));
        let look = shapes.look("r", &relation(&[("b", 23), ("a", 23)], &[]));
        assert_eq!(look, Look::Changed("the columns have another order".to_owned()));
    }
}
