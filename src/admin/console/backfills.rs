//! `/backfills`: loads and how far they are.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use serde_json::json;

use super::parts::{self, Act, act, badge, count, rate, twin};
use super::{Page, Paged, frame};
use crate::admin::{Shown, beside};
use crate::inspect::float;
use crate::inspect::load::Document;
use crate::inspect::words::duration;
use crate::lsn::Timestamp;
use crate::progress::load;

pub(super) async fn page(State(shown): State<Arc<dyn Shown>>) -> Paged {
    let all = beside::read(&shown, |_, reader| Ok(reader.read(|c| load::all(c, false))?));
    let all = all.await?;
    let now = Timestamp::now();
    let loads: Vec<Document<'_>> = all.iter().rev().map(|it| Document::of(it, now)).collect();
    let body = html! {
        section.card {
            h1 { "Backfills" }
            p.note { "Rows that are there, sent beside the stream." }
            (twin("walgate backfill start public.customers"))
            @if loads.is_empty() { p.note { "Nothing was loaded." } }
            @else { div.scroll { table {
                thead { tr { th.number { "No." } th { "Table" } th { "For" } th { "State" } th { "Progress" } th.number { "Rows" } th.number { "Rate" } th.number { "Left" } th { "" } } }
                tbody { @for it in &loads { (row(it)) } }
            } } }
        }
    };
    Ok(Page(frame::page("Backfills", "/backfills", &body)))
}

fn row(it: &Document<'_>) -> Markup {
    let total = it.total_estimate.unwrap_or(0).max(it.rows);
    let is_open = matches!(it.state, "running" | "paused");
    let part = if is_open { float(it.rows) / float(total.max(1)) * 100.0 } else { 100.0 };
    let left = (it.state == "running" && it.rows_per_second > 0.0)
        .then(|| duration(float(total - it.rows) / it.rows_per_second));
    let turn = |label, verb: &str, harm| {
        act(Act {
            label,
            to: &format!("/v1/backfills/{}/{verb}", it.id),
            body: &json!({}),
            twin: &format!("walgate backfill {verb} {}", parts::shell(it.table)),
            reason: false,
            harm,
        })
    };
    html! {
        tr {
            td.number { (it.id) }
            td { code { (it.table) } @if let Some(filter) = it.filter { " where " code { (filter) } } }
            td { (it.sink.map_or_else(|| it.routes.join(", "), str::to_owned)) }
            td { (badge(it.state)) @if let Some(reason) = it.reason { p.reason { (reason) } } }
            td { progress max="100" value=(format!("{part:.1}")) { (format!("{part:.0} %")) } }
            td.number { (count(it.rows)) @if is_open { " " small { "of about " (count(total)) } } }
            td.number { (rate(it.rows_per_second)) }
            td.number { (left.unwrap_or_default()) }
            td.acts {
                @if it.state == "running" { (turn("Pause", "pause", false)) }
                @if matches!(it.state, "paused" | "failed") { (turn("Resume", "resume", false)) }
                @if is_open { (turn("Cancel", "cancel", true)) }
            }
        }
    }
}
