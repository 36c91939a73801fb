//! `/healthz` and `/readyz`.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::json;

use super::answer;

/// Answers 200 when nothing is wrong, else 503 with the reasons.
pub(super) fn answer(reasons: &[String]) -> Response<Body> {
    let ok = reasons.is_empty();
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::document(status, &json!({ "ok": ok, "reasons": reasons }))
}
