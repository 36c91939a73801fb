//! `/login`: where a browser shows the token, once for a session.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::RawQuery;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use maud::{Markup, html};
use url::form_urlencoded;

use super::{Page, Paged, frame, go};
use crate::admin::guard::Guard;
use crate::admin::query::Query;
use crate::admin::session::Sessions;
use crate::lsn::Timestamp;

/// Asks for the token.
pub(super) async fn page(
    Extension(guard): Extension<Arc<Guard>>,
    RawQuery(query): RawQuery,
) -> Paged {
    let query = Query::parse(query.as_deref(), &["next"])?;
    Ok(Page(form(&guard, query.get("next").unwrap_or("/"), false)))
}

fn form(guard: &Guard, next: &str, is_wrong: bool) -> Markup {
    let body = html! {
        section.card.login {
            h1 { "walgate" }
            @if guard.wants_token() {
                form action="/login" method="post" {
                    @if is_wrong { p.reason { "That is not the token." } }
                    input type="hidden" name="next" value=(next);
                    label { "Token" input name="token" type="password" autocomplete="current-password" required autofocus; }
                    p.note { "The one that the config has as " code { "admin.token" } "." }
                    button.go type="submit" { "Enter" }
                }
            } @else {
                p { "No token is wanted here. " a href="/" { "To the overview" } }
            }
        }
    };
    frame::page("Enter", "/login", &body)
}

/// Begins a session for whoever shows the token.
pub(super) async fn enter(Extension(guard): Extension<Arc<Guard>>, body: Bytes) -> Response<Body> {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    let value = |name: &str| {
        let found = pairs.iter().find(|(other, _)| other == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let next = here(value("next"));
    let now = Timestamp::now().unix_micros() / 1_000_000;
    let Some(cookie) = guard.login(value("token"), now) else {
        let mut response = Page(form(&guard, next, true)).into_response();
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return response;
    };
    with_cookie(go(next), &cookie)
}

/// Ends a session.
pub(super) async fn leave() -> Response<Body> {
    with_cookie(go("/login"), &Sessions::end())
}

fn with_cookie(mut response: Response<Body>, cookie: &str) -> Response<Body> {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// Lets nobody be sent to another host: `//evil.example` is one, and so is `/\evil.example`.
fn here(next: &str) -> &str {
    let is_here = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
    if is_here { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::here;

    #[test]
    fn nobody_is_sent_to_another_host() {
        assert_eq!(here("/dead-letters"), "/dead-letters");
        for elsewhere in ["//evil.example", "https://evil.example", "/\\evil.example", "evil", ""] {
            assert_eq!(here(elsewhere), "/", "{elsewhere}");
        }
    }
}
