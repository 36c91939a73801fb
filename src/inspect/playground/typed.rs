//! A row that somebody wrote down, as JSON by column (pure).
//!
//! Its types are those of the table where the journal has seen one, else those of the values. Unlike
//! `walgate map` no server is asked: a value that its type does not know is not refused here.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::Scene;
use crate::chunk::Operation;
use crate::config::suggestion;
use crate::inspect::{Error, made};
use crate::lsn::Oid;
use crate::mapping::{Error as Undecodable, Mapping, Members, Route, Selector};
use crate::relation::{Column, Kind, Relation, ReplicaIdentity};

/// The longest row that is tried.
const ROW_BYTES_MAX: usize = 256 << 10;

/// The type `text`: what a made-up column is to Postgres. How it is read, its kind says.
const TEXT: Oid = Oid(25);

/// Makes up the change; the inner error says why there would be none.
pub(super) fn scene(
    json: &str,
    operation: Operation,
    shape: Option<&Arc<Relation>>,
    route: &Route,
    mapping: &Mapping,
) -> Result<Result<Scene, String>, Error> {
    if json.len() > ROW_BYTES_MAX {
        let message = format!("a row of {} KiB is the longest to be tried", ROW_BYTES_MAX >> 10);
        return Err(Error::asked(message).with("`walgate map --row -` takes longer ones"));
    }
    let members: Members = serde_json::from_str(json).map_err(|error| {
        let help = "write it as {\"column\": value, …}; a column that it does not name is NULL";
        Error::asked(format!("the row is no JSON object: {error}")).with(help)
    })?;
    let relation = match shape {
        Some(shape) => known(shape, &members)?,
        None => unknown(&members, route, mapping),
    };
    let relation = Arc::new(relation);
    let cell = |column: &Column| {
        let value = members.0.iter().find(|(name, _)| *name == column.name);
        value.and_then(|(_, value)| text(&column.kind, value))
    };
    let row: Vec<Option<String>> = relation.columns.iter().map(cell).collect();
    let chunk = made::chunk(&relation, operation, &row).map_err(Undecodable::from)?;
    Ok(match chunk {
        Some(chunk) => Ok(Scene { chunk, made_up: Vec::new() }),
        None => Err("Postgres sends no delete of a table without a replica identity".to_owned()),
    })
}

/// The table as it was seen, its documents as JSON writes them.
fn known(shape: &Relation, members: &Members) -> Result<Relation, Error> {
    let mut relation = shape.clone();
    for (name, value) in &members.0 {
        let found = relation.columns.iter_mut().find(|column| column.name == *name);
        let Some(column) = found else {
            let names = || shape.columns.iter().map(|column| column.name.as_str());
            let cure = match suggestion(name, names()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("it has {}", names().collect::<Vec<_>>().join(", ")),
            };
            let message = format!("{} has no column \"{name}\"", shape.quoted_name());
            return Err(Error::asked(message).with(cure));
        };
        let is_document = matches!(of_value(value), Kind::Json);
        if is_document && !matches!(column.kind, Kind::Text) {
            column.kind = Kind::Json;
        }
    }
    Ok(relation)
}

/// A table of what the row names and the mapping reads.
fn unknown(members: &Members, route: &Route, mapping: &Mapping) -> Relation {
    let kind = |name: &str| {
        let value = members.0.iter().find(|(other, _)| other == name);
        value.map_or(Kind::Text, |(_, value)| of_value(value))
    };
    let mut names: Vec<&str> = mapping.columns();
    for (name, _) in &members.0 {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let column = |name: &&str| Column {
        name: (*name).to_owned(),
        type_oid: TEXT,
        type_modifier: -1,
        in_identity: true,
        kind: kind(name),
    };
    let table = match &route.selector {
        Selector::Table(table) => table.literal(),
        Selector::Message(_) => None,
    };
    let (namespace, name) = table.unwrap_or(("public", "tried"));
    Relation {
        oid: Oid(1),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        identity: ReplicaIdentity::Full,
        columns: names.iter().map(column).collect(),
        primary_key: Vec::new(),
        formerly: None,
    }
}

fn of_value(value: &RawValue) -> Kind {
    match value.get().as_bytes().first() {
        Some(b'{' | b'[') => Kind::Json,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'-' | b'0'..=b'9') if value.get().parse::<i64>().is_ok() => Kind::Integer,
        Some(b'-' | b'0'..=b'9') => Kind::Numeric,
        _ => Kind::Text,
    }
}

/// A value as Postgres would write it; none: NULL.
fn text(kind: &Kind, value: &RawValue) -> Option<String> {
    let json = value.get();
    Some(match (kind, json.as_bytes().first()?) {
        (_, b'n') => return None,
        (Kind::Boolean, b't') => "t".to_owned(),
        (Kind::Boolean, b'f') => "f".to_owned(),
        (Kind::Json, _) => json.to_owned(),
        (kind, b'"') => {
            let text: String = serde_json::from_str(json).unwrap_or_default();
            moment(kind, &text).unwrap_or(text)
        }
        _ => json.to_owned(),
    })
}

/// A moment as events have it, in Postgres's form.
fn moment(kind: &Kind, text: &str) -> Option<String> {
    let written = |iso: String| iso.replace('T', " ").replace('Z', "+00");
    match kind {
        Kind::TimestampTz => {
            text.parse::<jiff::Timestamp>().ok().map(|time| written(time.to_string()))
        }
        Kind::Timestamp => {
            text.parse::<jiff::civil::DateTime>().ok().map(|time| written(time.to_string()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;
    use crate::inspect::playground::Verdict;
    use crate::mapping::{Field, SourceLabel, TablePattern};

    fn shape() -> Arc<Relation> {
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            type_oid: TEXT,
            type_modifier: -1,
            in_identity: name == "id",
            kind,
        };
        let tags = Kind::Array { element: Box::new(Kind::Text), delimiter: b',' };
        Arc::new(Relation {
            oid: Oid(1),
            namespace: "public".to_owned(),
            name: "t".to_owned(),
            identity: ReplicaIdentity::Default,
            columns: vec![
                column("id", Kind::Integer),
                column("at", Kind::TimestampTz),
                column("tags", tags),
                column("n", Kind::Numeric),
            ],
            primary_key: vec![0],
            formerly: None,
        })
    }

    /// What a mapping of every column sends of a row.
    fn sent(json: &str, operation: Operation, shape: Option<&Arc<Relation>>) -> String {
        let fields = ["id", "at", "tags", "n"].map(|name| Field::column(name, name));
        let mapping = Arc::new(Mapping::new("m", 1, fields.to_vec()));
        let table = Selector::Table(TablePattern::parse("public.t").unwrap());
        let route = Route::new("r", table, "s");
        let scene = scene(json, operation, shape, &route, &mapping).unwrap().unwrap();
        let tried = trial::row(&route, scene, &mapping, &SourceLabel::default()).unwrap();
        match tried.verdict {
            Verdict::Sent { data, .. } => data.get().to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_row_has_the_types_of_the_table_or_of_its_values() {
        let row = r#"{"id":1,"at":"2026-01-02T03:04:05.5Z","tags":["a"],"n":12.50}"#;
        assert_eq!(sent(row, Operation::Insert, Some(&shape())), row);
        assert_eq!(sent(row, Operation::Read, None), row);
        let texts = r#"{"id":"1","n":"2.0"}"#;
        let typed = r#"{"id":1,"at":null,"tags":null,"n":2.0}"#;
        assert_eq!(sent(texts, Operation::Update, Some(&shape())), typed);
        assert_eq!(sent(r#"{"id":7,"n":1}"#, Operation::Delete, Some(&shape())), r#"{"id":7}"#);
    }

    #[test]
    fn what_is_no_row_of_the_table_is_refused() {
        let mapping = Mapping::new("m", 1, Vec::new());
        let table = Selector::Table(TablePattern::parse("public.t").unwrap());
        let route = Route::new("r", table, "s");
        let refused = |json: &str| {
            let scene = scene(json, Operation::Insert, Some(&shape()), &route, &mapping);
            scene.unwrap_err().to_string()
        };
        assert_eq!(refused(r#"{"idd":1}"#), "public.t has no column \"idd\"");
        assert!(refused("[1]").starts_with("the row is no JSON object"));
        assert!(
            refused(&format!("{{\"id\":\"{}\"}}", "x".repeat(ROW_BYTES_MAX))).contains("256 KiB")
        );
    }
}
