//! [`Wanted`]: what the routes want of the publication, and what of it is not there (pure).

use crate::chunk::Operation;
use crate::config::Config;
use crate::mapping::{Selector, TablePattern};
use crate::relation::quote_identifier;
use crate::source::catalog::{Publication, PublishedTable};

/// What is wrong at the source while the stream goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Warning {
    /// The same as long as the same is wrong.
    pub(super) key: String,
    /// For people.
    pub(super) text: String,
}

impl Warning {
    pub(super) fn new(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { key: key.into(), text: text.into() }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    publication: String,
    /// Tables that a route names in full.
    tables: Vec<(String, String)>,
    operations: Vec<Operation>,
}

impl Wanted {
    pub(super) fn of(config: &Config) -> Self {
        let patterns = config.routes.iter().filter_map(|route| match &route.selector {
            Selector::Table(pattern) => Some((route, pattern)),
            Selector::Message(_) => None,
        });
        let patterns: Vec<_> = patterns.collect();
        let named = patterns.iter().filter_map(|(_, pattern)| TablePattern::literal(pattern));
        let mut tables: Vec<_> =
            named.map(|(space, name)| (space.to_owned(), name.to_owned())).collect();
        tables.sort_unstable();
        tables.dedup();
        let all = [Operation::Insert, Operation::Update, Operation::Delete, Operation::Truncate];
        let is_taken =
            |operation: &Operation| patterns.iter().any(|(route, _)| route.on.contains(*operation));
        let operations = all.into_iter().filter(is_taken).collect();
        Self { publication: config.source.publication.clone(), tables, operations }
    }

    /// Returns what the publication lacks now: changes that the routes want and that never come.
    pub(super) fn missing(
        &self,
        publication: Option<&Publication>,
        published: &[PublishedTable],
    ) -> Vec<Warning> {
        let name = format!("publication {}", quote_identifier(&self.publication));
        let Some(publication) = publication else {
            let text = format!("{name} is gone: what is written now can't be read");
            return vec![Warning::new("gone", text)];
        };
        let mut missing = Vec::new();
        let is_published = |operation: Operation| match operation {
            Operation::Insert => publication.insert,
            Operation::Update => publication.update,
            Operation::Delete => publication.delete,
            Operation::Truncate => publication.truncate,
            _ => true,
        };
        for operation in self.operations.iter().filter(|operation| !is_published(**operation)) {
            let operation = operation.as_str();
            let text = format!("{name} does not publish {operation}, which a route takes");
            missing.push(Warning::new(operation, text));
        }
        if published.is_empty() && !self.operations.is_empty() {
            missing.push(Warning::new("empty", format!("{name} has no table")));
            return missing;
        }
        for (space, table) in &self.tables {
            if !published.iter().any(|it| it.namespace == *space && it.name == *table) {
                let table = format!("{}.{}", quote_identifier(space), quote_identifier(table));
                let text = format!("table {table} is not in {name}: its changes never come");
                missing.push(Warning::new(table, text));
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(delete: bool) -> Publication {
        Publication {
            name: "walgate".to_owned(),
            all_tables: false,
            insert: true,
            update: true,
            delete,
            truncate: false,
            via_root: false,
        }
    }

    fn table(name: &str) -> PublishedTable {
        let namespace = "public".to_owned();
        PublishedTable {
            namespace,
            name: name.to_owned(),
            columns: None,
            row_filter: None,
            filter_columns: Vec::new(),
        }
    }

    #[track_caller]
    fn check(publication: Option<&Publication>, tables: &[&str], expected: &[&str]) {
        let wanted = Wanted {
            publication: "walgate".to_owned(),
            tables: ["a", "b"].map(|name| ("public".to_owned(), name.to_owned())).to_vec(),
            operations: vec![Operation::Insert, Operation::Delete],
        };
        let published: Vec<_> = tables.iter().map(|name| table(name)).collect();
        let missing = wanted.missing(publication, &published);
        let keys: Vec<_> = missing.iter().map(|warning| warning.key.as_str()).collect();
        assert_eq!(keys, expected);
    }

    #[test]
    fn what_a_publication_lacks_is_told_apart() {
        check(Some(&publication(true)), &["a", "b", "c"], &[]);
        check(Some(&publication(true)), &["b"], &["public.a"]);
        check(Some(&publication(false)), &["a", "b"], &["delete"]);
        check(Some(&publication(false)), &[], &["delete", "empty"]);
        check(None, &[], &["gone"]);
    }
}
