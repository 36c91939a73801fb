//! [`Refusal`]: why there is no other answer.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;

use super::answer;
use crate::failure::chain;
use crate::{inspect, state};

/// Why there is no other answer. Holds no row values and no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The question is wrong.
    pub(super) fn wrong(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// There is no such thing.
    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// The run has not got as far.
    pub(super) fn starting() -> Self {
        let message = "the run is starting: it has no state yet; ask again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self::wrong(message)
    }
}

impl From<inspect::Error> for Refusal {
    fn from(error: inspect::Error) -> Self {
        match error {
            inspect::Error::Asked { message, help: Some(help) } => {
                Self::wrong(format!("{message}; {help}"))
            }
            inspect::Error::Asked { message, help: None } => Self::wrong(message),
            inspect::Error::Missing { message, .. } => Self::missing(message),
            inspect::Error::Unfit { message, help } => {
                Self::new(StatusCode::CONFLICT, format!("{message}; {help}"))
            }
            inspect::Error::State(state::Error::Missing { .. }) => Self::starting(),
            other => Self::new(StatusCode::INTERNAL_SERVER_ERROR, chain(&other)),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        answer::refusal(self.status, &self.message)
    }
}
