//! [`Error`]: why there is no connection.

use std::io;

use super::{ServerError, TlsError};

/// Why a server can't be got into.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers at the address.
    #[error("cannot reach {host}")]
    Connect {
        /// The address.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// TLS could not be agreed on.
    #[error("no TLS with {host}")]
    Tls {
        /// The address.
        host: String,
        /// Why.
        #[source]
        source: TlsError,
    },
    /// The server wants a password in clear text over a connection that others can read.
    #[error("{host} asks for the password in clear text without TLS")]
    Cleartext {
        /// The address.
        host: String,
    },
    /// The server wants a password and none is known.
    #[error("{host} asks for a password and none is given")]
    NoPassword {
        /// The address.
        host: String,
    },
    /// `channel_binding=require`, and the server does not do it.
    #[error("channel_binding=require, and {host} does not bind")]
    ChannelBinding {
        /// The address.
        host: String,
    },
    /// No host is what `target_session_attrs` asks for.
    #[error("{host} is not what target_session_attrs asks for")]
    SessionAttributes {
        /// The last address tried.
        host: String,
    },
    /// The login was refused.
    #[error("{host} refused the login")]
    Login {
        /// The address.
        host: String,
        /// What it said.
        #[source]
        source: ServerError,
    },
    /// The server answered the login with another error.
    #[error("{host} failed to log in")]
    Refused {
        /// The address.
        host: String,
        /// What it said.
        #[source]
        source: ServerError,
    },
    /// The login broke off.
    #[error("failed to log in")]
    Sql(#[source] tokio_postgres::Error),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// There is no address to try.
    #[error("no host to try")]
    NoHost,
}
