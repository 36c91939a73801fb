//! The settings: [`Config`], and what is wrong with some.

use std::path::PathBuf;

use crate::secret::Secret;
use crate::sink::TemplateError;
use crate::sink::web::{self, Reach};

/// `[sink.NAME.pubsub]`
#[derive(Clone, Debug)]
pub struct Config {
    /// `projects/PROJECT/topics/TOPIC`; the last part may have `{{ }}`.
    pub topic: String,
    /// Whether messages have an ordering key.
    pub ordering: bool,
    /// What is in order; may have `{{ }}`. None: the event's key.
    pub ordering_key: Option<String>,
    /// Attributes beside walgate's own; values may have `{{ }}`.
    pub attributes: Vec<(String, Secret)>,
    /// Whether `CloudEvents` go in binary mode.
    pub binary: bool,
    /// A service account's key (JSON); none: what environment and machine say.
    pub credentials: Option<PathBuf>,
    /// Where the API is; none: Google's own address, or the emulator that the environment names.
    pub endpoint: Option<String>,
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
    #[error(
        "`endpoint` has a path; the API is at its host: https://europe-west1-pubsub.googleapis.com"
    )]
    Path,
    /// Not a topic's full name.
    #[error("`topic` is not projects/PROJECT/topics/TOPIC: {0}")]
    Topic(&'static str),
    /// A template that can't be read.
    #[error("`{key}`")]
    Template {
        /// The setting.
        key: String,
        /// Why.
        source: TemplateError,
    },
    /// An ordering key where there is none.
    #[error("`ordering_key` means nothing with ordering = false; drop one of them")]
    NoOrdering,
    /// Not a name that an attribute may have.
    #[error("`{key}` {why}")]
    Attribute {
        /// The setting.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Binary mode of another format.
    #[error("`cloudevents` is about format = \"cloudevents\"; set that, or leave it out")]
    NoCloudEvents,
    /// A key file that can't be read.
    #[error("{from} names {path}, which can't be read")]
    Unreadable {
        /// Who names it.
        from: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is no key of a service account.
    #[error("{from} names {path}: {why}")]
    Key {
        /// Who names it.
        from: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// Returns the setting that is wrong, below `[sink.NAME.pubsub]`.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Web(error) => error.key(),
            Self::Path => "endpoint",
            Self::Topic(_) => "topic",
            Self::Template { key, .. } | Self::Attribute { key, .. } => key,
            Self::NoOrdering => "ordering_key",
            Self::NoCloudEvents => "cloudevents",
            Self::Unreadable { .. } | Self::Key { .. } => "credentials",
        }
    }
}
