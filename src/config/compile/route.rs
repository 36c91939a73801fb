//! `[[route]]`

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::chunk::Operation;
use crate::config::problem::Notes;
use crate::config::tree::{Entry, Table, Value};
use crate::mapping::{
    Expression, Mapping, OnDelete, OnLeave, OnWhereError, Operations, PrefixPattern, Route,
    Selector, Start, TablePattern, is_reserved_prefix, parse_column,
};

pub(super) fn all(
    tree: &Table,
    mappings: &Option<Vec<Arc<Mapping>>>,
    notes: &mut Notes<'_>,
) -> Option<Vec<Arc<Route>>> {
    let entries = tree.list("route");
    let tables: Vec<&Table> = entries.iter().filter_map(Entry::table).collect();
    if let (true, []) = (tree.given("route"), tables.as_slice()) {
        notes.problem(&tree.span("route"), "there is no route; add [[route]]");
    }
    names(&tables, notes);
    let mut routes = Vec::new();
    for table in &tables {
        references(tree, table, notes);
        super::meaning::check(tree, table, notes);
        let known = mappings.as_deref().unwrap_or_default();
        routes.extend(route(table, known, notes).map(Arc::new));
    }
    (routes.len() == tables.len()).then_some(routes)
}

/// Every route has a name of its own.
fn names(tables: &[&Table], notes: &mut Notes<'_>) {
    for (index, table) in tables.iter().enumerate() {
        let Some(name) = table.text("name") else { continue };
        super::check_name("route", name, &table.span("name"), notes);
        if tables.iter().take(index).any(|earlier| earlier.text("name") == Some(name)) {
            let message = format!("two routes are called \"{name}\"; rename one");
            notes.problem(&table.span("name"), message);
        }
    }
}

fn references(tree: &Table, table: &Table, notes: &mut Notes<'_>) {
    for what in ["sink", "mapping"] {
        if let Some(name) = table.text(what) {
            super::refer(what, name, tree.named(what), &table.span(what), notes);
        }
    }
}

fn route(table: &Table, mappings: &[Arc<Mapping>], notes: &mut Notes<'_>) -> Option<Route> {
    let selector = selector(table, notes);
    let on = operations(table, notes);
    let key = columns(table, "key", "leave it out for the primary key", notes);
    let watched = columns(table, "columns_changed", "leave it out to send every update", notes);
    let condition = table.given("where").then(|| super::expression::read(table, "where", notes));
    if let Some(Some(condition)) = &condition {
        leaves(table, condition, notes);
    }
    let outbox = super::outbox::outbox(table, notes);
    let on_delete = on_delete(table, notes);
    let mapping = table
        .text("mapping")
        .and_then(|name| mappings.iter().find(|mapping| mapping.name == name).map(Arc::clone));
    Some(Route {
        on: on?,
        condition: condition.map_or(Some(None), |condition| condition.map(Some))?,
        on_where_error: match table.text("on_where_error")? {
            "skip" => OnWhereError::Skip,
            "reject" => OnWhereError::Reject,
            _ => OnWhereError::Send,
        },
        on_leave: match table.text("on_leave")? {
            "delete" => OnLeave::Delete,
            _ => OnLeave::Skip,
        },
        columns_changed: watched?,
        mapping,
        key: key?,
        on_delete: on_delete?,
        outbox: outbox?,
        start: match table.text("start")? {
            "now" => Start::Now,
            "journal" => Start::Journal,
            _ => Start::Load,
        },
        holds_at_schema_change: table.text("on_schema_change")? == "hold",
        ..Route::new(table.text("name")?, selector?, table.text("sink")?)
    })
}

fn selector(table: &Table, notes: &mut Notes<'_>) -> Option<Selector> {
    match (table.text("table"), table.text("message")) {
        (Some(pattern), None) => match TablePattern::parse(pattern) {
            Ok(pattern) => Some(Selector::Table(pattern)),
            Err(error) => {
                notes.problem(&table.span("table"), error.to_string());
                None
            }
        },
        (None, Some(prefix)) => {
            if is_reserved_prefix(prefix) {
                let message = format!("messages of \"{prefix}\" are walgate's own; name another");
                notes.problem(&table.span("message"), message);
            }
            Some(Selector::Message(PrefixPattern::new(prefix)))
        }
        (Some(_), Some(_)) => {
            let message = "a route has \"table\" or \"message\", not both; make two routes of it";
            notes.problem(&table.span("message"), message);
            None
        }
        // One that is there but wrong has been noted already.
        (None, None) if table.refused => None,
        (None, None) => {
            notes.problem(&table.place, "a route needs \"table\"; add table = \"public.…\"");
            None
        }
    }
}

fn operations(table: &Table, notes: &mut Notes<'_>) -> Option<Operations> {
    let entries = table.list("on");
    if table.given("on") && entries.is_empty() {
        let message = "\"on\" names no operation; add one, or drop the route";
        notes.problem(&table.span("on"), message);
    }
    for (index, entry) in entries.iter().enumerate() {
        let word = entry.text().unwrap_or_default();
        if entries.iter().take(index).any(|earlier| earlier.text() == Some(word)) {
            notes.problem(&entry.span, format!("\"{word}\" stands in \"on\" twice"));
        }
    }
    let words = entries.iter().filter_map(Entry::text);
    words
        .map(super::sink::operation)
        .collect::<Option<Vec<Operation>>>()
        .map(|operations| operations.into_iter().collect())
}

/// Whether a row left `where` is asked of the old row, of which nobody knows what was before it.
fn leaves(table: &Table, condition: &Expression, notes: &mut Notes<'_>) {
    if table.text("on_leave") == Some("delete") && condition.reads_before() {
        let message = "\"on_leave\" asks of the old row whether \"where\" let it through, which a \
                       \"where\" over \"before\" can't tell; ask about \"row\" alone, or drop it";
        notes.problem(&table.span("on_leave"), message);
    }
}

/// Returns a list of columns, unquoted; the outer none when they are wrong.
fn columns(
    table: &Table,
    name: &str,
    cure: &str,
    notes: &mut Notes<'_>,
) -> Option<Option<Vec<String>>> {
    if !table.given(name) {
        return Some(None);
    }
    let entries = table.list(name);
    if entries.is_empty() {
        notes.problem(&table.span(name), format!("\"{name}\" names no column; {cure}"));
    }
    let mut columns = Vec::new();
    for entry in entries {
        match parse_column(entry.text()?) {
            Ok(column) if columns.contains(&column) => {
                notes.problem(&entry.span, format!("\"{column}\" stands in \"{name}\" twice"));
            }
            Ok(column) => columns.push(column),
            Err(error) => notes.problem(&entry.span, error.to_string()),
        }
    }
    Some(Some(columns))
}

fn on_delete(table: &Table, notes: &mut Notes<'_>) -> Option<OnDelete> {
    let entry = table.entry("on_delete")?;
    match &entry.value {
        Value::Table(table) => {
            if table.given("set") && table.named("set").is_empty() {
                let message = "\"set\" names no field; name one, or write \"send\"";
                notes.problem(&table.span("set"), message);
            }
            let fields: Map<String, Json> = table
                .named("set")
                .iter()
                .filter_map(|entry| match &entry.value {
                    Value::Any(json) => Some((entry.name.clone(), json.clone())),
                    _ => None,
                })
                .collect();
            Some(OnDelete::Set(fields))
        }
        _ => Some(if entry.text()? == "ignore" { OnDelete::Ignore } else { OnDelete::Send }),
    }
}
