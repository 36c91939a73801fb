//! [`Error`]: settings that can't be used, each with the place where it stands.

use super::SecretError;
use crate::sink::{TemplateError, web};

/// Settings that can't be used. `key` is the place below `[sink.NAME.http]`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No request can be made with them.
    #[error(transparent)]
    Web(#[from] web::Error),
    /// A template before the path.
    #[error("`{key}`: `{{{{ }}}}` may stand only after the host and a `/`")]
    TemplatedHost {
        /// The setting.
        key: String,
    },
    /// A template that can't be read.
    #[error("`{key}`")]
    Template {
        /// The setting.
        key: String,
        /// Why.
        source: TemplateError,
    },
    /// Not a method.
    #[error("`{key}` is not an HTTP method such as POST, PUT, PATCH or DELETE")]
    Method {
        /// The setting.
        key: String,
    },
    /// Not a header's name.
    #[error("`{key}` is not a header's name")]
    HeaderName {
        /// The setting.
        key: String,
    },
    /// A header that walgate sets.
    #[error("`{key}` is set by walgate itself; leave it out")]
    ReservedHeader {
        /// The setting.
        key: String,
    },
    /// Several events a request, but the request is built from one.
    #[error("`{key}` is built from the event, so that a request has one: set batch.max_events = 1")]
    OneEvent {
        /// The setting.
        key: String,
    },
    /// Several events a request, but the headers are of one.
    #[error(
        "`cloudevents`: in binary mode the headers are the event's, so that a request has one: \
         set batch.max_events = 1"
    )]
    BinaryBatch,
    /// A mode of CloudEvents, but bodies are none.
    #[error("`cloudevents` is about `format = \"cloudevents\"`; set that, or leave it out")]
    NoCloudEvents,
    /// A secret that can't sign.
    #[error("`signing_secret`")]
    SigningSecret(#[source] SecretError),
    /// Credentials twice.
    #[error("`{key}` and `auth` both say who walgate is; drop one")]
    TwoCredentials {
        /// The setting.
        key: String,
    },
    /// An expression that can't be used.
    #[error("`ack.{key}` {message}")]
    Ack {
        /// The key below `ack`.
        key: &'static str,
        /// What is wrong.
        message: String,
    },
    /// Answers of several events, but a request has one.
    #[error("`ack.items`: a request has one event; set batch.max_events, or drop it")]
    AckOfOne,
}

impl Error {
    /// Returns the setting that is wrong, below `[sink.NAME.http]`.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::TemplatedHost { key }
            | Self::Template { key, .. }
            | Self::Method { key }
            | Self::HeaderName { key }
            | Self::ReservedHeader { key }
            | Self::OneEvent { key }
            | Self::TwoCredentials { key } => key,
            Self::Ack { key: "when", .. } => "ack.when",
            Self::Ack { key: "item", .. } => "ack.item",
            Self::Ack { key: "retry", .. } => "ack.retry",
            Self::Ack { .. } | Self::AckOfOne => "ack.items",
            Self::SigningSecret(_) => "signing_secret",
            Self::BinaryBatch | Self::NoCloudEvents => "cloudevents",
            Self::Web(error) => error.key(),
        }
    }
}
