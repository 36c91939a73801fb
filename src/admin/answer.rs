//! Answers: always JSON, an error says why.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

/// Answers with a document. What is true now is not true later: nobody may keep it.
pub(super) fn document(status: StatusCode, document: &Value) -> Response<Body> {
    body(status, "application/json", document.to_string())
}

/// Answers with a body that is written already.
pub(super) fn body(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Says no.
pub(super) fn refusal(status: StatusCode, why: &str) -> Response<Body> {
    document(status, &json!({ "error": why }))
}
