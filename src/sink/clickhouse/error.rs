//! [`Error`]: settings that can't be used.

use crate::sink::{NotAName, TemplateError, web};

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No request can be made with them.
    #[error(transparent)]
    Web(#[from] web::Error),
    /// More than an address.
    #[error(
        "`url` is the HTTP interface's address alone (https://host:8443): who writes stands in \
         `user` and `password`, settings in `settings`"
    )]
    Url,
    /// A template that can't be read.
    #[error("`table`")]
    Template(#[source] TemplateError),
    /// No name of a table comes of it.
    #[error("`table`")]
    Table(#[source] NotAName),
    /// A setting of ClickHouse that walgate needs otherwise.
    #[error("`settings.{name}` is set by walgate itself, so that nothing is lost; leave it out")]
    Setting {
        /// Its name.
        name: String,
        /// Its key.
        key: String,
    },
}

impl Error {
    /// Returns the setting that is wrong, below `[sink.NAME.clickhouse]`.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Web(error) if error.key() == "auth.basic" => "password",
            Self::Web(error) => error.key(),
            Self::Url => "url",
            Self::Template(_) | Self::Table(_) => "table",
            Self::Setting { key, .. } => key,
        }
    }
}
