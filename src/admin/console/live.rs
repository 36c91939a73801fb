//! `/live`: the newest changes of the journal, as they come.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use maud::html;

use super::parts::{self, shell, twin};
use super::{Page, Paged, frame};
use crate::admin::query::Query;
use crate::admin::{Shown, beside};
use crate::inspect::newest::{self, Wanted};

/// So many are shown.
const NEWEST: usize = 60;

pub(super) async fn page(State(shown): State<Arc<dyn Shown>>, RawQuery(query): RawQuery) -> Paged {
    let query = Query::parse(query.as_deref(), &["table", "sink"])?;
    let wanted = Wanted { table: query.text("table"), sink: query.text("sink"), limit: NEWEST };
    let value = |name: &str| query.get(name).unwrap_or("").to_owned();
    let newest = beside::read(&shown, move |config, reader| newest::read(config, reader, &wanted));
    let newest = newest.await?;
    let table = value("table");
    let command = match table.as_str() {
        "" => "walgate tap".to_owned(),
        table => format!("walgate tap --table {}", shell(table)),
    };
    let body = html! {
        section.card {
            h1 { "Live" }
            p.note { "The newest changes, as routes make them: what a mapping masks stays masked." }
            form.narrow action="/live" method="get" {
                label { "Table" input name="table" value=(table) placeholder="public.customers"; }
                label { "Sink" select name="sink" {
                    option value="" { "every" }
                    @for sink in &shown.config().sinks { option value=(sink.name) selected[value("sink") == sink.name] { (sink.name) } }
                } }
                button.go type="submit" { "Show" }
            }
            (twin(&command))
            @if newest.is_empty() { p.note { "Nothing yet." } }
            ul.live { @for event in &newest {
                li {
                    header.row {
                        span { b { (event.op) } " " (event.table) " " code { (event.key) } }
                        span { small { @if has_mapping(&shown, &event.route) { a href=(try_it(event)) { "try" } " " } (event.route) " → " (event.sink) } " " @if let Some(time) = &event.time { (parts::time(time)) } }
                    }
                    @match &event.outcome {
                        newest::Outcome::Sent(body) => details { summary { code { (parts::cut(body)) } } (parts::json(body)) },
                        newest::Outcome::Not(why) => p.note { (why) },
                    }
                }
            } }
        }
    };
    Ok(Page(frame::page("Live", "/live", &body)))
}

/// Whether the route has a mapping to be tried.
fn has_mapping(shown: &Arc<dyn Shown>, route: &str) -> bool {
    shown.config().routes.iter().any(|it| it.name == route && it.mapping.is_some())
}

/// Where the route's mapping is tried on the event.
fn try_it(event: &newest::Event) -> String {
    let (route, id) = (parts::encoded(&event.route), parts::encoded(&event.id));
    format!("/playground?route={route}&event={id}")
}
