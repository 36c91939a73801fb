//! The settings: [`Config`], and what of it an operation may have otherwise.

use super::ack;
use crate::chunk::Operation;
use crate::secret::Secret;
use crate::sink::web::{Auth, Reach};

/// `[sink.NAME.http]`
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to send; may have `{{ }}` after the host.
    pub url: Secret,
    /// `POST` unless set; may have `{{ }}`.
    pub method: String,
    /// Names and values; values may have `{{ }}`.
    pub headers: Vec<(String, Secret)>,
    /// `[sink.NAME.http.on.OPERATION]`
    pub on: Vec<(Operation, Overrides)>,
    /// With CloudEvents: attributes are headers, and the body is the data.
    pub binary: bool,
    /// One, or several during rotation; none: nothing is signed.
    pub signing_secret: Vec<Secret>,
    /// Who walgate says that it is; none: nobody, or what URL and headers say.
    pub auth: Option<Auth>,
    /// Bodies are compressed.
    pub gzip: bool,
    /// What of an answer's body counts; none: its status alone.
    pub ack: Option<ack::Settings>,
    /// Where requests may go, and how.
    pub reach: Reach,
}

impl Config {
    /// Returns the settings with nothing but an address.
    #[must_use]
    pub fn to(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url.into()),
            method: "POST".to_owned(),
            headers: Vec::new(),
            on: Vec::new(),
            binary: false,
            signing_secret: Vec::new(),
            auth: None,
            gzip: false,
            ack: None,
            reach: Reach::default(),
        }
    }
}

/// What differs for one operation; what is not set is as for the others, headers are added.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Instead of the sink's.
    pub url: Option<Secret>,
    /// Instead of the sink's.
    pub method: Option<String>,
    /// Beside the sink's; the same name takes its place.
    pub headers: Vec<(String, Secret)>,
}
