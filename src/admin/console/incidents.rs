//! `/incidents`: what was wrong and for how long, and what a person did.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use super::parts::{self, badge};
use super::{Page, Paged, frame};
use crate::admin::refusal::Refusal;
use crate::admin::{Shown, beside};
use crate::alert::Subject;
use crate::alert::store::{self as alerts, Filter, Incident};
use crate::inspect::request::Request;
use crate::inspect::words::duration;
use crate::lsn::Timestamp;
use crate::state::request::{self, Recorded};

/// So many of either are shown.
const NEWEST: u32 = 200;

pub(super) async fn page(State(shown): State<Arc<dyn Shown>>) -> Paged {
    let read = beside::read(&shown, |_, reader| {
        Ok(reader.read(|connection| {
            let incidents = alerts::list(connection, &Filter::default(), NEWEST)?;
            Ok((incidents, alerts::failing(connection)?, request::newest(connection, NEWEST)?))
        })?)
    });
    let (incidents, failing, asked) = read.await?;
    let body = html! {
        section.card {
            h1 { "Incidents" }
            p.note { "What was too much or out of order, newest first." }
            @for (destination, why, count) in &failing {
                p.reason { (count) " notices wait for " (destination) ": " (why) }
            }
            @if incidents.is_empty() { p.note { "Nothing yet." } }
            @else { (table(&incidents)) }
        }
        (asked_for(&asked))
    };
    Ok(Page(frame::page("Incidents", "/incidents", &body)))
}

/// Reads what is firing.
pub(super) async fn firing(shown: &Arc<dyn Shown>) -> Result<Vec<Incident>, Refusal> {
    let filter = Filter { open: true, ..Filter::default() };
    beside::read(shown, move |_, reader| {
        Ok(reader.read(|connection| alerts::list(connection, &filter, NEWEST))?)
    })
    .await
}

pub(super) fn table(incidents: &[Incident]) -> Markup {
    let now = Timestamp::now();
    html! {
        div.scroll { table {
            thead { tr { th { "State" } th { "What" } th { "Of" } th { "Began" } th.number { "Lasted" } th { "In words" } th { "What to do" } } }
            tbody { @for incident in incidents {
                @let lasted = crate::inspect::status::age(incident.began, incident.ended.unwrap_or(now));
                tr {
                    td { (badge(if incident.ended.is_some() { "resolved" } else { "firing" })) }
                    td { (incident.alert) }
                    td { (subject(&incident.subject)) }
                    td { (parts::time(&incident.began.to_string())) }
                    td.number { (duration(lasted)) }
                    td.words { (incident.message) }
                    td.words { @if incident.ended.is_none() { (parts::with_code(&incident.next())) } }
                }
            } }
        } }
    }
}

fn subject(subject: &Subject) -> Markup {
    match subject {
        Subject::Source => html! { a href="/source" { "source" } },
        Subject::Sink(name) => {
            html! { a href=(format!("/sinks/{}", parts::encoded(name))) { (name) } }
        }
    }
}

fn asked_for(asked: &[Recorded]) -> Markup {
    html! {
        section.card {
            h2 { "What was asked for" }
            p.note { "Every change that a command or this console asked of the run, newest first." }
            @if asked.is_empty() { p.note { "Nothing yet." } }
            @else { div.scroll { table {
                thead { tr { th { "When" } th { "By" } th { "What" } th { "State" } th { "What came of it" } } }
                tbody { @for asked in asked {
                    @let what: Option<Request> = serde_json::from_str(&asked.arguments).ok();
                    tr {
                        td { (parts::time(&asked.asked_at.to_string())) }
                        td { (asked.origin) }
                        td { (what.map_or("", |what| what.kind())) details { summary { "exactly" } code { (asked.arguments) } } }
                        td { (badge(&asked.state)) }
                        td { code.answer { (asked.answer.as_deref().unwrap_or("")) } }
                    }
                } }
            } } }
        }
    }
}
