//! `/source`: the database, the slot, and where everybody stands in its log.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use maud::{Markup, html};

use super::chart::Unit;
use super::overview::{Wanted, draw, grain, spans};
use super::parts::{self, count, figure, twin};
use super::{Page, Paged, frame};
use crate::admin::refusal::Refusal;
use crate::admin::{Figures, Shown};
use crate::chunk::Operation;
use crate::config::Config;
use crate::inspect::float;
use crate::inspect::status::{self, SourceStatus, Status};
use crate::inspect::words::{bytes, duration};
use crate::lsn::Lsn;
use crate::mapping::Selector;

pub(super) async fn page(State(shown): State<Arc<dyn Shown>>, RawQuery(query): RawQuery) -> Paged {
    let grain = grain(query.as_deref())?;
    let status = status::now(shown.config()).await.map_err(Refusal::from)?;
    let figures = shown.figures().await;
    let source = Wanted::source;
    let charts = draw(
        &shown,
        grain,
        vec![
            ("Read", Unit::Rate, vec![source("read", "read_per_second")]),
            ("How old the newest change is", Unit::Seconds, vec![source("lag", "lag_seconds")]),
            ("WAL kept", Unit::Bytes, vec![source("WAL", "retained_wal_bytes")]),
            ("Journal", Unit::Bytes, vec![source("journal", "journal_bytes")]),
        ],
    );
    let charts = charts.await?;
    let body = html! {
        section.card {
            header.row { h1 { "Source" } (parts::source_badge(status.source.state)) }
            @if let Some(reason) = &status.source.reason { p.reason { (reason) } }
            (figures_of(&status))
            (twin("walgate status"))
            (twin("walgate slot show"))
            p { a.button href="/checks" { "Check everything" } }
        }
        (places(&status))
        section.card {
            header.row { h2 { "Over time" } (spans(grain, "/source")) }
            div.charts { @for chart in &charts { (chart) } }
        }
        (holders(&status.source))
        (tables(shown.config(), &figures))
    };
    Ok(Page(frame::page("Source", "/source", &body)))
}

fn figures_of(status: &Status) -> Markup {
    let SourceStatus { slot, confirmed_lsn, server_lsn, lag_bytes, lag_seconds, .. } =
        &status.source;
    let SourceStatus { retained_wal_bytes, safe_wal_bytes, wal_bytes_per_second, .. } =
        &status.source;
    let unknown = || "–".to_owned();
    let signed = |value: &Option<i64>| value.and_then(|bytes| u64::try_from(bytes).ok());
    let left = status.source.wal_seconds_left.map(|left| duration(float(left)));
    html! {
        dl.figures {
            (figure("Slot", slot, status.source.wal_status.as_deref().unwrap_or("")))
            (figure("Confirmed", confirmed_lsn.as_deref().unwrap_or("–"), ""))
            (figure("The server's log ends", server_lsn.as_deref().unwrap_or("–"), ""))
            (figure("Behind", &lag_seconds.map_or_else(unknown, duration), &lag_bytes.map(bytes).unwrap_or_default()))
            (figure("WAL kept", &signed(retained_wal_bytes).map_or_else(unknown, bytes), ""))
            (figure("Until the slot may be lost", &signed(safe_wal_bytes).map_or_else(|| "no bound".to_owned(), bytes), ""))
            (figure("The log grows", &wal_bytes_per_second.map_or_else(unknown, |it| format!("{}/s", bytes(it))), ""))
            (figure("Time to danger", &left.unwrap_or_else(|| "none in sight".to_owned()), ""))
            (figure("Journal", &bytes(status.journal.bytes), status.journal.oldest.as_deref().map_or("", |_| "back to the time below")))
        }
        @if let Some(oldest) = &status.journal.oldest { p.note { "The journal goes back to " (parts::time(oldest)) "." } }
        @for warning in &status.source.warnings { p.reason { (warning) } }
    }
}

/// Where the slot, the sinks and the server stand, on one bar.
fn places(status: &Status) -> Markup {
    let lsn = |text: &str| text.parse::<Lsn>().ok().map(|lsn| lsn.0);
    let mut marks: Vec<(String, u64)> = Vec::new();
    let source = &status.source;
    let end = source.server_lsn.as_deref().and_then(lsn);
    let kept = source.retained_wal_bytes.and_then(|bytes| u64::try_from(bytes).ok());
    if let (Some(end), Some(kept)) = (end, kept) {
        marks.push(("kept from".to_owned(), end.saturating_sub(kept)));
    }
    if let Some(confirmed) = source.confirmed_lsn.as_deref().and_then(lsn) {
        marks.push(("confirmed".to_owned(), confirmed));
    }
    for sink in &status.sinks {
        if let Some(place) = lsn(&sink.position.lsn).filter(|place| *place > 0) {
            marks.push((sink.name.clone(), place));
        }
    }
    if let Some(end) = end {
        marks.push(("end of the log".to_owned(), end));
    }
    let low = marks.iter().map(|(_, place)| *place).min().unwrap_or(0);
    let high = marks.iter().map(|(_, place)| *place).max().unwrap_or(0);
    let wide = float((high - low).max(1));
    html! {
        section.card {
            h2 { "Where everybody stands" }
            p.note { "In the server's log, from what it keeps for the slot to its end: " (bytes(high - low)) "." }
            ul.places {
                @for (name, place) in &marks {
                    @let part = float(place - low) / wide * 100.0;
                    li {
                        span.name { (name) }
                        svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
                            rect.track x="0" y="1" width="100" height="2" {}
                            rect.done x="0" y="1" width=(format!("{part:.2}")) height="2" {}
                        }
                        span.value { (Lsn(*place)) " " small { (bytes(high - place)) " behind" } }
                    }
                }
            }
        }
    }
}

fn holders(source: &SourceStatus) -> Markup {
    html! {
        @if !source.held_by.is_empty() {
            section.card {
                h2 { "Transactions that hold the log back" }
                div.scroll { table {
                    thead { tr { th { "Process" } th { "Role" } th { "Database" } th { "State" } th.number { "Open for" } } }
                    tbody { @for held in &source.held_by { tr {
                        td { (held.gid.clone().or_else(|| held.pid.map(|pid| pid.to_string())).unwrap_or_default()) }
                        td { (held.role.as_deref().unwrap_or("")) }
                        td { (held.database.as_deref().unwrap_or("")) }
                        td { (held.state.as_deref().unwrap_or("")) }
                        td.number { (duration(float(held.seconds))) }
                    } } }
                } }
            }
        }
    }
}

/// What came of each table, and which routes want it.
fn tables(config: &Config, figures: &Figures) -> Markup {
    let mut tables: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for (table, operation, count) in &figures.source.events {
        let word = operation.as_str();
        *tables.entry(table).or_default().entry(word).or_default() += count;
    }
    let words: Vec<&str> = Operation::ALL.iter().map(|operation| operation.as_str()).collect();
    let routed = |table: &str| -> Vec<String> {
        let routes = config.routes.iter().filter(|route| match &route.selector {
            Selector::Table(pattern) => crate::inspect::table(table).ok().is_some_and(|named| {
                named.literal().is_some_and(|(space, name)| pattern.matches_names(space, name))
            }),
            Selector::Message(_) => table.is_empty(),
        });
        routes.map(|route| format!("{} → {}", route.name, route.sink)).collect()
    };
    html! {
        section.card {
            h2 { "Tables" }
            p.note { "Changes that came since this run began, routed or not. Replica identities and what else is to be looked at: " a href="/checks" { "the checks" } "." }
            div.scroll { table.rows {
                thead { tr { th { "Table" } @for word in &words { th.number { (word) } } th { "Routes" } } }
                tbody { @for (table, counts) in &tables { tr {
                    td { (if table.is_empty() { "logical messages" } else { table }) }
                    @for word in &words { td.number { (count(counts.get(word).copied().unwrap_or(0))) } }
                    td { @for route in routed(table) { div { (route) } } }
                } } }
            } }
        }
    }
}
