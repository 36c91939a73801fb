//! [`Error`]: settings that no request can be made with.

use super::PrivateAddress;
use crate::sink::tls;

/// Settings that can't be used. `key` is the place below the kind's table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a URL.
    #[error("`{key}` is not a URL")]
    Url {
        /// The setting.
        key: String,
        /// Why.
        source: url::ParseError,
    },
    /// Neither `http://` nor `https://`.
    #[error("`{key}` must start with https:// or http:// and name a host")]
    Scheme {
        /// The setting.
        key: String,
    },
    /// A host that can't be asked for.
    #[error("`{key}` names a host that no request can be sent to")]
    Host {
        /// The setting.
        key: String,
    },
    /// An address of a private network.
    #[error("`{key}`")]
    Private {
        /// The setting.
        key: String,
        /// Which.
        #[source]
        source: PrivateAddress,
    },
    /// More than a request can name.
    #[error("`{key}` is too long")]
    Long {
        /// The setting.
        key: String,
    },
    /// Not a header's name.
    #[error("`{key}` is not a header's name")]
    HeaderName {
        /// The setting.
        key: String,
    },
    /// A value with line ends or control characters.
    #[error("`{key}` has a line end or a control character in its value")]
    HeaderValue {
        /// The setting.
        key: String,
    },
    /// A key that can't sign.
    #[error("`{key}` holds no RSA private key of 2048 bits or more (PEM, PKCS #8 or PKCS #1)")]
    RsaKey {
        /// The setting.
        key: String,
    },
    /// A certificate or key that can't be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

impl Error {
    /// Returns the setting that is wrong.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Url { key, .. }
            | Self::Scheme { key }
            | Self::Host { key }
            | Self::Private { key, .. }
            | Self::Long { key }
            | Self::HeaderName { key }
            | Self::HeaderValue { key }
            | Self::RsaKey { key } => key,
            Self::Tls(error) => error.key(),
        }
    }
}
