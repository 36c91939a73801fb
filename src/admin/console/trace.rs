//! `/trace`: the life of one row.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use maud::{Markup, html};

use super::parts::{self, badge, shell, twin};
use super::{Page, Paged, frame};
use crate::admin::query::Query;
use crate::admin::{Shown, api};
use crate::inspect::trace::Told;

pub(super) async fn page(State(shown): State<Arc<dyn Shown>>, RawQuery(query): RawQuery) -> Paged {
    let query = Query::parse(query.as_deref(), &["table", "key", "sink", "from", "to"])?;
    let is_asked = query.get("table").is_some() && query.get("key").is_some();
    let life = if is_asked { Some(api::traced(&shown, &query).await) } else { None };
    let value = |name: &str| query.get(name).unwrap_or("").to_owned();
    let body = html! {
        section.card {
            h1 { "The life of a row" }
            form.narrow action="/trace" method="get" {
                label { "Table" input name="table" required value=(value("table")) placeholder="public.customers" list="tables"; }
                datalist #tables { @for table in tables(&shown) { option value=(table) {} } }
                label { "Key" input name="key" required value=(value("key")) placeholder="{\"id\": 42}"; }
                label { "Sink" select name="sink" {
                    option value="" { "every" }
                    @for sink in &shown.config().sinks { option value=(sink.name) selected[value("sink") == sink.name] { (sink.name) } }
                } }
                button.go type="submit" { "Show" }
            }
            @if is_asked {
                (twin(&format!("walgate trace --table {} --key {}", shell(&value("table")), shell(&value("key")))))
            }
        }
        @match &life {
            None => {}
            Some(Err(refusal)) => p.banner.bad { (refusal.message) },
            Some(Ok(life)) => {
                @if life.changes.is_empty() {
                    p.banner.plain { "Nothing of it is in the journal" @if let Some(oldest) = &life.oldest { ", which goes back to " (parts::time(oldest)) } "." }
                }
                @if life.has_more { p.note { "Older changes are not shown here; the command tells them all." } }
                ol.life { @for told in life.changes.iter().rev() { (change(told)) } }
            }
        }
    };
    Ok(Page(frame::page("Trace", "/trace", &body)))
}

/// The tables that a route names, for who does not know them by heart.
fn tables(shown: &Arc<dyn Shown>) -> Vec<String> {
    let routes = shown.config().routes.iter();
    let mut tables: Vec<String> = routes
        .filter_map(|route| match &route.selector {
            crate::mapping::Selector::Table(table) => {
                table.literal().map(|_| table.as_str().to_owned())
            }
            crate::mapping::Selector::Message(_) => None,
        })
        .collect();
    tables.sort();
    tables.dedup();
    tables
}

fn change(told: &Told) -> Markup {
    html! {
        li.card {
            header.row {
                h2 { (told.op) }
                @if let Some(time) = &told.time { (parts::time(time)) }
            }
            p { code { (told.event_id) } }
            @if let (Some(before), Some(key)) = (&told.before_key, &told.key) {
                p { "The key " code { (before.get()) } " became " code { (key.get()) } "." }
            }
            @if !told.columns.is_empty() { p.note { "Columns: " (told.columns.join(", ")) } }
            @if told.sinks.is_empty() { p.note { "No route takes it." } }
            @else { div.scroll { table {
                thead { tr { th { "Sink" } th { "State" } th { "Route" } th { "Mapping" } th.number { "Tries" } th { "Delivered" } th.number { "Took" } th { "Why" } } }
                tbody { @for at in &told.sinks { tr {
                    td { (at.sink) }
                    td { (badge(&at.state)) }
                    td { (at.route) }
                    td { @if let Some(mapping) = &at.mapping { (mapping.name) " " (mapping.version) } }
                    td.number { @if let Some(attempts) = at.attempts { (attempts) } }
                    td { @if let Some(time) = &at.delivered_at { (parts::time(time)) } }
                    td.number { @if let Some(took) = at.took_ms { (took) " ms" } }
                    td { (at.category.as_deref().unwrap_or("")) " " (at.reason.as_deref().unwrap_or("")) }
                } } }
            } } }
        }
    }
}
