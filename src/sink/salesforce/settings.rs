//! The settings: [`Config`], and what is wrong with some.

use std::path::PathBuf;

use crate::secret::Secret;
use crate::sink::web::{self, Reach};
use crate::sink::{TemplateError, web::Auth, web::Jwt, web::OAuth2, web::PrivateKey};

/// `[sink.NAME.salesforce]`
#[derive(Clone, Debug)]
pub struct Config {
    /// The org's My Domain.
    pub url: String,
    /// How a token is got.
    pub auth: Login,
    /// The object's API name; may have `{{ }}`.
    pub object: String,
    /// The API name of the field with the external id; none for platform events.
    pub external_id: Option<String>,
    /// `v66.0`
    pub api: String,
    /// What an event becomes.
    pub mode: Mode,
    /// Whether records go with their rows.
    pub deletes: bool,
    /// Batches of so many `read` events and more go by Bulk API 2.0; none: never.
    pub bulk: Option<usize>,
    /// So much of the org's daily requests may be used, in percent.
    pub daily_budget: u32,
    /// Records are saved even where a duplicate rule warns.
    pub allow_duplicates: bool,
    /// Where requests may go, and how.
    pub reach: Reach,
}

/// What an event becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A record.
    Upsert,
    /// A platform event.
    PlatformEvent,
}

/// `[sink.NAME.salesforce.auth]`
#[derive(Clone, Debug)]
pub enum Login {
    /// The client's own credentials.
    ClientCredentials {
        /// The app's consumer key.
        client_id: Secret,
        /// Its consumer secret.
        client_secret: Secret,
    },
    /// An assertion that is signed with the app's key.
    Jwt {
        /// The app's consumer key.
        client_id: Secret,
        /// Who the requests are made as.
        user: String,
        /// An RSA private key (PEM).
        key: PathBuf,
    },
}

impl Login {
    /// Returns how tokens are got of the My Domain at `url`.
    pub(super) fn at(&self, url: &str) -> Auth {
        let url = url.trim_end_matches('/');
        let token_url = Secret::new(format!("{url}/services/oauth2/token"));
        match self {
            Self::ClientCredentials { client_id, client_secret } => {
                Auth::OAuth2(Box::new(OAuth2 {
                    token_url,
                    client_id: client_id.clone(),
                    client_secret: client_secret.clone(),
                    scope: None,
                    audience: None,
                    in_body: true,
                }))
            }
            Self::Jwt { client_id, user, key } => Auth::Jwt(Box::new(Jwt {
                token_url,
                client_id: client_id.clone(),
                user: Some(user.clone()),
                audience: url.to_owned(),
                scope: None,
                key_id: None,
                key: PrivateKey::File(key.clone()),
            })),
        }
    }
}

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No request can be made with them.
    #[error(transparent)]
    Web(#[from] web::Error),
    /// More than an origin.
    #[error("`url` is the org's My Domain, without a path: https://acme.my.salesforce.com")]
    Path,
    /// A template that can't be read.
    #[error("`object`")]
    Template(#[source] TemplateError),
    /// Not a name of the API.
    #[error("`{key}` is not an API name such as {like}")]
    Name {
        /// The setting.
        key: &'static str,
        /// What one looks like.
        like: &'static str,
    },
    /// Not a version of the API.
    #[error("`api` is not a version such as v66.0")]
    Version,
    /// Nothing that records are told apart by.
    #[error("`external_id` is missing: records are upserted by it")]
    NoExternalId,
    /// Settings that are about records.
    #[error("`{key}` is about records; leave it out with mode = \"platform_event\"")]
    OfRecords {
        /// The setting.
        key: &'static str,
    },
}

impl Error {
    /// Returns the setting that is wrong, below `[sink.NAME.salesforce]`.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Web(error) => error.key(),
            Self::Path => "url",
            Self::Template(_) => "object",
            Self::Name { key, .. } | Self::OfRecords { key } => key,
            Self::Version => "api",
            Self::NoExternalId => "external_id",
        }
    }
}

/// Whether a text is a name of the API: it goes into paths and queries as it is.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a text is a version of the API.
pub(super) fn is_version(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = text.strip_prefix('v').and_then(|text| text.split_once('.'));
    parts.is_some_and(|(major, minor)| number(major) && number(minor))
}
