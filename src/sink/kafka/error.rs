//! [`Error`]: settings that can't be used, each with the place where it stands.

use crate::sink::{TemplateError, tls};

/// Settings that can't be used. [`Error::key`] is the place below `[sink.NAME.kafka]`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not `host:port`.
    #[error("`brokers` must be like \"kafka-1:9092\", or a list of such")]
    Brokers,
    /// A template that can't be read.
    #[error("`topic`")]
    Template(#[source] TemplateError),
    /// A name that no topic can have.
    #[error("`topic` {0}")]
    Topic(&'static str),
    /// A mode of CloudEvents, but values are none.
    #[error("`cloudevents` is about `format = \"cloudevents\"`; set that, or leave it out")]
    NoCloudEvents,
    /// Several lanes, but a producer has one transaction at a time.
    #[error("`transactional_id`: there is one transaction at a time; set concurrency = 1")]
    Lanes,
    /// An empty id.
    #[error("`transactional_id` must not be empty")]
    NoId,
    /// A file that can't be used.
    #[error("`tls.{}`", .0.key())]
    Tls(#[source] tls::Error),
    /// A setting of librdkafka that walgate makes itself.
    #[error("`{name}` {why}; leave it out")]
    Own {
        /// The setting's place.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// A setting that librdkafka refuses.
    #[error("librdkafka refuses `{name}`: {why}")]
    Property {
        /// The setting's place.
        name: String,
        /// What it says.
        why: String,
    },
}

impl Error {
    /// Returns the setting that is wrong, below `[sink.NAME.kafka]`.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Brokers => "brokers",
            Self::Template(_) | Self::Topic(_) => "topic",
            Self::NoCloudEvents => "cloudevents",
            Self::Lanes | Self::NoId => "transactional_id",
            Self::Tls(error) => match error.key() {
                "cert" => "tls.cert",
                "key" => "tls.key",
                _ => "tls.ca",
            },
            Self::Own { name, .. } | Self::Property { name, .. } => name,
        }
    }
}
