//! The console: pages for people, written here and whole without JavaScript.
//!
//! A page shows what `/v1/…` says; its script asks for the page again every other second and puts
//! the new one in the old one's place. Buttons post to `/v1/…`, each with the command beside it
//! that does the same. Nothing is asked of another host.

mod backfills;
mod chart;
mod checks;
mod dead_letters;
mod frame;
mod incidents;
mod live;
mod login;
mod overview;
mod parts;
mod playground;
mod settings;
mod sink;
mod source;
mod strip;
mod trace;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use maud::{Markup, html};

use super::Shown;
use super::refusal::Refusal;

/// What a page may ask for: of this host alone, and nothing that stands in the page itself.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The pages, and what belongs to them.
pub(super) fn routes() -> Router<Arc<dyn Shown>> {
    Router::new()
        .route("/", get(overview::page))
        .route("/source", get(source::page))
        .route("/checks", get(checks::page))
        .route("/sinks/{name}", get(sink::page))
        .route("/dead-letters", get(dead_letters::list))
        .route("/dead-letters/{id}", get(dead_letters::one))
        .route("/trace", get(trace::page))
        .route("/playground", get(playground::page).post(playground::tried))
        .route("/backfills", get(backfills::page))
        .route("/live", get(live::page))
        .route("/incidents", get(incidents::page))
        .route("/config", get(settings::page))
        .route("/login", get(login::page).post(login::enter))
        .route("/logout", get(login::leave))
        .route("/console.css", get(style))
        .route("/console.js", get(script))
        .route("/favicon.svg", get(icon))
}

/// Whether a browser asks for a page: then somebody sits there who can show a token.
pub(super) fn is_page(request: &Request) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    *request.method() == Method::GET && accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Says to a person that there is no such page.
pub(super) fn nowhere() -> Response<Body> {
    NoPage(Refusal::missing("There is no such page.")).into_response()
}

/// Sends a browser to where the token is shown, and from there back.
pub(super) fn to_login(path: &str) -> Response<Body> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let query = query.append_pair("next", path).finish();
    go(&format!("/login?{query}"))
}

/// Sends a browser elsewhere on this host.
fn go(to: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, to);
    response
}

/// A page, or why there is none.
type Paged = Result<Page, NoPage>;

/// A page as it is sent.
#[derive(Debug)]
struct Page(Markup);

impl IntoResponse for Page {
    fn into_response(self) -> Response<Body> {
        written(StatusCode::OK, "text/html; charset=utf-8", self.0.into_string())
    }
}

/// Why there is no page, as a page.
#[derive(Debug)]
struct NoPage(Refusal);

impl<T: Into<Refusal>> From<T> for NoPage {
    fn from(refusal: T) -> Self {
        Self(refusal.into())
    }
}

impl IntoResponse for NoPage {
    fn into_response(self) -> Response<Body> {
        let body = html! {
            section.card {
                h1 { (self.0.status.canonical_reason().unwrap_or("There is no page")) }
                p { (self.0.message) }
                p { a href="/" { "To the overview" } }
            }
        };
        let page = frame::page("No page", "", &body);
        written(self.0.status, "text/html; charset=utf-8", page.into_string())
    }
}

/// Answers with what stands on this host, and says what it may ask for.
fn written(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        // Not less: a form without a script then says which page it is of.
        (HeaderName::from_static("referrer-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn style() -> Response<Body> {
    written(StatusCode::OK, "text/css; charset=utf-8", include_str!("console.css"))
}

async fn script() -> Response<Body> {
    written(StatusCode::OK, "text/javascript; charset=utf-8", include_str!("console.js"))
}

async fn icon() -> Response<Body> {
    written(StatusCode::OK, "image/svg+xml", include_str!("favicon.svg"))
}
