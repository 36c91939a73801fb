//! [`Config`]: what `[sink.NAME.elasticsearch]` says, and what of it can't be used.

use crate::secret::Secret;
use crate::sink::TemplateError;
use crate::sink::web::{self, Auth, Reach};

/// `[sink.NAME.elasticsearch]`
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the cluster answers.
    pub url: Secret,
    /// The index of an event; may have `{{ }}` templates.
    pub index: String,
    /// Who writes; none: nobody, as a cluster without security has it.
    pub auth: Option<Auth>,
    /// Where requests may go, and how.
    pub reach: Reach,
}

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No request can be made with them.
    #[error(transparent)]
    Web(#[from] web::Error),
    /// More than an address.
    #[error(
        "`url` is the cluster's address alone (https://host:9200): who writes stands in `api_key` \
         or `user` and `password`"
    )]
    Url,
    /// A template that can't be read.
    #[error("`index`")]
    Template(#[source] TemplateError),
    /// No index can have such a name.
    #[error(
        "`index` makes no name of an index: no `\\ / * ? < > | , # :` and no space in it, and no \
         `- _ + .` before it"
    )]
    Name,
}

impl Error {
    /// Returns the setting that is wrong, below `[sink.NAME.elasticsearch]`.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Web(error) if error.key() == "auth.basic" => "password",
            Self::Web(error) => error.key(),
            Self::Url => "url",
            Self::Template(_) | Self::Name => "index",
        }
    }
}
