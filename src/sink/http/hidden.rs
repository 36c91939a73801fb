//! What of an HTTP sink's settings must not show, should the far side echo it.

use super::Config;
use crate::secret::Secret;
use crate::sink::web::auth;

/// Headers whose values are no secret.
const SHOWN: [&str; 3] = ["content-type", "accept", "user-agent"];

/// A shorter value is no credential, and hiding it would hide the answer.
const HIDDEN_BYTES_MIN: usize = 8;

/// Returns the header values that must not show, and the credential inside `Bearer …`.
pub(super) fn of(config: &Config) -> Vec<Secret> {
    let over = config.on.iter().flat_map(|(_, over)| &over.headers);
    config
        .headers
        .iter()
        .chain(over)
        .filter(|(name, _)| !SHOWN.iter().any(|shown| name.eq_ignore_ascii_case(shown)))
        .flat_map(|(_, value)| [value.expose(), last_word(value.expose())])
        .map(str::to_owned)
        .chain(auth::hidden(config.auth.as_ref()))
        .filter(|text| text.len() >= HIDDEN_BYTES_MIN)
        .map(Secret::new)
        .collect()
}

fn last_word(text: &str) -> &str {
    text.rsplit(' ').next().unwrap_or_default()
}
