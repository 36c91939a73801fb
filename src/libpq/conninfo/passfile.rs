//! `.pgpass`: passwords by host, port, database and user.
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-pgpass.html>.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::secret::Secret;

/// Returns the text of the file; none when it is missing or open to others, which is told in the
/// log, as libpq tells it.
pub(super) fn read(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() {
        tracing::warn!(path = %path.display(), "password file is not a plain file: not used");
        return None;
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        let path = path.display();
        tracing::warn!(%path, "password file is open to others (chmod 0600 it): not used");
        return None;
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read the password file");
            None
        }
    }
}

/// Returns the password of the first line that fits.
pub(super) fn find(
    text: &str,
    host: &str,
    port: &str,
    database: &str,
    user: &str,
) -> Option<Secret> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line;
        for wanted in [host, port, database, user] {
            let (field, after) = field(rest)?;
            if field != wanted && field != "*" {
                return None;
            }
            rest = after;
        }
        Some(Secret::new(unescape(rest)))
    })
}

/// Cuts one field off: up to a `:` that no backslash precedes. The star keeps its meaning only
/// when it stands alone and bare.
fn field(text: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((unescape(text.get(..index)?), text.get(index + 1..)?)),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => out.extend(rest.next()),
            c => out.push(c),
        }
    }
    out
}
