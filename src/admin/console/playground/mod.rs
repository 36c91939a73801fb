//! `/playground`: a mapping is edited and tried on a row. Nothing is stored.
//!
//! The form posts to this page, which shows the same form again with what came of it; a script asks
//! for that in the background and keeps the page where it is.

mod answer;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use maud::{Markup, html};

use super::parts::{self, encoded};
use super::{Page, Paged, frame};
use crate::admin::query::Query;
use crate::admin::refusal::Refusal;
use crate::admin::trial::{self, NotTried};
use crate::admin::{Shown, beside};
use crate::chunk::Operation;
use crate::config::Config;
use crate::inspect::playground::{self, Asked, Choice, Row};
use crate::mapping::Route;

/// What may be done with a row that is written down.
const OPERATIONS: [Operation; 4] =
    [Operation::Insert, Operation::Update, Operation::Delete, Operation::Read];

/// What stands in the form.
#[derive(Clone, Debug)]
struct Form {
    mapping: String,
    /// The route's name; empty where the config has none for the mapping.
    route: String,
    toml: String,
    /// `event:ID`, `dead-letter:ID`, or `json`.
    on: String,
    row: String,
    op: Operation,
}

impl Form {
    /// What is tried; `on` says on which row.
    fn asked(&self) -> Result<Asked, Refusal> {
        let row = match self.on.split_once(':') {
            Some(("event", id)) => Row::Event(id.to_owned()),
            Some(("dead-letter", id)) => {
                let number = id.parse();
                Row::DeadLetter(number.map_err(|_| Refusal::wrong(format!("{id} is no number")))?)
            }
            _ => Row::Typed { json: self.row.clone(), operation: self.op },
        };
        // Without a row there are still the tests.
        let is_none = matches!(&row, Row::Typed { json, .. } if json.trim().is_empty());
        Ok(Asked {
            mapping: self.mapping.clone(),
            route: (!self.route.is_empty()).then(|| self.route.clone()),
            toml: Some(self.toml.clone()),
            row: (!is_none).then_some(row),
        })
    }
}

/// The form as it is at first.
pub(super) async fn page(State(shown): State<Arc<dyn Shown>>, RawQuery(query): RawQuery) -> Paged {
    let query = Query::parse(query.as_deref(), &["mapping", "route", "event", "dead_letter"])?;
    let config = shown.config();
    let Some((mapping, route)) = chosen(config, query.get("mapping"), query.get("route"))? else {
        return Ok(Page(frame::page("Playground", "/playground", &nothing())));
    };
    let on = match (query.get("event"), query.get("dead_letter")) {
        (Some(id), _) => format!("event:{id}"),
        (None, Some(id)) => format!("dead-letter:{id}"),
        (None, None) => String::new(),
    };
    let toml = config.mapping_text(&mapping).unwrap_or_default();
    let (row, op) = (String::new(), Operation::Insert);
    let form = Form { mapping, route, toml, on, row, op };
    Ok(Page(whole(&shown, form, None).await?))
}

/// The form again, and what came of it.
pub(super) async fn tried(State(shown): State<Arc<dyn Shown>>, body: Bytes) -> Paged {
    let body = String::from_utf8_lossy(&body);
    let query = Query::parse(Some(&body), &["mapping", "route", "toml", "on", "row", "op"])?;
    // A form sends the ends of lines as the web has them.
    let text = |name: &str| query.get(name).unwrap_or_default().replace("\r\n", "\n");
    let found = chosen(shown.config(), query.get("mapping"), query.get("route"))?;
    let Some((mapping, route)) = found else {
        return Err(Refusal::missing("the config has no mapping").into());
    };
    let op = OPERATIONS.into_iter().find(|op| op.as_str() == text("op"));
    let (toml, on, row) = (text("toml"), text("on"), text("row"));
    let form = Form { mapping, route, toml, on, row, op: op.unwrap_or(Operation::Insert) };
    let tried = match form.asked() {
        Ok(asked) => trial::run(&shown, asked).await,
        Err(refusal) => Err(NotTried::Refused(refusal)),
    };
    let told = match &tried {
        Ok(tried) => answer::told(tried, &form),
        Err(NotTried::Text(problems)) => answer::problems(problems, &form.toml),
        Err(NotTried::Refused(refusal)) => answer::refused(&refusal.message),
    };
    Ok(Page(whole(&shown, form, Some(told)).await?))
}

/// Returns the names of the mapping and the route that are meant: those that are named, else the
/// first that there are; none where the config has no mapping.
fn chosen(
    config: &Config,
    mapping: Option<&str>,
    route: Option<&str>,
) -> Result<Option<(String, String)>, Refusal> {
    let with_mapping =
        |name: &str| config.routes.iter().find(|it| it.is_called(name) && it.mapping.is_some());
    let of_route = match route {
        None => None,
        Some(name) => Some(with_mapping(name).ok_or_else(|| {
            Refusal::missing(format!("there is no route \"{name}\" with a mapping"))
        })?),
    };
    let of_route = of_route.and_then(|route| route.mapping.as_ref());
    let first = || config.routes.iter().find_map(|route| route.mapping.as_ref());
    let found = match (mapping, of_route) {
        (Some(name), _) => Some(playground::in_force(config, name)?),
        (None, Some(mapping)) => Some(mapping),
        (None, None) => first().or(config.mappings.first()),
    };
    let Some(found) = found else { return Ok(None) };
    let route = playground::route(config, found, route)?;
    Ok(Some((found.name.clone(), route.name)))
}

fn nothing() -> Markup {
    html! {
        section.card data-still {
            h1 { "Playground" }
            p.note { "The config has no mapping: every column is sent as it is. A mapping that stands in the config can be tried here." }
        }
    }
}

async fn whole(
    shown: &Arc<dyn Shown>,
    form: Form,
    told: Option<Markup>,
) -> Result<Markup, Refusal> {
    let (mapping, name) = (form.mapping.clone(), form.route.clone());
    let choice = beside::read(shown, move |config, reader| {
        let found = playground::in_force(config, &mapping)?;
        let route = playground::route(config, found, Some(&*name).filter(|name| !name.is_empty()))?;
        playground::choice(config, reader, &route)
    });
    let choice = choice.await?;
    let body = html! {
        div data-still {
            (head(shown.config(), &form))
            (fields(&form, &choice))
        }
        div #answer aria-live="polite" { @if let Some(told) = &told { (told) } }
    };
    Ok(frame::page("Playground", "/playground", &body))
}

/// What it is for, and which mapping it is of.
fn head(config: &Config, form: &Form) -> Markup {
    let routed = |route: &&Arc<Route>| route.mapping.is_some();
    let has_route = |name: &str| {
        let mut mappings = config.routes.iter().filter_map(|route| route.mapping.as_ref());
        mappings.any(|mapping| mapping.name == name)
    };
    html! {
        section.card {
            h1 { "Playground" }
            p.note { "A mapping is edited and tried on a row. Nothing is stored, and nothing is sent." }
            form.narrow action="/playground" method="get" {
                label { "Route" select name="route" {
                    @for route in config.routes.iter().filter(routed) {
                        option value=(route.name) selected[route.name == form.route] {
                            (route.name) " (" (route.mapping.as_ref().map_or("", |it| it.name.as_str())) " → " (route.sink) ")"
                        }
                    }
                } }
                button type="submit" { "Choose" }
                @for mapping in config.mappings.iter().filter(|it| !has_route(&it.name)) {
                    a href=(format!("/playground?mapping={}", encoded(&mapping.name))) { (mapping.name) " (no route)" }
                }
            }
        }
    }
}

fn fields(form: &Form, choice: &Choice) -> Markup {
    let on = |kind: &str, id: &str| format!("{kind}:{id}");
    let rows = form.toml.lines().count().clamp(8, 28);
    let is_listed = form.on.is_empty()
        || form.on == "json"
        || choice.events.iter().any(|event| on("event", &event.id) == form.on)
        || choice.letters.iter().any(|it| on("dead-letter", &it.id.to_string()) == form.on);
    html! {
        section.card {
            form.try action="/playground" method="post" data-answer="answer" {
                input type="hidden" name="mapping" value=(form.mapping);
                input type="hidden" name="route" value=(form.route);
                label { "Mapping " (form.mapping)
                    textarea name="toml" rows=(rows) spellcheck="false" autocapitalize="off" autocomplete="off" { "\n" (form.toml) }
                }
                div.narrow {
                    label { "Row" select name="on" {
                        @if !is_listed { option value=(form.on) selected { (form.on.replace(':', " ")) } }
                        @if !choice.events.is_empty() { optgroup label="the newest changes" {
                            @for event in &choice.events {
                                @let value = on("event", &event.id);
                                option value=(value) selected[value == form.on] { (event.op) " " (event.table) " " (parts::cut(&event.key)) }
                            }
                        } }
                        @if !choice.letters.is_empty() { optgroup label="dead letters" {
                            @for letter in &choice.letters {
                                @let value = on("dead-letter", &letter.id.to_string());
                                option value=(value) selected[value == form.on] { "no. " (letter.id) ", " (letter.op) " " (letter.table.as_deref().unwrap_or("message")) " " (parts::cut(letter.key.as_deref().unwrap_or(""))) }
                            }
                        } }
                        option value="json" selected[form.on == "json"] { "the one that is written below" }
                    } }
                    label { "Done with it, where it is written below" select name="op" {
                        @for op in OPERATIONS { option value=(op.as_str()) selected[op == form.op] { (op.as_str()) } }
                    } }
                }
                label { "A row as JSON, by column; a column that it does not name is NULL"
                    textarea name="row" rows="4" spellcheck="false" autocapitalize="off" autocomplete="off" placeholder="{\"id\": 42}" { "\n" (form.row) }
                }
                p.acts { button.go type="submit" { "Try" } }
            }
        }
    }
}
