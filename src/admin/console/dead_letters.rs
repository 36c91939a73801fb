//! `/dead-letters`: what was set aside, by cause and one by one.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use maud::{Markup, html};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::parts::{self, Act, act, badge, count, shell, twin};
use super::{Page, Paged, frame};
use crate::admin::query::Query;
use crate::admin::refusal::Refusal;
use crate::admin::{Shown, api, beside};
use crate::delivery::{
    DeadLetter, DeadLetterCause, DeadLetterFilter, dead_letter_causes, newest_dead_letters,
};
use crate::inspect::dead_letter::{self, Document, Hidden, Originals};

/// So many stand on a page.
const PAGE: u32 = 100;
/// So many causes are told apart.
const CAUSES: u32 = 50;
/// What a list may be narrowed by.
const NARROW: &[&str] =
    &["sink", "route", "table", "key", "category", "message", "state", "before"];

/// `/dead-letters`
pub(super) async fn list(State(shown): State<Arc<dyn Shown>>, RawQuery(query): RawQuery) -> Paged {
    let query = Query::parse(query.as_deref(), NARROW)?;
    let filter = api::filter(&query)?;
    let before = query.number("before")?.unwrap_or(i64::MAX);
    let narrowed = filter.clone();
    let read = beside::read(&shown, move |_, reader| {
        Ok(reader.read(|connection| {
            let listed = newest_dead_letters(connection, &narrowed, before, PAGE)?;
            Ok((dead_letter_causes(connection, CAUSES)?, listed))
        })?)
    });
    let (causes, listed) = read.await?;
    let is_full = listed.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
    let body = html! {
        section.card {
            h1 { "Dead letters" }
            p.note { "Events that a sink refused, or that kept failing while it took others. Nothing of them is lost: mend the cause, then send them again." }
            (by_cause(&causes))
        }
        section.card {
            h2 { "One by one" }
            (narrow(&query, &shown))
            (bulk(&filter))
            (rows(&listed))
            @if let Some(last) = listed.last().filter(|_| is_full) {
                p { a href=(format!("/dead-letters?{}", with(&query, "before", &last.id.to_string()))) { "Older ones" } }
            }
        }
    };
    Ok(Page(frame::page("Dead letters", "/dead-letters", &body)))
}

fn by_cause(causes: &[DeadLetterCause]) -> Markup {
    html! {
        @if causes.is_empty() { p.banner.good { "Nothing is set aside." } }
        @else { div.scroll { table.rows {
            thead { tr { th.number { "Events" } th { "Sink" } th { "State" } th { "Cause" } th { "Last failed" } th { "" } } }
            tbody { @for cause in causes {
                @let narrowed = of_cause(cause);
                tr data-href=(format!("/dead-letters?{narrowed}")) {
                    td.number { a href=(format!("/dead-letters?{narrowed}")) { (count(cause.count)) } }
                    td { (cause.sink) }
                    td { (badge(&cause.state)) }
                    td { (cause.category.as_deref().unwrap_or("")) @if let Some(message) = &cause.message { ": " (message) } }
                    td { @if let Some(time) = cause.last_failed { (parts::time(&time.to_string())) } }
                    td.acts { @if cause.state == "dead" { (acts(&DeadLetterFilter {
                        sink: Some(cause.sink.clone()), category: cause.category.clone(),
                        message: cause.message.clone(), state: Some("dead".to_owned()),
                        ..DeadLetterFilter::default()
                    })) } }
                }
            } }
        } } }
    }
}

fn of_cause(cause: &DeadLetterCause) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("sink", &cause.sink).append_pair("state", &cause.state);
    if let Some(category) = &cause.category {
        query.append_pair("category", category);
    }
    if let Some(message) = &cause.message {
        query.append_pair("message", message);
    }
    query.finish()
}

/// The query again with one more value.
fn with(query: &Query, name: &str, value: &str) -> String {
    let mut again = form_urlencoded::Serializer::new(String::new());
    for known in NARROW.iter().filter(|known| **known != name) {
        if let Some(value) = query.get(known) {
            again.append_pair(known, value);
        }
    }
    again.append_pair(name, value).finish()
}

/// Fields to narrow the list by.
fn narrow(query: &Query, shown: &Arc<dyn Shown>) -> Markup {
    let states = ["", "dead", "retrying", "blocked", "replaying", "discarded", "delivered"];
    let value = |name: &str| query.get(name).unwrap_or("").to_owned();
    html! {
        form.narrow action="/dead-letters" method="get" {
            label { "Sink" select name="sink" {
                option value="" { "every" }
                @for sink in &shown.config().sinks { option value=(sink.name) selected[value("sink") == sink.name] { (sink.name) } }
            } }
            label { "State" select name="state" {
                @for state in states { option value=(state) selected[value("state") == state] { (if state.is_empty() { "every" } else { state }) } }
            } }
            label { "Table" input name="table" value=(value("table")) placeholder="public.customers"; }
            label { "Key" input name="key" value=(value("key")) placeholder="{\"id\": 42}"; }
            label { "Message" input name="message" value=(value("message")); }
            button.go type="submit" { "Show" }
        }
    }
}

/// What is done with all that the list is narrowed to.
fn bulk(filter: &DeadLetterFilter) -> Markup {
    html! {
        @if !filter.is_empty() {
            p.acts { "All of these: " (acts(filter)) }
            (twin(&command("replay", filter)))
        }
    }
}

/// Sends again, or gives up, all that a filter takes.
fn acts(filter: &DeadLetterFilter) -> Markup {
    let which = which(filter);
    html! {
        (act(Act { label: "Replay", to: "/v1/dead-letters/replay", body: &json!({ "which": which }), twin: &command("replay", filter), reason: false, harm: false }))
        (act(Act { label: "Discard", to: "/v1/dead-letters/discard", body: &json!({ "which": which }), twin: &format!("{} --reason …", command("discard", filter)), reason: true, harm: true }))
    }
}

fn which(filter: &DeadLetterFilter) -> Value {
    let ids = (!filter.ids.is_empty()).then(|| ("ids".to_owned(), json!(filter.ids)));
    let named = named(filter).into_iter().map(|(name, value)| (name.to_owned(), json!(value)));
    Value::Object(ids.into_iter().chain(named).collect())
}

fn named(filter: &DeadLetterFilter) -> Vec<(&'static str, &str)> {
    let DeadLetterFilter { sink, route, table, category, message, state, .. } = filter;
    let all = [
        ("sink", sink),
        ("route", route),
        ("table", table),
        ("category", category),
        ("message", message),
        ("state", state),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
}

/// The command that does the same.
fn command(verb: &str, filter: &DeadLetterFilter) -> String {
    let mut command = format!("walgate dlq {verb}");
    for id in &filter.ids {
        command.push_str(&format!(" {id}"));
    }
    for (name, value) in named(filter) {
        command.push_str(&format!(" --{name} {}", shell(value)));
    }
    command
}

pub(super) fn rows(listed: &[DeadLetter]) -> Markup {
    html! {
        @if listed.is_empty() { p.note { "Nothing fits." } }
        @else { div.scroll { table.rows {
            thead { tr { th.number { "No." } th { "State" } th { "Sink" } th { "Change" } th { "Key" } th { "Why" } th.number { "Tries" } th { "Last failed" } } }
            tbody { @for letter in listed {
                @let address = format!("/dead-letters/{}", letter.id);
                tr data-href=(address) {
                    td.number { a href=(address) { (letter.id) } }
                    td { (badge(&letter.state)) }
                    td { (letter.sink) }
                    td { (letter.op) " " (letter.table.as_deref().unwrap_or("message")) }
                    td { code { (letter.key.as_deref().unwrap_or("")) } }
                    td { (letter.reason.as_deref().or(letter.message.as_deref()).unwrap_or("")) }
                    td.number { (letter.attempts) }
                    td { @if let Some(time) = letter.last_failed { (parts::time(&time.to_string())) } }
                }
            } }
        } } }
    }
}

/// `/dead-letters/ID`
pub(super) async fn one(State(shown): State<Arc<dyn Shown>>, Path(id): Path<String>) -> Paged {
    let id: i64 = id.parse().map_err(|_| Refusal::missing(format!("{id} is no dead letter")))?;
    let read = beside::read(&shown, move |config, reader| {
        let letter = dead_letter::find(reader, id)?;
        let mut originals = Originals::new(config, reader);
        let row = originals.row(&letter);
        let hidden = Hidden::of(&letter.listed, config, reader)?;
        let today = dead_letter::today(config, reader, &letter, &mut originals)?;
        Ok(shown_one(&Document::of(&letter, row, &hidden), &today, &letter.listed))
    });
    let body = read.await?;
    Ok(Page(frame::page(&format!("Dead letter {id}"), "/dead-letters", &body)))
}

fn shown_one(document: &Document<'_>, today: &dead_letter::Today, letter: &DeadLetter) -> Markup {
    let filter = DeadLetterFilter { ids: vec![letter.id], ..DeadLetterFilter::default() };
    let mapping = document.listed.mapping.as_ref();
    html! {
        section.card {
            header.row { h1 { "Dead letter " (letter.id) } (badge(&letter.state)) }
            @if let Some(message) = &letter.message { p.reason { (message) } }
            @if let Some(reason) = &letter.reason { p.note { (reason) } }
            dl.facts {
                dt { "Event" } dd { code { (letter.event_id) } }
                dt { "Change" } dd { (letter.op) " " (letter.table.as_deref().unwrap_or("message")) }
                dt { "Key" } dd { code { (letter.key.as_deref().unwrap_or("–")) } @if let (Some(table), Some(key)) = (&letter.table, &letter.key) {
                    " " a href=(trace(table, key)) { "its life" }
                } }
                dt { "Sink" } dd { a href=(format!("/sinks/{}", parts::encoded(&letter.sink))) { (letter.sink) } ", route " (letter.route) }
                dt { "Mapping" } dd { @if let Some(mapping) = mapping { (mapping.name) " version " (mapping.version) } @else { "none" } }
                dt { "Failed" } dd {
                    (letter.attempts) " times, "
                    @if let Some(first) = &document.listed.first_failed { (parts::time(first)) }
                    " … "
                    @if let Some(last) = &document.listed.last_failed { (parts::time(last)) }
                }
            }
            @if !matches!(letter.state.as_str(), "discarded" | "delivered") {
                p.acts { (acts(&filter)) }
                (twin(&command("replay", &filter)))
            }
            (twin(&format!("walgate dlq show {}", letter.id)))
        }
        div.sides {
            (side("As Postgres sent it", document.original.as_ref().map(|row| row.get()), "It is no longer kept."))
            (side("What was sent", document.payload.as_ref().map(|body| body.get()), "Nothing was sent, or it is no longer kept."))
            @match today {
                dead_letter::Today::Event(body) => (side("What would be sent today", Some(body), "")),
                dead_letter::Today::Not(why) => (side("What would be sent today", None, why)),
            }
        }
        section.card {
            h2 { "Tries" }
            div.scroll { table {
                thead { tr { th { "When" } th { "Outcome" } th.number { "Status" } th { "Answer" } } }
                tbody { @for tried in &document.tries { tr {
                    td { (parts::time(&tried.time)) }
                    td { (tried.category.unwrap_or("accepted")) }
                    td.number { @if let Some(status) = tried.status { (status) } }
                    td { @if let Some(answer) = tried.answer { code.answer { (answer) } } }
                } } }
            } }
        }
    }
}

fn side(title: &str, body: Option<&str>, otherwise: &str) -> Markup {
    html! {
        section.card {
            h2 { (title) }
            @match body { Some(body) => (parts::json(body)), None => p.note { (otherwise) } }
        }
    }
}

/// The address of a row's life.
fn trace(table: &str, key: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("table", table).append_pair("key", key);
    format!("/trace?{}", query.finish())
}
