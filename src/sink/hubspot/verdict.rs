//! What HubSpot means by its statuses and by the categories of its errors.

use hyper::StatusCode;
use serde::Deserialize;

use crate::failure::Category;

/// A locked record, or an account that is moved: waiting mends it.
pub(super) const LOCKED: u16 = 423;
/// See [`LOCKED`].
pub(super) const MIGRATION: u16 = 477;

/// The body of an answer that is no success.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refusal {
    #[serde(default)]
    pub(super) category: String,
    #[serde(default)]
    pub(super) policy_name: String,
}

/// What was wrong with some inputs of a batch.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Problem {
    #[serde(default)]
    pub(super) category: String,
    #[serde(default)]
    pub(super) context: Context,
}

/// Which inputs they are.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Context {
    #[serde(default)]
    pub(super) object_write_trace_id: Vec<String>,
    #[serde(default)]
    pub(super) ids: Vec<String>,
}

/// Sorts a status where that differs from HTTP's.
pub(super) fn of_status(status: StatusCode) -> Option<Category> {
    match status.as_u16() {
        LOCKED | MIGRATION => Some(Category::Throttled),
        _ => None,
    }
}

/// Sorts the category of an error.
pub(super) fn of_problem(category: &str) -> Category {
    match category {
        "RATE_LIMITS" | "RATE_LIMIT" => Category::Throttled,
        "INTERNAL_ERROR" | "TIMEOUT" | "SERVICE_UNAVAILABLE" | "LOCKED" => Category::Transient,
        "MISSING_SCOPES"
        | "INVALID_AUTHENTICATION"
        | "EXPIRED_AUTHENTICATION"
        | "UNAUTHORIZED"
        | "FORBIDDEN"
        | "BANNED" => Category::Setup,
        // VALIDATION_ERROR, CONFLICT, OBJECT_NOT_FOUND and whatever else is of the record.
        _ => Category::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_is_sorted() {
        for (category, expected) in [
            ("VALIDATION_ERROR", Category::Rejected),
            ("CONFLICT", Category::Rejected),
            ("OBJECT_NOT_FOUND", Category::Rejected),
            ("SOMETHING_NEW", Category::Rejected),
            ("RATE_LIMITS", Category::Throttled),
            ("INTERNAL_ERROR", Category::Transient),
            ("LOCKED", Category::Transient),
            ("MISSING_SCOPES", Category::Setup),
        ] {
            assert_eq!(of_problem(category), expected, "{category}");
        }
        assert_eq!(of_status(StatusCode::LOCKED), Some(Category::Throttled));
        assert_eq!(of_status(StatusCode::from_u16(477).unwrap()), Some(Category::Throttled));
        assert_eq!(of_status(StatusCode::BAD_REQUEST), None);
    }
}
