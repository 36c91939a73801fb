//! One row through the edited mapping, and how each field came to be (pure).

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{ColumnSeen, RowTried, Scene, Step, Verdict};
use crate::chunk::{Chunk, Operation};
use crate::inspect::{Error, json};
use crate::mapping::{
    Explanation, Format, Mapped, Mapping, Members, Operations, Route, SinkMapper, SourceLabel,
    explain, parse_column,
};

/// Maps a row as the route would with this mapping, and explains it.
pub(super) fn row(
    route: &Route,
    scene: Scene,
    mapping: &Arc<Mapping>,
    source: &SourceLabel,
) -> Result<RowTried, Error> {
    let Scene { chunk, made_up } = scene;
    let route = Arc::new(Route { mapping: Some(Arc::clone(mapping)), ..route.clone() });
    let verdict = verdict(&route, &chunk, source)?;
    let values = values(&route, &chunk, source)?;
    let read = |raw: Option<&RawValue>| -> Members {
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    };
    let data = match &verdict {
        Verdict::Sent { data, .. } => Some(data.as_ref()),
        _ => None,
    };
    let (before, after) = (read(values.as_deref()), read(data));
    let told = explain(&route, &chunk, 0)?;
    let step = |told| step(told, &route, mapping, &before, &after);
    let entry = chunk.entries.first();
    Ok(RowTried {
        op: entry.map_or("", |entry| entry.operation.as_str()),
        table: entry
            .and_then(|entry| chunk.relation(entry))
            .map(|relation| relation.quoted_name())
            .unwrap_or_default(),
        trace: told.into_iter().map(step).collect(),
        values,
        made_up,
        verdict,
    })
}

fn verdict(route: &Arc<Route>, chunk: &Arc<Chunk>, source: &SourceLabel) -> Result<Verdict, Error> {
    let mut mapper = SinkMapper::new(vec![Arc::clone(route)], source, Format::Mapped);
    let mut body = Vec::new();
    Ok(match mapper.map(chunk, 0, &mut body)? {
        Mapped::Event(draft) => Verdict::Sent {
            event_op: draft.operation.as_str(),
            data: json(body.get(draft.body).unwrap_or_default()),
        },
        Mapped::Unrouted => {
            let operation = chunk.entries.first().map_or("", |entry| entry.operation.as_str());
            let reason =
                format!("the route does not take {operation}s of this table (`on`, `table`)");
            Verdict::Unrouted { reason }
        }
        Mapped::Skipped { reason, .. } => Verdict::Skipped { reason: reason.to_string() },
        Mapped::Rejected { field, reason, .. } => {
            Verdict::Rejected { field: field.to_string(), reason: reason.to_string() }
        }
    })
}

/// The row by column, as it is without a mapping.
fn values(
    route: &Route,
    chunk: &Arc<Chunk>,
    source: &SourceLabel,
) -> Result<Option<Box<RawValue>>, Error> {
    let on: Operations = Operation::ALL.into_iter().collect();
    let plain = Route { on, key: Some(Vec::new()), ..Route::new("", route.selector.clone(), "") };
    let mut mapper = SinkMapper::new(vec![Arc::new(plain)], source, Format::Mapped);
    let mut body = Vec::new();
    Ok(match mapper.map(chunk, 0, &mut body)? {
        Mapped::Event(draft) => body.get(draft.body).map(json),
        Mapped::Unrouted | Mapped::Skipped { .. } | Mapped::Rejected { .. } => None,
    })
}

fn step(
    told: Explanation,
    route: &Route,
    mapping: &Mapping,
    before: &Members,
    after: &Members,
) -> Step {
    let Explanation { field, how } = told;
    let is_where = field == "where" && route.condition.is_some();
    let own = mapping.fields.iter().find(|own| own.target == field && !is_where);
    // A column of the rest is named as SQL would quote it, and stands there under its own name.
    let rest = parse_column(&field).ok();
    let columns: Vec<String> = match (own, &route.condition) {
        (_, Some(condition)) if is_where => {
            condition.columns().into_iter().map(str::to_owned).collect()
        }
        (Some(own), _) => own.columns().map(str::to_owned).collect(),
        (None, _) => rest.iter().cloned().collect(),
    };
    let out = match own {
        _ if is_where => None,
        Some(own) => find(after, &own.path().collect::<Vec<_>>()),
        None => rest.and_then(|name| find(after, &[&name])),
    };
    let seen = |name: String| {
        let value = find(before, &[&name]);
        ColumnSeen { name, value }
    };
    Step { columns: columns.into_iter().map(seen).collect(), out, field, how }
}

/// Returns what lies at the end of a path.
fn find(members: &Members, path: &[&str]) -> Option<Box<RawValue>> {
    let (first, rest) = path.split_first()?;
    let (_, value) = members.0.iter().find(|(name, _)| name == first)?;
    if rest.is_empty() {
        return Some(value.clone());
    }
    find(&serde_json::from_str(value.get()).ok()?, rest)
}
