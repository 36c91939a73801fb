//! [`Error`]: settings that can't be used, each with its key.

use crate::sink::{TemplateError, tls};

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an address.
    #[error(
        "`url` is not an address such as amqp://user:password@host:5672/vhost, or one with amqps://"
    )]
    Url,
    /// A host whose certificate could not be verified.
    #[error("`url` names a host that no certificate can be for")]
    Host,
    /// More than AMQP has room for.
    #[error("`{key}` is longer than 255 bytes")]
    Long {
        /// The setting.
        key: &'static str,
    },
    /// A template that can't be read.
    #[error("`routing_key`")]
    Template(#[source] TemplateError),
    /// A certificate or key that can't be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// Files for TLS, but no TLS.
    #[error("`{key}` is about TLS, which `url` does not ask for; write amqps:// there")]
    NoTls {
        /// The setting.
        key: &'static str,
    },
}

impl Error {
    /// Returns the setting that is wrong, below `[sink.NAME.amqp]`.
    #[must_use]
    pub const fn key(&self) -> &str {
        match self {
            Self::Url | Self::Host => "url",
            Self::Long { key } | Self::NoTls { key } => key,
            Self::Template(_) => "routing_key",
            Self::Tls(error) => error.key(),
        }
    }
}
