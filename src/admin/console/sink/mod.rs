//! `/sinks/NAME`: one sink.

mod trouble;

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use maud::{Markup, html};
use serde_json::json;

use crate::admin::console::chart::Unit;
use crate::admin::console::overview::{Wanted, draw, grain, spans};
use crate::admin::console::parts::{self, Act, act, count, figure, rate, shell, twin};
use crate::admin::console::{Page, Paged, frame, strip};
use crate::admin::refusal::Refusal;
use crate::admin::{Shown, SinkFigures, beside};
use crate::config::Config;
use crate::delivery::{Batch, newest_batches};
use crate::failure::Category;
use crate::inspect::float;
use crate::inspect::history::{self, Grain};
use crate::inspect::status::{self, SinkStatus};
use crate::inspect::words::duration;
use crate::lsn::Timestamp;
use crate::mapping::Selector;

/// So many of the last batches are shown.
const BATCHES: u32 = 25;

pub(super) async fn page(
    State(shown): State<Arc<dyn Shown>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Paged {
    let grain = grain(query.as_deref())?;
    let status = status::now(shown.config()).await.map_err(Refusal::from)?;
    let Some(sink) = status.sinks.iter().find(|sink| sink.name == name) else {
        return Err(Refusal::missing(format!("there is no sink \"{name}\"")).into());
    };
    let figures = shown.figures().await;
    let figures = figures.sinks.iter().find(|sink| sink.name == name);
    let wanted = |label: &str, figure| Wanted::sink(label, figure, &name);
    let charts = draw(
        &shown,
        grain,
        vec![
            (
                "Events delivered, requests that failed",
                Unit::Rate,
                vec![
                    wanted("delivered", "delivered_per_second"),
                    wanted("failed", "failed_per_second"),
                ],
            ),
            ("Commit to acknowledgement", Unit::Seconds, vec![wanted("mean", "latency_seconds")]),
            ("Behind", Unit::Seconds, vec![wanted("behind", "freshness_seconds")]),
            ("Events that wait", Unit::Count, vec![wanted("waiting", "waiting")]),
        ],
    );
    let charts = charts.await?;
    let of = name.clone();
    let batches = beside::read(&shown, move |_, reader| {
        Ok(reader.read(|connection| newest_batches(connection, &of, BATCHES))?)
    });
    let batches = batches.await?;
    let trouble = trouble::read(&shown, &name).await?;
    let breaker = breaker(&shown, grain, &name).await?;
    let address = format!("/sinks/{}", parts::encoded(&name));
    let body = html! {
        (head(sink, figures))
        section.card {
            header.row { h2 { "Over time" } (spans(grain, &address)) }
            (breaker)
            div.charts { @for chart in &charts { (chart) } }
        }
        (trouble::section(&trouble))
        @if let Some(figures) = figures { (answers(figures)) (latency(figures)) }
        (routes(shown.config(), &name))
        (last(&batches))
    };
    Ok(Page(frame::page(&name, "/", &body)))
}

/// Draws how the breaker was.
async fn breaker(shown: &Arc<dyn Shown>, grain: Grain, sink: &str) -> Result<Markup, Refusal> {
    let now = Timestamp::now().unix_micros() / 1_000_000;
    let (since, sink) = (now - grain.span(), sink.to_owned());
    let series = beside::read(shown, move |_, reader| {
        Ok(reader.read(|c| history::series(c, "breaker", &sink, grain, since))?)
    });
    Ok(strip::strip(&series.await?, grain, now))
}

fn head(sink: &SinkStatus, figures: Option<&SinkFigures>) -> Markup {
    let unknown = || "–".to_owned();
    let dead: u64 = sink.dead_letters.values().sum();
    let (pause, resume) = (
        format!("/v1/sinks/{}/pause", parts::encoded(&sink.name)),
        format!("/v1/sinks/{}/resume", parts::encoded(&sink.name)),
    );
    let name = shell(&sink.name);
    html! {
        section.card {
            header.row {
                h1 { (sink.name) " " small { (sink.kind.as_deref().unwrap_or("gone")) } }
                (parts::sink_badge(sink.state))
            }
            @if let Some(reason) = &sink.reason { p.reason { (reason) } }
            @if let Some(since) = &sink.since { p.note { "So since " (parts::time(since)) "." } }
            dl.figures {
                (figure("Waiting", &sink.lag_events.map_or_else(unknown, count), "events"))
                (figure("Behind", &sink.freshness_seconds.map_or_else(unknown, duration), ""))
                (figure("Rate", &rate(sink.events_per_second), ""))
                (figure("Delivered", &count(sink.delivered), "ever"))
                (figure("Skipped", &count(sink.skipped), "ever"))
                (figure("Done up to", &sink.position.lsn, &format!("seq {}", sink.position.seq)))
                @if let Some(figures) = figures {
                    (figure("Requests under way", &figures.snapshot.in_flight.to_string(), ""))
                    (figure("Retrying", &count(figures.snapshot.retrying), "events by themselves"))
                    (figure("Blocked", &count(figures.snapshot.blocked), "behind another of their key"))
                    (figure("Unaccounted", &figures.snapshot.unaccounted.to_string(), "always 0"))
                }
            }
            @if let Some(figures) = figures {
                @for (route, held) in &figures.snapshot.held {
                    p.reason { "Route " (route) " is held: " (count(*held)) " events wait." }
                }
            }
            p.acts {
                (act(Act { label: "Pause", to: &pause, body: &json!({}), twin: &format!("walgate sink pause {name} --reason …"), reason: true, harm: false }))
                (act(Act { label: "Resume", to: &resume, body: &json!({}), twin: &format!("walgate sink resume {name}"), reason: false, harm: false }))
                @if dead > 0 {
                    a.button href=(format!("/dead-letters?sink={}", parts::encoded(&sink.name))) { (count(dead)) (if dead == 1 { " dead letter" } else { " dead letters" }) }
                }
            }
            (twin(&format!("walgate sink pause {name}")))
        }
    }
}

/// How requests ended.
fn answers(figures: &SinkFigures) -> Markup {
    let attempts = &figures.snapshot.counters.attempts;
    let statuses = &figures.snapshot.counters.statuses;
    let all: u64 = attempts.values().sum();
    html! {
        section.card {
            h2 { "Answers" }
            p.note { "Of " (count(all)) " requests since this run began." }
            @if !statuses.is_empty() {
                ul.legend {
                    @for ((category, status), number) in statuses {
                        li title=(category.as_str()) { (status) " " b { "× " (count(*number)) } }
                    }
                }
            }
            ul.bars {
                @for (category, number) in attempts {
                    @let word = category.map_or("acknowledged", Category::as_str);
                    @let part = float(*number) / float(all.max(1)) * 100.0;
                    li {
                        span.name { (word) }
                        svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
                            rect.track x="0" y="1" width="100" height="2" {}
                            rect class=(if category.is_none() { "done" } else { "fault" }) x="0" y="1" width=(format!("{part:.2}")) height="2" {}
                        }
                        span.value { (count(*number)) }
                    }
                }
            }
        }
    }
}

/// How long events and requests took.
fn latency(figures: &SinkFigures) -> Markup {
    let counters = &figures.snapshot.counters;
    let bounds = crate::delivery::LATENCY_BOUNDS_US;
    let bound = |index: usize| match bounds.get(index) {
        Some(bound) => format!("≤ {}", Unit::Seconds.words(float(*bound) / 1e6)),
        None => "longer".to_owned(),
    };
    let rows = counters.latency.iter().zip(&counters.request).enumerate();
    let rows = rows.filter(|(_, (latency, request))| **latency > 0 || **request > 0);
    html! {
        section.card {
            h2 { "How long it took" }
            div.scroll { table {
                thead { tr { th { "Time" } th.number { "Events, commit to acknowledgement" } th.number { "Requests" } } }
                tbody { @for (index, (latency, request)) in rows { tr {
                    td { (bound(index)) } td.number { (count(*latency)) } td.number { (count(*request)) }
                } } }
            } }
        }
    }
}

fn routes(config: &Config, sink: &str) -> Markup {
    html! {
        section.card {
            h2 { "Routes" }
            div.scroll { table {
                thead { tr { th { "Route" } th { "Takes" } th { "Mapping" } th { "" } } }
                tbody { @for route in config.routes_of(sink) {
                    @let path = parts::encoded(&route.name);
                    tr {
                        td { (route.name) }
                        td { code { (match &route.selector { Selector::Table(table) => table.as_str().to_owned(), Selector::Message(_) => "messages".to_owned() }) } }
                        td { @if let Some(mapping) = &route.mapping { (mapping.name) " version " (mapping.version) } @else { "every column as it is" } }
                        td.acts {
                            (act(Act { label: "Hold", to: &format!("/v1/routes/{path}/hold"), body: &json!({}), twin: &format!("walgate route hold {} --reason …", shell(&route.name)), reason: true, harm: false }))
                            (act(Act { label: "Release", to: &format!("/v1/routes/{path}/release"), body: &json!({}), twin: &format!("walgate route release {}", shell(&route.name)), reason: false, harm: false }))
                        }
                    }
                } }
            } }
        }
    }
}

fn last(batches: &[Batch]) -> Markup {
    html! {
        section.card {
            h2 { "Acknowledged last" }
            @if batches.is_empty() { p.note { "Nothing yet, or the journal no longer goes back to it." } }
            @else { div.scroll { table {
                thead { tr { th { "Sent" } th { "From" } th { "To" } th.number { "Events" } th.number { "Attempts" } th.number { "Took" } } }
                tbody { @for batch in batches { tr {
                    td { (parts::time(&batch.started.to_string())) }
                    td { code { (batch.first) } }
                    td { code { (batch.last) } }
                    td.number { (count(batch.count)) @if batch.requests > 1 { " " small { "in " (batch.requests) } } }
                    td.number { (batch.attempts) @if batch.replay > 0 { " " small { "replay " (batch.replay) } } }
                    td.number { (format!("{:.1} ms", float(batch.took_us) / 1000.0)) }
                } } }
            } } }
        }
    }
}
