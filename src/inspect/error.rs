//! [`Error`]: why something can't be shown.

use crate::{journal, mapping, state};

/// Why something can't be shown. Holds no row values and no secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state can't be read.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The journal can't be read.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// A change of the journal can't be decoded.
    #[error(transparent)]
    Mapping(#[from] mapping::Error),
    /// What was asked for is wrong.
    #[error("{message}")]
    Asked {
        /// What is wrong.
        message: String,
        /// The next step, where there is one to tell.
        help: Option<String>,
    },
    /// What was asked for does not fit what is there.
    #[error("{message}")]
    Unfit {
        /// What does not fit.
        message: String,
        /// The next step.
        help: String,
    },
    /// What was asked for is not there.
    #[error("{message}")]
    Missing {
        /// What there is not.
        message: String,
        /// The next step.
        help: String,
    },
}

impl Error {
    /// Says what is wrong with what was asked for.
    #[must_use]
    pub fn asked(message: impl Into<String>) -> Self {
        Self::Asked { message: message.into(), help: None }
    }

    /// Adds the next step.
    #[must_use]
    pub fn with(self, help: impl Into<String>) -> Self {
        match self {
            Self::Asked { message, .. } => Self::Asked { message, help: Some(help.into()) },
            other => other,
        }
    }
}
