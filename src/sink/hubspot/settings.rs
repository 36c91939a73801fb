//! The settings: [`Config`], and what is wrong with some.

use crate::secret::Secret;
use crate::sink::web::{self, Reach};

/// `[sink.NAME.hubspot]`
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the API is.
    pub url: String,
    /// A private app's.
    pub token: Secret,
    /// `contacts`, `companies`, or a custom object's name or number.
    pub object: String,
    /// A property with unique values.
    pub id_property: String,
    /// Whether records go with their rows.
    pub archives: bool,
    /// Where requests may go, and how.
    pub reach: Reach,
}

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No request can be made with them.
    #[error(transparent)]
    Web(#[from] web::Error),
    /// More than an origin.
    #[error("`url` has a path; the API is at its host: https://api.hubapi.com")]
    Path,
    /// Not a name of the API.
    #[error("`{key}` is not {like}")]
    Name {
        /// The setting.
        key: &'static str,
        /// What one looks like.
        like: &'static str,
    },
}

impl Error {
    /// Returns the setting that is wrong, below `[sink.NAME.hubspot]`.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Web(error) if error.key() == "auth.bearer" => "token",
            Self::Web(error) => error.key(),
            Self::Path => "url",
            Self::Name { key, .. } => key,
        }
    }
}

/// Whether a text may stand in a path as it is.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
