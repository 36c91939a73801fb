//! What is wrong with a connection string, said without showing any of it.

use super::KEYS;

/// A connection string that cannot be used. Never holds a value, as any may be the password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not of either form.
    #[error("{what}")]
    Syntax {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A key libpq does not have, and close to one that it has.
    #[error("unknown connection parameter \"{key}\"; did you mean \"{near}\"?")]
    Misspelt {
        /// The key.
        key: String,
        /// What is close.
        near: &'static str,
    },
    /// A key libpq does not have. It may be what follows a `?`, `&` or blank in a password.
    #[error(
        "unknown connection parameter (not shown, it may be a part of the password: in a URL ? is \
         written %3F and & is %26, in key=value pairs what holds blanks is quoted)"
    )]
    UnknownKey,
    /// A key libpq has and walgate does not.
    #[error("connection parameter \"{key}\" is not supported: {why}")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// Why, or what to do instead.
        why: &'static str,
    },
    /// A value that does not fit its key.
    #[error("connection parameter \"{key}\" must be {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What fits.
        expected: &'static str,
    },
    /// No role could be found.
    #[error("no role: put user=… into the connection string or set PGUSER")]
    NoUser,
}

/// Fewer letters are within reach of too many keys.
const KEY_LETTERS_MIN: usize = 5;

/// So many letters may be wrong.
const DISTANCE_MAX: usize = 2;

impl Error {
    /// Says that `key` is none, and shows it only where it can hardly be anything else.
    pub(super) fn unknown(key: &str) -> Self {
        let looks_like_one = key.len() >= KEY_LETTERS_MIN
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let near =
            KEYS.iter().map(|(name, _)| (strsim::damerau_levenshtein(key, name), *name)).min();
        match near {
            Some((distance, near)) if looks_like_one && distance <= DISTANCE_MAX => {
                Self::Misspelt { key: key.to_owned(), near }
            }
            _ => Self::UnknownKey,
        }
    }
}
