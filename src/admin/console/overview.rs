//! `/`: how everything is at a glance.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use maud::{Markup, html};

use super::chart::{self, Line, Unit};
use super::parts::{self, count, figure, rate};
use super::{Page, Paged, frame, incidents};
use crate::admin::query::Query;
use crate::admin::refusal::Refusal;
use crate::admin::{Figures, Shown, beside};
use crate::alert::store::Incident;
use crate::delivery::SinkState;
use crate::inspect::history::{self, Grain};
use crate::inspect::status::{self, SourceStatus, Status};
use crate::inspect::words::{bytes, duration};
use crate::lsn::Timestamp;

pub(super) async fn page(State(shown): State<Arc<dyn Shown>>, RawQuery(query): RawQuery) -> Paged {
    let grain = grain(query.as_deref())?;
    let status = status::now(shown.config()).await.map_err(Refusal::from)?;
    let figures = shown.figures().await;
    let sinks = || status.sinks.iter().map(|sink| sink.name.clone());
    let of_sinks = |figure: &'static str| -> Vec<Wanted> {
        sinks().map(|sink| Wanted { name: sink.clone(), figure, sink }).collect()
    };
    let of_source = |name: &str, figure| Wanted::source(name, figure);
    let mut through = vec![of_source("read", "read_per_second")];
    through.extend(of_sinks("delivered_per_second"));
    let charts = draw(
        &shown,
        grain,
        vec![
            ("Throughput", Unit::Rate, through),
            ("Behind, by sink", Unit::Seconds, of_sinks("freshness_seconds")),
            ("Events that wait, by sink", Unit::Count, of_sinks("waiting")),
            (
                "Kept by the server for the slot",
                Unit::Bytes,
                vec![of_source("WAL", "retained_wal_bytes"), of_source("lag", "lag_bytes")],
            ),
        ],
    );
    let charts = charts.await?;
    let fires = incidents::firing(&shown).await?;
    let body = html! {
        (troubles(&shown, &status))
        (firing(&fires))
        (source(&status.source))
        section.card {
            header.row { h2 { "The last " (if grain == Grain::Fine { "hour" } else { "day" }) } (spans(grain, "/")) }
            div.charts { @for chart in &charts { (chart) } }
        }
        (sinks_table(&status))
        (balance(&status, &figures))
    };
    Ok(Page(frame::page("Overview", "/", &body)))
}

/// A line that a chart is to have.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) figure: &'static str,
    /// Empty: the source.
    pub(super) sink: String,
}

impl Wanted {
    pub(super) fn source(name: &str, figure: &'static str) -> Self {
        Self { name: name.to_owned(), figure, sink: String::new() }
    }

    pub(super) fn sink(name: &str, figure: &'static str, sink: &str) -> Self {
        Self { name: name.to_owned(), figure, sink: sink.to_owned() }
    }
}

/// Reads `?span=`.
pub(super) fn grain(query: Option<&str>) -> Result<Grain, Refusal> {
    match Query::parse(query, &["span"])?.get("span") {
        None | Some("hour") => Ok(Grain::Fine),
        Some("day") => Ok(Grain::Coarse),
        Some(_) => Err(Refusal::wrong("\"span\" must be hour or day")),
    }
}

/// Leads from one span to the other.
pub(super) fn spans(grain: Grain, address: &str) -> Markup {
    let current = |of: Grain| (of == grain).then_some("true");
    html! {
        span.switch {
            a href=(format!("{address}?span=hour")) aria-current=[current(Grain::Fine)] { "1 h" }
            a href=(format!("{address}?span=day")) aria-current=[current(Grain::Coarse)] { "24 h" }
        }
    }
}

/// Reads what charts are to show, in one transaction, and draws them.
pub(super) async fn draw(
    shown: &Arc<dyn Shown>,
    grain: Grain,
    wanted: Vec<(&'static str, Unit, Vec<Wanted>)>,
) -> Result<Vec<Markup>, Refusal> {
    let now = Timestamp::now().unix_micros() / 1_000_000;
    let since = now - grain.span();
    beside::read(shown, move |_, reader| {
        let drawn = reader.read(|connection| {
            let mut drawn = Vec::new();
            for (title, unit, lines) in wanted {
                let read = |Wanted { name, figure, sink }| {
                    let series = history::series(connection, figure, &sink, grain, since)?;
                    Ok(Line { name, series })
                };
                let lines: Vec<Line> =
                    lines.into_iter().map(read).collect::<rusqlite::Result<_>>()?;
                drawn.push(chart::chart(title, unit, grain, now, &lines));
            }
            Ok(drawn)
        })?;
        Ok(drawn)
    })
    .await
}

/// Names what is not as it should be: what stops, and what only wants to be looked at.
fn troubles(shown: &Arc<dyn Shown>, status: &Status) -> Markup {
    let mut stops = shown.ailments();
    stops.extend(shown.hindrances());
    let mut looks = status.source.warnings.clone();
    for sink in &status.sinks {
        let name = &sink.name;
        match sink.state {
            SinkState::Open => stops.push(format!("sink {name} is down: its breaker is open")),
            SinkState::HalfOpen => looks.push(format!("sink {name} is being tried again")),
            SinkState::Retrying => looks.push(format!("sink {name} is retrying")),
            SinkState::Ok | SinkState::Halted => {}
        }
        match sink.dead_letters.values().sum::<u64>() {
            0 => {}
            1 => looks.push(format!("sink {name} has a dead letter")),
            dead => looks.push(format!("sink {name} has {} dead letters", count(dead))),
        }
    }
    html! {
        @if stops.is_empty() && looks.is_empty() { p.banner.good { "Everything works." } }
        @if !stops.is_empty() { ul.banner.bad { @for reason in &stops { li { (reason) } } } }
        @if !looks.is_empty() { ul.banner.warn { @for reason in &looks { li { (reason) } } } }
    }
}

/// What alerts say now.
fn firing(firing: &[Incident]) -> Markup {
    html! {
        @if !firing.is_empty() {
            section.card {
                h2 { a href="/incidents" { (if firing.len() == 1 { "An alert fires" } else { "Alerts fire" }) } }
                (incidents::table(firing))
            }
        }
    }
}

fn source(source: &SourceStatus) -> Markup {
    let unknown = || "–".to_owned();
    let kept = source.retained_wal_bytes.and_then(|bytes| u64::try_from(bytes).ok());
    let left = source.wal_seconds_left.map(|left| duration(crate::inspect::float(left)));
    html! {
        section.card {
            header.row {
                h2 { a href="/source" { "Source" } }
                (parts::source_badge(source.state))
            }
            @if let Some(reason) = &source.reason { p.reason { (reason) } }
            dl.figures {
                (figure("Behind", &source.lag_seconds.map_or_else(unknown, duration),
                    &source.lag_bytes.map(bytes).unwrap_or_default()))
                (figure("Kept by the server", &kept.map_or_else(unknown, bytes),
                    source.wal_status.as_deref().unwrap_or("")))
                (figure("Time to danger", &left.unwrap_or_else(|| "none in sight".to_owned()), ""))
                (figure("Slot", &source.slot, source.confirmed_lsn.as_deref().unwrap_or("")))
            }
        }
    }
}

fn sinks_table(status: &Status) -> Markup {
    html! {
        section.card {
            h2 { "Sinks" }
            div.scroll { table.rows {
                thead { tr {
                    th { "Sink" } th { "State" } th.number { "Waiting" } th.number { "Behind" }
                    th.number { "Rate" } th.number { "Delivered" } th.number { "Skipped" }
                    th.number { "Dead letters" }
                } }
                tbody {
                    @for sink in &status.sinks {
                        @let dead: u64 = sink.dead_letters.values().sum();
                        @let address = format!("/sinks/{}", parts::encoded(&sink.name));
                        tr data-href=(address) {
                            td { a href=(address) { (sink.name) } " " small { (sink.kind.as_deref().unwrap_or("gone")) } }
                            td {
                                (parts::sink_badge(sink.state))
                                @if let Some(reason) = &sink.reason { p.reason { (reason) } }
                            }
                            td.number { (sink.lag_events.map_or_else(|| "–".to_owned(), count)) }
                            td.number { (sink.freshness_seconds.map_or_else(|| "–".to_owned(), duration)) }
                            td.number { (rate(sink.events_per_second)) }
                            td.number { (count(sink.delivered)) }
                            td.number { (count(sink.skipped)) }
                            td.number {
                                @if dead > 0 {
                                    a.bad href=(format!("/dead-letters?sink={}", parts::encoded(&sink.name))) { (count(dead)) }
                                } @else { "0" }
                            }
                        }
                    }
                }
            } }
        }
    }
}

/// What was read for each sink and where it is now: nothing is anywhere else.
fn balance(status: &Status, figures: &Figures) -> Markup {
    html! {
        section.card {
            h2 { "The balance" }
            p.note { "Of each change that was read for a sink, since this run began: it is delivered, skipped by a rule, a dead letter, or in hand. There is no fifth place." }
            div.scroll { table {
                thead { tr {
                    th { "Sink" } th.number { "Delivered" } th.number { "Skipped" }
                    th.number { "Dead letters" } th.number { "In hand" } th.number { "Unaccounted" }
                } }
                tbody {
                    @for sink in &figures.sinks {
                        @let counters = &sink.snapshot.counters;
                        @let waiting = status.sinks.iter().find(|other| other.name == sink.name)
                            .and_then(|other| other.lag_events).unwrap_or(sink.snapshot.undone);
                        tr {
                            td { (sink.name) }
                            td.number { (count(counters.delivered_total())) }
                            td.number { (count(counters.skipped_total())) }
                            td.number { (count(counters.dead_total())) }
                            td.number { (count(waiting)) }
                            td.number class=(if sink.snapshot.unaccounted == 0 { "good" } else { "bad" }) {
                                (sink.snapshot.unaccounted)
                            }
                        }
                    }
                }
            } }
        }
    }
}
