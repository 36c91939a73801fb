//! `/incidents`: what a person did, and by whose hand.

use std::sync::Arc;

use axum::extract::State;
use maud::html;

use super::parts::{self, badge};
use super::{Page, Paged, frame};
use crate::admin::{Shown, beside};
use crate::inspect::request::Request;
use crate::state::request;

/// So many are shown.
const NEWEST: u32 = 200;

pub(super) async fn page(State(shown): State<Arc<dyn Shown>>) -> Paged {
    let newest = beside::read(&shown, |_, reader| {
        Ok(reader.read(|connection| request::newest(connection, NEWEST))?)
    });
    let newest = newest.await?;
    let body = html! {
        section.card {
            h1 { "What was asked for" }
            p.note { "Every change that a command or this console asked of the run, newest first." }
            @if newest.is_empty() { p.note { "Nothing yet." } }
            @else { div.scroll { table {
                thead { tr { th { "When" } th { "By" } th { "What" } th { "State" } th { "What came of it" } } }
                tbody { @for asked in &newest {
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
    };
    Ok(Page(frame::page("Incidents", "/incidents", &body)))
}
