//! [`Error`]: settings that can't be used, each with the place where it stands.

use crate::sink::{TemplateError, web};

/// Settings that can't be used. `key` is the place below the kind's table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No request can be made with them.
    #[error(transparent)]
    Web(#[from] web::Error),
    /// Nothing says where the service is.
    #[error(
        "`region` is missing: neither `{key}`, AWS_REGION, AWS_DEFAULT_REGION nor the profile \
         says it"
    )]
    NoRegion {
        /// The setting that might have.
        key: &'static str,
    },
    /// Not a region's name.
    #[error("`region` is not a name such as eu-central-1")]
    Region,
    /// An address with a path.
    #[error("`{key}` is an address alone, without a path: https://HOST")]
    Path {
        /// The setting.
        key: String,
    },
    /// A template that can't be read.
    #[error("`{key}`")]
    Template {
        /// The setting.
        key: &'static str,
        /// Why.
        source: TemplateError,
    },
    /// Not an ARN.
    #[error("`{key}` is not {what}")]
    Name {
        /// The setting.
        key: &'static str,
        /// What it has to be.
        what: &'static str,
    },
}

impl Error {
    /// Returns the setting that is wrong, below the kind's table.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Web(error) => error.key(),
            Self::NoRegion { .. } | Self::Region => "region",
            Self::Path { key } => key,
            Self::Template { key, .. } | Self::Name { key, .. } => key,
        }
    }
}
